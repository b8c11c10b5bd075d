//! One connection that the dialer has ordered, both its ends.
//!
//! The rules of this file: a server sees a client half a round trip after the client sees it, as TCP has it. Nothing here knows
//! the dialer: what there is to tell it is returned.

use std::net::SocketAddr;
use std::time::Duration;

use smtp_proto::client::Event;
use smtp_proto::dial::{Id, Open, Why};
use smtp_proto::{Connection, Instant};

use super::behaviour::Behaviour;
use super::pipe::Pipe;
use super::server::Server;

pub(super) struct End {
    pub(super) id: Id,
    pub(super) to: SocketAddr,
    pub(super) client: Option<Connection>,
    pub(super) over: bool,
    /// When TCP answers, and with what; `None` once it has.
    answers: Option<(Instant, bool)>,
    dead: bool,
    open: Option<Open>,
    behaviour: Behaviour,
    server: Option<Server>,
    /// Where what the server has heard is kept; `None` until it accepts.
    heard: Option<usize>,
    accepted_at: Instant,
    up: Pipe,
    down: Pipe,
}

/// What the servers heard, each.
pub(super) type Heard = Vec<(SocketAddr, Vec<u8>)>;

impl End {
    pub(super) fn new(now: Instant, rtt: Duration, open: Open, behaviour: Behaviour) -> Self {
        let slow = if let Behaviour::Server { slow, .. } = &behaviour { *slow } else { Duration::ZERO };
        let answers = match behaviour {
            Behaviour::Dead => None,
            Behaviour::Refuses => Some((now.after(rtt), false)),
            _ => Some((now.after(rtt + slow), true)),
        };
        Self {
            id: open.id,
            to: open.to,
            client: None,
            over: false,
            dead: answers.is_none(),
            answers,
            open: Some(open),
            behaviour,
            server: None,
            heard: None,
            accepted_at: now.after(rtt + slow + rtt / 2),
            up: Pipe::new(rtt / 2),
            down: Pipe::new(rtt / 2),
        }
    }

    /// What TCP answers, once it is time: the connection, or that it is refused.
    pub(super) fn connect(&mut self, now: Instant) -> Option<Result<&Connection, Why<&'static str>>> {
        let (_, accepts) = self.answers.filter(|(when, _)| *when <= now)?;
        self.answers = None;
        let open = self.open.take().expect("opened once");
        if !accepts {
            self.over = true;
            return Some(Err(Why::Connect("refused")));
        }
        Some(Ok(self.client.insert(open.connection().expect("a configuration"))))
    }

    /// A turn of the client's end: whether anything has moved, and the connection.
    pub(super) fn drive(&mut self, now: Instant) -> Option<Result<(bool, &Connection), Why<&'static str>>> {
        let (Some(client), false) = (&mut self.client, self.over) else { return None };
        let mut moved = false;
        while let Some(octets) = self.down.take(now) {
            moved = true;
            match octets {
                Some(octets) => receive(client, now, &octets),
                None => client.received(0),
            }
        }
        loop {
            match client.poll(now) {
                Ok(Some(event)) => {
                    moved = true;
                    assert!(!matches!(event, Event::Sent(_)));
                }
                Ok(None) => break,
                Err(error) => {
                    self.over = true;
                    return Some(Err(Why::Session { error: error.clone(), source: None }));
                }
            }
        }
        let said = client.wants(now).write.to_vec();
        if !said.is_empty() {
            client.sent(said.len());
            self.up.put(now, &said);
            moved = true;
        }
        Some(Ok((moved, client)))
    }

    /// A turn of the server's end; whether anything has moved.
    pub(super) fn serve(&mut self, now: Instant, heard: &mut Heard) -> bool {
        if self.dead || self.accepted_at > now || self.over {
            return false;
        }
        let down = &mut self.down;
        let mut moved = self.server.is_none();
        let server = self.server.get_or_insert_with(|| Server::accept(now, &self.behaviour, down));
        let place = *self.heard.get_or_insert_with(|| {
            heard.push((self.to, Vec::new()));
            heard.len() - 1
        });
        while let Some(octets) = self.up.take(now) {
            moved = true;
            let Some(octets) = octets else { continue };
            heard[place].1.extend_from_slice(&octets);
            server.hear(now, &octets, down);
        }
        server.speak(now, down) || moved
    }

    /// When something happens next; what is past may be among it.
    pub(super) fn next(&mut self, now: Instant) -> impl Iterator<Item = Instant> + use<> {
        let waits = |client: &mut Connection| client.wants(now).deadline.map(|deadline| deadline.at);
        let server = match &self.server {
            None if !self.dead => Some(self.accepted_at),
            Some(server) => server.speaks_at(),
            None => None,
        };
        let all = [
            self.answers.map(|(at, _)| at),
            self.up.next().map(|at| at.max(self.accepted_at)),
            self.down.next(),
            self.client.as_mut().and_then(waits),
            server,
        ];
        all.into_iter().flatten()
    }
}

fn receive(client: &mut Connection, now: Instant, mut octets: &[u8]) {
    while !octets.is_empty() {
        let read = client.wants(now).read;
        let n = read.len().min(octets.len());
        read[..n].copy_from_slice(&octets[..n]);
        client.received(n);
        octets = &octets[n..];
        if n == 0 {
            break;
        }
    }
}
