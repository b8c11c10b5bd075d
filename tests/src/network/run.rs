//! Dials over the network: an adapter as a real one is, but for the sockets and the clock.
//!
//! The rules of this file: it does what the dialer orders and tells it what came of that, and nothing else; time jumps to whatever
//! comes next. The laws of the dialer are asserted where it breaks them.

use std::net::SocketAddr;
use std::time::Duration;

use smtp_proto::Instant;
use smtp_proto::dial::{Dialer, Id, Open, Order};

use super::behaviour::Behaviour;
use super::end::{End, Heard};
use super::{Answers, Ended, Network};

pub(super) struct Run<'a> {
    network: &'a Network,
    dialer: Dialer<&'static str>,
    now: Instant,
    ends: Vec<End>,
    lookups: Vec<(Instant, String, Answers)>,
    opened: Vec<(Duration, SocketAddr, Id)>,
    closed: Vec<(Duration, Id)>,
    heard: Heard,
}

impl<'a> Run<'a> {
    pub(super) fn new(network: &'a Network, dialer: Dialer<&'static str>) -> Self {
        Run {
            network,
            dialer,
            now: network.begin,
            ends: Vec::new(),
            lookups: Vec::new(),
            opened: Vec::new(),
            closed: Vec::new(),
            heard: Vec::new(),
        }
    }

    pub(super) fn run(mut self) -> Ended {
        for _ in 0..100_000 {
            if self.orders() {
                return self.end();
            }
            if self.turn() {
                continue;
            }
            let Some(next) = self.next() else { panic!("nothing can happen any more: {:?}", self.dialer) };
            assert!(next > self.now, "time stands still at {next:?}: {:?}", self.dialer);
            self.now = next;
        }
        panic!("it never ends: {:?}", self.dialer);
    }

    fn end(mut self) -> Ended {
        let took = self.now.since(self.network.begin);
        let won = self.dialer.won().map(|(id, verdict)| (id, verdict.clone()));
        let winner = won.as_ref().and_then(|(id, _)| self.ends.iter().position(|end| end.id == *id));
        let connection = winner.and_then(|at| self.ends.swap_remove(at).client);
        Ended {
            verdict: won.map(|(_, verdict)| verdict),
            connection,
            failure: self.dialer.into_failure(),
            took,
            opened: self.opened,
            closed: self.closed,
            heard: self.heard,
        }
    }

    /// Does what the dialer wants; whether it is over.
    fn orders(&mut self) -> bool {
        while let Some(order) = self.dialer.poll(self.now) {
            match order {
                Order::Resolve { name, .. } => {
                    let answers = self.network.names.get(&name).cloned().unwrap_or_default();
                    self.lookups.push((self.now, name, answers));
                }
                Order::Open(open) => self.open(open),
                Order::Close(id) => {
                    assert!(self.opened.iter().any(|(_, _, known)| *known == id), "closed though never opened");
                    assert!(self.closed.iter().all(|(_, known)| *known != id), "closed twice");
                    self.closed.push((self.now.since(self.network.begin), id));
                    if let Some(end) = self.ends.iter_mut().find(|end| end.id == id) {
                        end.over = true;
                    }
                }
                other => panic!("an order that is not known: {other:?}"),
            }
        }
        if let Some(deadline) = self.dialer.deadline() {
            assert!(deadline.at > self.now, "it wants to be asked again at once");
        }
        self.dialer.won().is_some() || self.dialer.is_lost()
    }

    fn open(&mut self, open: Open) {
        let (id, to) = (open.id, open.to);
        assert!(self.opened.iter().all(|(_, _, known)| *known != id), "a number is used twice");
        self.opened.push((self.now.since(self.network.begin), to, id));
        let behaviour = self.network.hosts.get(&to).cloned().unwrap_or(Behaviour::Refuses);
        self.ends.push(End::new(self.now, self.network.rtt, open, behaviour));
    }

    /// One turn of everything; whether anything has moved.
    fn turn(&mut self) -> bool {
        let mut moved = self.resolve();
        for at in 0..self.ends.len() {
            moved |= self.connect(at);
            moved |= self.ends[at].serve(self.now, &mut self.heard);
            moved |= self.drive(at);
        }
        self.ends.retain(|end| !end.over);
        moved
    }

    fn resolve(&mut self) -> bool {
        let mut moved = false;
        for (asked, name, answers) in &mut self.lookups {
            while answers.first().is_some_and(|(after, _)| asked.after(*after) <= self.now) {
                self.dialer.found(self.now, name, &answers.remove(0).1);
                moved = true;
            }
            if answers.is_empty() {
                let known = self.network.names.contains_key(name);
                self.dialer.looked_up(self.now, name, if known { Ok(()) } else { Err("no such name") });
                moved = true;
            }
        }
        self.lookups.retain(|(_, _, answers)| !answers.is_empty());
        moved
    }

    fn connect(&mut self, at: usize) -> bool {
        let end = &mut self.ends[at];
        let id = end.id;
        match end.connect(self.now) {
            None => return false,
            Some(Ok(client)) => self.dialer.reached(self.now, id, client.reached()),
            Some(Err(why)) => self.dialer.failed(self.now, id, why),
        }
        true
    }

    fn drive(&mut self, at: usize) -> bool {
        let end = &mut self.ends[at];
        let id = end.id;
        match end.drive(self.now) {
            None => false,
            Some(Ok((moved, client))) => {
                self.dialer.reached(self.now, id, client.reached());
                moved
            }
            Some(Err(why)) => {
                self.dialer.failed(self.now, id, why);
                true
            }
        }
    }

    /// When something happens next.
    fn next(&mut self) -> Option<Instant> {
        let mut next: Vec<Instant> = self.dialer.deadline().into_iter().map(|deadline| deadline.at).collect();
        next.extend(self.lookups.iter().filter_map(|(asked, _, answers)| Some(asked.after(answers.first()?.0))));
        for end in &mut self.ends {
            next.extend(end.next(self.now));
        }
        next.into_iter().filter(|at| *at > self.now).min()
    }
}
