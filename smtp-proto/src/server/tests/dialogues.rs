//! The scenarios of RFC 5321 appendix D and their like.

use super::*;

#[test]
fn d1_a_typical_transaction() {
    let owner = play(
        &config(),
        "S: 220 mx.example ESMTP
         C: EHLO bar.com
         S: 250-mx.example greets bar.com
         S: 250-PIPELINING
         S: 250-SIZE 52428800
         S: 250-8BITMIME
         S: 250-SMTPUTF8
         S: 250-ENHANCEDSTATUSCODES
         S: 250 CHUNKING
         C: MAIL FROM:<Smith@bar.com>
         S: 250 2.1.0 Sender OK
         C: RCPT TO:<Jones@foo.com>
         S: 250 2.1.5 Recipient OK
         C: RCPT TO:<refused@foo.com>
         S: 550 5.1.1 No such mailbox
         C: RCPT TO:<Brown@foo.com>
         S: 250 2.1.5 Recipient OK
         C: DATA
         S: 354 Send the message, end with CRLF.CRLF
         C: Blah blah blah...
         C: ...etc. etc. etc.
         C: .
         S: 250 2.0.0 Message accepted
         C: QUIT
         S: 221 2.0.0 Closing the connection",
    );
    assert_eq!(owner.events[4], "message Blah blah blah...\\r\\n..etc. etc. etc.\\r\\n");
    assert_eq!(owner.events[5], "Quit");
    assert!(owner.server.is_closed());
    let session = owner.server.session();
    assert_eq!((session.helo(), session.secured(), session.user()), (Some("bar.com"), false, None));
    assert_eq!(session.extensions().size_limit(), Some(52_428_800));
}

#[test]
fn d2_an_aborted_transaction() {
    let owner = play_greeted(
        &config(),
        "C: MAIL FROM:<Smith@bar.com>
         S: 250 2.1.0 Sender OK
         C: RCPT TO:<Jones@foo.com>
         S: 250 2.1.5 Recipient OK
         C: RSET
         S: 250 2.0.0 Reset
         C: RSET
         S: 250 2.0.0 Reset
         C: RCPT TO:<Jones@foo.com>
         S: 503 5.5.1 MAIL first
         C: QUIT
         S: 221 2.0.0 Closing the connection",
    );
    assert_eq!(owner.events[2..], ["half ", "Abandoned(Reset)", "Quit"]);
}

#[test]
fn d4_verifying_and_other_words() {
    play_greeted(
        &config(),
        "C: VRFY Crispin
         S: 252 2.5.0 Cannot verify; send the mail and see
         C: EXPN staff
         S: 502 5.5.1 EXPN is not implemented
         C: HELP
         C: help MAIL
         C: NOOP whatever
         S: 214 2.0.0 See RFC 5321
         S: 214 2.0.0 See RFC 5321
         S: 250 2.0.0 OK",
    );
}

#[test]
fn a_pipelined_group_is_answered_in_one_go() {
    // RFC 2920 section 3.2, with both messages in one flight.
    let owner = play_greeted(
        &config(),
        "C: MAIL FROM:<mrose@dbc.mtview.ca.us>
         C: RCPT TO:<ned@innosoft.com>
         C: RCPT TO:<refused@innosoft.com>
         C: DATA
         C: one
         C: .
         C: MAIL FROM:<refused@b>
         C: RCPT TO:<ned@innosoft.com>
         C: DATA
         C: MAIL FROM:<>
         C: RCPT TO:<refused@c>
         C: DATA
         C: QUIT
         S: 250 2.1.0 Sender OK
         S: 250 2.1.5 Recipient OK
         S: 550 5.1.1 No such mailbox
         S: 354 Send the message, end with CRLF.CRLF
         S: 250 2.0.0 Message accepted
         S: 550 5.7.1 Sender refused
         S: 503 5.5.1 MAIL first
         S: 503 5.5.1 MAIL first
         S: 250 2.1.0 Sender OK
         S: 550 5.1.1 No such mailbox
         S: 554 5.5.1 No valid recipients
         S: 221 2.0.0 Closing the connection",
    );
    assert!(owner.server.is_closed());
    assert_eq!(owner.result, Ok(()));
}

#[test]
fn helo_gives_plain_smtp() {
    let owner = play(
        &config(),
        "S: 220 mx.example ESMTP
         C: MAIL FROM:<a@b>
         S: 503 Introduce yourself first
         C: HELO bar.com
         S: 250 mx.example
         C: MAIL FROM:<a@b> SIZE=1
         S: 555 Parameter not recognized
         C: STARTTLS
         S: 502 TLS is not available
         C: MAIL FROM:<a@b>
         S: 250 Sender OK
         C: HELO again
         S: 250 mx.example
         C: NOOP
         S: 250 OK",
    );
    assert!(!owner.server.session().extended());
    assert_eq!(owner.events[1..], ["half ", "Abandoned(Hello)"]);
}

#[test]
fn behind_helo_there_are_no_extensions() {
    // RFC 5321 sections 2.2.1 and 4.1.1.11, RFC 4954 section 3, RFC 1985 section 4.
    let config = config().with("ETRN").unwrap().permit_xclient(true).mechanisms([MechanismName::Plain]).starttls(true);
    let words = "C: AUTH PLAIN AHRpbQBzZWNyZXQ=
         C: ETRN a.example
         C: XCLIENT NAME=x
         S: 503 EHLO first
         S: 503 EHLO first
         S: 503 EHLO first
         C: RSET
         C: NOOP
         C: HELP
         C: VRFY x
         C: EXPN x
         S: 250 Reset
         S: 250 OK
         S: 214 See RFC 5321
         S: 252 Cannot verify; send the mail and see
         S: 502 EXPN is not implemented
         ";
    let owner = play(
        &config.danger_allow_clear_text_auth(true),
        &[
            "S: 220 mx.example ESMTP
             ",
            words,
            "C: HELO c.example
             S: 250 mx.example
             ",
            words,
            "C: MAIL FROM:<a@b> BODY=8BITMIME
             C: MAIL FROM:<a@b> SMTPUTF8
             C: MAIL FROM:<d\u{f6}rte@b>
             C: MAIL FROM:<a@b> AUTH=<>
             C: MAIL FROM:<a@b>
             C: RCPT TO:<d\u{f6}rte@b>
             C: RCPT TO:<c@d> NOTIFY=NEVER
             C: RCPT TO:<c@d>
             S: 555 Parameter not recognized
             S: 555 Parameter not recognized
             S: 553 Address needs SMTPUTF8
             S: 555 Parameter not recognized
             S: 250 Sender OK
             S: 553 Address needs SMTPUTF8
             S: 555 Parameter not recognized
             S: 250 Recipient OK
             C: STARTTLS
             S: 220 Ready to start TLS",
        ]
        .concat(),
    );
    assert_eq!(owner.server.session().helo(), None);
}

#[test]
fn starttls_is_taken_before_ehlo() {
    let owner = play(
        &config().starttls(true),
        "S: 220 mx.example ESMTP
         C: STARTTLS
         S: 220 Ready to start TLS
         T:
         C: MAIL FROM:<a@b>
         S: 503 Introduce yourself first",
    );
    assert_eq!(owner.result, Ok(()));
}

#[test]
fn starttls_forgets_everything() {
    let owner = play(
        &config().starttls(true),
        "S: 220 mx.example ESMTP
         C: EHLO c.example
         S: 250-mx.example greets c.example
         S: 250-PIPELINING
         S: 250-SIZE 52428800
         S: 250-8BITMIME
         S: 250-SMTPUTF8
         S: 250-ENHANCEDSTATUSCODES
         S: 250-CHUNKING
         S: 250 STARTTLS
         C: MAIL FROM:<a@b>
         S: 250 2.1.0 Sender OK
         C: STARTTLS
         S: 220 2.0.0 Ready to start TLS
         T:
         C: MAIL FROM:<a@b>
         S: 503 Introduce yourself first
         C: EHLO c.example
         S: 250-mx.example greets c.example
         S: 250-PIPELINING
         S: 250-SIZE 52428800
         S: 250-8BITMIME
         S: 250-SMTPUTF8
         S: 250-ENHANCEDSTATUSCODES
         S: 250 CHUNKING
         C: STARTTLS
         S: 503 5.5.1 TLS is active already",
    );
    assert!(owner.server.session().secured());
}

#[test]
fn octets_behind_starttls_are_an_error() {
    let owner = play(
        &config().starttls(true).without("SIZE").without("8bitmime").without("smtputf8").without("CHUNKING"),
        "S: 220 mx.example ESMTP
         C: EHLO c.example
         S: 250-mx.example greets c.example
         S: 250-PIPELINING
         S: 250-ENHANCEDSTATUSCODES
         S: 250 STARTTLS
         C: STARTTLS
         C: MAIL FROM:<evil@example.org>
         S: 220 2.0.0 Ready to start TLS",
    );
    assert_eq!(owner.result, Err(Error::ClearTextBehindStartTls));
    assert_eq!(owner.events, ["StartTls"]);
}

#[test]
fn lmtp_answers_for_each_recipient() {
    let owner = play(
        &config().lmtp(true),
        "S: 220 mx.example LMTP
         C: EHLO foo.edu
         C: HELO foo.edu
         S: 500 Command unknown
         S: 500 Command unknown
         C: LHLO foo.edu
         S: 250-mx.example greets foo.edu
         S: 250-PIPELINING
         S: 250-SIZE 52428800
         S: 250-8BITMIME
         S: 250-SMTPUTF8
         S: 250-ENHANCEDSTATUSCODES
         S: 250 CHUNKING
         C: MAIL FROM:<chris@bar.com>
         C: DATA
         C: RCPT TO:<pat@foo.edu>
         C: RCPT TO:<refused@foo.edu>
         C: RCPT TO:<green@foo.edu>
         C: DATA
         S: 250 2.1.0 Sender OK
         S: 503 5.5.1 RCPT first
         S: 250 2.1.5 Recipient OK
         S: 550 5.1.1 No such mailbox
         S: 250 2.1.5 Recipient OK
         S: 354 Send the message, end with CRLF.CRLF
         C: Blah
         C: .
         C: MAIL FROM:<chris@bar.com>
         C: RCPT TO:<pat@foo.edu>
         C: RCPT TO:<green@foo.edu>
         C: BDAT 2
         C: a\\n\\c
         C: BDAT 1 LAST
         C: b\\c
         C: QUIT
         S: 250 2.0.0 Message accepted
         S: 451 4.3.0 Try later
         S: 250 2.1.0 Sender OK
         S: 250 2.1.5 Recipient OK
         S: 250 2.1.5 Recipient OK
         S: 550 5.6.0 Bare CR or LF in the message
         S: 503 5.5.1 A chunk was refused: RSET first
         S: 221 2.0.0 Closing the connection",
    );
    assert_eq!(owner.events.iter().filter(|event| event.starts_with("message")).count(), 1);
}

#[test]
fn a_refused_greeting_leaves_quit() {
    let mut owner = Owner::new(config().hold_greeting(true));
    let mut early = &b"EHLO c.example\r\nQUIT\r\n"[..];
    owner.give(&mut early);
    assert!(owner.output.is_empty() && early.len() == 22, "nothing is said or taken before the greeting");
    assert_eq!(owner.server.deadline(), None);
    let decision = owner.server.decision().unwrap();
    assert_eq!(decision.question(), Question::Greeting);
    decision.reject();
    owner.give(&mut early);
    assert_eq!(
        owner.output.escape_ascii().to_string(),
        "554 No SMTP service here\\r\\n503 Only QUIT is taken here\\r\\n221 Closing the connection\\r\\n"
    );
}

#[test]
fn a_greeting_of_ones_own() {
    let config = config().greeting("ready").unwrap().hold_greeting(true);
    let mut owner = Owner::new(config.clone());
    owner.server.decision().unwrap().accept();
    owner.give(&mut &[][..]);
    assert_eq!(owner.output, b"220 mx.example ready\r\n");

    let mut owner = Owner::new(config);
    let wrong = Reply::new(Code::OK, "hi").unwrap();
    assert!(owner.server.decision().unwrap().accept_with(&wrong).is_err());
    assert!(owner.server.decision().unwrap().refuse(&wrong).is_err());
    let busy = Reply::new(Code::SERVICE_CLOSING, "Too many connections").unwrap();
    owner.server.decision().unwrap().refuse(&busy).unwrap();
    owner.give(&mut &b"EHLO a\r\n"[..]);
    assert_eq!(owner.output, b"421 Too many connections\r\n");
    assert!(owner.server.is_closed() && owner.server.finish().is_ok());
}

#[test]
fn parameters_are_taken_as_offered() {
    let config = config().with("dsn").unwrap().with("BINARYMIME").unwrap().with("REQUIRETLS").unwrap();
    play_greeted(
        &config,
        "C: MAIL FROM:<a@b> SIZE=52428801
         S: 552 5.3.4 Message larger than the limit
         C: MAIL FROM:<a@b> SIZE=99999999999999999999
         S: 552 5.3.4 Message larger than the limit
         C: MAIL FROM:<a@b> SIZE=-1
         S: 501 5.5.4 Malformed parameter
         C: MAIL FROM:<a@b> BODY=9BIT
         S: 501 5.5.4 Malformed parameter
         C: MAIL FROM:<a@b> SMTPUTF8=1
         S: 501 5.5.4 Malformed parameter
         C: MAIL FROM:<a@b> RET=SOME
         S: 501 5.5.4 Malformed parameter
         C: MAIL FROM:<a@b> REQUIRETLS
         S: 555 5.5.4 Parameter not recognized
         C: MAIL FROM:<a@b> AUTH=<>
         S: 555 5.5.4 Parameter not recognized
         C: MAIL FROM:<a@b> X-ODD
         S: 555 5.5.4 Parameter not recognized
         C: MAIL FROM:<d\u{f6}rte@b>
         S: 553 5.6.7 Address needs SMTPUTF8
         C: MAIL FROM:<a@b>
         C: MAIL FROM:<a@b>
         C: RCPT TO:<d\u{f6}rte@b>
         C: RCPT TO:<b@c> SIZE=1
         C: RCPT TO:<b@c> NOTIFY=NEVER,DELAY
         C: RCPT TO:<b@c> ORCPT=rfc822
         C: RCPT TO:<b@c> NOTIFY=success,DELAY ORCPT=rfc822;b+40c
         C: RSET
         C: MAIL FROM:<d\u{f6}rte@b> SMTPUTF8 BODY=8BITMIME SIZE=3 RET=hdrs ENVID=x+2B
         C: RCPT TO:<d\u{f6}rte@b> NOTIFY=NEVER
         S: 250 2.1.0 Sender OK
         S: 503 5.5.1 A transaction is open already
         S: 553 5.6.7 Address needs SMTPUTF8
         S: 555 5.5.4 Parameter not recognized
         S: 501 5.5.4 Malformed parameter
         S: 501 5.5.4 Malformed parameter
         S: 250 2.1.5 Recipient OK
         S: 250 2.0.0 Reset
         S: 250 2.1.0 Sender OK
         S: 250 2.1.5 Recipient OK",
    );
    play_greeted(&config.implicit_tls(true), "C: MAIL FROM:<a@b> REQUIRETLS\nS: 250 2.1.0 Sender OK");
}
