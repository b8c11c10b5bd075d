//! The other end: connections that a server has accepted, each in a thread of its own, and the loop that accepts them.
//!
//! ```no_run
//! use smtp_blocking::proto::{Accepted, server};
//! use smtp_blocking::serve::{Served, Stop, serve};
//!
//! # fn main() -> std::io::Result<()> {
//! let listener = std::net::TcpListener::bind("127.0.0.1:2525")?;
//! let stop = Stop::new();
//! serve(listener, 100, &stop, |stream, peer| {
//!     let config = server::Config::new("mx.example.org").expect("a lawful name");
//!     let accepted = Accepted::new(config, None).expect("a configuration that can be said");
//!     let mut served = Served::new(accepted, stream).until(&stop);
//!     while let Ok(Some(event)) = served.next() {
//!         println!("{peer}: {event:?}");
//!         // Whatever was asked: yes.
//!         while let Some(decision) = served.connection().decision() {
//!             decision.accept();
//!         }
//!     }
//! })
//! # }
//! ```
//!
//! The rules of this file: as for the client's loop, everything is waited for at once; a stop is looked for every twentieth of a
//! second, because there is nothing portable to wait for it with; who is stopped is told so, and may finish what it has begun.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use smtp_proto::server::Event;
use smtp_proto::session::{Link, Polled};
use smtp_proto::{Accepted, AcceptedError};

use crate::stream::{Clock, exchange};
use crate::{Pollable, Transport};

/// How often a stop is looked for.
const TICK: Duration = Duration::from_millis(50);

/// Why a session ended badly.
#[derive(Debug)]
pub struct Error {
    /// What the session says.
    pub error: AcceptedError,
    /// What the system says about the transport, where it is the cause.
    pub source: Option<io::Error>,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            None => write!(f, "{}", self.error),
            Some(source) => write!(f, "{} ({source})", self.error),
        }
    }
}

impl std::error::Error for Error {}

/// Stops a server, from any thread. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// One that has not been used.
    pub fn new() -> Self {
        Self::default()
    }

    /// No more connections are accepted, and every session that [heeds](Served::until) this ends at its next boundary.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was used.
    pub fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// One session with a client, over any stream that can be waited for.
///
/// Where an event is a question, it is answered through [`connection`](Self::connection) before the next call; the session
/// stands still until then.
#[derive(Debug)]
pub struct Served<S = Pollable<TcpStream>> {
    link: Link<Accepted, io::Error>,
    stream: S,
    clock: Clock,
    stop: Option<Stop>,
}

impl<S: Transport> Served<S> {
    /// A session over a stream that was accepted.
    pub fn new(connection: Accepted, stream: S) -> Self {
        Self { link: Link::new(connection), stream, clock: Clock::start(), stop: None }
    }

    /// Ends with 421 at the next boundary between replies, once the server is being stopped.
    #[must_use]
    pub fn until(mut self, stop: &Stop) -> Self {
        self.stop = Some(stop.clone());
        self
    }

    /// The session itself: its questions, and what is known of the client.
    pub fn connection(&mut self) -> &mut Accepted {
        self.link.end_mut()
    }

    /// The stream that the session runs on.
    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// Runs until something happens; `None` where the session has ended as it should.
    ///
    /// # Errors
    ///
    /// [`Error`]; the session is over.
    #[allow(
        clippy::should_implement_trait,
        reason = "as in smtp-tokio; an iterator could not be asked for its connection"
    )]
    pub fn next(&mut self) -> Result<Option<Event>, Error> {
        loop {
            let now = self.clock.now();
            // Before what came meanwhile is read: it came too late.
            if self.stop.take_if(|stop| stop.is_stopped()).is_some() {
                self.link.end_mut().shut_down();
            }
            match self.link.poll(now) {
                Polled::Event(event) => return Ok(Some(event)),
                Polled::Over(Ok(())) => return Ok(None),
                Polled::Over(Err(error)) => return Err(Error { error, source: self.link.take_failure() }),
                Polled::Wait => {}
            }
            let mut turn = self.link.turn(now);
            if self.stop.is_some() {
                let look = now.after(TICK);
                turn.deadline = Some(turn.deadline.map_or(look, |deadline| deadline.min(look)));
            }
            let did = exchange(&mut self.stream, turn, now, false);
            did.into_iter().flatten().for_each(|did| self.link.did(did));
        }
    }
}

/// Accepts connections and runs a session for each in a thread of its own, at most `most` at a time; whoever comes then waits
/// to be accepted. A session that panics ends alone.
///
/// When `stop` is used the port is closed, and this returns when the last session has ended.
///
/// # Errors
///
/// The listener cannot be set to non-blocking.
pub fn serve<F>(listener: TcpListener, most: usize, stop: &Stop, session: F) -> io::Result<()>
where
    F: Fn(Pollable<TcpStream>, SocketAddr) + Sync,
{
    listener.set_nonblocking(true)?;
    let session = &session;
    thread::scope(|scope| {
        let mut running: Vec<thread::ScopedJoinHandle<'_, ()>> = Vec::new();
        while !stop.is_stopped() {
            let (ended, others) = running.into_iter().partition(|one| one.is_finished());
            running = others;
            join(ended);
            if running.len() >= most {
                thread::sleep(TICK);
                continue;
            }
            match listener.accept() {
                Ok((stream, peer)) => {
                    // Where there is no thread to be had, the connection is closed, which says so.
                    let Ok(stream) = Pollable::tcp(stream) else { continue };
                    let spawned = thread::Builder::new().spawn_scoped(scope, move || session(stream, peer));
                    running.extend(spawned);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => wait(&listener),
                // One client went away before it was met, or the system is out of descriptors: neither is for ever.
                Err(_) => thread::sleep(TICK),
            }
        }
        // Who came now would wait for nobody.
        drop(listener);
        join(running);
    });
    Ok(())
}

fn join(sessions: Vec<thread::ScopedJoinHandle<'_, ()>>) {
    for session in sessions {
        // What there was to say of a panic was said where it happened.
        let _ = session.join();
    }
}

/// Waits for a client, but not past the next look for a stop.
fn wait(listener: &TcpListener) {
    let limit = Timespec::try_from(TICK).ok();
    // Whatever came of it, accepting is tried again.
    let _ = poll(&mut [PollFd::new(listener, PollFlags::IN)], limit.as_ref());
}
