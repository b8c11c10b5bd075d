//! A network in memory, in virtual time: addresses that behave as told, and an adapter that drives a dialer over it.
//!
//! The rules of this file: an octet takes half a round trip; a server sees a client half a round trip after the client
//! sees it, as TCP has it; time jumps to whatever comes next. The adapter here is what a real one is, but for the
//! sockets.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use smtp_proto::client::Event;
use smtp_proto::dial::{Dialer, Failure, Id, Open, Order, Policy, Verdict, Why};
use smtp_proto::{Accepted, Config, Connection, Instant, server, tls};

/// How an address and port behave.
#[derive(Clone)]
pub enum Behaviour {
    /// Nothing ever comes back.
    Dead,
    /// A reset answers.
    Refuses,
    /// A server; it greets after so long.
    Server {
        /// TLS first.
        implicit: bool,
        /// With TLS by its certificate: STARTTLS, or from the first octet.
        acceptor: Option<Arc<dyn tls::Acceptor>>,
        /// How long it takes to greet.
        greets_after: Duration,
        /// How long the handshake of TCP takes beyond a round trip.
        slow: Duration,
    },
    /// Accepts, and never says a word.
    Silent,
    /// Accepts, and closes.
    Closes,
    /// Accepts, listens, and closes at the first octet.
    Resets,
    /// Accepts, and answers the first octet with this, then closes.
    Answers(&'static str),
    /// Accepts, and has an answer for each thing that is said; `None` closes.
    Script(&'static [Option<&'static str>]),
}

impl Behaviour {
    /// In clear, without STARTTLS.
    pub fn clear() -> Self {
        Self::Server { implicit: false, acceptor: None, greets_after: Duration::ZERO, slow: Duration::ZERO }
    }

    /// In clear, with STARTTLS.
    pub fn starttls(acceptor: &Arc<dyn tls::Acceptor>) -> Self {
        Self::Server {
            implicit: false,
            acceptor: Some(acceptor.clone()),
            greets_after: Duration::ZERO,
            slow: Duration::ZERO,
        }
    }

    /// TLS from the first octet.
    pub fn implicit(acceptor: &Arc<dyn tls::Acceptor>) -> Self {
        Self::Server {
            implicit: true,
            acceptor: Some(acceptor.clone()),
            greets_after: Duration::ZERO,
            slow: Duration::ZERO,
        }
    }

    /// The same, greeting late.
    #[must_use]
    pub fn greeting_after(self, wait: Duration) -> Self {
        match self {
            Self::Server { implicit, acceptor, slow, .. } => {
                Self::Server { implicit, acceptor, greets_after: wait, slow }
            }
            other => other,
        }
    }

    /// The same, late to answer at all.
    #[must_use]
    pub fn slow(self, wait: Duration) -> Self {
        match self {
            Self::Server { implicit, acceptor, greets_after, .. } => {
                Self::Server { implicit, acceptor, greets_after, slow: wait }
            }
            other => other,
        }
    }
}

/// What a name resolver says: after so long, these addresses.
pub type Answers = Vec<(Duration, Vec<IpAddr>)>;

/// The network.
pub struct Network {
    /// From here to anywhere and back.
    pub rtt: Duration,
    /// How each address and port behaves; all others refuse.
    pub hosts: HashMap<SocketAddr, Behaviour>,
    /// What names stand for; the lookup ends with the last answer.
    pub names: HashMap<String, Answers>,
    /// The time from which the dialer counts.
    pub begin: Instant,
}

/// How dialling ended.
pub struct Ended {
    /// Who has won, and what was found.
    pub verdict: Option<Verdict>,
    /// What has won.
    pub connection: Option<Connection>,
    /// The account of what was in vain.
    pub failure: Failure<&'static str>,
    /// How long it took.
    pub took: Duration,
    /// Every connection that was ordered, and when.
    pub opened: Vec<(Duration, SocketAddr, Id)>,
    /// Every connection that was ordered closed, and when.
    pub closed: Vec<(Duration, Id)>,
    /// What the servers heard, each.
    pub heard: Vec<(SocketAddr, Vec<u8>)>,
}

impl Network {
    /// An empty one.
    pub fn new(rtt: Duration) -> Self {
        let begin = Instant::from_epoch(Duration::from_secs(1000));
        Self { rtt, hosts: HashMap::new(), names: HashMap::new(), begin }
    }

    /// Somebody at this address.
    ///
    /// # Panics
    ///
    /// Where that is no address.
    #[must_use]
    pub fn with(mut self, at: &str, behaviour: Behaviour) -> Self {
        self.hosts.insert(at.parse().expect("an address and a port"), behaviour);
        self
    }

    /// A name, known at once.
    ///
    /// # Panics
    ///
    /// Where one of these is no address.
    #[must_use]
    pub fn named(self, name: &str, addresses: &[&str]) -> Self {
        self.answering(name, &[(0, addresses)])
    }

    /// A name, by several answers, each after so many milliseconds.
    ///
    /// # Panics
    ///
    /// Where one of these is no address.
    #[must_use]
    pub fn answering(mut self, name: &str, answers: &[(u64, &[&str])]) -> Self {
        let ips = |texts: &[&str]| texts.iter().map(|text| text.parse().expect("an address")).collect();
        let answers = answers.iter().map(|(after, texts)| (Duration::from_millis(*after), ips(texts))).collect();
        self.names.insert(name.into(), answers);
        self
    }

    /// Dials until somebody is ready, or everything was tried.
    ///
    /// # Panics
    ///
    /// Where the dialer breaks one of its laws, or the configuration cannot be used.
    pub fn dial(&self, configs: impl IntoIterator<Item = Config>, policy: Policy) -> Ended {
        let dialer = Dialer::among(configs, policy).expect("a configuration");
        Run {
            network: self,
            dialer,
            now: self.begin,
            ends: Vec::new(),
            lookups: Vec::new(),
            opened: Vec::new(),
            closed: Vec::new(),
            heard: Vec::new(),
        }
        .run()
    }
}

/// Octets on their way.
#[derive(Default)]
struct Pipe(Vec<(Instant, Option<Vec<u8>>)>);

impl Pipe {
    fn put(&mut self, at: Instant, octets: Option<Vec<u8>>) {
        self.0.push((at, octets));
    }

    fn take(&mut self, now: Instant) -> Option<Option<Vec<u8>>> {
        if self.0.first()?.0 > now { None } else { Some(self.0.remove(0).1) }
    }

    fn next(&self) -> Option<Instant> {
        self.0.first().map(|(at, _)| *at)
    }
}

enum Server {
    Machine { machine: Box<Accepted>, speaks_at: Instant, over: bool },
    Scripted { behaviour: Behaviour, turn: usize, over: bool },
}

/// One connection, both its ends.
struct End {
    id: Id,
    to: SocketAddr,
    /// When TCP answers, and with what; `None` once it has.
    answers: Option<(Instant, bool)>,
    dead: bool,
    open: Option<Open>,
    client: Option<Connection>,
    behaviour: Behaviour,
    server: Option<Server>,
    accepted_at: Instant,
    up: Pipe,
    down: Pipe,
    over: bool,
}

struct Run<'a> {
    network: &'a Network,
    dialer: Dialer<&'static str>,
    now: Instant,
    ends: Vec<End>,
    lookups: Vec<(Instant, String, Answers)>,
    opened: Vec<(Duration, SocketAddr, Id)>,
    closed: Vec<(Duration, Id)>,
    heard: Vec<(SocketAddr, Vec<u8>)>,
}

impl Run<'_> {
    fn run(mut self) -> Ended {
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
        let (id, to, rtt) = (open.id, open.to, self.network.rtt);
        assert!(self.opened.iter().all(|(_, _, known)| *known != id), "a number is used twice");
        self.opened.push((self.now.since(self.network.begin), to, id));
        let behaviour = self.network.hosts.get(&to).cloned().unwrap_or(Behaviour::Refuses);
        let slow = if let Behaviour::Server { slow, .. } = &behaviour { *slow } else { Duration::ZERO };
        let answers = match behaviour {
            Behaviour::Dead => None,
            Behaviour::Refuses => Some((self.now.after(rtt), false)),
            _ => Some((self.now.after(rtt + slow), true)),
        };
        self.ends.push(End {
            id,
            to,
            dead: answers.is_none(),
            answers,
            open: Some(open),
            client: None,
            behaviour,
            server: None,
            accepted_at: self.now.after(rtt + slow + rtt / 2),
            up: Pipe::default(),
            down: Pipe::default(),
            over: false,
        });
    }

    /// One turn of everything; whether anything has moved.
    fn turn(&mut self) -> bool {
        let mut moved = self.resolve();
        for at in 0..self.ends.len() {
            moved |= self.connect(at);
            moved |= self.serve(at);
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
        let Some((_, accepts)) = end.answers.filter(|(when, _)| *when <= self.now) else { return false };
        end.answers = None;
        let (id, open) = (end.id, end.open.take().expect("opened once"));
        if accepts {
            end.client = Some(open.connection().expect("a configuration"));
            self.dialer.reached(self.now, id, self.ends[at].client.as_ref().expect("just made").reached());
        } else {
            end.over = true;
            self.dialer.failed(self.now, id, Why::Connect("refused"));
        }
        true
    }

    fn drive(&mut self, at: usize) -> bool {
        let (now, half) = (self.now, self.network.rtt / 2);
        let end = &mut self.ends[at];
        let (Some(client), false) = (&mut end.client, end.over) else { return false };
        let mut moved = false;
        while let Some(octets) = end.down.take(now) {
            moved = true;
            match octets {
                Some(octets) => {
                    let mut rest = &octets[..];
                    while !rest.is_empty() {
                        let read = client.wants(now).read;
                        let n = read.len().min(rest.len());
                        read[..n].copy_from_slice(&rest[..n]);
                        client.received(n);
                        rest = &rest[n..];
                        if n == 0 {
                            break;
                        }
                    }
                }
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
                    let (id, error) = (end.id, error.clone());
                    end.over = true;
                    self.dialer.failed(now, id, Why::Session { error, source: None });
                    return true;
                }
            }
        }
        let said = client.wants(now).write.to_vec();
        if !said.is_empty() {
            client.sent(said.len());
            end.up.put(now.after(half), Some(said));
            moved = true;
        }
        self.dialer.reached(now, end.id, client.reached());
        moved
    }

    fn serve(&mut self, at: usize) -> bool {
        let (now, half) = (self.now, self.network.rtt / 2);
        let end = &mut self.ends[at];
        if end.dead || end.accepted_at > now || end.over {
            return false;
        }
        let mut moved = false;
        if end.server.is_none() {
            moved = true;
            end.server = Some(match &end.behaviour {
                Behaviour::Server { implicit, acceptor, greets_after, .. } => {
                    let config = server::Config::new("mx.example.org").expect("a name");
                    let machine = match acceptor {
                        Some(acceptor) if *implicit => Accepted::implicit(config, acceptor.clone()),
                        acceptor => Accepted::new(config, acceptor.clone()),
                    };
                    let machine = Box::new(machine.expect("a server's configuration"));
                    Server::Machine { machine, speaks_at: now.after(*greets_after), over: false }
                }
                other => Server::Scripted { behaviour: other.clone(), turn: 0, over: false },
            });
            self.heard.push((end.to, Vec::new()));
            if let Some(Server::Scripted { behaviour, turn, over }) = &mut end.server {
                if let Behaviour::Closes = behaviour {
                    end.down.put(now.after(half), None);
                    *over = true;
                }
                if let Behaviour::Script(turns) = behaviour {
                    // What stands first is said unasked.
                    if let Some(Some(first)) = turns.first().filter(|turn| turn.is_some_and(|text| !text.is_empty())) {
                        end.down.put(now.after(half), Some(first.as_bytes().to_vec()));
                    }
                    *turn = 1;
                }
            }
        }
        while let Some(octets) = end.up.take(now) {
            moved = true;
            let Some(octets) = octets else { continue };
            if let Some((_, heard)) = self.heard.iter_mut().rev().find(|(to, _)| *to == end.to) {
                heard.extend_from_slice(&octets);
            }
            match end.server.as_mut().expect("it accepted") {
                Server::Machine { machine, .. } => {
                    for piece in octets.chunks(1024) {
                        let read = machine.wants(now).read;
                        let n = read.len().min(piece.len());
                        read[..n].copy_from_slice(&piece[..n]);
                        machine.received(n);
                        while let Ok(Some(_)) = machine.poll(now) {}
                    }
                }
                Server::Scripted { behaviour, turn, over } if !*over => match behaviour {
                    Behaviour::Resets => {
                        end.down.put(now.after(half), None);
                        *over = true;
                    }
                    Behaviour::Answers(text) => {
                        end.down.put(now.after(half), Some(text.as_bytes().to_vec()));
                        end.down.put(now.after(half), None);
                        *over = true;
                    }
                    Behaviour::Script(turns) => {
                        match turns.get(*turn) {
                            Some(Some(text)) => end.down.put(now.after(half), Some(text.as_bytes().to_vec())),
                            Some(None) => {
                                end.down.put(now.after(half), None);
                                *over = true;
                            }
                            None => {}
                        }
                        *turn += 1;
                        // A close may follow what was said at once.
                        if let Some(None) = turns.get(*turn) {
                            end.down.put(now.after(half), None);
                            *over = true;
                        }
                    }
                    _ => {}
                },
                Server::Scripted { .. } => {}
            }
        }
        if let Some(Server::Machine { machine, speaks_at, over }) = &mut end.server {
            if *speaks_at <= now && !*over {
                while let Ok(Some(_)) = machine.poll(now) {}
                let said = machine.wants(now).write.to_vec();
                if !said.is_empty() {
                    machine.sent(said.len());
                    end.down.put(now.after(half), Some(said));
                    moved = true;
                }
                if machine.is_over() {
                    *over = true;
                    end.down.put(now.after(half), None);
                    moved = true;
                }
            }
        }
        moved
    }

    /// When something happens next.
    fn next(&mut self) -> Option<Instant> {
        let mut next: Vec<Instant> = self.dialer.deadline().into_iter().map(|deadline| deadline.at).collect();
        next.extend(self.lookups.iter().filter_map(|(asked, _, answers)| Some(asked.after(answers.first()?.0))));
        for end in &mut self.ends {
            next.extend(end.answers.map(|(at, _)| at));
            next.extend(end.up.next().map(|at| at.max(end.accepted_at)));
            next.extend(end.down.next());
            if let Some(client) = &mut end.client {
                next.extend(client.wants(self.now).deadline.map(|deadline| deadline.at));
            }
            match &end.server {
                None if !end.dead => next.push(end.accepted_at),
                Some(Server::Machine { speaks_at, .. }) if *speaks_at > self.now => next.push(*speaks_at),
                _ => {}
            }
        }
        next.into_iter().filter(|at| *at > self.now).min()
    }
}
