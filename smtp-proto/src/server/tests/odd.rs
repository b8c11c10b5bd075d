//! Hostile and odd clients, each by the section that says what they get.

use super::*;

const HELLO: &str = "S: 220 mx.example ESMTP\n";

/// A transaction with one recipient.
const OPEN: &str = "C: MAIL FROM:<a@b>
     C: RCPT TO:<c@d>
     S: 250 2.1.0 Sender OK
     S: 250 2.1.5 Recipient OK
     ";

#[test]
fn what_is_no_mail_needs_no_ehlo() {
    // RFC 5321 section 4.1.4: these are not answered with 503; section 3.5.3 and 4.2.4: 252, and 502 for what is not there.
    let owner = play(
        &config(),
        &[
            HELLO,
            "C: RSET
             C: NOOP
             C: HELP
             C: VRFY x
             C: EXPN x
             C: BURL imap://x/y LAST
             C: MAIL FROM:<a@b>
             C: RCPT TO:<a@b>
             C: DATA
             C: QUIT
             S: 250 Reset
             S: 250 OK
             S: 214 See RFC 5321
             S: 252 Cannot verify; send the mail and see
             S: 502 EXPN is not implemented
             S: 500 Command unknown
             S: 503 Introduce yourself first
             S: 503 MAIL first
             S: 503 MAIL first
             S: 221 Closing the connection",
        ]
        .concat(),
    );
    assert_eq!(owner.events, ["Quit"]);
}

#[test]
fn ehlo_resets_where_it_is_taken_and_changes_nothing_where_it_is_not() {
    // RFC 5321 section 4.1.4, both ways.
    let config = config().without("SIZE").without("SMTPUTF8").without("CHUNKING");
    let owner = play_greeted(
        &config,
        &[
            OPEN,
            "C: EHLO
             C: EHLO a b
             C: HELO
             C: LHLO c.example
             C: DATA
             S: 501 5.5.4 A domain or an address literal is required
             S: 501 5.5.4 A domain or an address literal is required
             S: 501 5.5.4 A domain or an address literal is required
             S: 500 5.5.1 Command unknown
             S: 354 Send the message, end with CRLF.CRLF
             C: x
             C: .
             S: 250 2.0.0 Message accepted
             ",
            OPEN,
            "C: EHLO [IPv6:2001:db8::1]
             S: 250-mx.example greets [IPv6:2001:db8::1]
             S: 250-PIPELINING
             S: 250-8BITMIME
             S: 250 ENHANCEDSTATUSCODES
             C: RCPT TO:<c@d>
             C: DATA
             C: BDAT 0 LAST
             S: 503 5.5.1 MAIL first
             S: 503 5.5.1 MAIL first
             S: 502 5.5.1 BDAT is not available",
        ]
        .concat(),
    );
    assert_eq!(owner.events.last().map(String::as_str), Some("Abandoned(Hello)"));
    assert_eq!(owner.server.session().helo(), Some("[IPv6:2001:db8::1]"));
}

#[test]
fn a_second_mail_and_a_refused_one_leave_the_state_as_it_was() {
    // RFC 5321 section 4.1.4: 503 and 501, and the server stays in the same state.
    let owner = play_greeted(
        &config(),
        &[
            OPEN,
            "C: MAIL FROM:<x@y>
             C: MAIL FROM:x@y
             C: STARTTLS
             C: AUTH PLAIN AA==
             C: RCPT TO:<e@f>
             C: DATA
             S: 503 5.5.1 A transaction is open already
             S: 501 5.1.7 Syntax: MAIL FROM:<address> [parameters]
             S: 502 5.5.1 TLS is not available
             S: 502 5.5.1 AUTH is not available
             S: 250 2.1.5 Recipient OK
             S: 354 Send the message, end with CRLF.CRLF
             C: x
             C: .
             S: 250 2.0.0 Message accepted",
        ]
        .concat(),
    );
    assert_eq!(owner.events.iter().filter(|event| event.starts_with("Recipient")).count(), 2);
    assert_eq!(owner.events.iter().filter(|event| event.starts_with("Mail")).count(), 1);
}

/// The paths that the owner hears of, and the codes that were said.
fn heard(lines: &[&str]) -> (Vec<String>, Vec<String>) {
    let mut server = Server::new(config());
    let wire = format!("EHLO c.example\r\n{}\r\n", lines.join("\r\n"));
    let mut input = wire.as_bytes();
    let (mut paths, mut output) = (Vec::new(), Vec::new());
    while let Some(event) = server.receive(NOW, &mut input).unwrap() {
        match event {
            Event::Mail { from, .. } => paths.push(from.to_string()),
            Event::Recipient { to, .. } => paths.push(to.to_string()),
            _ => {}
        }
        while let Some(decision) = server.decision() {
            decision.accept();
        }
    }
    assert!(input.is_empty());
    server.transmit(NOW, &mut output);
    let output = String::from_utf8(output).unwrap();
    let behind = output.split_once("CHUNKING\r\n").unwrap().1;
    (paths, behind.lines().map(|line| line[..3].to_string()).collect())
}

#[test]
fn paths_are_read_as_the_rfc_has_them_and_a_little_more() {
    // RFC 5321 sections 3.6.1 and appendix C (source routes), 4.1.2 (quoted strings, literals), 4.1.1.3 (Postmaster).
    for (line, path) in [
        ("MAIL FROM:<>", ""),
        ("MAIL FROM: <>", ""),
        ("mail from:<@a.example,@b.example:joe@c.example>", "joe@c.example"),
        ("MAIL FROM:<\"joe \\\"x\\\" >\"@c.example> SIZE=5", "\"joe \\\"x\\\" >\"@c.example"),
        ("MAIL FROM:<joe@[192.0.2.1]>", "joe@[192.0.2.1]"),
        ("MAIL FROM:<joe+a=b{}|~!#$%&'*/?^_`.-@c.example>", "joe+a=b{}|~!#$%&'*/?^_`.-@c.example"),
    ] {
        assert_eq!(heard(&[line]), (alloc::vec![path.to_string()], alloc::vec!["250".to_string()]), "{line}");
    }
    for (line, path) in [
        ("RCPT TO:<Postmaster>", "Postmaster"),
        ("RCPT TO:<postmaster>", "postmaster"),
        ("RCPT TO: <c@d>", "c@d"),
        ("RCPT TO:<@a.example,@[IPv6:::1]:joe@c.example>", "joe@c.example"),
        ("RCPT TO:<\"@a:b\"@c.example>", "\"@a:b\"@c.example"),
    ] {
        let (paths, codes) = heard(&["MAIL FROM:<>", line]);
        assert_eq!((&*paths[1], &*codes[1]), (path, "250"), "{line}");
    }
    for (line, code) in [
        ("RCPT TO:<>", "501"),
        ("RCPT TO:c@d", "501"),
        ("RCPT <c@d>", "501"),
        ("RCPT TO:<c@d", "501"),
        ("RCPT TO:<c@d>NOTIFY=NEVER", "501"),
        ("RCPT TO:<c @d>", "501"),
        ("RCPT TO:<@a.example:>", "501"),
        ("RCPT TO:<@a.example>", "501"),
        ("RCPT TO:<c@d> <e@f>", "501"),
        ("RCPT TO:<c@d> X-ODD=1", "555"),
        ("RCPT TO:<d\u{f6}rte@d>", "553"),
        ("RCPT TO:<c@s\u{f6}rensen.example>", "553"),
    ] {
        assert_eq!(heard(&["MAIL FROM:<>", line]).1, ["250", code], "{line}");
    }
    // A path of 256 octets, and a local part of 64 (section 4.5.3.1), is taken, and so are longer ones.
    let long = format!("MAIL FROM:<{}@{}.example>", "l".repeat(64), "d".repeat(182));
    assert_eq!(heard(&[&long]).1, ["250"]);
}

#[test]
fn a_line_too_long_is_one_error_and_the_commands_behind_it_stand() {
    // RFC 5321 section 4.5.3.1.9: 500; the limit here is 2048, where section 4.5.3.1.4 asks for 512.
    for length in [512, 2048, 2049, 5000, 100_000] {
        let line = ["NOOP ", &"x".repeat(length - 7)].concat();
        let answer = if length <= 2048 { "250 2.0.0 OK" } else { "500 5.5.2 Line too long" };
        let owner = play_greeted(
            &config(),
            &format!(
                "C: {line}\nC: NOOP\nC: {line}\nC: QUIT
            S: {answer}\nS: 250 2.0.0 OK\nS: {answer}\nS: 221 2.0.0 Closing the connection"
            ),
        );
        assert_eq!(owner.events, ["Quit"]);
    }
}

#[test]
fn a_message_without_recipients_is_refused_before_it_comes() {
    // RFC 5321 section 3.3: 503 or 554; RFC 2920 section 3.1 has it in a group; RFC 3030 section 2 for BDAT.
    let owner = play_greeted(
        &config(),
        "C: MAIL FROM:<a@b>
         C: DATA
         C: RCPT TO:<refused@b>
         C: DATA
         C: BDAT 0 LAST
         C: BDAT 6 LAST
         C: QUIT\\r\\n\\c
         C: RCPT TO:<c@d>
         C: DATA
         S: 250 2.1.0 Sender OK
         S: 554 5.5.1 No valid recipients
         S: 550 5.1.1 No such mailbox
         S: 554 5.5.1 No valid recipients
         S: 554 5.5.1 No valid recipients
         S: 554 5.5.1 No valid recipients
         S: 250 2.1.5 Recipient OK
         S: 354 Send the message, end with CRLF.CRLF
         C: .
         S: 250 2.0.0 Message accepted",
    );
    assert_eq!(owner.events.last().map(String::as_str), Some("message "));
}

#[test]
fn a_size_that_is_told_and_one_that_comes() {
    // RFC 1870 section 6: 552 at MAIL, and at the end of what was not told, of which no more is handed out than the limit.
    let config = config().limits(Limits { message: 1000, ..Limits::default() });
    let large = "x".repeat(100_000);
    let owner = play_greeted(
        &config,
        &[
            "C: MAIL FROM:<a@b> SIZE=1001
             C: MAIL FROM:<a@b> SIZE=123456789012345678901
             C: MAIL FROM:<a@b> SIZE
             C: MAIL FROM:<a@b> SIZE=1000
             C: RCPT TO:<c@d>
             C: DATA
             S: 552 5.3.4 Message larger than the limit
             S: 501 5.5.4 Malformed parameter
             S: 501 5.5.4 Malformed parameter
             S: 250 2.1.0 Sender OK
             S: 250 2.1.5 Recipient OK
             S: 354 Send the message, end with CRLF.CRLF
             C: ",
            &large,
            "\nC: .\nC: NOOP
             S: 552 5.3.4 Message larger than the limit
             S: 250 2.0.0 OK",
        ]
        .concat(),
    );
    assert_eq!(owner.events[2], format!("half {}", "x".repeat(1000)));
    // Without a limit twenty digits are what they may be.
    let unlimited = config.limits(Limits { message: 0, ..Limits::default() });
    let owner = play_greeted(&unlimited, "C: MAIL FROM:<a@b> SIZE=99999999999999999999\nS: 250 2.1.0 Sender OK");
    assert_eq!(owner.server.session().extensions().size_limit(), None);
}

#[test]
fn behind_the_last_chunk_and_between_chunks() {
    // RFC 3030 section 2: BDAT behind LAST needs MAIL again; DATA and BDAT do not mix; RSET ends a message of which chunks came.
    let owner = play_greeted(
        &config(),
        &[
            OPEN,
            "C: BDAT 0 LAST
             C: BDAT 4 LAST
             C: NOOP\\c
             C: BDAT 0
             S: 250 2.0.0 Message accepted
             S: 503 5.5.1 MAIL first
             S: 503 5.5.1 MAIL first
             ",
            OPEN,
            "C: BDAT 0
             C: NOOP
             C: MAIL FROM:<x@y>
             C: DATA
             C: BDAT 1
             C: a\\c
             C: RSET
             C: BDAT 0 LAST
             S: 250 2.0.0 Chunk received
             S: 250 2.0.0 OK
             S: 503 5.5.1 A transaction is open already
             S: 503 5.5.1 The message is being sent by BDAT
             S: 250 2.0.0 Chunk received
             S: 250 2.0.0 Reset
             S: 503 5.5.1 MAIL first",
        ]
        .concat(),
    );
    assert_eq!(owner.events.last().map(String::as_str), Some("Abandoned(Reset)"));
    assert_eq!(owner.events.iter().filter(|event| event.starts_with("message")).count(), 1);
}

#[test]
fn tls_once_and_nothing_is_remembered() {
    // RFC 3207 section 4.2: the server discards what it knows of the client, who it is included; section 4 knows one STARTTLS.
    let plain: MechanismName = "PLAIN".parse().unwrap();
    let config = config().starttls(true).mechanisms([plain]).danger_allow_clear_text_auth(true);
    let owner = play_greeted(
        &config,
        "C: AUTH PLAIN AHRpbQBzZWNyZXQ=
         S: 235 2.7.0 Authentication succeeded
         C: STARTTLS
         S: 220 2.0.0 Ready to start TLS
         T:
         C: AUTH PLAIN AHRpbQBzZWNyZXQ=
         C: MAIL FROM:<a@b>
         C: STARTTLS
         S: 503 EHLO first
         S: 503 Introduce yourself first
         S: 503 TLS is active already",
    );
    let session = owner.server.session();
    assert_eq!((session.identity(), session.helo(), session.secured()), (None, None, true));
}

#[test]
fn auth_at_the_wrong_time_and_in_the_wrong_way() {
    // RFC 4954 section 4: once, not within a transaction, `*` cancels, `=` is an empty response; section 5: AUTH= with MAIL.
    let names = ["PLAIN", "LOGIN", "EXTERNAL"].map(|name| name.parse().unwrap());
    let config = config().mechanisms(names).danger_allow_clear_text_auth(true);
    let owner = play_greeted(
        &config,
        "C: AUTH LOGIN =
         S: 501 5.5.2 Not a response of this mechanism
         C: AUTH external =
         S: 535 5.7.8 Authentication credentials invalid
         C: AUTH LOGIN dGlt
         S: 334 UGFzc3dvcmQ6
         C: *
         S: 501 5.7.0 Authentication cancelled
         C: AUTH PLAIN
         S: 334 |
         C: *
         S: 501 5.7.0 Authentication cancelled
         C: AUTH PLAIN *
         C: AUTH
         C: AUTH PLAIN AA== x
         C: MAIL FROM:<a@b> AUTH=a+40b
         C: AUTH PLAIN
         C: RSET
         S: 501 5.5.2 Cannot decode base64
         S: 501 5.5.4 An argument is missing
         S: 501 5.5.2 Cannot decode base64
         S: 250 2.1.0 Sender OK
         S: 503 5.5.1 Not within a transaction
         S: 250 2.0.0 Reset
         C: AUTH PLAIN AHRpbQBzZWNyZXQ=
         C: AUTH PLAIN AHRpbQBzZWNyZXQ=
         S: 235 2.7.0 Authentication succeeded
         S: 503 5.5.1 Authenticated already",
    );
    assert_eq!(owner.server.session().user(), Some("tim"));
}

#[test]
fn smtputf8_is_not_offered_without_8bitmime() {
    // RFC 6531 section 3.1.
    let owner = play_greeted(
        &config().without("8BITMIME"),
        "C: MAIL FROM:<a@b> SMTPUTF8
         C: MAIL FROM:<a@b> BODY=8BITMIME
         S: 555 5.5.4 Parameter not recognized
         S: 555 5.5.4 Parameter not recognized",
    );
    assert!(!owner.server.session().extensions().offers("SMTPUTF8"));
}

#[test]
fn lmtp_has_lhlo_and_its_own_503() {
    // RFC 2033 sections 4.1 and 4.2.
    let owner = play(
        &config().lmtp(true).without("SIZE").without("8BITMIME"),
        "S: 220 mx.example LMTP
         C: LHLO c.example
         S: 250-mx.example greets c.example
         S: 250-PIPELINING
         S: 250-ENHANCEDSTATUSCODES
         S: 250 CHUNKING
         C: MAIL FROM:<>
         C: RCPT TO:<refused@d>
         C: DATA
         C: BDAT 4 LAST
         C: NOOP\\c
         C: RCPT TO:<c@d>
         C: BDAT 0 LAST
         S: 250 2.1.0 Sender OK
         S: 550 5.1.1 No such mailbox
         S: 503 5.5.1 RCPT first
         S: 503 5.5.1 RCPT first
         S: 250 2.1.5 Recipient OK
         S: 250 2.0.0 Message accepted",
    );
    assert_eq!(owner.events.last().map(String::as_str), Some("message "));
}
