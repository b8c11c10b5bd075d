//! The race to be ready: the dialer's orders, carried out as far as they can be without a socket.
//!
//! The rules of this file: an adapter looks up, connects, and does what turns say; who is told what, who is ready and who is let
//! go is decided here. A session that failed may still have a word to say: who is ready does not wait for that, a race that is
//! lost does.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};

use proxy_proto::Instant;

use super::{Error, Session, Step, Turn};
use crate::connection::Local;
use crate::dial::{Dialer, Failure, Id, Mode, Open, Order, Reached, Verdict, Why};
use crate::{Connection, Misuse, trace};

/// What the adapter is to do.
#[derive(Debug)]
pub enum Next<S, E> {
    /// Look up a name, and tell [`Race::found`].
    Resolve {
        /// The name.
        name: String,
        /// The port that will be asked for; 0 where it is not known.
        port: u16,
        /// When it is too late for an answer.
        until: Option<Instant>,
    },
    /// Open a stream, and tell [`Race::connected`].
    Connect {
        /// Its number.
        id: Id,
        /// Where to.
        to: SocketAddr,
        /// From where, and how.
        local: Local,
    },
    /// Stop opening this stream.
    Forget(Id),
    /// Close this stream; do before what the session's turn says, as far as that costs no time.
    Leave(Session<E>, S),
    /// Take turns with all that [`Race::runners`] names, and wait; no longer than this.
    Wait(Option<Instant>),
    /// It is over: this session is ready.
    Won(Session<E>, S, Verdict),
    /// It is over: nobody is.
    Lost(Failure<E>),
}

/// Who looks at a session that has failed.
type Watcher = Box<dyn FnMut(Id, &Connection) + Send>;

/// Attempts to become ready, beside each other, until one is. `S` is the adapter's stream, `E` its error.
pub struct Race<S, E> {
    dialer: Dialer<E>,
    opening: Vec<Open>,
    runners: Vec<Runner<S, E>>,
    watcher: Option<Watcher>,
}

struct Runner<S, E> {
    id: Id,
    session: Session<E>,
    stream: S,
    /// It has failed, and the dialer knows.
    failed: bool,
    /// Nothing more is to be said or heard.
    over: bool,
}

impl<S, E> Race<S, E> {
    /// A race that this dialer leads.
    pub fn new(dialer: Dialer<E>) -> Self {
        Self { dialer, opening: Vec::new(), runners: Vec::new(), watcher: None }
    }

    /// Shows every session that has failed to `watcher`, with its number: what it had come to is gone otherwise.
    #[must_use]
    pub fn watch(mut self, watcher: impl FnMut(Id, &Connection) + Send + 'static) -> Self {
        self.watcher = Some(Box::new(watcher));
        self
    }

    /// Goes on, until something is to be done.
    pub fn next(&mut self, now: Instant) -> Next<S, E> {
        self.advance(now);
        match self.dialer.poll(now) {
            Some(Order::Resolve { name, port }) => {
                trace::resolving(&name);
                let until = self.dialer.deadline().map(|deadline| deadline.at);
                return Next::Resolve { name, port, until };
            }
            Some(Order::Open(open)) => {
                let (id, to, local) = (open.id, open.to, open.config.local());
                trace::connecting(to);
                self.opening.push(open);
                return Next::Connect { id, to, local };
            }
            Some(Order::Close(id)) => {
                self.opening.retain(|open| open.id != id);
                return match self.take(id) {
                    None => Next::Forget(id),
                    Some(mut runner) => {
                        runner.session.leave(now);
                        Next::Leave(runner.session, runner.stream)
                    }
                };
            }
            None => {}
        }
        if let Some((id, verdict)) = self.dialer.won() {
            let verdict = verdict.clone();
            if let Some(Runner { session, stream, .. }) = self.take(id) {
                trace::won(session.connection(), &verdict);
                return Next::Won(session, stream, verdict);
            }
        }
        self.runners.retain(|runner| !runner.over);
        if self.dialer.is_lost() && self.runners.is_empty() {
            return Next::Lost(self.dialer.take_failure());
        }
        let own = self.dialer.deadline().map(|deadline| deadline.at);
        let theirs = self.runners.iter_mut().filter_map(|runner| runner.session.turn(now).deadline);
        Next::Wait(own.into_iter().chain(theirs).min())
    }

    /// The addresses of a name; or why there are none.
    pub fn found(&mut self, now: Instant, name: &str, found: Result<Vec<IpAddr>, E>) {
        let found = found.map(|addresses| self.dialer.found(now, name, &addresses));
        self.dialer.looked_up(now, name, found);
    }

    /// A stream that was to be opened is open, from this address of one's own; or why it cannot be.
    pub fn connected(&mut self, now: Instant, id: Id, stream: Result<(S, Option<IpAddr>), E>) {
        let Some(at) = self.opening.iter().position(|open| open.id == id) else { return };
        let mut open = self.opening.remove(at);
        match stream {
            Err(error) => self.dialer.failed(now, id, Why::Connect(error)),
            Ok((stream, local)) => {
                open.config = match local {
                    Some(local) => open.config.seen_from(local),
                    None => open.config,
                };
                match Session::open(open) {
                    Err(misuse) => self.dialer.failed(now, id, Why::Misuse(misuse)),
                    Ok(session) => {
                        self.dialer.reached(now, id, Reached::Connected);
                        self.runners.push(Runner { id, session, stream, failed: false, over: false });
                    }
                }
            }
        }
    }

    /// Each stream that is open, with its turn; what comes of it goes to [`did`](Self::did).
    pub fn runners(&mut self, now: Instant) -> impl Iterator<Item = (Id, &mut S, Turn<'_>)> {
        self.runners.iter_mut().map(move |runner| (runner.id, &mut runner.stream, runner.session.turn(now)))
    }

    /// Takes what came of a turn.
    pub fn did(&mut self, id: Id, did: super::Did<E>) {
        if let Some(runner) = self.runners.iter_mut().find(|runner| runner.id == id) {
            runner.session.did(did);
        }
    }

    fn take(&mut self, id: Id) -> Option<Runner<S, E>> {
        let at = self.runners.iter().position(|runner| runner.id == id)?;
        Some(self.runners.remove(at))
    }

    /// Lets everybody go on as far as they can, and tells the dialer.
    fn advance(&mut self, now: Instant) {
        for runner in self.runners.iter_mut().filter(|runner| !runner.over) {
            let mut ready = runner.session.ready();
            let why = match runner.session.step(now, &mut ready) {
                Step::Done(()) => {
                    let mode = Mode::of(runner.session.connection());
                    self.dialer.reached(now, runner.id, Reached::Ready(mode));
                    continue;
                }
                Step::Turn(_) => match runner.session.failure() {
                    Some((error, source)) => Why::Session { error, source },
                    None => {
                        self.dialer.reached(now, runner.id, runner.session.connection().reached());
                        continue;
                    }
                },
                Step::Failed(error) => {
                    runner.over = true;
                    match error {
                        Error::Session { error, source } => Why::Session { error, source },
                        _ => Why::Misuse(Misuse::NotOpen),
                    }
                }
            };
            if !core::mem::replace(&mut runner.failed, true) {
                if runner.session.connection().spoke_early() {
                    self.dialer.spoke_early(runner.id);
                }
                if let Some(watcher) = &mut self.watcher {
                    watcher(runner.id, runner.session.connection());
                }
                self.dialer.failed(now, runner.id, why);
            }
        }
    }
}

impl<S, E> fmt::Debug for Race<S, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (opening, running) = (self.opening.len(), self.runners.len());
        f.debug_struct("Race").field("opening", &opening).field("running", &running).finish_non_exhaustive()
    }
}
