//! The end of a message is CRLF.CRLF, or where BDAT's counting says, and nothing else (RFC 5321 section 4.1.1.4, RFC 3030
//! section 2): neither for our server, in any of its modes, nor for any server that reads what our client writes.

use proxy_proto::Machine;
use smtp_proto::body::{Chunks, DotStuffing, LineEndings};
use smtp_proto::server::{Config, Event, Server};
use smtp_proto::{Instant, Misuse};
use tests::oracle::line_ends;

const NOW: Instant = Instant::EPOCH;

/// What some server somewhere has been found to take for the end of a message, or to pass on to one that does.
const ENDS: [&str; 24] = [
    "\n.\n",
    "\n.\r",
    "\n.\r\n",
    "\r.\n",
    "\r.\r",
    "\r.\r\n",
    "\r\n.\n",
    "\r\n.\r",
    "\r\n.\r\r\n",
    "\r\r\n.\r\r\n",
    "\r\r.\r\r",
    "\n\n.\n\n",
    "\n\r.\n\r",
    "\n\r\n.\n\r\n",
    "\r\n\n.\r\n\n",
    "\r\n.\n\r\n",
    "\r\n\0.\n",
    "\r\n\0.\r\n",
    "\r\n.\0\n",
    "\r\n.\0\r\n",
    "\r\n.\r\0\n",
    "\r\n. \r\n",
    "\r\n.\x0b\n",
    "\r\n.\u{85}\r\n",
];

/// What follows the supposed end: another message, if the server were taken in.
const SMUGGLED: &str = "MAIL FROM:<evil@example.org>\r\nRCPT TO:<victim@example.org>\r\nDATA\r\nSubject: surprise\r\n";

/// Messages that try each end: at their head, in the middle, several of it, and as their own end.
fn attempts() -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    ENDS.into_iter().flat_map(|end| {
        let headless = end.trim_start_matches(['\r', '\n']);
        [
            ["a", end, SMUGGLED].concat(),
            [end, SMUGGLED].concat(),
            [headless, SMUGGLED].concat(),
            ["a", end, end, SMUGGLED].concat(),
            ["a", end].concat(),
        ]
        .map(|message| (end, message.into_bytes()))
    })
}

/// What a server made of a session.
#[derive(Default, PartialEq, Debug)]
struct Seen {
    from: Vec<String>,
    /// The messages that were offered as complete.
    messages: Vec<Vec<u8>>,
    replies: Vec<String>,
}

/// The modes of our server: whether it keeps bare line ends in content, and whether it takes a LF for the end of a command.
const MODES: [(bool, bool); 4] = [(false, false), (false, true), (true, false), (true, true)];

/// Lets our server hear these pieces, and accept whatever it asks about.
fn hear<'a>((content, commands): (bool, bool), pieces: impl IntoIterator<Item = &'a [u8]>) -> Seen {
    let config = Config::new("mx.example.org").unwrap();
    let config = config.bare_line_endings_in_content(content).bare_line_feeds_in_commands(commands);
    let mut server = Server::new(config);
    let (mut seen, mut said, mut message) = (Seen::default(), Vec::new(), Vec::new());
    let mut waiting = Vec::new();
    for piece in pieces {
        waiting.extend_from_slice(piece);
        loop {
            let mut input = &waiting[..];
            let event = server.receive(NOW, &mut input).unwrap();
            let taken = waiting.len() - input.len();
            waiting.drain(..taken);
            match event {
                Some(Event::Mail { from, .. }) => seen.from.push(from.to_string()),
                Some(Event::Content { octets, last }) => {
                    message.extend_from_slice(&octets);
                    if last {
                        seen.messages.push(std::mem::take(&mut message));
                    }
                }
                Some(Event::Abandoned(_)) => message.clear(),
                Some(_) => {}
                None if taken == 0 => break,
                None => {}
            }
            if let Some(decision) = server.decision() {
                decision.accept();
            }
            server.transmit(NOW, &mut said);
        }
    }
    let said = String::from_utf8(said).unwrap();
    seen.replies = said.lines().filter(|line| line.as_bytes()[3] == b' ').map(|line| line[..3].to_owned()).collect();
    seen
}

const OPENING: &str = "EHLO c\r\nMAIL FROM:<good@example.org>\r\nRCPT TO:<bob@example.org>\r\n";

fn has_bare(message: &[u8]) -> bool {
    line_ends(message) != message
}

/// The same with its last line complete.
fn complete(message: &[u8]) -> Vec<u8> {
    let mut canonical = line_ends(message);
    if !canonical.is_empty() && !canonical.ends_with(b"\r\n") {
        canonical.extend_from_slice(b"\r\n");
    }
    canonical
}

/// One message was received or refused, and the session goes on behind it.
fn holds_one_message(seen: &Seen, is_refused: bool, what: &str) {
    assert_eq!(seen.from, ["good@example.org"], "{what}");
    assert_eq!(seen.messages.len(), usize::from(!is_refused), "{what}");
    let (noop, replies) = seen.replies.split_last().unwrap();
    // Behind a chunk that was refused, the next one is out of order.
    let verdict = replies.iter().rev().find(|code| *code != "503").unwrap();
    assert_eq!((&verdict[..], &noop[..]), (if is_refused { "550" } else { "250" }, "250"), "{what}: {seen:?}");
}

#[test]
fn nothing_else_ends_data_at_our_server_in_any_mode_at_any_cut() {
    let mut lawful = 0;
    for (end, message) in attempts() {
        let message = String::from_utf8(message).unwrap();
        // A dot alone on the first line is the end of an empty message.
        if message.starts_with(".\r\n") {
            lawful += 1;
            continue;
        }
        let session = [OPENING, "DATA\r\n", &message, "\r\n.\r\nNOOP\r\n"].concat().into_bytes();
        for mode in MODES {
            let what = format!("{end:?} in {:?}, {mode:?}", &message[..message.len().min(20)]);
            let whole = hear(mode, [&session[..]]);
            let is_refused = !mode.0 && has_bare(format!("{message}\r\n").as_bytes());
            holds_one_message(&whole, is_refused, &what);
            for cut in OPENING.len()..session.len() {
                let (one, other) = session.split_at(cut);
                assert_eq!(hear(mode, [one, other]), whole, "{what}, cut at {cut}");
            }
            assert_eq!(hear(mode, session.chunks(1)), whole, "{what}, octet by octet");
        }
    }
    assert_eq!(lawful, ENDS.iter().filter(|end| end.trim_start().starts_with(".\r\n")).count());
}

#[test]
fn nothing_ends_a_chunk_at_our_server_but_its_count() {
    for (end, message) in attempts() {
        // Over two chunks, at each cut.
        for cut in 0..message.len() {
            let (one, other) = message.split_at(cut);
            let mut session = OPENING.as_bytes().to_vec();
            session.extend_from_slice(format!("BDAT {}\r\n", one.len()).as_bytes());
            session.extend_from_slice(one);
            session.extend_from_slice(format!("BDAT {} LAST\r\n", other.len()).as_bytes());
            session.extend_from_slice(other);
            session.extend_from_slice(b"NOOP\r\n");
            for mode in MODES {
                let what = format!("{end:?}, {mode:?}, chunks cut at {cut}");
                let seen = hear(mode, [&session[..]]);
                holds_one_message(&seen, !mode.0 && has_bare(&message), &what);
                if mode.0 {
                    assert!(seen.messages == [message.clone()], "{what}");
                }
            }
        }
    }
}

/// What our client writes for a message that is given in these pieces.
fn encode<'a>(
    endings: LineEndings,
    chunked: bool,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<u8>, Misuse> {
    let mut wire = Vec::new();
    if chunked {
        let mut chunks = Chunks::new(endings);
        for piece in pieces {
            assert_eq!(chunks.write(piece)?, piece.len());
        }
        chunks.end(&mut wire);
    } else {
        let mut stuffing = DotStuffing::new(endings);
        for piece in pieces {
            stuffing.write(piece, &mut wire)?;
        }
        stuffing.end(&mut wire);
    }
    Ok(wire)
}

#[test]
fn what_our_client_writes_ends_where_it_should_at_every_server_at_any_cut() {
    // DATA knows no lines but those that end with CRLF: Exact takes BDAT.
    let modes = [
        (LineEndings::Canonical, false),
        (LineEndings::Strict, false),
        (LineEndings::Canonical, true),
        (LineEndings::Strict, true),
        (LineEndings::Exact, true),
    ];
    for (end, message) in attempts() {
        for (endings, chunked) in modes {
            let what = format!("{end:?} in {}, {endings:?}, chunked: {chunked}", message.escape_ascii());
            let whole = encode(endings, chunked, [&message[..]]);
            for cut in 0..message.len() {
                let (one, other) = message.split_at(cut);
                assert_eq!(encode(endings, chunked, [one, other]), whole, "{what}, cut at {cut}");
            }
            assert_eq!(encode(endings, chunked, message.chunks(1)), whole, "{what}");
            // A CR at the very end is completed by the line end that is added.
            let bare = has_bare(message.strip_suffix(b"\r").unwrap_or(&message));
            let refused = bare || message.contains(&0);
            assert_eq!(whole.is_err(), endings == LineEndings::Strict && refused, "{what}");
            let Ok(wire) = whole else { continue };

            if !chunked {
                no_server_sees_an_early_end(&wire, &what);
            }
            let expected = if endings == LineEndings::Exact { message.clone() } else { complete(&message) };
            let command = if chunked { &b""[..] } else { b"DATA\r\n" };
            let session = [OPENING.as_bytes(), command, &wire, b"NOOP\r\n"].concat();
            for mode in MODES {
                let seen = hear(mode, [&session[..]]);
                let is_refused = !mode.0 && endings == LineEndings::Exact && has_bare(&message);
                holds_one_message(&seen, is_refused, &what);
                if !is_refused {
                    assert!(seen.messages == [expected.clone()], "{what}: {}", seen.messages[0].escape_ascii());
                }
            }
        }
    }
}

/// However a server takes CR and LF, alone or together, for the end of a line: a line of one dot is the last.
fn no_server_sees_an_early_end(wire: &[u8], what: &str) {
    // The line before the message is DATA.
    let octets = [b"\r\n", wire].concat();
    let real = octets.len() - b"\r\n.\r\n".len();
    let is_end = |octet: Option<&u8>| matches!(octet, Some(b'\r' | b'\n'));
    for (at, octet) in octets.iter().enumerate() {
        if *octet == b'.' && is_end(octets.get(at.wrapping_sub(1))) && is_end(octets.get(at + 1)) {
            assert_eq!(at, real + 2, "{what}: {}", wire.escape_ascii());
        }
        // And none can be found to end anywhere but where ours does.
        let bare = match octet {
            b'\r' => octets.get(at + 1) != Some(&b'\n'),
            b'\n' => at == 0 || octets[at - 1] != b'\r',
            _ => false,
        };
        assert!(!bare, "{what}: {}", wire.escape_ascii());
    }
    for end in ENDS.iter().filter(|end| !end.contains('\0')) {
        let found = octets.windows(end.len()).position(|window| window == end.as_bytes());
        assert!(found.is_none_or(|at| at >= real), "{what}: {end:?} in {}", wire.escape_ascii());
    }
}
