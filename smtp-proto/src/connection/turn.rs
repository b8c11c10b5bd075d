//! One turn of a connection: what is made of octets and of time, by whatever stands at the top.
//!
//! The rules of this file: octets come first, then the end of the stream, then deadlines; so what arrived in time is never
//! late, and what was said before the end is heard.

use alloc::format;
use core::time::Duration;

use proxy_proto::{Deadline, Hop, Instant, Kind, Machine};

use super::config::Opening;
use super::route::Step;
use super::{Broken, Connection, Handshake, Top};
use crate::client::{Event, Line};
use crate::error::{Cause, Error};
use crate::{Misuse, phase, tls};
/// What a turn of the machine came to.
pub(super) enum Advance {
    Event(Event),
    /// Something has moved: there may be more.
    On,
    /// More octets or more time are needed.
    Wait,
}

impl Connection {
    pub(super) fn begin(&mut self, now: Instant) {
        if matches!(self.top, Top::Begin) {
            self.client.begin_operation(now);
            if let Err(error) = self.next_step(now) {
                self.fail(error);
            }
        }
    }

    /// The next step of the route, or the server itself.
    pub(super) fn next_step(&mut self, now: Instant) -> Result<(), Error> {
        match self.route.pop_front() {
            Some((hop, Step::Tunnel(tunnel))) => self.top = Top::Tunnel { since: now, hop, tunnel: tunnel.into() },
            Some((hop, Step::Tls(name))) => self.begin_tls(now, Some(hop), &name, Handshake::Configured)?,
            None => match self.opening {
                Opening::Clear => self.top = Top::Smtp,
                Opening::Listen => self.top = Top::Listen { since: now },
                Opening::Tls => self.begin_server_tls(now, Handshake::Configured)?,
            },
        }
        Ok(())
    }

    pub(super) fn begin_server_tls(&mut self, now: Instant, kind: Handshake) -> Result<(), Error> {
        let name = self.name.clone();
        self.begin_tls(now, None, &name, kind)
    }

    pub(super) fn begin_tls(
        &mut self,
        now: Instant,
        hop: Option<Hop>,
        name: &str,
        kind: Handshake,
    ) -> Result<(), Error> {
        let session = match &self.connector {
            Some(connector) => connector.connect(name),
            None => Err(Misuse::Tls { why: "no TLS connector was given".into() }),
        };
        match session {
            Ok(session) => {
                self.stack.push(session);
                self.floor_hops.push(hop.clone());
                self.top = Top::Handshake { since: now, hop, kind };
                Ok(())
            }
            Err(misuse) => Err(Error { phase: phase::TLS, hop, cause: Cause::Tls(tls::Error::Settings(misuse)) }),
        }
    }

    pub(super) fn advance(&mut self, now: Instant) -> Result<Advance, Error> {
        self.stack.lift().map_err(|broken| self.broken(broken))?;
        match &mut self.top {
            Top::Begin => return Ok(Advance::Wait),
            Top::Tunnel { hop, tunnel, .. } => {
                let mut rest = self.stack.unread();
                let before = rest.len();
                let opened = tunnel.receive(now, &mut rest);
                let read = before - rest.len();
                self.stack.consume(read);
                if opened.map_err(from_tunnel)?.is_some() {
                    self.client.show(now, phase::CONNECT, Line::Note(&format!("{hop}: the tunnel is open")));
                    self.next_step(now)?;
                    return Ok(Advance::On);
                }
                if read > 0 {
                    return Ok(Advance::On);
                }
            }
            Top::Handshake { .. } => {
                if self.stack.session().is_some_and(|session| !session.is_handshaking()) {
                    return self.handshake_done(now);
                }
            }
            Top::Listen { .. } => {
                if !self.stack.unread().is_empty() {
                    self.top = Top::Smtp;
                    return Ok(Advance::On);
                }
            }
            Top::Smtp => {
                let mut rest = self.stack.unread();
                let before = rest.len();
                let heard = self.client.receive(now, &mut rest);
                let read = before - rest.len();
                self.stack.consume(read);
                if let Some(event) = heard? {
                    return self.pass_on(now, event);
                }
                if read > 0 {
                    return Ok(Advance::On);
                }
            }
        }
        self.end_or_expire(now)
    }

    /// Nothing more can be made of what was received: perhaps that was all, or the time is up.
    pub(super) fn end_or_expire(&mut self, now: Instant) -> Result<Advance, Error> {
        if self.stack.is_ended() {
            match &mut self.top {
                Top::Smtp => self.client.finish()?,
                Top::Tunnel { tunnel, .. } => {
                    tunnel.finish().map_err(from_tunnel)?;
                    return Err(self.error(Cause::Closed { last: None }));
                }
                _ => return Err(self.error(Cause::Closed { last: self.client.last_reply() })),
            }
        }
        let limits = self.client.limits();
        match &mut self.top {
            Top::Smtp => self.client.expire(now)?,
            Top::Tunnel { since, tunnel, .. } => {
                let waited = now.since(*since);
                tunnel.expire(now).map_err(|error| late(error, waited))?;
            }
            Top::Listen { since } if since.after(limits.greeting) <= now => {
                self.begin_server_tls(now, Handshake::Silence)?;
                return Ok(Advance::On);
            }
            _ => {}
        }
        if self.client.is_closed() {
            self.close();
            return Ok(Advance::Event(Event::Closed(None)));
        }
        if let Some(deadline) = self.deadline().filter(|deadline| deadline.at <= now) {
            let waited = self.waiting_since(deadline.at).map_or(Default::default(), |since| now.since(since));
            return Err(Error {
                phase: deadline.watching,
                hop: self.hop(),
                cause: Cause::TimedOut { waited, last: self.client.last_reply() },
            });
        }
        Ok(Advance::Wait)
    }

    /// What the client says to its owner, and its owner to the caller.
    pub(super) fn pass_on(&mut self, now: Instant, event: Event) -> Result<Advance, Error> {
        match &event {
            Event::StartTls(_) => {
                // Whatever stands behind the reply was not said by who will speak TLS.
                if !self.stack.unread().is_empty() {
                    return Err(Error::new(phase::STARTTLS, Cause::Injected));
                }
                self.starttls = true;
                self.begin_server_tls(now, Handshake::StartTls)?;
                return Ok(Advance::On);
            }
            Event::Sent(report) => {
                let done = report.transaction;
                self.ends.retain(|(transaction, _)| *transaction != done);
            }
            Event::NeedsToken { reply, detail } => {
                if let Some(source) = &self.token_source {
                    // It was asked for just now, so the answer cannot come at the wrong moment.
                    let _ = self.client.fresh_token(source(reply, detail.as_deref()));
                    return Ok(Advance::On);
                }
            }
            Event::Closed(_) => self.close(),
            _ => {}
        }
        Ok(Advance::Event(event))
    }

    pub(super) fn handshake_done(&mut self, now: Instant) -> Result<Advance, Error> {
        let Top::Handshake { hop, .. } = &self.top else { return Ok(Advance::Wait) };
        if hop.is_some() {
            self.next_step(now)?;
            return Ok(Advance::On);
        }
        let facts = self.stack.session().map(|session| session.facts()).unwrap_or_default();
        self.client.show(now, phase::TLS, Line::Note(&format!("TLS {}, {}", facts.version, facts.cipher)));
        self.trace.secured(&facts);
        self.client.secured(facts.channel());
        self.facts = Some(facts.into());
        self.top = Top::Smtp;
        Ok(Advance::Event(Event::Secured))
    }

    /// Says goodbye below, too: a stream cut off and a session closed must not look alike.
    pub(super) fn close(&mut self) {
        self.closed = true;
        if let Some(session) = self.stack.session() {
            session.close();
        }
    }

    /// What is said behind a message is no part of it: where it ends is noted before.
    pub(super) fn note_end(&mut self) {
        if self.client.last_ended().0 != self.noted {
            self.lower();
        }
    }

    pub(super) fn lower(&mut self) {
        let lowered = self.stack.lower();
        if let (count, Some(ended)) = self.client.last_ended() {
            if count != self.noted {
                self.noted = count;
                self.ends.retain(|(transaction, _)| *transaction != ended);
                // An end that could not be sealed is beyond all that can leave.
                let end = self.stack.outgoing.written() + u64::from(lowered.is_err());
                self.ends.push_back((ended, end));
            }
        }
        if let Err(broken) = lowered {
            if !self.failed {
                let error = self.broken(broken);
                self.fail(error);
            }
        }
    }

    /// The session has failed: what would complete a message must not leave any more, since that message is told as not sent.
    pub(super) fn hold_back(&mut self) {
        self.note_end();
        let handed_over = self.stack.outgoing.handed_over();
        if self.ends.iter().any(|(_, end)| *end > handed_over) {
            self.stack.set_unwritable();
        }
    }

    /// What became of a message that was under way when the session failed.
    pub(super) fn abandoned(&mut self) -> Option<Event> {
        let handed_over = self.stack.outgoing.handed_over();
        let ends = &self.ends;
        let is_out = |id| ends.iter().any(|(transaction, end)| *transaction == id && *end <= handed_over);
        self.client.abandoned(is_out).map(Event::Sent)
    }

    pub(super) fn fail(&mut self, error: Error) {
        self.client.fail(error);
        self.failed = true;
    }

    /// Nothing is under way or asked for.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.top, Top::Smtp) && self.client.is_clean()
    }

    pub(super) fn give_back(&mut self) {
        if self.is_idle() {
            self.stack.give_back();
            self.client.give_back();
            self.ends = Default::default();
        }
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        if self.client.failure().is_some() {
            // There is something to be told, and no octet will come to say so.
            return (!self.told).then(|| Deadline { at: Instant::EPOCH, watching: self.phase() });
        }
        if self.closed {
            return None;
        }
        let limits = self.client.limits();
        let here = match &self.top {
            Top::Begin => None,
            Top::Tunnel { tunnel, .. } => tunnel.deadline(),
            Top::Smtp => self.client.deadline(),
            Top::Listen { since } => Some(Deadline { at: since.after(limits.greeting), watching: phase::GREETING }),
            // Who has been silent once is not given more time to be silent again.
            Top::Handshake { since, kind: Handshake::Silence, .. } if !self.stack.has_heard() => {
                Some(Deadline { at: since.after(limits.greeting.min(limits.tls)), watching: phase::GREETING })
            }
            Top::Handshake { since, .. } => Some(Deadline { at: since.after(limits.tls), watching: phase::TLS }),
        };
        let stall = self.stalled_since.map(|since| Deadline { at: since.after(limits.block), watching: self.phase() });
        let whole = self.client.operation_deadline().map(|whole| Deadline { watching: self.phase(), ..whole });
        Deadline::earlier(here, Deadline::earlier(stall, whole))
    }

    /// Since when the wait has lasted that comes to an end at this moment.
    pub(super) fn waiting_since(&self, at: Instant) -> Option<Instant> {
        if self.client.operation_deadline().is_some_and(|whole| whole.at == at) {
            return self.client.operation_since();
        }
        let stalled = self.stalled_since.filter(|since| since.after(self.client.limits().block) == at);
        match &self.top {
            Top::Handshake { since, .. } | Top::Listen { since } | Top::Tunnel { since, .. } if stalled.is_none() => {
                Some(*since)
            }
            _ => stalled.or(self.client.operation_since()),
        }
    }

    pub(super) fn hop(&self) -> Option<Hop> {
        match &self.top {
            Top::Handshake { hop, .. } => hop.clone(),
            Top::Tunnel { hop, .. } => Some(hop.clone()),
            _ => None,
        }
    }

    pub(super) fn error(&self, cause: Cause) -> Error {
        Error { phase: self.phase(), hop: self.hop(), cause }
    }

    pub(super) fn broken(&self, broken: Broken) -> Error {
        let hop = self.floor_hops.get(broken.floor).cloned().flatten();
        let cause = match (&self.top, broken.error) {
            (Top::Handshake { kind: Handshake::StartTls, .. }, tls::Error::NotTls(_)) => {
                return Error::new(phase::STARTTLS, Cause::Injected);
            }
            (_, error) => Cause::Tls(error),
        };
        let phase = match self.top {
            Top::Handshake { .. } => phase::TLS,
            _ => self.phase(),
        };
        Error { phase, hop, cause }
    }
}

fn from_tunnel(error: proxy_proto::Error) -> Error {
    Error { phase: error.phase(), hop: error.hop().cloned(), cause: Cause::Tunnel(error) }
}

/// A time-out is told alike wherever it happens: with the time spent, which the tunnel does not count.
fn late(error: proxy_proto::Error, waited: Duration) -> Error {
    let hop = error.hop().cloned();
    match error.kind() {
        Kind::TimedOut => Error { phase: error.phase(), hop, cause: Cause::TimedOut { waited, last: None } },
        _ => from_tunnel(error),
    }
}
