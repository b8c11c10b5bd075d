//! The far end of a connection: a real server's machine, or somebody who behaves badly.
//!
//! The rules of this file: it exists from the moment it accepts; it knows nothing of the network but the pipe that leads back, and
//! after it has closed that it says no more.

use smtp_proto::{Accepted, Instant, server};

use super::behaviour::Behaviour;
use super::pipe::Pipe;

pub(super) enum Server {
    Machine {
        machine: Box<Accepted>,
        speaks_at: Instant,
        over: bool,
    },
    Scripted {
        behaviour: Behaviour,
        /// Of a script: what is said next.
        turn: usize,
        over: bool,
    },
}

impl Server {
    /// Accepts a connection, and says what is to be said unasked.
    pub(super) fn accept(now: Instant, behaviour: &Behaviour, down: &mut Pipe) -> Self {
        let Behaviour::Server { implicit, acceptor, greets_after, .. } = behaviour else {
            let mut scripted = Self::Scripted { behaviour: behaviour.clone(), turn: 0, over: false };
            scripted.begin(now, down);
            return scripted;
        };
        let config = server::Config::new("mx.example.org").expect("a name");
        let machine = match acceptor {
            Some(acceptor) if *implicit => Accepted::implicit(config, acceptor.clone()),
            acceptor => Accepted::new(config, acceptor.clone()),
        };
        let machine = Box::new(machine.expect("a server's configuration"));
        Self::Machine { machine, speaks_at: now.after(*greets_after), over: false }
    }

    fn begin(&mut self, now: Instant, down: &mut Pipe) {
        let Self::Scripted { behaviour, turn, over } = self else { return };
        match behaviour {
            Behaviour::Closes => {
                down.end(now);
                *over = true;
            }
            Behaviour::Script(turns) => {
                if let Some(Some(first)) = turns.first().filter(|turn| turn.is_some_and(|text| !text.is_empty())) {
                    down.put(now, first.as_bytes());
                }
                *turn = 1;
            }
            _ => {}
        }
    }

    /// Takes what has arrived.
    pub(super) fn hear(&mut self, now: Instant, octets: &[u8], down: &mut Pipe) {
        match self {
            Self::Machine { machine, .. } => {
                for piece in octets.chunks(1024) {
                    let read = machine.wants(now).read;
                    let n = read.len().min(piece.len());
                    read[..n].copy_from_slice(&piece[..n]);
                    machine.received(n);
                    while let Ok(Some(_)) = machine.poll(now) {}
                }
            }
            Self::Scripted { over: true, .. } => {}
            Self::Scripted { behaviour, turn, over } => match behaviour {
                Behaviour::Resets => {
                    down.end(now);
                    *over = true;
                }
                Behaviour::Answers(text) => {
                    down.put(now, text.as_bytes());
                    down.end(now);
                    *over = true;
                }
                Behaviour::Script(turns) => {
                    match turns.get(*turn) {
                        Some(Some(text)) => down.put(now, text.as_bytes()),
                        Some(None) => {
                            down.end(now);
                            *over = true;
                        }
                        None => {}
                    }
                    *turn += 1;
                    // A close may follow what was said at once.
                    if let Some(None) = turns.get(*turn) {
                        down.end(now);
                        *over = true;
                    }
                }
                _ => {}
            },
        }
    }

    /// Says what there is to say; whether there was anything.
    pub(super) fn speak(&mut self, now: Instant, down: &mut Pipe) -> bool {
        let Self::Machine { machine, speaks_at, over } = self else { return false };
        if *speaks_at > now || *over {
            return false;
        }
        while let Ok(Some(_)) = machine.poll(now) {}
        let mut spoke = false;
        let said = machine.wants(now).write.to_vec();
        if !said.is_empty() {
            machine.sent(said.len());
            down.put(now, &said);
            spoke = true;
        }
        if machine.is_over() {
            *over = true;
            down.end(now);
            spoke = true;
        }
        spoke
    }

    /// When it says something unasked.
    pub(super) fn speaks_at(&self) -> Option<Instant> {
        match self {
            Self::Machine { speaks_at, .. } => Some(*speaks_at),
            Self::Scripted { .. } => None,
        }
    }
}
