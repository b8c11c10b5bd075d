//! The laws of a machine, clocks, and what a client may cost.

use super::*;
use core::time::Duration;

fn at(seconds: u64) -> Instant {
    Instant::from_epoch(Duration::from_secs(seconds))
}

fn limited(change: impl FnOnce(&mut Limits)) -> Config {
    let mut limits = Limits::default();
    change(&mut limits);
    config().limits(limits)
}

/// Up to the point where the server waits; gives what it said.
fn feed(server: &mut Server, now: Instant, mut input: &[u8]) -> String {
    let mut output = Vec::new();
    loop {
        while server.receive(now, &mut input).unwrap().is_some() {
            while let Some(decision) = server.decision() {
                decision.accept();
            }
        }
        if !server.transmit(now, &mut output) {
            return String::from_utf8(output).unwrap();
        }
    }
}

fn last_word(server: &mut Server, now: Instant) -> String {
    let mut output = Vec::new();
    server.transmit(now, &mut output);
    String::from_utf8(output).unwrap()
}

#[test]
fn a_silent_client_is_told_so_and_closed() {
    for (said, seconds, watching) in [
        ("", 300, phase::COMMAND),
        ("EHLO a\r\nMAI", 300, phase::COMMAND),
        ("EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nDATA\r\nabc", 300, phase::BLOCK),
        ("EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nBDAT 5\r\nabc", 300, phase::BLOCK),
    ] {
        let mut server = Server::new(config());
        assert_eq!(server.deadline(), None, "the client has not been greeted yet");
        feed(&mut server, at(10), said.as_bytes());
        assert_eq!(server.deadline(), Some(Deadline { at: at(10 + seconds), watching }));
        assert_eq!(server.expire(at(9 + seconds)), Ok(()));
        assert_eq!(server.expire(at(10 + seconds)), Err(Error::Timeout(watching)));
        assert!(last_word(&mut server, at(311)).starts_with("421 "));
        assert!(server.is_closed() && server.deadline().is_none());
        assert_eq!(server.receive(at(312), &mut &b"NOOP\r\n"[..]), Err(Error::Timeout(watching)));
        assert_eq!(server.finish(), Err(Error::Timeout(watching)));
        assert_eq!(last_word(&mut server, at(313)), "");
    }
}

#[test]
fn a_trickle_extends_content_but_not_a_command() {
    let mut server = Server::new(config());
    feed(&mut server, at(0), b"EHLO a\r\nNO");
    feed(&mut server, at(200), b"O");
    assert_eq!(server.deadline().unwrap().at, at(300));
    feed(&mut server, at(250), b"P\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nDATA\r\n");
    feed(&mut server, at(500), b"x");
    assert_eq!(server.deadline().unwrap().at, at(800));
}

#[test]
fn the_owner_is_not_hurried_and_the_client_not_blamed() {
    let mut server = Server::new(config());
    feed(&mut server, at(0), b"EHLO a\r\n");
    let mut input = &b"MAIL FROM:<a@b>\r\n"[..];
    assert!(server.receive(at(1), &mut input).unwrap().is_some());
    assert!(server.is_asking() && server.deadline().is_none());
    assert_eq!(server.expire(at(9999)), Ok(()));
    server.decision().unwrap().accept();
    assert_eq!(server.expire(at(9999)), Ok(()));
    assert_eq!(last_word(&mut server, at(9999)), "250 2.1.0 Sender OK\r\n");
    assert_eq!(server.deadline().unwrap().at, at(9999 + 300));
}

#[test]
fn a_handshake_has_its_own_clock_and_no_last_word() {
    let mut server = Server::new(config().starttls(true));
    assert_eq!(server.secured(), Err(Misuse::NotOpen));
    feed(&mut server, at(0), b"EHLO a\r\n");
    assert_eq!(server.receive(at(1), &mut &b"STARTTLS\r\n"[..]), Ok(Some(Event::StartTls)));
    assert_eq!(server.secured(), Err(Misuse::NotOpen), "the 220 is still to be said");
    last_word(&mut server, at(1));
    assert_eq!(server.deadline(), Some(Deadline { at: at(61), watching: phase::TLS }));
    server.shut_down();
    assert_eq!(last_word(&mut server, at(2)), "", "not in the handshake");
    assert_eq!(server.expire(at(61)), Err(Error::Timeout(phase::TLS)));
    assert_eq!(last_word(&mut server, at(62)), "");
}

#[test]
fn shutting_down_finishes_what_is_under_way() {
    let mut server = Server::new(config());
    feed(&mut server, at(0), b"EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nDATA\r\nabc");
    server.shut_down();
    assert_eq!(feed(&mut server, at(1), b"\r\n"), "");
    let end = feed(&mut server, at(2), b".\r\nMAIL FROM:<a@b>\r\n");
    assert_eq!(end, "250 2.0.0 Message accepted\r\n421 4.3.2 Shutting down, closing the connection\r\n");
    assert!(server.is_closed());
    assert_eq!(server.finish(), Ok(()));

    let mut server = Server::new(config());
    feed(&mut server, at(0), b"EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nBDAT 1\r\na");
    server.shut_down();
    assert_eq!(last_word(&mut server, at(1)), "");
    let end = feed(&mut server, at(2), b"BDAT 0 LAST\r\nNOOP\r\n");
    assert_eq!(end, "250 2.0.0 Message accepted\r\n421 4.3.2 Shutting down, closing the connection\r\n");

    let mut server = Server::new(config());
    feed(&mut server, at(0), b"EHLO a\r\nNO");
    server.shut_down();
    assert_eq!(feed(&mut server, at(1), b"OP\r\n"), "421 4.3.2 Shutting down, closing the connection\r\n");
}

#[test]
fn caps_are_kept() {
    let mut server = Server::new(limited(|limits| limits.recipients = 2));
    let said = feed(
        &mut server,
        at(0),
        b"EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nRCPT TO:<a@b>\r\nRCPT TO:<a@b>\r\nDATA\r\n",
    );
    assert!(said.ends_with(
        "250 2.1.5 Recipient OK\r\n452 4.5.3 Too many recipients\r\n354 Send the message, end with CRLF.CRLF\r\n"
    ));
    assert_eq!(server.session().recipients(), 2);

    let owner = play_greeted(
        &limited(|limits| limits.errors = 1),
        "C: FOO\nC: BAR\nC: NOOP\nS: 500 5.5.1 Command unknown\nS: 500 5.5.1 Command unknown
         S: 421 4.7.0 Too many errors, closing the connection",
    );
    assert_eq!(owner.result, Err(Error::TooManyErrors));

    let owner = play_greeted(
        &limited(|limits| limits.commands = 3),
        "C: MAIL FROM:<a@b>\nC: RCPT TO:<a@b>\nC: RCPT TO:<a@b>\nC: DATA\nC: x\nC: .\nC: NOOP\nC: NOOP\nC: NOOP\nC: NOOP
         S: 250 2.1.0 Sender OK\nS: 250 2.1.5 Recipient OK\nS: 250 2.1.5 Recipient OK
         S: 354 Send the message, end with CRLF.CRLF\nS: 250 2.0.0 Message accepted
         S: 250 2.0.0 OK\nS: 250 2.0.0 OK\nS: 250 2.0.0 OK\nS: 421 4.7.0 Too many commands, closing the connection",
    );
    assert_eq!(owner.result, Err(Error::TooManyCommands));
}

#[test]
fn recipients_too_many_cost_the_accepted_ones_nothing_and_are_bounded() {
    // EHLO and MAIL count, twenty of the recipients for whom there is no room do not; DATA is the last that may come.
    for (surplus, end) in [
        (22, "354 Send the message, end with CRLF.CRLF\r\n"),
        (23, "421 4.7.0 Too many commands, closing the connection\r\n"),
    ] {
        let mut server = Server::new(limited(|limits| (limits.recipients, limits.commands) = (2, 5)));
        feed(&mut server, at(0), b"EHLO a\r\nMAIL FROM:<a@b>\r\n");
        let said = feed(&mut server, at(0), &b"RCPT TO:<a@b>\r\n".repeat(2 + surplus));
        assert_eq!(said.matches("452").count(), surplus);
        let (mut data, mut output) = (&b"DATA\r\n"[..], Vec::new());
        let _ = server.receive(at(0), &mut data);
        server.transmit(at(0), &mut output);
        assert_eq!(output, end.as_bytes(), "{surplus}");
    }
}

#[test]
fn a_group_behind_a_refusal_is_no_error() {
    let owner = play_greeted(
        &limited(|limits| (limits.errors, limits.commands) = (0, 8)),
        "C: MAIL FROM:<refused@b>\nC: RCPT TO:<a@b>\nC: DATA\nC: BDAT 1 LAST\nC: x\\c
         C: MAIL FROM:<a@b>\nC: RCPT TO:<refused@b>\nC: DATA\nC: BDAT 1 LAST\nC: x\\c
         S: 550 5.7.1 Sender refused\nS: 503 5.5.1 MAIL first\nS: 503 5.5.1 MAIL first\nS: 503 5.5.1 MAIL first
         S: 250 2.1.0 Sender OK\nS: 550 5.1.1 No such mailbox\nS: 554 5.5.1 No valid recipients\nS: 554 5.5.1 No valid recipients
         S: 421 4.7.0 Too many commands, closing the connection",
    );
    assert_eq!(owner.result, Err(Error::TooManyCommands));
}

#[test]
fn a_session_can_be_moved_to_another_thread() {
    fn moves<T: Send + 'static>(_: &T) {}
    moves(&Server::new(config()));
}

#[test]
fn replies_that_wait_stop_the_input() {
    let mut server = Server::new(limited(|limits| limits.commands = u32::MAX));
    let flood = b"NOOP\r\n".repeat(10_000);
    let mut input = &flood[..];
    assert_eq!(server.receive(NOW, &mut input), Ok(None));
    assert!(!input.is_empty() && server.output.len() < OUTPUT_HIGH + 100);
    assert_eq!(feed(&mut server, NOW, input).matches("250 OK").count(), 10_000);
}

#[test]
fn a_lost_connection_says_what_was_due() {
    for (said, due) in [("", phase::COMMAND), ("EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nDATA\r\nx", phase::BLOCK)]
    {
        let mut server = Server::new(config());
        feed(&mut server, NOW, said.as_bytes());
        assert_eq!(server.finish(), Err(Error::Lost(due)));
        assert_eq!(server.finish(), Err(Error::Lost(due)));
        assert!(server.is_closed() && last_word(&mut server, NOW).is_empty());
    }
    // A client that closes its side behind the message still has its answer coming.
    let mut server = Server::new(config());
    feed(&mut server, NOW, b"EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nDATA\r\n");
    assert!(server.receive(NOW, &mut &b".\r\n"[..]).unwrap().is_some());
    assert_eq!(server.finish(), Ok(()));
    server.decision().unwrap().accept();
    assert_eq!(server.finish(), Ok(()));
    assert_eq!(last_word(&mut server, NOW), "250 2.0.0 Message accepted\r\n");
    assert_eq!(server.finish(), Err(Error::Lost(phase::COMMAND)));
}

#[test]
fn no_settings_that_cannot_be_spoken() {
    assert!(Config::new("a b").is_err() && Config::new("").is_err() && Config::new("a\r\n").is_err());
    assert!(config().greeting("a\r\n250 b").is_err());
    assert!(config().with("SIZE").is_err());
    let binary = config().with("BINARYMIME").unwrap().without("CHUNKING");
    assert!(!binary.offers("BINARYMIME", false));
}

/// Words that matter, and rubbish between them.
const WORDS: [&[u8]; 30] = [
    b"EHLO a\r\n",
    b"EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\n",
    b"EHLO a\r\nMAIL FROM:<a@b> BODY=BINARYMIME\r\nRCPT TO:<a@b>\r\n",
    b"EHLO a\r\nMAIL FROM:<a@b> PRDR\r\nRCPT TO:<a@b>\r\nRCPT TO:<c@d>\r\n",
    b"MAIL FROM:<a@b>\r\n",
    b"RCPT TO:<a@b>\r\n",
    b"RCPT TO:<refused@b>\r\n",
    b"DATA\r\n",
    b"DATA\r\n",
    b"BDAT 9\r\n",
    b"BDAT 20 LAST\r\n",
    b"BDAT 0 LAST\r\n",
    b"AUTH PLAIN AHRpbQBzZWNyZXQ=\r\n",
    b"AUTH LOGIN\r\n",
    b"dGlt\r\n",
    b"*\r\n",
    b"STARTTLS\r\n",
    b"RSET\r\n",
    b"VRFY later\r\n",
    b"XODD own\r\n",
    b"ETRN x\r\n",
    b"XCLIENT NAME=x\r\n",
    b"HELP\r\n",
    b"tempfail\r\n",
    b"\r\n.\r\n",
    b".\r\n",
    b".\n",
    b"\r",
    b"\n",
    b"\xff\0",
];

#[test]
fn no_cut_makes_a_difference() {
    // Marsaglia's xorshift: the same dialogues on every machine.
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |limit: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 33) as usize % limit
    };
    let names = [MechanismName::Plain, MechanismName::Login];
    let all = config().mechanisms(names).danger_allow_clear_text_auth(true).starttls(true).with("BINARYMIME").unwrap();
    let asks = [Ask::Data, Ask::Verify, Ask::Help, Ask::Unknown];
    let all = all.ask(asks).with("ETRN").unwrap().with("PRDR").unwrap().permit_xclient(true);
    let (mut messages, mut halves) = (0, 0);
    for _ in 0..7000 {
        let mut wire = Vec::new();
        for _ in 0..below(24) {
            wire.extend_from_slice(WORDS[below(WORDS.len())]);
        }
        let limits = Limits { message: [0, 12][below(2)], line: [40, 2048][below(2)], errors: 5, ..Limits::default() };
        let config = all.clone().limits(limits).lmtp(below(8) == 0).bare_line_endings_in_content(below(3) == 0);
        let config = config.bare_line_feeds_in_commands(below(3) == 0);
        if config.lmtp {
            wire = String::from_utf8_lossy(&wire).replace("EHLO", "LHLO").into_bytes();
        }

        let mut whole = Owner::new(config.clone());
        whole.give(&mut &wire[..]);
        let mut cut = Owner::new(config);
        cut.give(&mut &[][..]);
        let (mut held, mut rest) = (Vec::new(), &wire[..]);
        while !rest.is_empty() {
            let (piece, tail) = rest.split_at(rest.len().min(1 + below(9)));
            rest = tail;
            held.extend_from_slice(piece);
            let mut input = &held[..];
            cut.give(&mut input);
            held = input.to_vec();
        }
        let shown = wire.escape_ascii().to_string();
        assert_eq!(whole.output.escape_ascii().to_string(), cut.output.escape_ascii().to_string(), "{shown}");
        assert_eq!(whole.events, cut.events, "{shown}");
        assert_eq!(whole.content, cut.content, "{shown}");
        assert_eq!(whole.result, cut.result, "{shown}");
        assert_eq!(whole.server.session(), cut.server.session(), "{shown}");
        messages += whole.events.iter().filter(|event| event.starts_with("message")).count();
        halves += whole.events.iter().filter(|event| event.starts_with("half ")).count();
    }
    // Or the dialogues would say nothing.
    assert!(messages > 300 && halves > 300, "{messages} {halves}");
}
