//! PRDR: a word for each recipient, and the last one (draft-hall-prdr-00, as Exim does it).

use super::*;

fn offering() -> Config {
    config().with("PRDR").unwrap()
}

const TWO: &str = "C: MAIL FROM:<a@b> PRDR
     C: RCPT TO:<c@d>
     C: RCPT TO:<e@f>
     ";
const TWO_OK: &str = "S: 250 2.1.0 Sender OK
     S: 250 2.1.5 Recipient OK
     S: 250 2.1.5 Recipient OK
     ";

#[test]
fn each_recipient_is_answered_for_and_then_the_message() {
    let owner = play_greeted(
        &offering(),
        "C: MAIL FROM:<a@b> prdr
         C: RCPT TO:<c@d>
         C: RCPT TO:<refused@d>
         C: RCPT TO:<e@f>
         C: RCPT TO:<g@h>
         C: DATA
         S: 250 2.1.0 Sender OK
         S: 250 2.1.5 Recipient OK
         S: 550 5.1.1 No such mailbox
         S: 250 2.1.5 Recipient OK
         S: 250 2.1.5 Recipient OK
         S: 354 Send the message, end with CRLF.CRLF
         C: one
         C: .
         C: MAIL FROM:<a@b> PRDR
         C: RCPT TO:<c@d>
         C: RCPT TO:<e@f>
         C: BDAT 2
         C: tw\\c
         C: BDAT 3 LAST
         C: o\\r\\n\\c
         C: NOOP
         S: 353 Content analysis has started
         S: 250 2.0.0 Message accepted
         S: 451 4.3.0 Try later
         S: 250 2.0.0 Message accepted
         S: 250 2.0.0 Message accepted
         S: 250 2.1.0 Sender OK
         S: 250 2.1.5 Recipient OK
         S: 250 2.1.5 Recipient OK
         S: 250 2.0.0 Chunk received
         S: 353 Content analysis has started
         S: 250 2.0.0 Message accepted
         S: 451 4.3.0 Try later
         S: 250 2.0.0 Message accepted
         S: 250 2.0.0 OK",
    );
    assert_eq!(owner.events.iter().filter(|event| event.starts_with("message")).count(), 2);
    assert_eq!(owner.server.session().recipients(), 0);
}

#[test]
fn one_recipient_and_one_who_does_not_ask_get_one_reply() {
    play_greeted(
        &offering(),
        &[
            "C: MAIL FROM:<a@b> PRDR
             C: RCPT TO:<c@d>
             C: BDAT 0 LAST
             S: 250 2.1.0 Sender OK
             S: 250 2.1.5 Recipient OK
             S: 250 2.0.0 Message accepted
             ",
            &TWO.replace(" PRDR", ""),
            "C: BDAT 0 LAST
             ",
            TWO_OK,
            "S: 250 2.0.0 Message accepted",
        ]
        .concat(),
    );
}

#[test]
fn a_fault_of_the_message_is_one_reply_for_all() {
    let small = offering().limits(Limits { message: 3, ..Limits::default() });
    let large = [TWO, "C: BDAT 4 LAST\nC: abcd\\c\n", TWO_OK, "S: 552 5.3.4 Message larger than the limit"].concat();
    play_greeted(&small, &large);
    let bare = [TWO, "C: BDAT 2 LAST\nC: \\na\\c\n", TWO_OK, "S: 550 5.6.0 Bare CR or LF in the message"].concat();
    play_greeted(&offering(), &bare);
}

/// The replies to a message for two, where the questions are answered so: yes, later, no; and how many were asked.
fn verdicts(answers: &str) -> (String, usize) {
    let mut server = Server::new(offering());
    let mut input = &b"EHLO a\r\nMAIL FROM:<a@b> PRDR\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nBDAT 0 LAST\r\nNOOP\r\n"[..];
    let mut asked = 0;
    let mut answers = answers.chars();
    while let Some(event) = server.receive(NOW, &mut input).unwrap() {
        if !matches!(event, Event::Content { .. }) {
            server.decision().unwrap().accept();
            server.transmit(NOW, &mut Vec::new());
            continue;
        }
        while let Some(decision) = server.decision() {
            let expected = if asked < 2 { Question::MessageFor(asked) } else { Question::Message };
            assert_eq!(decision.question(), expected);
            asked += 1;
            match answers.next() {
                Some('y') => decision.accept(),
                Some('l') => decision.defer(),
                Some('n') => decision.reject(),
                Some('c') => decision.refuse(&Reply::new(Code::SERVICE_CLOSING, "x").unwrap()).unwrap(),
                other => panic!("{other:?}"),
            }
        }
    }
    let mut output = Vec::new();
    server.transmit(NOW, &mut output);
    assert!(server.is_closed() || server.session().recipients() == 0 && input.is_empty());
    let output = String::from_utf8(output).unwrap();
    (output.lines().map(|line| &line[..3]).collect::<Vec<_>>().join(" "), asked)
}

#[test]
fn the_last_word_is_the_owners_where_anybody_was_accepted() {
    for (answers, said, asked) in [
        ("yyy", "353 250 250 250 250", 3),
        ("yny", "353 250 550 250 250", 3),
        ("lyn", "353 451 250 550 250", 3),
        ("nyl", "353 550 250 451 250", 3),
        // Nobody is left: the machine says so, and that it may be tried again where somebody was told so.
        ("nn", "353 550 550 550 250", 2),
        ("ln", "353 451 550 451 250", 2),
        ("nl", "353 550 451 451 250", 2),
        // Whoever says 421 closes (RFC 5321 section 3.8).
        ("yc", "353 250 421", 2),
        ("nc", "353 550 421", 2),
        ("yyc", "353 250 250 421", 3),
    ] {
        assert_eq!(verdicts(answers), (said.into(), asked), "{answers}");
    }
}

#[test]
fn it_is_there_where_the_owner_offers_it_and_not_in_lmtp() {
    let unknown = "C: MAIL FROM:<a@b> PRDR\nS: 555 5.5.4 Parameter not recognized";
    play_greeted(&config(), unknown);
    play_greeted(&offering(), "C: MAIL FROM:<a@b> PRDR=1\nS: 501 5.5.4 Malformed parameter");
    let owner = play_greeted(&offering(), "C: MAIL FROM:<a@b> PRDR\nS: 250 2.1.0 Sender OK");
    assert!(owner.server.session().extensions().offers("PRDR"));
    let mut owner = Owner::new(offering().lmtp(true));
    owner.give(&mut &b"LHLO a\r\nMAIL FROM:<a@b> PRDR\r\n"[..]);
    assert!(!owner.server.session().extensions().offers("PRDR"));
    assert!(owner.output.ends_with(b"555 5.5.4 Parameter not recognized\r\n"));
    play(
        &offering(),
        "S: 220 mx.example ESMTP\nC: HELO a\nC: MAIL FROM:<a@b> PRDR\nS: 250 mx.example\nS: 555 Parameter not recognized",
    );
}
