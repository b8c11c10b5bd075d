//! What can be read of a connection at any time: what was agreed on, what was said, and how far it is.

use proxy_proto::{Machine, Phase};

use super::{Connection, Handshake, Security, Top};
use crate::client::Remembered;
use crate::dial::{Mode, Reached};
use crate::error::Error;
use crate::extension::Extensions;
use crate::reply::Reply;
use crate::sasl::MechanismName;
use crate::{Grouping, phase, tls};

impl Connection {
    /// The server's greeting, once it was read.
    pub fn greeting(&self) -> Option<&Reply> {
        self.client.greeting()
    }

    /// What the server offers, by its latest answer to EHLO.
    pub fn extensions(&self) -> &Extensions {
        self.client.extensions()
    }

    /// The same, to be put right; see [`Client::extensions_mut`](crate::client::Client::extensions_mut).
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        self.client.extensions_mut()
    }

    /// What is worth remembering of this server, while the session is ready; see [`Remembered`].
    pub fn remembered(&self) -> Option<Remembered> {
        self.client.remembered()
    }

    /// Whether commands left before the greeting was read; see [`Client::spoke_early`](crate::client::Client::spoke_early).
    pub fn spoke_early(&self) -> bool {
        self.client.spoke_early()
    }

    /// The mechanism that authenticated the session.
    pub fn authenticated(&self) -> Option<&MechanismName> {
        self.client.authenticated()
    }

    /// What TLS with the server agreed on, once it stands.
    pub fn tls(&self) -> Option<&tls::Facts> {
        self.facts.as_deref()
    }

    /// The security that was reached: `Implicit`, `StartTls`, or `None` so far.
    pub fn security(&self) -> Security {
        match (&self.facts, self.starttls) {
            (Some(_), true) => Security::StartTls,
            (Some(_), false) => Security::Implicit,
            (None, _) => Security::None,
        }
    }

    /// How far it has come on its way to being ready, as the [dialer](crate::dial::Dialer::reached) wants to know it.
    pub fn reached(&self) -> Reached {
        let at_server = match &self.top {
            Top::Handshake { hop, .. } => hop.is_none(),
            Top::Begin | Top::Tunnel { .. } => false,
            Top::Listen { .. } | Top::Smtp => true,
        };
        match (&self.facts, self.client.greeting()) {
            _ if self.client.is_ready() => Reached::Ready(Mode::of(self)),
            (Some(_), _) => Reached::Secured(self.client.commands()),
            (None, Some(_)) => Reached::Greeted(self.client.commands()),
            (None, None) if at_server => Reached::Server,
            (None, None) => Reached::Connected,
        }
    }

    /// Flights so far: times the client spoke after it had to listen, from EHLO on.
    pub fn flights(&self) -> u64 {
        self.client.flights()
    }

    /// Commands so far, from EHLO on.
    pub fn commands(&self) -> u64 {
        self.client.commands()
    }

    /// Octets that the transport has taken so far; those of tunnels and TLS are among them.
    pub fn octets(&self) -> u64 {
        self.stack.outgoing.handed_over()
    }

    /// How many more messages the server takes on this connection; see
    /// [`Client::mails_left`](crate::client::Client::mails_left). Beyond that a further one is
    /// [`Misuse::TooManyMessages`](crate::Misuse::TooManyMessages), and nothing is lost: connect again for it.
    pub fn mails_left(&self) -> Option<u64> {
        self.client.mails_left()
    }

    /// How eagerly commands are grouped with this server; see [`Client::grouping`](crate::client::Client::grouping).
    pub fn grouping(&self) -> Grouping {
        self.client.grouping()
    }

    /// Groups commands more or less eagerly from the next message on.
    pub fn set_grouping(&mut self, grouping: Grouping) {
        self.client.set_grouping(grouping);
    }

    /// `true` once the session has ended as it should: write what [`wants`](Self::wants) still holds, and close.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// How the session failed, once [`poll`](Self::poll) has said so.
    pub fn failure(&self) -> Option<&Error> {
        self.client.failure().filter(|_| self.failed)
    }

    /// Whether it has failed, said by [`poll`](Self::poll) or not yet: nothing more can be sent.
    pub(crate) fn is_broken(&self) -> bool {
        self.client.failure().is_some()
    }

    /// What is under way, as errors name it.
    pub fn phase(&self) -> Phase {
        match &self.top {
            Top::Begin | Top::Listen { .. } => phase::GREETING,
            Top::Tunnel { tunnel, .. } => tunnel.deadline().map_or(phase::CONNECT, |deadline| deadline.watching),
            Top::Handshake { kind: Handshake::Silence, .. } if !self.stack.has_heard() => phase::GREETING,
            Top::Handshake { .. } => phase::TLS,
            Top::Smtp => self.client.phase(),
        }
    }

    /// The replies that are due, in order, by the phase of what they answer; see
    /// [`Client::outstanding`](crate::client::Client::outstanding).
    pub fn outstanding(&self) -> impl ExactSizeIterator<Item = Phase> {
        self.client.outstanding()
    }

    /// `true` where the session is ready and nothing is under way, asked for or unread: it can be used for another message.
    pub fn is_clean(&self) -> bool {
        !self.failed
            && !self.unwritable
            && matches!(self.top, Top::Smtp)
            && self.client.is_clean()
            && self.stack.unread().is_empty()
            && !self.stack.is_ended()
    }
}
