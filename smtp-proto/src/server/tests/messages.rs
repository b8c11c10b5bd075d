//! DATA and BDAT: endings, smuggling, limits.

use super::*;

const ENVELOPE: &str = "C: MAIL FROM:<a@b>
     S: 250 2.1.0 Sender OK
     C: RCPT TO:<c@d>
     S: 250 2.1.5 Recipient OK
     ";
const DATA: &str = "C: DATA
     S: 354 Send the message, end with CRLF.CRLF
     ";

#[track_caller]
fn transaction(config: &Config, transcript: &str) -> Owner {
    play_greeted(config, &[ENVELOPE, transcript].concat())
}

fn small(limit: u64) -> Config {
    config().limits(Limits { message: limit, ..Limits::default() })
}

#[test]
fn dots_come_off_and_nothing_else() {
    for (wire, content) in [
        ("C: .", ""),
        ("C: ..\nC: .", ".\\r\\n"),
        ("C: ...\nC: .x\nC: .", "..\\r\\nx\\r\\n"),
        ("C:\nC: a \nC: .", "\\r\\na \\r\\n"),
        // NUL is handed out as any octet: whether it can be stored is the owner's to say.
        ("C: \\x00\\xff\nC: .", "\\x00\\xff\\r\\n"),
        ("C: a\\0\nC: .\\0\nC: .", "a\\x00\\r\\n\\x00\\r\\n"),
    ] {
        let owner = transaction(&config(), &[DATA, wire, "\nS: 250 2.0.0 Message accepted"].concat());
        assert_eq!(owner.events[2], ["message ", content].concat());
        assert_eq!(owner.server.session().recipients(), 0);
    }
    let owner = transaction(
        &config(),
        &[DATA, "C: tempfail\nC: .\nC: RCPT TO:<a@b>\nS: 451 4.3.0 Try later\nS: 503 5.5.1 MAIL first"].concat(),
    );
    assert_eq!(owner.events.len(), 3);
}

#[test]
fn nothing_but_crlf_dot_crlf_ends_a_message() {
    for end in [
        "\\n.\\n",
        "\\n.\\r\\n",
        "\\r.\\r",
        "\\r.\\r\\n",
        "\\r\\n.\\n",
        "\\r\\n.\\r",
        "\\r\\n.\\r\\r\\n",
        "\\n\\n.\\n\\n",
        "\\r\\n\\0.\\n",
        "\\r\\n.\\0\\r\\n",
    ] {
        let smuggled =
            ["C: a", end, "MAIL FROM:<evil@example.org>\nC: RCPT TO:<victim@example.org>\nC: DATA\nC: .\n"].concat();
        let bare = end.replace("\\r\\n", "").contains(['r', 'n']);
        let answer = if bare { "S: 550 5.6.0 Bare CR or LF in the message" } else { "S: 250 2.0.0 Message accepted" };
        let owner = transaction(&config(), &[DATA, &smuggled, answer].concat());
        assert_eq!(owner.events.len(), if bare { 4 } else { 3 }, "{end}");
        assert!(owner.events[2].contains("DATA\\r\\n"), "{end}");

        let lenient = config().bare_line_endings_in_content(true);
        let owner = transaction(&lenient, &[DATA, &smuggled, "S: 250 2.0.0 Message accepted"].concat());
        assert_eq!(owner.events.len(), 3, "{end}");
    }
}

#[test]
fn commands_need_crlf() {
    let smuggled = "C: MAIL FROM:<a@b>\\nRCPT TO:<c@d>\\nDATA\nC: NOOP\n";
    let owner = play_greeted(&config(), &[smuggled, "S: 500 5.5.2 Lines must end with CRLF\nS: 250 2.0.0 OK"].concat());
    assert!(owner.events.is_empty());
    let owner = play_greeted(
        &config(),
        "C: MAIL FROM:<a@b>\\rRCPT TO:<c@d>\nS: 500 5.5.2 Control characters or octets that are not UTF-8",
    );
    assert!(owner.events.is_empty());
    let lenient = config().bare_line_feeds_in_commands(true);
    play_greeted(&lenient, "C: NOOP\\nNOOP\\n\\c\nS: 250 2.0.0 OK\nS: 250 2.0.0 OK");
}

#[test]
fn a_message_may_be_as_large_as_the_limit_and_no_larger() {
    let owner = transaction(&small(6), &[DATA, "C: 1234\nC: .\nS: 250 2.0.0 Message accepted"].concat());
    assert_eq!(owner.events[2], "message 1234\\r\\n");
    for more in ["12345", "123456", "1234\nC: 5678"] {
        let large =
            ["C: ", more, "\nC: .\nC: NOOP\nS: 552 5.3.4 Message larger than the limit\nS: 250 2.0.0 OK"].concat();
        let owner = transaction(&small(6), &[DATA, &large].concat());
        assert_eq!(owner.events[3], "Abandoned(TooLarge)");
        assert!(owner.events[2].starts_with("half 1234"), "{}", owner.events[2]);
    }
    let owner = transaction(&small(0), &[DATA, "C: 123456\nC: .\nS: 250 2.0.0 Message accepted"].concat());
    assert_eq!(owner.events.len(), 3);
    let owner = transaction(&small(6), "C: BDAT 6 LAST\nC: 123456\\c\nS: 250 2.0.0 Message accepted");
    assert_eq!(owner.events[2], "message 123456");
    let owner = transaction(&small(6), "C: BDAT 7 LAST\nC: 1234567\\c\nS: 552 5.3.4 Message larger than the limit");
    assert_eq!(owner.events[2..], ["half 123456", "Abandoned(TooLarge)"]);
}

#[test]
fn chunks_of_every_kind() {
    // RFC 3030 section 4.1 and 4.2: several chunks, dots that mean nothing, an empty last one.
    let owner = transaction(
        &config(),
        "C: BDAT 7
         C: .\\r\\n.\\r\\n.\\c
         C: BDAT 0
         C: BDAT 3
         C: \\r\\nx\\c
         C: BDAT 0 LAST
         C: BDAT 3 LAST
         C: abc\\c
         C: QUIT
         S: 250 2.0.0 Chunk received
         S: 250 2.0.0 Chunk received
         S: 250 2.0.0 Chunk received
         S: 250 2.0.0 Message accepted
         S: 503 5.5.1 MAIL first
         S: 221 2.0.0 Closing the connection",
    );
    assert_eq!(owner.events[2..], ["message .\\r\\n.\\r\\n.\\r\\nx", "Quit"]);
}

#[test]
fn octets_of_a_refused_chunk_are_never_commands() {
    let chunk = "C: BDAT 15 LAST\nC: RSET\\r\\nQUIT\\r\\nab\\r\\c\nC: NOOP\n";
    let end = "S: 250 2.0.0 OK";
    play_greeted(&config(), &[chunk, "S: 503 5.5.1 MAIL first\n", end].concat());
    play_greeted(&config().without("CHUNKING"), &[chunk, "S: 502 5.5.1 BDAT is not available\n", end].concat());
    let refused = "C: MAIL FROM:<a@b>\nC: RCPT TO:<refused@b>\n";
    let answers = "S: 250 2.1.0 Sender OK\nS: 550 5.1.1 No such mailbox\nS: 554 5.5.1 No valid recipients\n";
    play_greeted(&config(), &[refused, chunk, answers, end].concat());
    let owner = transaction(&config(), &[chunk, "S: 550 5.6.0 Bare CR or LF in the message\n", end].concat());
    assert_eq!(owner.events[2..], ["half RSET\\r\\nQUIT\\r\\nab", "Abandoned(BareLineEnding)"]);
}

#[test]
fn a_chunk_before_ehlo_or_behind_helo_is_passed_over() {
    // RFC 3030 section 2: BDAT is for a session that EHLO has announced CHUNKING in. What it counts is never a command.
    let chunk = "C: BDAT 21 LAST\nC: QUIT\\r\\nMAIL FROM:<a@b>\\c\nC: BDAT 0 LAST\nC: BDAT 6\nC: QUIT\\r\\n\\c\n";
    let refused = "S: 503 EHLO first\nS: 503 EHLO first\nS: 503 EHLO first\n";
    let opened = "C: HELO c.example\nC: MAIL FROM:<a@b>\nC: RCPT TO:<c@d>\nS: 250 mx.example\nS: 250 Sender OK\nS: 250 Recipient OK\n";
    for opening in ["", opened] {
        let transcript = ["S: 220 mx.example ESMTP\n", opening, chunk, refused].concat();
        let owner = play(&config(), &[&transcript, "C: NOOP\nS: 250 OK"].concat());
        assert!(!owner.server.is_closed() && owner.events.iter().all(|event| !event.starts_with("message")));
    }
    // The transaction is as it was: DATA brings the message.
    let message = "C: DATA\nS: 354 Send the message, end with CRLF.CRLF\nC: a\nC: .\nS: 250 Message accepted";
    let owner = play(&config(), &["S: 220 mx.example ESMTP\n", opened, chunk, refused, message].concat());
    assert_eq!(owner.events[2], "message a\\r\\n");
    play(&config().lmtp(true), "S: 220 mx.example LMTP\nC: BDAT 4 LAST\nC: QUIT\\c\nS: 503 Introduce yourself first");
    play(
        &config().without("CHUNKING"),
        "S: 220 mx.example ESMTP\nC: BDAT 6 LAST\nC: QUIT\\r\\n\\c\nS: 502 BDAT is not available",
    );
}

#[test]
fn a_chunk_behind_a_refused_greeting_is_passed_over() {
    let mut owner = Owner::new(config().hold_greeting(true));
    owner.server.decision().unwrap().reject();
    owner.give(&mut &b"BDAT 6\r\nQUIT\r\nBDAT 0 LAST\r\nNOOP\r\n"[..]);
    let said = String::from_utf8(core::mem::take(&mut owner.output)).unwrap();
    assert_eq!(said, ["554 No SMTP service here\r\n", &"503 Only QUIT is taken here\r\n".repeat(3)].concat());
    assert!(!owner.server.is_closed());
}

#[test]
fn bare_endings_in_chunks_are_refused_whatever_the_cut() {
    for (chunks, half) in [
        ("C: BDAT 3\nC: a\\nb\\c\n", "half a"),
        ("C: BDAT 3\nC: a\\rb\\c\n", "half a\\r"),
        ("C: BDAT 1\nC: \\n\\c\n", "half "),
    ] {
        let rest = "C: BDAT 1 LAST\nC: x\\c\nC: MAIL FROM:<a@b>\nC: RSET\nC: MAIL FROM:<a@b>
            S: 550 5.6.0 Bare CR or LF in the message\nS: 503 5.5.1 A chunk was refused: RSET first
            S: 503 5.5.1 A chunk was refused: RSET first\nS: 250 2.0.0 Reset\nS: 250 2.1.0 Sender OK";
        let owner = transaction(&config(), &[chunks, rest].concat());
        assert_eq!(owner.events[2..4], [half, "Abandoned(BareLineEnding)"]);
        assert_eq!(owner.events.len(), 5);
    }
    let owner = transaction(&config(), "C: BDAT 4 LAST\nC: \\0a\\r\\n\\c\nS: 250 2.0.0 Message accepted");
    assert_eq!(owner.events[2], "message \\x00a\\r\\n");
    // The two halves of CRLF in two chunks; a CR that nothing follows.
    let owner = transaction(
        &config(),
        "C: BDAT 2\nC: a\\r\\c\nC: BDAT 1 LAST\nC: \\n\\c\nS: 250 2.0.0 Chunk received\nS: 250 2.0.0 Message accepted",
    );
    assert_eq!(owner.events[2], "message a\\r\\n");
    let owner = transaction(
        &config(),
        "C: BDAT 2\nC: a\\r\\c\nC: BDAT 0 LAST\nS: 250 2.0.0 Chunk received\nS: 550 5.6.0 Bare CR or LF in the message",
    );
    assert_eq!(owner.events[2..], ["half a\\r", "Abandoned(BareLineEnding)"]);

    let binary = config().with("BINARYMIME").unwrap();
    let owner = play_greeted(&binary, "C: MAIL FROM:<a@b> BODY=BINARYMIME\nC: RCPT TO:<c@d>\nC: DATA\nC: BDAT 4 LAST\nC: \\n\\r\\0\\n\\c
        S: 250 2.1.0 Sender OK\nS: 250 2.1.5 Recipient OK\nS: 503 5.5.1 BINARYMIME must be sent by BDAT\nS: 250 2.0.0 Message accepted");
    assert_eq!(owner.events[2], "message \\n\\r\\x00\\n");
}

#[test]
fn data_and_bdat_do_not_mix() {
    transaction(
        &config(),
        "C: BDAT 1
         C: a\\c
         C: DATA
         C: RCPT TO:<e@f>
         C: EHLO c.example
         C: DATA
         S: 250 2.0.0 Chunk received
         S: 503 5.5.1 The message is being sent by BDAT
         S: 503 5.5.1 The message is being sent by BDAT
         S: 250-mx.example greets c.example
         S: 250-PIPELINING
         S: 250-SIZE 52428800
         S: 250-8BITMIME
         S: 250-SMTPUTF8
         S: 250-ENHANCEDSTATUSCODES
         S: 250 CHUNKING
         S: 503 5.5.1 MAIL first",
    );
}

#[test]
fn a_chunk_without_a_size_ends_the_session() {
    for line in ["BDAT", "BDAT x LAST", "BDAT 99999999999999999999", "BDAT 1 LASR", "BDAT \\xff"] {
        let owner = transaction(
            &config(),
            &["C: ", line, "\nC: NOOP\nS: 421 4.5.2 Cannot read the chunk size, closing the connection"].concat(),
        );
        assert_eq!(owner.result, Err(Error::ChunkSize));
    }
    // A line that is none, in whole or from its middle on; who reads on sees the octets of a message as commands.
    for line in ["BDAT 5 LAST\\n", "bdat 5\\nNOOP", "BDAT\\n", &["BDAT ", &"0".repeat(2048), "5"].concat()] {
        let smuggled = "C: RCPT TO:<mallory@d>\nC: DATA\n";
        let end = "S: 421 4.5.2 Cannot read the chunk size, closing the connection";
        let owner = transaction(&config(), &["C: ", line, "\n", smuggled, end].concat());
        assert_eq!(owner.result, Err(Error::ChunkSize), "{line}");
        assert!(owner.server.is_closed() && owner.events.len() == 2);
    }
    // Where LF ends lines it is a size like any.
    let lenient = config().bare_line_feeds_in_commands(true);
    let owner = transaction(&lenient, "C: BDAT 3 LAST\\nab\\n\\c\nS: 550 5.6.0 Bare CR or LF in the message");
    assert_eq!(owner.result, Ok(()));
}

#[test]
fn large_messages_come_in_pieces() {
    let line = "x".repeat(998) + "\r\n";
    let wire = [
        "EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n",
        &line.repeat(100),
        ".\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 100000 LAST\r\n",
        &line.repeat(100),
    ]
    .concat();
    let mut owner = Owner::new(config());
    let mut input = wire.as_bytes();
    owner.give(&mut input);
    assert!(input.is_empty());
    let messages: Vec<&String> = owner.events.iter().filter(|event| event.starts_with("message")).collect();
    assert_eq!(messages.len(), 2);
    assert_eq!(messages[0], messages[1]);
    assert_eq!(messages[0].len(), "message ".len() + 100 * (998 + 4));
}
