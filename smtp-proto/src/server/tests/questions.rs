//! Questions beside those of a transaction, and what each answer does.

use super::*;
use crate::parameter::{By, DeliverBy, Hold, Moment, OriginalRecipient, Priority, Rrvs};

fn asking() -> Config {
    config().ask([Ask::Data, Ask::Verify, Ask::Expand, Ask::Help, Ask::Unknown]).with("ETRN").unwrap()
}

fn own(code: u16) -> Reply {
    Reply::new(Code::new(code).unwrap(), "x").unwrap()
}

/// A server that has been told this, and stands before a question.
fn asked(config: Config, said: &str) -> Server {
    let mut server = Server::new(config);
    let mut input = said.as_bytes();
    while server.receive(NOW, &mut input).unwrap().is_some() && !input.is_empty() {
        server.decision().unwrap().accept();
    }
    server.transmit(NOW, &mut Vec::new());
    assert!(input.is_empty() && server.is_asking(), "{said}");
    server
}

fn said(server: &mut Server) -> String {
    let mut output = Vec::new();
    server.transmit(NOW, &mut output);
    String::from_utf8(output).unwrap()
}

#[test]
fn the_owner_answers_in_every_way() {
    let owner = play_greeted(
        &asking(),
        "C: VRFY x
         C: VRFY own
         C: vrfy refused
         C: VRFY later
         C: EXPN x
         C: EXPN own
         C: EXPN refused
         C: HELP
         C: HELP own
         C: HELP refused
         C: ETRN @b.example
         C: ETRN own
         C: ETRN refused
         C: ETRN later
         C: ETRN a b
         C: xodd own
         C: XODD refused
         C: XODD
         S: 252 2.5.0 Cannot verify; send the mail and see
         S: 250-In words
         S: 250 of my own
         S: 550 5.7.1 That is not told
         S: 451 4.3.0 Try again later
         S: 502 5.5.1 EXPN is not implemented
         S: 250-In words
         S: 250 of my own
         S: 550 5.7.1 That is not told
         S: 214 2.0.0 See RFC 5321
         S: 250-In words
         S: 250 of my own
         S: 502 5.5.1 HELP is not available
         S: 250 2.0.0 Queuing started
         S: 250-In words
         S: 250 of my own
         S: 459 4.7.1 Not allowed for this node
         S: 458 4.3.0 Unable to queue messages for this node
         S: 501 5.5.4 Malformed argument
         S: 250-In words
         S: 250 of my own
         S: 500 5.5.1 Command unknown
         S: 500 5.5.1 Command unknown
         C: VRFY gone
         S: 421 4.3.2 Gone",
    );
    assert!(owner.server.is_closed() && owner.result.is_ok());
    assert_eq!(owner.events[0], "Verify { who: \"x\" }");
    assert_eq!(owner.events[14], "Command { verb: \"XODD\", argument: \"own\" }");
}

#[test]
fn what_nobody_wants_to_answer_is_not_asked() {
    let owner = play_greeted(
        &config(),
        "C: VRFY x\nC: EXPN x\nC: HELP\nC: ETRN x\nC: XCLIENT NAME=x\nC: XODD
         S: 252 2.5.0 Cannot verify; send the mail and see\nS: 502 5.5.1 EXPN is not implemented\nS: 214 2.0.0 See RFC 5321
         S: 502 5.5.1 ETRN is not available\nS: 550 5.7.1 Not permitted\nS: 500 5.5.1 Command unknown",
    );
    assert_eq!(owner.events, [""; 0]);
}

#[test]
fn unknown_verbs_count_whoever_answers_them() {
    let config = asking().limits(Limits { errors: 2, ..Limits::default() });
    let end = "S: 421 4.7.0 Too many errors, closing the connection";
    let owner = play_greeted(
        &config,
        &["C: A\nC: B own\nC: B own\nC: C refused\nC: D\nS: 500 5.5.1 Command unknown\nS: 250-In words\nS: 250 of my own
           S: 250-In words\nS: 250 of my own\nS: 500 5.5.1 Command unknown\nS: 500 5.5.1 Command unknown\n", end].concat(),
    );
    assert_eq!(owner.result, Err(Error::TooManyErrors));
}

#[test]
fn a_message_may_be_refused_before_it_comes() {
    const OPEN: &str = "EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n";
    let mut server = asked(asking(), OPEN);
    assert_eq!(server.decision().unwrap().question(), Question::Data);
    assert!(server.decision().unwrap().accept_with(&own(250)).is_err(), "354 is the only yes");
    server.decision().unwrap().accept_with(&own(354)).unwrap();
    assert_eq!(said(&mut server), "354 x\r\n");
    assert_eq!(
        server.receive(NOW, &mut &b"x\r\n.\r\n"[..]),
        Ok(Some(Event::Content { octets: b"x\r\n".to_vec(), last: true }))
    );

    let mut server = asked(asking(), OPEN);
    server.decision().unwrap().defer();
    assert_eq!(said(&mut server), "451 4.3.0 Try again later\r\n");
    // The transaction is as it was: RSET ends it, and DATA asks again.
    assert_eq!(server.receive(NOW, &mut &b"DATA\r\n"[..]), Ok(Some(Event::Data)));
    server.decision().unwrap().reject();
    assert_eq!(server.receive(NOW, &mut &b"RSET\r\n"[..]), Ok(Some(Event::Abandoned(Abandoned::Reset))));
    assert_eq!(said(&mut server), "550 5.7.1 Message refused\r\n250 2.0.0 Reset\r\n");
}

#[test]
fn every_question_can_be_put_off() {
    let transaction = ["EHLO a\r\n", "MAIL FROM:<a@b>\r\n", "RCPT TO:<c@d>\r\n", "DATA\r\n", "x\r\n.\r\n"];
    let expected = ["451 4.3.0", "450 4.2.0", "451 4.3.0", "451 4.3.0"];
    for (at, expected) in expected.into_iter().enumerate() {
        let mut server = asked(asking(), &transaction[..at + 2].concat());
        server.decision().unwrap().defer();
        assert!(said(&mut server).starts_with(expected) && !server.is_closed());
    }
    let mut server = Server::new(config().hold_greeting(true));
    server.decision().unwrap().defer();
    assert!(said(&mut server).starts_with("421 ") && server.is_closed());
}

#[test]
fn an_answer_that_is_none_leaves_the_question_open() {
    let mut server = asked(asking(), "VRFY x\r\n");
    for (yes, code) in [(true, 354), (true, 550), (false, 250), (false, 354)] {
        let decision = server.decision().unwrap();
        let answered = if yes { decision.accept_with(&own(code)) } else { decision.refuse(&own(code)) };
        assert!(matches!(answered, Err(Misuse::Malformed { .. })) && server.is_asking());
    }
    assert_eq!(said(&mut server), "");
    server.decision().unwrap().accept();
    assert!(server.decision().is_none(), "one question, one answer");
}

#[test]
fn who_speaks_before_the_greeting_is_found_out() {
    for early in [false, true] {
        let mut server = Server::new(config().hold_greeting(true));
        let mut input: &[u8] = if early { b"EHLO a\r\n" } else { b"" };
        assert_eq!(server.receive(NOW, &mut input), Ok(None));
        assert_eq!(server.session().spoke_early(), early);
        assert_eq!(input.is_empty(), !early, "nothing is taken");
        if early {
            server.decision().unwrap().reject();
            assert_eq!(server.receive(NOW, &mut input), Ok(None));
            assert_eq!(said(&mut server), "554 No SMTP service here\r\n503 Only QUIT is taken here\r\n");
        }
    }
}

#[test]
fn xclient_begins_anew_for_who_is_permitted() {
    let config = config().permit_xclient(true).without("SIZE").without("SMTPUTF8").without("CHUNKING");
    let owner = play(
        &config,
        "S: 220 mx.example ESMTP
         C: XCLIENT NAME=x
         S: 503 EHLO first
         C: EHLO proxy.example
         S: 250-mx.example greets proxy.example
         S: 250-PIPELINING
         S: 250-8BITMIME
         S: 250-ENHANCEDSTATUSCODES
         S: 250 XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT
         C: XCLIENT NAME=spike.example ADDR=192.0.2.1
         S: 220 mx.example ESMTP
         C: MAIL FROM:<a@b>
         S: 503 Introduce yourself first
         C: EHLO spike.example
         S: 250-mx.example greets spike.example
         S: 250-PIPELINING
         S: 250-8BITMIME
         S: 250-ENHANCEDSTATUSCODES
         S: 250 XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT
         C: XCLIENT ODD=1
         S: 501 5.5.4 Malformed or unknown attribute
         C: MAIL FROM:<a@b>
         S: 250 2.1.0 Sender OK
         C: XCLIENT NAME=x
         S: 503 5.5.1 Not within a transaction
         C: RSET
         S: 250 2.0.0 Reset
         C: XCLIENT LOGIN=tim
         S: 220 mx.example ESMTP",
    );
    let session = owner.server.session();
    let known = session.xclient().unwrap();
    assert_eq!(known.address, Some(Attribute::Is("192.0.2.1".parse().unwrap())));
    assert_eq!((&known.login, session.helo()), (&Some(Attribute::Is("tim".into())), None));

    let mut server = asked(config, "EHLO a\r\nXCLIENT NAME=x\r\n");
    assert!(server.decision().unwrap().accept_with(&own(250)).is_err());
    server.decision().unwrap().reject();
    assert_eq!(said(&mut server), "550 5.7.1 Not permitted\r\n");
    assert_eq!((server.session().xclient(), server.session().helo()), (None, Some("a")));
}

#[test]
fn every_parameter_comes_typed() {
    let config =
        ["DSN", "BINARYMIME", "DELIVERBY 60", "MT-PRIORITY MIXER", "FUTURERELEASE 86400 2030-01-01T00:00:00Z", "RRVS"]
            .into_iter()
            .try_fold(config(), Config::with)
            .unwrap()
            .with("REQUIRETLS")
            .unwrap()
            .with_own("XODD a b", &["XODD"])
            .unwrap()
            .mechanisms([MechanismName::Plain])
            .implicit_tls(true);
    let line = "EHLO a\r\nMAIL FROM:<a@b> SIZE=9 body=binarymime SMTPUTF8 REQUIRETLS RET=FULL ENVID=x+2B BY=120;RT \
                MT-PRIORITY=-4 HOLDFOR=60 AUTH=e+3Dmc2@example.com XODD=1\r\n";
    let mut server = Server::new(config.clone());
    let mut input = line.as_bytes();
    let Some(Event::Mail { parameters, .. }) = server.receive(NOW, &mut input).unwrap() else { panic!() };
    assert_eq!((parameters.size, parameters.smtputf8, parameters.require_tls), (Some(9), true, true));
    assert_eq!(parameters.body, Some(crate::parameter::BodyKind::BinaryMime));
    assert_eq!(parameters.envid.as_ref().unwrap().as_str(), "x+");
    assert_eq!(parameters.by, Some(By::new(120, DeliverBy::Return, true).unwrap()));
    assert_eq!(parameters.priority, Some(Priority::new(-4).unwrap()));
    assert_eq!(parameters.hold, Some(Hold::For(60)));
    let mailbox = crate::parameter::Submitter::Mailbox("e=mc2@example.com".parse().unwrap());
    assert_eq!(parameters.auth, Some(mailbox));
    assert_eq!(parameters.other[0].keyword(), "XODD");
    assert_eq!(parameters.raw().len(), 11);
    server.decision().unwrap().accept();

    let line = b"RCPT TO:<c@d> NOTIFY=DELAY ORCPT=utf-8;d\\x{F6}rte@d RRVS=2014-04-03T23:01:00Z;R\r\n";
    let Some(Event::Recipient { parameters, .. }) = server.receive(NOW, &mut &line[..]).unwrap() else { panic!() };
    assert!(parameters.notify.unwrap().delay);
    assert_eq!(parameters.orcpt, Some(OriginalRecipient::new("utf-8", "d\u{f6}rte@d").unwrap()));
    let since = Moment::new("2014-04-03T23:01:00Z").unwrap();
    assert_eq!(parameters.rrvs, Some(Rrvs { since, or_continue: Some(false) }));

    let offered = server.session().extensions().clone();
    assert_eq!(offered.get("FUTURERELEASE").unwrap(), ["86400", "2030-01-01T00:00:00Z"]);
    assert_eq!(
        (offered.get("DELIVERBY").unwrap(), offered.get("XODD").unwrap()),
        (&["60".into()][..], &["a".into(), "b".into()][..])
    );
}

#[test]
fn a_wrong_value_is_501_and_what_was_not_offered_555() {
    let all = ["DSN", "DELIVERBY", "MT-PRIORITY", "FUTURERELEASE 9 2030-01-01T00:00:00Z", "RRVS"];
    let all = all.into_iter().try_fold(config(), Config::with).unwrap();
    for (mail, rcpt) in [
        ("BY=0;R", ""),
        ("MT-PRIORITY=10", ""),
        ("HOLDFOR=0", ""),
        ("HOLDUNTIL=2030-02-30T00:00:00Z", ""),
        ("HOLDFOR=1 HOLDUNTIL=2030-01-01T00:00:00Z", ""),
        ("RET=ALL", ""),
        ("ENVID=+", ""),
        ("ENVID", ""),
        ("", "NOTIFY=NEVER,DELAY"),
        ("", "ORCPT=rfc822"),
        ("", "RRVS=yesterday"),
    ] {
        let ask = |config: &Config| {
            let mut server = Server::new(config.clone());
            let line = alloc::format!("EHLO a\r\nMAIL FROM:<a@b> {mail}\r\nRCPT TO:<c@d> {rcpt}\r\n");
            let mut input = line.as_bytes();
            while let Ok(Some(_)) = server.receive(NOW, &mut input) {
                server.decision().unwrap().accept();
            }
            said(&mut server)
        };
        let (wrong, unknown) = (ask(&all), ask(&config()));
        assert!(wrong.contains("\r\n501 5.5.4 ") && !wrong.contains("\r\n555 "), "{mail}{rcpt}: {wrong}");
        assert!(unknown.contains("\r\n555 5.5.4 ") && !unknown.contains("\r\n501 "), "{mail}{rcpt}: {unknown}");
    }
}

#[test]
fn extensions_that_cannot_be_offered() {
    for line in [
        "FUTURERELEASE",
        "FUTURERELEASE 1",
        "FUTURERELEASE x 2030-01-01T00:00:00Z",
        "DSN x",
        "DELIVERBY x",
        "MT-PRIORITY a b",
    ] {
        assert!(matches!(config().with(line), Err(Misuse::Malformed { .. })), "{line}");
    }
    assert!(config().with_own("DSN", &[]).is_err() && config().with_own("STARTTLS", &[]).is_err());
    assert!(config().with_own("X\r\n250 Y", &[]).is_err() && config().with_own("X a\nb", &[]).is_err());
    assert!(config().with_own("XODD", &["a=b"]).is_err());
    let limits = config().with("limits").unwrap().limits(Limits { recipients: 7, ..Limits::default() });
    assert!(limits.offer("c", false).contains("\nLIMITS RCPTMAX=7"));
}

#[test]
fn a_servers_configuration_tells_its_name() {
    assert_eq!(config().host(), "mx.example");
    assert!(play(&config(), "S: 220 mx.example ESMTP").result.is_ok());
}
