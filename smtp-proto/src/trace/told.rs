//! A span for each connection, `smtp` with `host` and `port`, at level INFO; in it:
//!
//! | level | target | what |
//! |---|---|---|
//! | INFO | `smtp_proto` | what became of each recipient (`from`, `to`, `result`, `reply`), and what ended a session before its time (`error`) |
//! | DEBUG | `smtp_proto` | how far the session is: lookups and dials, the greeting, TLS, being ready, replies to MAIL and RCPT |
//! | TRACE | `smtp_proto::wire` | every line of the dialogue with its `phase`, as a transcript shows it |

use alloc::string::ToString;
use alloc::sync::Arc;
use core::fmt::{self, Write};
use core::net::SocketAddr;

use proxy_proto::{Instant, Phase};
use tracing::{Level, Span, debug, info, trace};

use crate::client::{Config, Event, Line, Report, Transcript};
use crate::dial::Verdict;
use crate::text::SafeLine;
use crate::tls::Facts;
use crate::{Connection, Error};

/// Where phases and outcomes go.
const SESSION: &str = "smtp_proto";
/// Where lines of the dialogue go.
const WIRE: &str = "smtp_proto::wire";

/// Who tells of one connection.
pub(crate) struct Trace {
    span: Span,
    /// The end was told: it is the same for ever.
    ended: bool,
}

impl Trace {
    pub(crate) fn begin(host: &str, port: u16) -> Self {
        Self { span: tracing::info_span!(target: SESSION, "smtp", host, port), ended: false }
    }

    /// The same configuration, with somebody who passes the lines on, if they are wanted. That is asked once for each
    /// connection: without a listener no line is made.
    pub(crate) fn listen(&self, mut config: Arc<Config>) -> Arc<Config> {
        if !self.span.in_scope(|| tracing::enabled!(target: WIRE, Level::TRACE)) {
            return config;
        }
        let (span, other) = (self.span.clone(), config.transcript.clone());
        let pass_on = move |now: Instant, phase: Phase, line: Line<'_>| {
            // A reply of many lines is as many events: one line of a log each.
            for line in line.to_string().split('\n') {
                trace!(target: WIRE, parent: &span, phase = phase.name(), "{}", Safe(line));
            }
            if let Some(other) = &other {
                other.line(now, phase, line);
            }
        };
        Arc::make_mut(&mut config).transcript = Some(Transcript::new(pass_on));
        config
    }

    pub(crate) fn secured(&self, facts: &Facts) {
        let (tls, cipher) = (&*facts.version, &*facts.cipher);
        debug!(target: SESSION, parent: &self.span, tls, cipher, resumed = facts.resumed, "secured");
    }

    pub(crate) fn polled(&mut self, polled: &Result<Option<Event>, Error>) {
        let span = &self.span;
        match polled {
            Ok(None) => {}
            Ok(Some(event)) => self.event(event),
            Err(_) if self.ended => {}
            Err(error) => {
                info!(target: SESSION, parent: span, error = %Safe(error), "failed");
                self.ended = true;
            }
        }
    }

    fn event(&self, event: &Event) {
        let span = &self.span;
        match event {
            Event::Greeted(reply) => debug!(target: SESSION, parent: span, reply = %Safe(reply), "greeted"),
            Event::Offered(reply) => debug!(target: SESSION, parent: span, reply = %Safe(reply), "offered"),
            Event::StartTls(reply) => debug!(target: SESSION, parent: span, reply = %Safe(reply), "STARTTLS"),
            Event::NeedsToken { reply, .. } => {
                debug!(target: SESSION, parent: span, reply = %Safe(reply), "needs a fresh token");
            }
            // It was told with what was agreed on.
            Event::Secured => {}
            Event::Ready => debug!(target: SESSION, parent: span, "ready"),
            Event::Mail { reply, .. } => debug!(target: SESSION, parent: span, reply = %Safe(reply), "MAIL"),
            Event::Recipient { reply, recipient, .. } => {
                debug!(target: SESSION, parent: span, recipient, reply = %Safe(reply), "RCPT");
            }
            Event::Sent(report) => self.sent(report),
            Event::Replied { reply, .. } => debug!(target: SESSION, parent: span, reply = %Safe(reply), "replied"),
            Event::NotSaid { misuse, .. } => debug!(target: SESSION, parent: span, misuse = %Safe(misuse), "not said"),
            Event::Closed(_) => debug!(target: SESSION, parent: span, "closed"),
        }
    }

    fn sent(&self, report: &Report) {
        let (span, from, octets) = (&self.span, Safe(&report.reverse_path), report.octets);
        for recipient in &report.recipients {
            let (to, result) = (Safe(&recipient.path), recipient.outcome.name());
            let reply = recipient.outcome.reply().map(|reply| tracing::field::display(Safe(reply)));
            info!(target: SESSION, parent: span, %from, %to, result, reply, octets, "sent");
        }
        if let Some(misuse) = &report.misuse {
            info!(target: SESSION, parent: span, %from, misuse = %Safe(misuse), "not sent");
        }
    }
}

pub(crate) fn resolving(name: &str) {
    debug!(target: SESSION, name = %Safe(name), "resolving");
}

pub(crate) fn connecting(to: SocketAddr) {
    debug!(target: SESSION, %to, "connecting");
}

pub(crate) fn won(connection: &Connection, verdict: &Verdict) {
    debug!(target: SESSION, parent: &connection.trace.span, %verdict, "found");
}

/// Prints in one line, without control characters.
#[derive(Clone, Copy)]
struct Safe<T>(T);

impl<T: fmt::Display> fmt::Display for Safe<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(SafeLine(f), "{}", self.0)
    }
}
