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

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(60);

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
        }
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
                if since.after(HANDSHAKE) <= now {
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
        Ok(None)
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
        let deadline = match self.handshake {
            _ if self.is_over() => None,
            Some(since) => Some(Deadline { at: since.after(HANDSHAKE), watching: phase::TLS }),
            None => self.server.deadline(),
        };
        let (read, write) = self.stack.wire(false);
        Wants { read, write, deadline }
    }

    /// The transport has put `n` octets into [`Wants::read`]; 0 is the end of the stream, and so is a read that failed.
    pub fn received(&mut self, n: usize) {
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
