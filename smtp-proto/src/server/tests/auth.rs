//! AUTH, as RFC 4954 frames it.

use super::*;
use crate::sasl::{self, Credentials as Known};
use alloc::boxed::Box;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

fn offering(names: &[&str]) -> Config {
    let config = config().mechanisms(names.iter().map(|name| name.parse().unwrap()));
    config.danger_allow_clear_text_auth(true)
}

#[test]
fn plain_with_and_without_an_initial_response() {
    let config = offering(&["PLAIN", "LOGIN"]);
    for dialogue in [
        "C: AUTH PLAIN AHRpbQBzZWNyZXQ=",
        "C: auth plain
         S: 334 |
         C: AHRpbQBzZWNyZXQ=",
        "C: AUTH LOGIN
         S: 334 VXNlcm5hbWU6
         C: dGlt
         S: 334 UGFzc3dvcmQ6
         C: c2VjcmV0",
        "C: AUTH LOGIN dGlt
         S: 334 UGFzc3dvcmQ6
         C: c2VjcmV0",
    ] {
        let end = "
         S: 235 2.7.0 Authentication succeeded
         C: AUTH PLAIN AHRpbQBzZWNyZXQ=
         S: 503 5.5.1 Authenticated already";
        let owner = play_greeted(&config, &[dialogue, end].concat());
        assert_eq!(owner.server.session().user(), Some("tim"));
        assert!(!format!("{:?}{:?}", owner.events, owner.server).contains("secret"));
    }
}

#[test]
fn what_goes_wrong_ends_the_exchange_and_nothing_else() {
    let owner = play_greeted(
        &offering(&["PLAIN", "LOGIN", "X-OTHER"]),
        "C: AUTH PLAIN AHRpbQB3cm9uZw==
         S: 535 5.7.8 Authentication credentials invalid
         C: AUTH LOGIN
         S: 334 VXNlcm5hbWU6
         C: *
         S: 501 5.7.0 Authentication cancelled
         C: AUTH LOGIN
         S: 334 VXNlcm5hbWU6
         C: !?
         S: 501 5.5.2 Cannot decode base64
         C: AUTH PLAIN AHRpbQB
         S: 501 5.5.2 Cannot decode base64
         C: AUTH PLAIN =
         S: 501 5.5.2 Not a response of this mechanism
         C: AUTH NTLM
         S: 504 5.5.4 Mechanism not offered
         C: MAIL FROM:<a@b> AUTH=<>
         S: 250 2.1.0 Sender OK
         C: AUTH PLAIN
         S: 503 5.5.1 Not within a transaction
         C: RSET
         S: 250 2.0.0 Reset
         C: AUTH LOGIN
         S: 334 VXNlcm5hbWU6
         C: \\n\\c
         C: NOOP
         S: 500 5.5.2 Lines must end with CRLF
         C: NOOP
         S: 250 2.0.0 OK",
    );
    assert_eq!(owner.server.session().identity(), None);
}

#[test]
fn three_failures_close_the_session() {
    let wrong = "C: AUTH PLAIN AHRpbQB3cm9uZw==\nS: 535 5.7.8 Authentication credentials invalid\n";
    let end = "S: 421 4.7.0 Too many failures, closing the connection";
    let owner = play_greeted(&offering(&["PLAIN"]), &[wrong, wrong, wrong, end].concat());
    assert_eq!(owner.result, Err(Error::TooManyAuthentications));
}

#[test]
fn secrets_do_not_travel_in_clear() {
    let config = offering(&["SCRAM-SHA-256-PLUS", "CRAM-MD5", "PLAIN"]).danger_allow_clear_text_auth(false);
    let owner = play_greeted(
        &config,
        "C: AUTH PLAIN AHRpbQBzZWNyZXQ=
         S: 538 5.7.11 Encryption required for this mechanism
         C: AUTH SCRAM-SHA-256-PLUS
         S: 538 5.7.11 Encryption required for this mechanism",
    );
    assert_eq!(owner.server.session().extensions().mechanisms(), ["CRAM-MD5"]);
    let owner = play_greeted(&config.clone().implicit_tls(true), "C: NOOP\nS: 250 2.0.0 OK");
    assert_eq!(owner.server.session().extensions().mechanisms(), ["SCRAM-SHA-256-PLUS", "CRAM-MD5", "PLAIN"]);
    play_greeted(&config.clone().without("AUTH"), "C: AUTH PLAIN\nS: 502 5.5.1 AUTH is not available");
    play_greeted(&super::config(), "C: AUTH PLAIN\nS: 502 5.5.1 AUTH is not available");
}

#[cfg(feature = "scram")]
#[test]
fn a_client_that_binds_to_what_nobody_here_can_compute_is_refused_and_may_go_on() {
    let config = offering(&["SCRAM-SHA-256-PLUS", "PLAIN"]).implicit_tls(true);
    // RFC 5929 section 3: "p=tls-unique,,n=tim,r=x".
    let owner = play_greeted(
        &config,
        "C: AUTH SCRAM-SHA-256-PLUS cD10bHMtdW5pcXVlLCxuPXRpbSxyPXg=
         S: 535 5.7.8 Channel binding does not match, or is of another kind
         C: AUTH SCRAM-SHA-256-PLUS
         S: 334 |
         C: cD10bHMtdW5pcXVlLCxuPXRpbSxyPXg=
         S: 535 5.7.8 Channel binding does not match, or is of another kind
         C: AUTH PLAIN AHRpbQBzZWNyZXQ=
         S: 235 2.7.0 Authentication succeeded",
    );
    assert_eq!(owner.server.session().user(), Some("tim"));
}

#[test]
fn without_a_name_of_the_channel_nothing_that_binds_is_offered() {
    for (names, offered, answer) in [
        (&["SCRAM-SHA-256-PLUS", "PLAIN"][..], &["PLAIN"][..], "504 5.5.4 Mechanism not offered\r\n"),
        (&["SCRAM-SHA-256-PLUS"], &[], "502 5.5.1 AUTH is not available\r\n"),
    ] {
        let mut owner = Owner::new(offering(names).starttls(true));
        owner.give(&mut &b"STARTTLS\r\n"[..]);
        owner.server.without_channel_binding();
        owner.server.secured().unwrap();
        owner.give(&mut &b"EHLO c.example\r\n"[..]);
        assert_eq!(owner.server.session().extensions().mechanisms(), offered);
        assert_eq!(owner.server.session().extensions().offers("AUTH"), !offered.is_empty());
        owner.output.clear();
        owner.give(&mut &b"AUTH SCRAM-SHA-256-PLUS =\r\n"[..]);
        assert_eq!(String::from_utf8_lossy(&owner.output), answer);
    }
}

#[test]
fn long_lines_are_for_auth_only() {
    let config = offering(&["PLAIN"]);
    let answered = |line: &str, count, answer: &str| {
        [line, &"A".repeat(count), "\nC: NOOP\nS: ", answer, "\nS: 250 2.0.0 OK"].concat()
    };
    let (taken, long) =
        ("501 5.5.2 Not a response of this mechanism", "500 5.5.6 Authentication exchange line is too long");
    play_greeted(&config, &answered("C: AUTH PLAIN\nS: 334 |\nC: ", 12_288, taken));
    play_greeted(&config, &answered("C: AUTH PLAIN\nS: 334 |\nC: ", 12_336 - 1, long));
    play_greeted(&config, &answered("C: AUTH PLAIN ", 12_288, taken));
    play_greeted(&config, &answered("C: AUTH PLAIN ", 12_336 - 12, long));
    play_greeted(&config, &answered("C: NOOP ", 2041, "250 2.0.0 OK"));
    play_greeted(&config, &answered("C: NOOP ", 2042, "500 5.5.2 Line too long"));
}

/// Our own client side against it, for every mechanism of this build.
#[test]
fn every_mechanism_meets_its_other_side() {
    for name in MechanismName::BY_STRENGTH {
        if !sasl::server::is_available(name) || name.binds_channel() {
            continue;
        }
        for (password, code) in [("secret", "235"), ("wrong", "535")] {
            let known = match name {
                name if !Known::password("tim", password).drives(name) => continue,
                _ => Known::password("tim", password),
            };
            let mut client = sasl::start(name, &known, &Channel::clear(), "mx.example", [3; 24]).unwrap();
            let mut owner = Owner::new(offering(&[name.as_str()]));
            owner.give(&mut &b"EHLO c.example\r\n"[..]);
            owner.output.clear();
            let mut response = Vec::new();
            let mut line = match client.transmit(NOW, &mut response) {
                true => format!("AUTH {name} {}\r\n", STANDARD.encode(&response)),
                false => format!("AUTH {name}\r\n"),
            };
            loop {
                owner.give(&mut line.as_bytes());
                let said = String::from_utf8(core::mem::take(&mut owner.output)).unwrap();
                let Some(challenge) = said.strip_prefix("334 ") else {
                    assert!(said.starts_with(code), "{name}: {said}");
                    break;
                };
                let challenge = STANDARD.decode(challenge.trim_end()).unwrap();
                client.receive(NOW, &mut &challenge[..]).unwrap();
                response.clear();
                assert!(client.transmit(NOW, &mut response));
                line = format!("{}\r\n", STANDARD.encode(&response));
            }
            let proved =
                owner.server.session().identity().map(|identity| (identity.user.as_str(), &identity.mechanism));
            assert_eq!(proved, (code == "235").then_some(("tim", name)));
            assert_eq!(
                client.finish().is_ok(),
                code == "235" || name.reveals_secret() || *name == MechanismName::CramMd5
            );
        }
    }
}

#[test]
fn the_owner_may_have_no_answer() {
    let later = Reply::new(Code::new(454).unwrap(), "4.7.0 Try later").unwrap();
    let mut server = Server::new(offering(&["PLAIN"]));
    let mut input = &b"EHLO a\r\nAUTH PLAIN AHRpbQBzZWNyZXQ=\r\nAUTH PLAIN AHRpbQBzZWNyZXQ=\r\nNOOP\r\n"[..];
    assert!(matches!(server.receive(NOW, &mut input), Ok(Some(Event::Authenticate { .. }))));
    assert!(server.decision().is_none() && server.credentials().is_none());
    assert_eq!(server.receive(NOW, &mut input), Ok(None));
    server.authentication().unwrap().refuse(&later).unwrap();
    assert!(matches!(server.receive(NOW, &mut input), Ok(Some(Event::Authenticate { .. }))));
    server.authentication().unwrap().begin(&Channel::clear(), [0; 24]).unwrap();
    // Without further input: the initial response waits in the machine.
    assert!(matches!(server.receive(NOW, &mut &[][..]), Ok(Some(Event::Credentials(_)))));
    assert!(server.authentication().is_none());
    assert_eq!(server.credentials().unwrap().answer(Answer::Password("x".into())), Err(sasl::Misuse::UnexpectedAnswer));
    server.credentials().unwrap().refuse(&later).unwrap();
    assert!(server.credentials().is_none());
    assert_eq!(server.receive(NOW, &mut input), Ok(None));
    let mut output = Vec::new();
    server.transmit(NOW, &mut output);
    assert!(output.ends_with(b"454 4.7.0 Try later\r\n454 4.7.0 Try later\r\n250 2.0.0 OK\r\n"));
}

#[test]
fn what_cannot_begin_stays_a_question() {
    let mut server = Server::new(offering(&["GSSAPI"]));
    let mut input = &b"EHLO a\r\nAUTH GSSAPI\r\n"[..];
    assert!(matches!(server.receive(NOW, &mut input), Ok(Some(Event::Authenticate { .. }))));
    let missing = server.authentication().unwrap().begin(&Channel::clear(), [0; 24]);
    assert!(matches!(missing, Err(sasl::Misuse::Unavailable(_))));
    let own = sasl::server::start(&MechanismName::Login, &Channel::clear(), "a", [0; 24]).unwrap();
    server.authentication().unwrap().begin_with(own);
    let mut output = Vec::new();
    server.transmit(NOW, &mut output);
    assert!(output.ends_with(b"334 VXNlcm5hbWU6\r\n"));
}

/// A mechanism from outside: to a response it says nothing, or asks; to an answer it asks again.
struct Stray {
    asks: bool,
}

impl Machine for Stray {
    type Event = Asked;
    type Error = sasl::Error;

    fn receive(&mut self, _: Instant, input: &mut &[u8]) -> Result<Option<Asked>, sasl::Error> {
        *input = &[];
        Ok(self.asks.then(question))
    }

    fn transmit(&mut self, _: Instant, _: &mut Vec<u8>) -> bool {
        false
    }

    fn finish(&mut self) -> Result<(), sasl::Error> {
        Err(sasl::Error::OutOfOrder)
    }

    fn expire(&mut self, _: Instant) -> Result<(), sasl::Error> {
        Ok(())
    }
}

impl sasl::server::Mechanism for Stray {
    fn name(&self) -> &str {
        "X-STRAY"
    }

    fn answer(&mut self, _: Answer) -> Result<Option<Asked>, sasl::Misuse> {
        Ok(Some(question()))
    }
}

fn question() -> Asked {
    Asked::Verify { authzid: None, user: "tim".into(), password: "secret".into() }
}

/// A server that was asked for AUTH, and what the client says behind that.
fn asked_for(config: Config, auth: &'static str) -> (Server, &'static [u8]) {
    let mut server = Server::new(config);
    assert_eq!(server.receive(NOW, &mut &b"EHLO a\r\n"[..]), Ok(None));
    let mut input = auth.as_bytes();
    assert!(matches!(server.receive(NOW, &mut input), Ok(Some(Event::Authenticate { .. }))));
    (server, input)
}

fn last_lines(server: &mut Server) -> String {
    let mut output = Vec::new();
    server.transmit(NOW, &mut output);
    let said = String::from_utf8(output).unwrap();
    let (_, behind) = said.rsplit_once("250 ").unwrap();
    behind.split_once("\r\n").unwrap().1.to_string()
}

#[test]
fn a_mechanism_from_outside_that_breaks_its_contract_is_refused_and_the_session_goes_on() {
    let offering = || offering(&["X-STRAY"]);
    let refused = "535 5.7.8 Authentication credentials invalid\r\n";
    // It has nothing to say first.
    let (mut server, mut input) = asked_for(offering(), "AUTH X-STRAY\r\nNOOP\r\n");
    server.authentication().unwrap().begin_with(Box::new(Stray { asks: false }));
    assert_eq!(server.receive(NOW, &mut input), Ok(None));
    assert!(input.is_empty());
    let mut output = Vec::new();
    server.transmit(NOW, &mut output);
    assert!(output.ends_with([refused, "250 2.0.0 OK\r\n"].concat().as_bytes()), "{}", output.escape_ascii());
    // It asks where it was answered.
    let (mut server, mut input) = asked_for(offering(), "AUTH X-STRAY AA==\r\nNOOP\r\n");
    server.authentication().unwrap().begin_with(Box::new(Stray { asks: true }));
    assert!(matches!(server.receive(NOW, &mut input), Ok(Some(Event::Credentials(_)))));
    server.credentials().unwrap().answer(Answer::Accept).unwrap();
    assert!(server.credentials().is_none(), "no question is open");
    assert_eq!(server.receive(NOW, &mut input), Ok(None));
    assert!(input.is_empty());
    let mut output = Vec::new();
    server.transmit(NOW, &mut output);
    assert!(output.ends_with([refused, "250 2.0.0 OK\r\n"].concat().as_bytes()), "{}", output.escape_ascii());
    assert_eq!(server.session().identity(), None);
}

#[test]
#[cfg(feature = "scram")]
fn a_client_that_was_shown_another_list_is_told_that_the_channel_does_not_match() {
    // RFC 5802 section 6: "y" where -PLUS was offered. RFC 4954 section 6: 535 5.7.8.
    let config = offering(&["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]).implicit_tls(true);
    let line = ["C: AUTH SCRAM-SHA-256 ", &STANDARD.encode("y,,n=tim,r=x")].concat();
    let owner = play_greeted(
        &config,
        &[&line, "\nS: 535 5.7.8 Channel binding does not match, or is of another kind\nC: NOOP\nS: 250 2.0.0 OK"]
            .concat(),
    );
    assert_eq!(owner.server.session().identity(), None);
}

#[test]
fn a_refusal_says_no_and_421_closes() {
    let own = |code, text: &str| Reply::new(Code::new(code).unwrap(), text).unwrap();
    let auth = "AUTH PLAIN AHRpbQBzZWNyZXQ=\r\n";
    for credentials in [false, true] {
        let ask = || {
            let (mut server, _) = asked_for(offering(&["PLAIN"]), auth);
            if credentials {
                server.authentication().unwrap().begin(&Channel::clear(), [0; 24]).unwrap();
                assert!(matches!(server.receive(NOW, &mut &[][..]), Ok(Some(Event::Credentials(_)))));
            }
            server
        };
        let refuse = |server: &mut Server, reply: &Reply| match credentials {
            true => server.credentials().unwrap().refuse(reply),
            false => server.authentication().unwrap().refuse(reply),
        };
        for code in [235, 250, 334] {
            let mut server = ask();
            let misuse = Misuse::Malformed { what: "refusing reply" };
            assert_eq!(refuse(&mut server, &own(code, "Yes")), Err(misuse), "{code}");
            // The question stays open, and nothing was said.
            assert!(server.credentials().is_some() == credentials && server.authentication().is_some() != credentials);
            assert_eq!(last_lines(&mut server), "");
        }
        let mut server = ask();
        assert_eq!(refuse(&mut server, &own(454, "4.7.0 Later")), Ok(()));
        assert!(!server.is_closed());
        let mut server = ask();
        assert_eq!(refuse(&mut server, &own(421, "4.3.2 Gone")), Ok(()));
        assert_eq!(last_lines(&mut server), "421 4.3.2 Gone\r\n");
        assert!(server.is_closed());
    }
}

#[test]
fn refusals_of_credentials_in_ones_own_words_are_counted() {
    let mut server = Server::new(offering(&["PLAIN"]));
    let mut input = &b"EHLO a\r\n"[..];
    assert_eq!(server.receive(NOW, &mut input), Ok(None));
    let own = Reply::new(Code::new(535).unwrap(), "5.7.8 Not here").unwrap();
    for _ in 0..3 {
        assert!(!server.is_closed());
        let mut input = &b"AUTH PLAIN AHRpbQBzZWNyZXQ=\r\n"[..];
        assert!(matches!(server.receive(NOW, &mut input), Ok(Some(Event::Authenticate { .. }))));
        server.authentication().unwrap().begin(&Channel::clear(), [0; 24]).unwrap();
        assert!(matches!(server.receive(NOW, &mut &[][..]), Ok(Some(Event::Credentials(_)))));
        server.credentials().unwrap().refuse(&own).unwrap();
    }
    assert_eq!(server.receive(NOW, &mut &b"NOOP\r\n"[..]), Err(Error::TooManyAuthentications));
    assert!(
        last_lines(&mut server)
            .ends_with("535 5.7.8 Not here\r\n421 4.7.0 Too many failures, closing the connection\r\n")
    );
}
