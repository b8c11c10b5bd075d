//! The other end: a server machine on the same stack of buffers and TLS.
//!
//! The rules of this file: as for [`Connection`](super::Connection); the questions the server asks are answered through it.

use alloc::sync::Arc;
use core::fmt;
use core::time::Duration;

use proxy_proto::{Deadline, Instant, Machine};

use super::{Broken, Stack, Wants};
use crate::server::{self, Authentication, Credentials, Decision, Event, Server, Session};
use crate::{Misuse, phase, tls};

/// Why an accepted connection is over.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum AcceptedError {
    /// The dialogue failed.
    Smtp(server::Error),
    /// TLS failed.
    Tls(tls::Error),
}

impl fmt::Display for AcceptedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Smtp(error) => write!(f, "{error}"),
            Self::Tls(error) => write!(f, "{error}"),
        }
    }
}

impl core::error::Error for AcceptedError {}

/// One connection that a server has accepted: [`Server`] on a stack of buffers and TLS. Driven as a
/// [`Connection`](super::Connection) is: [`poll`](Self::poll) until `None`, answering each question that an [`Event`] asks; then
/// what [`wants`](Self::wants) says, all at once.
///
/// It ends where [`is_over`](Self::is_over) holds *and* [`Wants::write`] is empty: the last reply may still be there. Close
/// your direction of the stream then, and read what is still coming before you close the rest of it: a socket that is closed
/// with octets unread resets, and the last reply may be lost.
///
/// ```
/// use smtp_proto::sasl::{Channel, MechanismName, server::Answer, server::Event as Asked};
/// use smtp_proto::server::{Config, Event};
/// use smtp_proto::{Accepted, Instant, tls::Facts};
///
/// // What a client says; a program reads it from its socket, and gives an acceptor for STARTTLS instead of `None`.
/// let mut client = &b"EHLO c.example\r\nAUTH PLAIN AHRpbQB0YW5zdGFhZg==\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\nHello.\r\n.\r\nQUIT\r\n"[..];
/// let config = Config::new("mx.example.org")?.mechanisms([MechanismName::Plain]).danger_allow_clear_text_auth(true);
/// let mut smtp = Accepted::new(config, None)?;
/// let (mut said, mut message) = (Vec::new(), Vec::new());
/// let now = Instant::EPOCH; // and from there on, by a clock
/// loop {
///     while let Some(event) = smtp.poll(now)? {
///         match event {
///             Event::Authenticate { .. } => {
///                 let channel = smtp.tls().map_or_else(Channel::clear, Facts::channel);
///                 let nonce = [7; 24]; // random octets, fresh ones each time
///                 smtp.authentication().expect("asked").begin(&channel, nonce)?;
///             }
///             Event::Credentials(Asked::Verify { user, password, .. }) => {
///                 let known = user == "tim" && password == "tanstaaf".into();
///                 let answer = if known { Answer::Accept } else { Answer::Refuse };
///                 smtp.credentials().expect("asked").answer(answer)?;
///             }
///             Event::Content { octets, .. } => message.extend(octets),
///             Event::Abandoned(_) => message.clear(),
///             _ => {}
///         }
///         // Whatever else was asked: yes. In LMTP the end of a message is a question for each recipient.
///         while let Some(decision) = smtp.decision() {
///             decision.accept();
///         }
///     }
///     // A program waits for all three at once: to write, to read, and for `deadline`.
///     let over = smtp.is_over();
///     let wants = smtp.wants(now);
///     if !wants.write.is_empty() {
///         said.extend_from_slice(wants.write);
///         let written = wants.write.len();
///         smtp.sent(written);
///     } else if over {
///         break;
///     } else {
///         let read = client.len().min(wants.read.len());
///         let (come, rest) = client.split_at(read);
///         wants.read[..read].copy_from_slice(come);
///         client = rest;
///         smtp.received(read);
///     }
/// }
/// assert_eq!(message, b"Hello.\r\n");
/// assert_eq!(smtp.session().identity().map(|identity| &*identity.user), Some("tim"));
/// assert!(said.ends_with(b"221 2.0.0 Closing the connection\r\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Accepted {
    stack: Stack,
    server: Server,
    acceptor: Option<Arc<dyn tls::Acceptor>>,
    /// A TLS handshake is under way, since when.
    handshake: Option<Instant>,
    begun: bool,
    implicit: bool,
    facts: Option<tls::Facts>,
    failure: Option<AcceptedError>,
    said_goodbye: bool,
    #[cfg(feature = "test-util")]
    faults: super::Faulty,
}

impl Accepted {
    /// A connection just accepted, in clear; with an acceptor, STARTTLS is offered.
    ///
    /// # Errors
    ///
    /// None today; [`Misuse`] where the configuration cannot be said.
    pub fn new(config: server::Config, acceptor: Option<Arc<dyn tls::Acceptor>>) -> Result<Self, Misuse> {
        let server = Server::new(config.starttls(acceptor.is_some()));
        Ok(Self::with(server, acceptor, false))
    }

    /// A connection just accepted on a port of implicit TLS.
    ///
    /// # Errors
    ///
    /// None today; [`Misuse`] where the configuration cannot be said.
    pub fn implicit(config: server::Config, acceptor: Arc<dyn tls::Acceptor>) -> Result<Self, Misuse> {
        Ok(Self::with(Server::new(config.implicit_tls(true)), Some(acceptor), true))
    }

    fn with(server: Server, acceptor: Option<Arc<dyn tls::Acceptor>>, implicit: bool) -> Self {
        Self {
            stack: Stack::default(),
            server,
            acceptor,
            handshake: None,
            begun: false,
            implicit,
            facts: None,
            failure: None,
            said_goodbye: false,
            #[cfg(feature = "test-util")]
            faults: super::Faulty::default(),
        }
    }

    /// Misbehaves from now on, for the tests of clients.
    #[cfg(feature = "test-util")]
    pub fn misbehave(&mut self, faults: super::Faults) {
        self.faults = super::Faulty::new(faults);
    }

    /// Does all that can be done with what was received, and with the time, stopping at the first event.
    ///
    /// # Errors
    ///
    /// The connection is over; the same error for ever. What [`wants`](Self::wants) still holds is to be sent.
    #[must_use = "an event not looked at is lost"]
    pub fn poll(&mut self, now: Instant) -> Result<Option<Event>, AcceptedError> {
        if let Some(error) = &self.failure {
            return Err(error.clone());
        }
        self.advance(now).map_err(|error| self.failure.get_or_insert(error).clone())
    }

    fn advance(&mut self, now: Instant) -> Result<Option<Event>, AcceptedError> {
        self.begin(now)?;
        loop {
            self.stack.lift().map_err(tls_fault)?;
            if let Some(since) = self.handshake {
                let Some(session) = self.stack.session() else { return Ok(None) };
                if !session.is_handshaking() {
                    let facts = session.facts();
                    if facts.bindings.is_empty() {
                        self.server.without_channel_binding();
                    }
                    self.facts = Some(facts);
                    self.handshake = None;
                    if !self.implicit {
                        // It asked for TLS itself, so it cannot mind that TLS stands.
                        let _ = self.server.secured();
                    }
                    continue;
                }
                if self.stack.is_ended() {
                    return Err(AcceptedError::Smtp(server::Error::Lost(phase::TLS)));
                }
                if since.after(self.handshake_time()) <= now {
                    return Err(AcceptedError::Smtp(server::Error::Timeout(phase::TLS)));
                }
                return Ok(None);
            }
            let mut rest = self.stack.unread();
            let before = rest.len();
            let event = self.server.receive(now, &mut rest);
            let read = before - rest.len();
            self.stack.consume(read);
            match event.map_err(AcceptedError::Smtp)? {
                Some(Event::StartTls) => {
                    // Whatever stands behind STARTTLS was not said by who will speak TLS (RFC 3207 section 4.2).
                    if !self.stack.unread().is_empty() {
                        return Err(AcceptedError::Smtp(server::Error::ClearTextBehindStartTls));
                    }
                    // The 220 goes out below the session that begins behind it.
                    self.server.transmit(now, self.stack.said());
                    self.begin_tls(now)?;
                }
                Some(event) => return Ok(Some(event)),
                None if read > 0 => {}
                None => break,
            }
        }
        if self.stack.is_ended() && !self.server.is_closed() {
            self.server.finish().map_err(AcceptedError::Smtp)?;
        }
        self.server.expire(now).map_err(AcceptedError::Smtp)?;
        #[cfg(feature = "test-util")]
        if self.faults.has_cut() {
            return Err(AcceptedError::Smtp(server::Error::Lost(phase::COMMAND)));
        }
        if self.server.is_idle() && self.stack.is_drained() {
            self.stack.give_back();
        }
        Ok(None)
    }

    fn handshake_time(&self) -> Duration {
        self.server.config().limits.handshake_time
    }

    fn begin(&mut self, now: Instant) -> Result<(), AcceptedError> {
        if !self.begun {
            self.begun = true;
            if self.implicit {
                self.begin_tls(now)?;
            }
        }
        Ok(())
    }

    fn begin_tls(&mut self, now: Instant) -> Result<(), AcceptedError> {
        let session = match &self.acceptor {
            Some(acceptor) => acceptor.accept(),
            None => Err(Misuse::Tls { why: "no TLS acceptor was given".into() }),
        };
        self.stack.push(session.map_err(|misuse| AcceptedError::Tls(tls::Error::Settings(misuse)))?);
        self.handshake = Some(now);
        Ok(())
    }

    /// Says what there is to say, then what is waited for.
    pub fn wants(&mut self, now: Instant) -> Wants<'_> {
        let failed = self.failure.is_some();
        if let Err(error) = self.begin(now) {
            self.failure.get_or_insert(error);
        }
        // Where TLS was to come first and could not begin, nothing is said in clear.
        let shut = self.implicit && self.facts.is_none();
        if self.handshake.is_none() && !shut {
            self.server.transmit(now, self.stack.said());
            if self.is_over() && !self.said_goodbye {
                self.said_goodbye = true;
                // What the server said last goes before the goodbye, so it is sealed first.
                if let Err(broken) = self.stack.lower() {
                    self.failure.get_or_insert(tls_fault(broken));
                }
                if let Some(session) = self.stack.session() {
                    session.close();
                }
            }
        }
        if let Err(broken) = self.stack.lower() {
            self.failure.get_or_insert(tls_fault(broken));
        }
        let deadline = match self.handshake {
            // It failed just now, and is to be asked about it.
            _ if self.failure.is_some() && !failed => Some(Deadline { at: now, watching: phase::QUIT }),
            _ if self.is_over() => None,
            Some(since) => Some(Deadline { at: since.after(self.handshake_time()), watching: phase::TLS }),
            None => self.server.deadline(),
        };
        #[cfg(feature = "test-util")]
        let over = self.is_over();
        let (read, write) = self.stack.wire(self.server.is_idle());
        let wants = Wants { read, write, deadline };
        #[cfg(feature = "test-util")]
        let wants = self.faults.spoil(now, wants, over);
        wants
    }

    /// The transport has put `n` octets into [`Wants::read`]; 0 is the end of the stream, and so is a read that failed.
    pub fn received(&mut self, n: usize) {
        #[cfg(feature = "test-util")]
        self.faults.received(n);
        self.stack.received(n);
    }

    /// The transport has taken `n` octets of [`Wants::write`].
    pub fn sent(&mut self, n: usize) {
        self.stack.sent(n);
    }

    /// A write failed: nothing more can be said.
    pub fn write_failed(&mut self) {
        self.stack.set_unwritable();
    }

    /// The question that is open, about mail; see [`Server::decision`].
    pub fn decision(&mut self) -> Option<Decision<'_>> {
        self.server.decision()
    }

    /// The question that is open, about AUTH; see [`Server::authentication`].
    pub fn authentication(&mut self) -> Option<Authentication<'_>> {
        self.server.authentication()
    }

    /// The question that a mechanism asks; see [`Server::credentials`].
    pub fn credentials(&mut self) -> Option<Credentials<'_>> {
        self.server.credentials()
    }

    /// Says 421 at the next boundary between replies, and ends; see [`Server::shut_down`].
    pub fn shut_down(&mut self) {
        self.server.shut_down();
    }

    /// What is known of the client.
    pub fn session(&self) -> &Session {
        self.server.session()
    }

    /// What TLS agreed on, once it stands.
    pub fn tls(&self) -> Option<&tls::Facts> {
        self.facts.as_ref()
    }

    /// Nothing more will come of this connection: write what [`wants`](Self::wants) still holds, and close.
    pub fn is_over(&self) -> bool {
        self.failure.is_some() || self.server.is_closed()
    }
}

fn tls_fault(broken: Broken) -> AcceptedError {
    AcceptedError::Tls(broken.error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::boxed::Box;
    use alloc::string::String;
    use alloc::vec::Vec;

    fn accepted() -> Accepted {
        Accepted::new(server::Config::new("mx.example").unwrap(), None).unwrap()
    }

    fn hear(accepted: &mut Accepted, now: Instant, octets: &[u8]) {
        accepted.wants(now).read[..octets.len()].copy_from_slice(octets);
        accepted.received(octets.len());
        while let Ok(Some(_)) = accepted.poll(now) {
            while let Some(decision) = accepted.decision() {
                decision.accept();
            }
        }
    }

    /// All that is to be written, in one write.
    fn say(accepted: &mut Accepted, now: Instant) -> String {
        let said = String::from_utf8(accepted.wants(now).write.to_vec()).unwrap();
        accepted.sent(said.len());
        said
    }

    const NOW: Instant = Instant::EPOCH;

    #[test]
    fn a_group_is_answered_in_one_write() {
        let mut one = accepted();
        say(&mut one, NOW);
        hear(&mut one, NOW, b"EHLO c\r\n");
        say(&mut one, NOW);
        hear(&mut one, NOW, b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<>\r\nDATA\r\n");
        let codes: Vec<String> = say(&mut one, NOW).lines().map(|line| line[..3].into()).collect();
        assert_eq!(codes, ["250", "250", "501", "354"]);
        hear(&mut one, NOW, b".\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 1\r\nxBDAT 0 LAST\r\nQUIT\r\n");
        let codes: Vec<String> = say(&mut one, NOW).lines().map(|line| line[..3].into()).collect();
        assert_eq!(codes, ["250", "250", "250", "250", "250", "221"]);
    }

    #[test]
    fn a_handshake_has_the_limit_of_the_settings() {
        struct Never;
        impl tls::Acceptor for Never {
            fn accept(&self) -> Result<Box<dyn tls::Session>, Misuse> {
                Ok(Box::new(Handshaking))
            }
        }
        struct Handshaking;
        impl tls::Session for Handshaking {
            fn open(&mut self, _: &mut &[u8], _: &mut Vec<u8>, _: usize) -> Result<(), tls::Error> {
                Ok(())
            }
            fn seal(&mut self, _: &[u8], _: &mut Vec<u8>) -> Result<(), tls::Error> {
                Ok(())
            }
            fn close(&mut self) {}
            fn is_handshaking(&self) -> bool {
                true
            }
            fn is_closed_by_peer(&self) -> bool {
                false
            }
            fn facts(&self) -> tls::Facts {
                tls::Facts::default()
            }
        }
        let limits = server::Limits { handshake_time: Duration::from_secs(7), ..server::Limits::default() };
        let config = server::Config::new("mx.example").unwrap().limits(limits);
        let mut one = Accepted::implicit(config, Arc::new(Never)).unwrap();
        assert_eq!(one.poll(NOW), Ok(None));
        let end = NOW.after(Duration::from_secs(7));
        assert_eq!(one.wants(NOW).deadline.unwrap(), Deadline { at: end, watching: phase::TLS });
        assert_eq!(one.poll(end), Err(AcceptedError::Smtp(server::Error::Timeout(phase::TLS))));
    }

    /// A TLS that takes everything for a record of one octet's head, and cannot seal.
    struct Sealed {
        seals: bool,
    }

    impl tls::Session for Sealed {
        fn open(&mut self, input: &mut &[u8], plaintext: &mut Vec<u8>, _: usize) -> Result<(), tls::Error> {
            plaintext.extend(input.iter().filter(|octet| **octet != 0x16));
            *input = &[];
            Ok(())
        }
        fn seal(&mut self, plaintext: &[u8], output: &mut Vec<u8>) -> Result<(), tls::Error> {
            if !self.seals && !plaintext.is_empty() {
                return Err(tls::Error::Failed("no more records".into()));
            }
            output.extend_from_slice(plaintext);
            Ok(())
        }
        fn close(&mut self) {}
        fn is_handshaking(&self) -> bool {
            false
        }
        fn is_closed_by_peer(&self) -> bool {
            false
        }
        fn facts(&self) -> tls::Facts {
            tls::Facts::default()
        }
    }

    /// Gives such sessions, or none.
    struct Gives(Option<bool>);

    impl tls::Acceptor for Gives {
        fn accept(&self) -> Result<Box<dyn tls::Session>, Misuse> {
            let none = || Misuse::Tls { why: "no certificate".into() };
            self.0.map(|seals| Box::new(Sealed { seals }) as Box<dyn tls::Session>).ok_or_else(none)
        }
    }

    fn implicit(gives: Option<bool>) -> Accepted {
        Accepted::implicit(server::Config::new("mx.example").unwrap(), Arc::new(Gives(gives))).unwrap()
    }

    #[test]
    fn settings_of_tls_that_cannot_be_used_are_told_whichever_is_asked_first() {
        let failure = || AcceptedError::Tls(tls::Error::Settings(Misuse::Tls { why: "no certificate".into() }));
        let mut one = implicit(None);
        assert_eq!(one.poll(NOW), Err(failure()));
        assert_eq!(one.wants(NOW).write, b"", "a greeting in clear would be none of TLS");
        let mut one = implicit(None);
        let wants = one.wants(NOW);
        assert_eq!((wants.write, wants.deadline.map(|due| due.at)), (&b""[..], Some(NOW)), "it is to be asked why");
        assert_eq!(one.poll(NOW), Err(failure()));
        assert_eq!(one.poll(NOW), Err(failure()), "sticky");
        // The same behind STARTTLS.
        let config = server::Config::new("mx.example").unwrap();
        let mut one = Accepted::new(config, Some(Arc::new(Gives(None)))).unwrap();
        say(&mut one, NOW);
        hear(&mut one, NOW, b"EHLO c\r\n");
        assert!(say(&mut one, NOW).contains("STARTTLS"));
        hear(&mut one, NOW, b"STARTTLS\r\n");
        let mut failed = one.poll(NOW).err();
        for _ in 0..2 {
            say(&mut one, NOW);
            failed = failed.or(one.poll(NOW).err());
        }
        assert_eq!(failed, Some(failure()));
    }

    #[test]
    fn what_cannot_be_sealed_ends_the_session_and_is_told() {
        let mut good = implicit(Some(true));
        hear(&mut good, NOW, b"\x16");
        assert!(say(&mut good, NOW).starts_with("220 "));
        let failure = Err(AcceptedError::Tls(tls::Error::Failed("no more records".into())));
        let mut one = implicit(Some(false));
        hear(&mut one, NOW, b"\x16");
        assert_eq!(one.wants(NOW).write, b"");
        assert_eq!(one.poll(NOW), failure);
        assert!(one.is_over());
        // The same where the last words cannot be sealed.
        let mut one = implicit(Some(false));
        hear(&mut one, NOW, b"\x16QUIT\r\n");
        assert_eq!(one.wants(NOW).write, b"");
        assert_eq!(one.poll(NOW), failure);
    }

    #[test]
    fn an_accepted_connections_errors_say_what_the_client_did() {
        use alloc::string::ToString;
        let text = AcceptedError::Smtp(server::Error::Timeout(phase::TLS)).to_string();
        assert!(text.contains("timeout") && text.contains("TLS handshake"), "{text}");
        let text = AcceptedError::Tls(tls::Error::Failed("no cipher in common".into())).to_string();
        assert!(text.contains("no cipher in common"), "{text}");
    }
}
