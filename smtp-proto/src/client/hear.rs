//! What the client makes of a reply, by the command it answers (RFC 5321 section 4.3.2).

use alloc::sync::Arc;

use proxy_proto::{Instant, Secret};

use super::auth::{Exchange, Step};
use super::config::StartTls;
use super::event::{Event, TransactionId};
use super::transaction::Transaction;
use super::transcript::Line;
use super::verdict::Heard;
use super::{Client, Owed, Stage, Work};
use crate::dialogue::Due;
use crate::error::{Cause, Error};
use crate::extension::Extensions;
use crate::reply::{Code, Reply};
use crate::{Misuse, phase};

impl Client {
    pub(super) fn hear(&mut self, now: Instant, mut reply: Reply) -> Result<Option<Event>, Error> {
        let here = self.phase();
        self.gather_secrets();
        // The mechanism must read what was said; nobody else has to.
        let challenge = (reply.code() == Code::CHALLENGE && self.exchange.is_some()).then(|| reply.clone());
        for secret in self.secrets.iter().chain(&self.tokens) {
            if challenge.is_some() {
                reply.redact_encoded(secret.expose());
            }
            reply.redact(secret.expose());
        }
        self.show(now, here, Line::Server(&reply));
        self.last = Some(reply.clone());
        let free = self.could_speak();
        let Some(due) = self.dialogue.hear(now, free) else { return self.hear_unasked(reply) };
        let closing = (reply.code() == Code::SERVICE_CLOSING).then(|| reply.clone());
        let event = match due.to {
            Owed::Greeting => self.hear_greeting(reply),
            Owed::Ehlo => self.hear_ehlo(reply),
            Owed::Helo => self.hear_helo(reply),
            Owed::StartTls => self.hear_starttls(reply),
            Owed::Auth => self.hear_auth(now, challenge.unwrap_or(reply)),
            Owed::Rset => self.hear_rset(reply),
            Owed::Command(command) => Ok(Some(Event::Replied { command, reply })),
            Owed::XClient(command) => {
                if reply.code().is_positive() {
                    self.reopen();
                }
                Ok(Some(Event::Replied { command, reply }))
            }
            Owed::Quit => {
                self.stage = Stage::Closed;
                Ok(Some(Event::Closed(Some(reply))))
            }
            Owed::Mail(id) => self.hear_transaction(due, id, reply, Transaction::hear_mail),
            Owed::Rcpt(id, recipient) => self.hear_transaction(due, id, reply, |transaction, reply, flights| {
                transaction.hear_rcpt(recipient, reply, flights)
            }),
            Owed::Data(id) => self.hear_transaction(due, id, reply, Transaction::hear_data),
            Owed::Chunk(id) => self.hear_transaction(due, id, reply, Transaction::hear_chunk),
            Owed::Last(id) => {
                let taken = reply.code().is_positive();
                let event = self.hear_transaction(due, id, reply, Transaction::hear_message);
                // What was taken, by the last word on it, needs no RSET behind it.
                if taken && self.doubtful == Some(id) && !self.is_owed(Owed::Last(id)) {
                    self.doubtful = None;
                }
                event
            }
            Owed::Message(id) => self.hear_transaction(due, id, reply, Transaction::hear_message),
            // Whatever was said to a dot that ends nothing: the transaction is over at the server.
            Owed::LoneDot(_) => {
                self.must_reset = false;
                Ok(None)
            }
        };
        self.forget_finished();
        if self.dialogue.is_idle() {
            self.tokens.clear();
        }
        if let Some(reply) = closing.filter(|_| self.stage != Stage::Closed && event.is_ok()) {
            let error = self.fail_with(here, Cause::ServiceClosing(reply));
            return if matches!(event, Ok(None)) { Err(error) } else { event };
        }
        event
    }

    /// What was sent and must not be seen again, from now on.
    pub(super) fn gather_secrets(&mut self) {
        if let Some(exchange) = &mut self.exchange {
            self.secrets.extend(exchange.take_secrets());
        }
    }

    /// A reply that no command asked for: a 421, a refusal of the message that is going out, or a fault.
    fn hear_unasked(&mut self, reply: Reply) -> Result<Option<Event>, Error> {
        let here = self.phase();
        if self.stage == Stage::Ready && (reply.code().is_transient() || reply.code().is_permanent()) {
            let flights = self.dialogue.flights();
            if let Some(transaction) = self.sending_body() {
                let event = transaction.hear_early(reply.clone(), flights);
                let cause = match reply.code() {
                    Code::SERVICE_CLOSING => Cause::ServiceClosing(reply),
                    _ => Cause::MessageRefusedEarly(reply),
                };
                self.fail_with(here, cause);
                return Ok(Some(event));
            }
        }
        Err(self.fail_with(
            here,
            match reply.code() {
                Code::SERVICE_CLOSING => Cause::ServiceClosing(reply),
                _ => Cause::Unsolicited(reply),
            },
        ))
    }

    /// The session cannot be opened; the server is told, where it still listens.
    fn refuse(&mut self, cause: Cause) -> Error {
        self.farewell = true;
        self.fail_with(self.stage_phase(), cause)
    }

    fn stage_phase(&self) -> proxy_proto::Phase {
        match self.stage {
            Stage::Begin | Stage::Greeting => phase::GREETING,
            Stage::StartTls | Stage::Securing => phase::STARTTLS,
            Stage::Auth => phase::AUTH,
            _ => phase::EHLO,
        }
    }

    fn hear_greeting(&mut self, reply: Reply) -> Result<Option<Event>, Error> {
        self.greeting = Some(reply.detached());
        match reply.code() {
            Code::READY => {
                self.stage = Stage::Ehlo;
                Ok(Some(Event::Greeted(reply)))
            }
            code if code.is_transient() || code.is_permanent() => Err(self.refuse(Cause::Refused(reply))),
            _ => Err(self.refuse(Cause::Unexpected(reply))),
        }
    }

    fn hear_ehlo(&mut self, reply: Reply) -> Result<Option<Event>, Error> {
        let code = reply.code();
        if code.is_positive() {
            self.extensions = Extensions::from_reply(&reply);
            self.config.correct(&mut self.extensions);
            self.hear_early_hello(true);
            return self.advance(reply);
        }
        // An old server does not know EHLO (RFC 5321 section 3.2); 521 and 554 refuse the client, not the command.
        if code.is_permanent() && !matches!(code.number(), 521 | 554) && !self.config.lmtp {
            self.stage = Stage::Helo;
            self.extensions = Extensions::default();
            self.hear_early_hello(false);
            return Ok(None);
        }
        Err(self.refuse(if code.is_intermediate() { Cause::Unexpected(reply) } else { Cause::Refused(reply) }))
    }

    fn hear_helo(&mut self, reply: Reply) -> Result<Option<Event>, Error> {
        self.extensions = Extensions::default();
        if reply.code().is_positive() {
            return self.advance(reply);
        }
        let unexpected = reply.code().is_intermediate();
        Err(self.refuse(if unexpected { Cause::Unexpected(reply) } else { Cause::Refused(reply) }))
    }

    /// The server has made its offer: secure the session, authenticate it, or open it.
    fn advance(&mut self, reply: Reply) -> Result<Option<Event>, Error> {
        if !self.channel.secure {
            match (self.starttls, self.extensions.starttls()) {
                (StartTls::Required | StartTls::IfOffered, true) => {
                    self.stage = Stage::StartTls;
                    return Ok(Some(Event::Offered(reply)));
                }
                (StartTls::Required, false) => {
                    self.stage = Stage::StartTls;
                    return Err(self.refuse(Cause::StartTlsUnavailable(None)));
                }
                _ => {}
            }
        }
        self.authenticate().map(|ready| Some(if ready { Event::Ready } else { Event::Offered(reply) }))
    }

    /// `true` where there is nobody to authenticate, and the session is ready.
    fn authenticate(&mut self) -> Result<bool, Error> {
        let Some(credentials) = &self.config.credentials else {
            self.open();
            return Ok(true);
        };
        self.stage = Stage::Auth;
        if self.awaits_early_auth() {
            return Ok(false);
        }
        // SCRAM tells the server whether it was believed to lack -PLUS, so that nobody between can hide it.
        self.channel.plus_offered = self.extensions.mechanisms().iter().any(|name| name.ends_with("-PLUS"));
        match Exchange::begin(&self.config, credentials, self.extensions.mechanisms(), &self.channel) {
            Ok(exchange) => {
                self.exchange = Some(exchange.into());
                Ok(false)
            }
            Err(error) => Err(self.refuse(Cause::Authentication(error))),
        }
    }

    /// XCLIENT was granted: the server knows nothing of the client any more but what it was just told, and the channel.
    fn reopen(&mut self) {
        self.stage = Stage::Ehlo;
        self.extensions = Extensions::default();
        self.authenticated = None;
        self.unchecked = self.unchecked.max(1);
        (self.must_reset, self.doubtful) = (false, None);
    }

    fn open(&mut self) -> Event {
        self.stage = Stage::Ready;
        self.next_operation();
        Event::Ready
    }

    fn hear_starttls(&mut self, reply: Reply) -> Result<Option<Event>, Error> {
        if reply.code() == Code::READY {
            self.stage = Stage::Securing;
            return Ok(Some(Event::StartTls(reply)));
        }
        if reply.code().is_positive() || reply.code().is_intermediate() {
            return Err(self.refuse(Cause::Unexpected(reply)));
        }
        if self.starttls == StartTls::Required {
            return Err(self.refuse(Cause::StartTlsUnavailable(Some(reply))));
        }
        // TLS is not to be had after all; without it the session goes on as if it had not been offered.
        self.authenticate().map(|ready| Some(if ready { Event::Ready } else { Event::Offered(reply) }))
    }

    fn hear_auth(&mut self, now: Instant, reply: Reply) -> Result<Option<Event>, Error> {
        // It was said before its time, and EHLO was refused: without EHLO there is no AUTH.
        if self.stage == Stage::Helo {
            self.exchange = None;
            return Ok(None);
        }
        if self.is_auth_in_doubt(reply.code()) {
            self.exchange = None;
            return self.authenticate().map(|_| None);
        }
        let (Some(exchange), Some(credentials)) = (&mut self.exchange, &self.config.credentials) else {
            return Err(self.fail_with(phase::AUTH, Cause::Unsolicited(reply)));
        };
        let step = exchange.receive(now, &reply, &self.config, credentials, &self.channel);
        exchange.redact(&self.secrets);
        match step {
            Step::Speak => Ok(None),
            Step::Done => {
                self.authenticated = Some(exchange.mechanism().clone());
                self.exchange = None;
                Ok(Some(self.open()))
            }
            Step::NeedsToken(detail) => Ok(Some(Event::NeedsToken { reply, detail })),
            Step::Unexpected => Err(self.refuse(Cause::Unexpected(reply))),
            Step::Failed(error) => {
                self.exchange = None;
                Err(self.refuse(Cause::Authentication(error)))
            }
        }
    }

    /// Answers [`Event::NeedsToken`]: with a fresh token, or with `None`, and the refusal stands. Only one is ever asked for.
    ///
    /// # Errors
    ///
    /// [`Misuse::NotOpen`] where no token is awaited.
    pub fn fresh_token(&mut self, token: Option<Secret>) -> Result<(), Misuse> {
        let (Some(exchange), Some(credentials)) = (&mut self.exchange, &self.config.credentials) else {
            return Err(Misuse::NotOpen);
        };
        let fresh = token.map(|token| credentials.clone().with_token(token));
        let given = fresh.as_ref().map(|fresh| (fresh, &*self.config, &self.channel));
        match exchange.refresh(given) {
            Ok(()) => Arc::make_mut(&mut self.config).credentials = fresh,
            Err(None) => return Err(Misuse::NotOpen),
            Err(Some(refused)) => {
                self.exchange = None;
                self.refuse(Cause::Authentication(refused));
            }
        }
        Ok(())
    }

    /// RSET is never refused (RFC 5321 section 4.1.1.5); a server that does cannot be trusted with another message.
    fn hear_rset(&mut self, reply: Reply) -> Result<Option<Event>, Error> {
        match reply.code() {
            code if code.is_positive() || code == Code::SERVICE_CLOSING => Ok(None),
            _ => Err(self.fail_with(phase::RSET, Cause::Unexpected(reply))),
        }
    }

    /// A message is settled: the time of the next one, where that is under way, has run since its own MAIL.
    fn next_operation(&mut self) {
        self.operation_since = self.work.iter().find_map(|work| match work {
            Work::Message(transaction) if !transaction.is_settled() => transaction.began,
            _ => None,
        });
    }

    fn hear_transaction(
        &mut self,
        due: Due<Owed>,
        id: TransactionId,
        reply: Reply,
        hear: impl FnOnce(&mut Transaction, Reply, u64) -> Heard,
    ) -> Result<Option<Event>, Error> {
        let flights = self.dialogue.flights();
        let is_it = |work: &Work| matches!(work, Work::Message(transaction) if transaction.id == id);
        let Some(at) = self.work.iter().position(is_it) else { return Ok(None) };
        let grouping = self.grouping();
        let Some(Work::Message(transaction)) = self.work.get_mut(at) else { return Ok(None) };
        if transaction.is_lost(due.to, reply.code()) && !transaction.in_doubt {
            // Not for each message that was under way when it happened.
            if !transaction.shaken && transaction.grouping >= grouping {
                self.grouping = transaction.grouping.lower();
            }
            transaction.shaken = true;
        } else if matches!(due.to, Owed::Chunk(_) | Owed::Last(_)) && !transaction.is_decided() {
            self.proven = true;
        }
        let heard = hear(transaction, reply.clone(), flights);
        transaction.say_no_more();
        if transaction.again {
            // Nothing was said behind it: it was on trial, or its group ended with it.
            self.said = at;
        }
        match heard {
            Heard::Event(event) => {
                if transaction.is_settled() {
                    self.next_operation();
                }
                Ok(Some(event))
            }
            Heard::Nothing => Ok(None),
            Heard::OnceMore => {
                self.dialogue.once_more(due);
                Ok(None)
            }
            Heard::Unexpected => Err(self.fail_with(due.phase, Cause::Unexpected(reply))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use alloc::vec::Vec;
    use proxy_proto::Machine;

    use crate::client::Config;
    use crate::sasl::{Credentials, SelectionError};
    use crate::{AuthenticationError, sasl};

    const NOW: Instant = Instant::EPOCH;

    /// What comes of these replies, each heard when it is due, and what is said meanwhile.
    fn play(starttls: StartTls, user: bool, replies: &[&str]) -> (Result<(), Error>, String, bool) {
        let mut config = Config::new("mx.example.org");
        config.starttls = starttls;
        config.credentials = user.then(|| Credentials::password("tim", "tanstaaf"));
        let mut client = Client::new(config).unwrap();
        let (mut said, mut ended) = (Vec::new(), Ok(()));
        client.transmit(NOW, &mut said);
        for reply in replies {
            let mut rest = reply.as_bytes();
            while ended.is_ok() {
                match client.receive(NOW, &mut rest) {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(error) => ended = Err(error),
                }
            }
            client.transmit(NOW, &mut said);
        }
        (ended, String::from_utf8(said).unwrap(), client.is_ready())
    }

    const OFFER: &str = "250-mx\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n";

    #[test]
    fn starttls_has_three_answers_and_any_other_ends_the_session() {
        // RFC 3207 section 4: 220, 501, 454; RFC 5321 section 4.2.4 adds what says "no" in general.
        for starttls in [StartTls::Required, StartTls::IfOffered] {
            for user in [false, true] {
                for answer in ["200", "221", "235", "250", "251", "334", "354"] {
                    let (ended, said, ready) =
                        play(starttls, user, &["220 mx\r\n", OFFER, &alloc::format!("{answer} odd\r\n")]);
                    assert!(matches!(ended.unwrap_err().cause, Cause::Unexpected(_)), "{answer}");
                    assert_eq!(said, "EHLO localhost\r\nSTARTTLS\r\nQUIT\r\n", "{answer}");
                    assert!(!ready);
                }
            }
        }
    }

    #[test]
    fn a_refused_starttls_leaves_clear_text_to_those_who_permit_it_and_never_credentials() {
        for answer in ["421 no\r\n", "454 TLS not available\r\n", "501 no\r\n", "502 no\r\n", "554 no\r\n"] {
            let replies = ["220 mx\r\n", OFFER, answer];
            let (ended, said, ready) = play(StartTls::Required, false, &replies);
            assert!(matches!(ended.unwrap_err().cause, Cause::StartTlsUnavailable(Some(_))), "{answer}");
            assert_eq!((&*said, ready), ("EHLO localhost\r\nSTARTTLS\r\nQUIT\r\n", false));

            let (ended, said, _) = play(StartTls::IfOffered, true, &replies);
            assert!(matches!(
                ended.unwrap_err().cause,
                Cause::Authentication(AuthenticationError::Selection(SelectionError::OnlyClearText { .. }))
            ));
            assert!(!said.contains("AUTH"), "{said}");

            if !answer.starts_with("421") {
                let (ended, said, ready) = play(StartTls::IfOffered, false, &replies);
                assert_eq!((ended, &*said, ready), (Ok(()), "EHLO localhost\r\nSTARTTLS\r\n", true));
            }
        }
    }

    #[test]
    fn without_an_offer_of_starttls_only_who_permits_it_goes_on() {
        let replies = ["220 mx\r\n", "250-mx\r\n250 AUTH PLAIN\r\n"];
        let (ended, said, ready) = play(StartTls::Required, false, &replies);
        assert!(matches!(ended.unwrap_err().cause, Cause::StartTlsUnavailable(None)));
        assert_eq!((&*said, ready), ("EHLO localhost\r\nQUIT\r\n", false));
        for starttls in [StartTls::IfOffered, StartTls::Never] {
            assert!(play(starttls, false, &replies).2);
            let (ended, said, _) = play(starttls, true, &replies);
            assert!(matches!(ended.unwrap_err().cause, Cause::Authentication(_)));
            assert_eq!(said, "EHLO localhost\r\nQUIT\r\n");
        }
    }

    #[test]
    fn what_was_sent_in_auth_is_shown_to_nobody_however_late_the_server_repeats_it() {
        // RFC 4616 section 4: the message, and what it is in base64.
        let forms = ["tanstaaftanstaaf", "AHRpbQB0YW5zdGFhZnRhbnN0YWFm"];
        for code in ["235", "334", "454", "504", "535"] {
            for form in forms {
                let mut config = Config::new("mx.example.org");
                config.starttls = StartTls::Never;
                config.credentials = Some(Credentials::password("tim", forms[0]));
                config.allowed = sasl::Allowed::all().danger_allow_clear_text();
                let shown = Arc::new(std::sync::Mutex::new(String::new()));
                let lines = shown.clone();
                config.transcript = Some(crate::client::Transcript::new(move |_, _, line| {
                    lines.lock().unwrap().push_str(&alloc::format!("{line}\n"));
                }));
                let mut client = Client::new(config).unwrap();
                let (mut said, mut told) = (Vec::new(), String::new());
                let echo = alloc::format!("{code} you said {form}\r\n");
                let late = alloc::format!("421 {form} has been here\r\n");
                for reply in ["220 mx\r\n", "250-mx\r\n250 AUTH PLAIN\r\n", &echo, &late] {
                    client.transmit(NOW, &mut said);
                    let mut rest = reply.as_bytes();
                    loop {
                        let heard = client.receive(NOW, &mut rest);
                        told.push_str(&alloc::format!("{heard:?} "));
                        if !matches!(heard, Ok(Some(_))) {
                            told.extend(heard.err().map(|error| alloc::format!("{error} ")));
                            break;
                        }
                    }
                }
                told.push_str(&shown.lock().unwrap());
                assert!(String::from_utf8(said).unwrap().contains(forms[1]));
                assert!(told.contains("you said ***"), "{code}: {told}");
                assert!(forms.iter().all(|form| !told.contains(form)), "{code}: {told}");
            }
        }
    }

    fn two_messages() -> Client {
        let mut config = Config::new("mx.example.org");
        config.starttls = StartTls::Never;
        let mut client = Client::new(config).unwrap();
        for to in ["b@example.net", "c@example.net"] {
            let envelope = crate::client::Envelope::new("a@example.org", [to]).unwrap();
            client.send(envelope, Default::default()).unwrap();
        }
        client
    }

    /// Each reply when it is due, and the error that ends it; what was said.
    fn talk(client: &mut Client, replies: &[&str]) -> (Result<(), Error>, String) {
        let mut said = Vec::new();
        client.transmit(NOW, &mut said);
        for reply in replies {
            let mut rest = reply.as_bytes();
            loop {
                match client.receive(NOW, &mut rest) {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(error) => {
                        client.transmit(NOW, &mut said);
                        return (Err(error), String::from_utf8(said).unwrap());
                    }
                }
            }
            client.transmit(NOW, &mut said);
        }
        (Ok(()), String::from_utf8(said).unwrap())
    }

    #[test]
    fn who_refuses_rset_is_given_no_further_message() {
        // RFC 5321 section 4.1.1.5: the server must say 250.
        for (answer, goes_on) in [("250", true), ("354", false), ("500", false), ("503", false), ("451", false)] {
            let mut client = two_messages();
            let answer = alloc::format!("{answer} what\r\n");
            let replies = ["220 mx\r\n", "250 mx\r\n", "250 ok\r\n", "550 nobody\r\n", &answer];
            let (ended, said) = talk(&mut client, &replies);
            assert!(said.contains("RCPT TO:<b@example.net>\r\nRSET\r\n"), "{said}");
            assert_eq!(said.matches("MAIL FROM").count(), if goes_on { 2 } else { 1 }, "{said}");
            assert_eq!(ended.is_ok(), goes_on);
            if let Err(error) = ended {
                assert!(matches!(error, Error { phase: phase::RSET, cause: Cause::Unexpected(_), .. }), "{error}");
                let report = client.abandoned(|_| true).expect("the second");
                assert!(report.recipients[0].outcome.is_not_sent());
            }
        }
    }

    #[test]
    fn a_command_that_turns_out_not_to_be_offered_is_told_before_anything_behind_it_is_said() {
        let mut config = Config::new("mx.example.org");
        config.starttls = StartTls::Never;
        for offered in [false, true] {
            let mut client = Client::new(config.clone()).unwrap();
            let id = client.command(crate::command::Command::etrn("example.org").unwrap()).unwrap();
            client.command(crate::command::Command::rset()).unwrap();
            let mut rest = if offered { &b"220 mx\r\n250-mx\r\n250 ETRN\r\n"[..] } else { b"220 mx\r\n250 mx\r\n" };
            let mut said = Vec::new();
            let mut events = Vec::new();
            for _ in 0..4 {
                client.transmit(NOW, &mut said);
                // What was said before its owner was told: EHLO and no more.
                let told = events.iter().any(|event| matches!(event, Event::NotSaid { .. }));
                assert!(told || offered || b"EHLO localhost\r\n".starts_with(&said), "{}", said.escape_ascii());
                events.extend(client.receive(NOW, &mut rest).unwrap());
            }
            let expected = Misuse::NotOffered { extension: "ETRN" };
            let told = events.iter().any(
                |event| matches!(event, Event::NotSaid { command, misuse } if *command == id && *misuse == expected),
            );
            assert_eq!(told, !offered, "{events:?}");
            client.transmit(NOW, &mut said);
            let next: &[u8] = if offered { b"\r\nETRN example.org\r\n" } else { b"\r\nRSET\r\n" };
            assert!(said.ends_with(next), "{}", said.escape_ascii());
        }
    }
}
