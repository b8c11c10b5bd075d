//! The other end: a server machine on the same stack of buffers and TLS.
//!
//! The rules of this file: as for [`Connection`](super::Connection); the questions the server asks are answered through it.
//! Parting is a part of it: what was said last is to arrive, whatever the peer is still sending.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use proxy_proto::{Deadline, Instant, Machine};

use super::{Broken, Stack, Wants};
use crate::server::{self, Authentication, Credentials, Decision, Event, Server, Session};
use crate::{Misuse, phase, tls};

/// How long a peer may take to hear the last words.
const FAREWELL: Duration = Duration::from_secs(1);

/// Octets at once of a peer that goes on speaking although nobody listens any more.
const DEAF: usize = 4 * 1024;

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

/// One connection that a server has accepted. Driven as a [`Connection`](super::Connection) is.
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
    /// Since when nothing more will come of it.
    parting: Option<Instant>,
    /// What is read then goes here, and from here nowhere.
    deaf: Vec<u8>,
    /// The transport takes nothing more: it was shut, or it failed.
    shut: bool,
    /// The stream has ended.
    ended: bool,
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
            parting: None,
            deaf: Vec::new(),
            shut: false,
            ended: false,
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
        let polled = match &self.failure {
            Some(error) => Err(error.clone()),
            None => self.advance(now).map_err(|error| self.failure.get_or_insert(error).clone()),
        };
        if self.is_over() {
            self.parting.get_or_insert(now);
        }
        polled
    }

    fn advance(&mut self, now: Instant) -> Result<Option<Event>, AcceptedError> {
        self.begin(now)?;
        loop {
            self.stack.lift().map_err(tls_fault)?;
            if let Some(since) = self.handshake {
                let Some(session) = self.stack.session() else { return Ok(None) };
                if !session.is_handshaking() {
                    self.facts = Some(session.facts());
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
        if self.handshake.is_none() {
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
        let deadline = match (self.parting, self.handshake) {
            // It failed just now, and is to be asked about it.
            _ if self.failure.is_some() && !failed => Some(Deadline { at: now, watching: phase::QUIT }),
            (Some(since), _) => Some(Deadline { at: since.after(FAREWELL), watching: phase::QUIT }),
            (None, Some(since)) => Some(Deadline { at: since.after(self.handshake_time()), watching: phase::TLS }),
            // It was closed just now, by what was said last.
            (None, None) if self.server.is_closed() => Some(Deadline { at: now, watching: phase::QUIT }),
            (None, None) => self.server.deadline(),
        };
        if self.parting.is_some() && !self.ended {
            self.deaf.resize(DEAF, 0);
        }
        let (mut read, write) = self.stack.wire();
        if self.parting.is_some() {
            read = if self.ended { &mut [] } else { &mut self.deaf };
        }
        let wants = Wants { read, write, deadline };
        #[cfg(feature = "test-util")]
        let wants = self.faults.spoil(now, wants);
        wants
    }

    /// The transport has put `n` octets into [`Wants::read`]; 0 is the end of the stream, and so is a read that failed.
    pub fn received(&mut self, n: usize) {
        self.ended |= n == 0;
        #[cfg(feature = "test-util")]
        self.faults.received(n);
        if self.parting.is_none() || n == 0 {
            self.stack.received(n);
        }
    }

    /// The transport has taken `n` octets of [`Wants::write`].
    pub fn sent(&mut self, n: usize) {
        self.stack.sent(n);
    }

    /// A write failed: nothing more can be said.
    pub fn write_failed(&mut self) {
        self.shut = true;
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

    /// Nothing more will come of this connection. It is driven on until [`is_done`](Self::is_done), so that what was said last
    /// arrives: a socket that is closed with octets unread resets, and takes the last reply with it.
    pub fn is_over(&self) -> bool {
        self.failure.is_some() || self.server.is_closed()
    }

    /// Everything was sent that ever will be: shut the transport's writing side, and tell by [`shut`](Self::shut).
    pub fn has_said_all(&mut self, now: Instant) -> bool {
        let nothing_left = self.wants(now).write.is_empty();
        #[cfg(feature = "test-util")]
        let nothing_left = nothing_left && !self.faults.holds_back();
        self.parting.is_some() && !self.shut && nothing_left
    }

    /// The transport's writing side was shut.
    pub fn shut(&mut self) {
        self.shut = true;
    }

    /// The peer has heard everything, or has had its time: close the transport.
    pub fn is_done(&self, now: Instant) -> bool {
        #[cfg(feature = "test-util")]
        if self.faults.has_cut() {
            return self.parting.is_some();
        }
        self.parting.is_some_and(|since| (self.shut && self.ended) || since.after(FAREWELL) <= now)
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
    fn the_last_word_arrives_before_the_stream_is_closed() {
        let later = NOW.after(FAREWELL);
        for (peer_closes, write_fails) in [(true, false), (false, false), (true, true)] {
            let mut one = accepted();
            hear(&mut one, NOW, b"QUIT\r\n");
            assert!(one.is_over() && !one.has_said_all(NOW) && !one.is_done(NOW));
            assert_eq!(one.wants(NOW).deadline.unwrap().at, later);
            if write_fails {
                one.write_failed();
            } else {
                assert!(say(&mut one, NOW).ends_with("221 Closing the connection\r\n"));
                assert!(one.has_said_all(NOW));
                one.shut();
            }
            assert!(!one.has_said_all(NOW), "once is enough");
            // Whatever it still says is read and forgotten.
            let room = one.wants(NOW).read.len();
            assert!(room > 0);
            one.received(room);
            assert_eq!(one.poll(NOW), Ok(None));
            assert!(!one.is_done(NOW) && one.wants(NOW).read.len() == room);
            if peer_closes {
                one.received(0);
                assert!(one.is_done(NOW) && one.wants(NOW).read.is_empty());
            }
            assert!(one.is_done(later), "who does not close is not waited for");
        }
    }

    #[test]
    fn a_silent_client_is_told_so_and_parted_with() {
        let mut one = accepted();
        assert_eq!(one.poll(NOW), Ok(None));
        say(&mut one, NOW);
        let at = one.wants(NOW).deadline.unwrap().at;
        assert!(matches!(one.poll(at), Err(AcceptedError::Smtp(server::Error::Timeout(_)))));
        assert!(!one.has_said_all(at) && say(&mut one, at).starts_with("421 ") && one.has_said_all(at));
        assert!(!one.is_done(at) && one.is_done(at.after(FAREWELL)));
    }

    #[test]
    fn what_is_shut_down_is_asked_again_at_once() {
        let mut one = accepted();
        assert_eq!(one.poll(NOW), Ok(None));
        one.shut_down();
        // The 421 is made here, and nothing will come from outside to say so.
        let wants = one.wants(NOW);
        assert!(wants.write.ends_with(b"421 Shutting down, closing the connection\r\n"));
        assert_eq!(wants.deadline.unwrap().at, NOW);
        assert_eq!(one.poll(NOW), Ok(None));
        assert!(!one.is_done(NOW) && one.is_done(NOW.after(FAREWELL)));
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
}
