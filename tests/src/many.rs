//! Many connections at once, in one thread and in virtual time: clients and servers of ours, two by two.
//!
//! The rules of this file: in every round each pair has one turn, so that all are in the middle of the same thing; whatever
//! arrives is compared with what was sent as it comes, octet by octet, and kept by nobody; each message is counted.

use std::time::Duration;

use smtp_proto::body::LineEndings;
use smtp_proto::client::{self, Client, Envelope, Event, TransactionId};
use smtp_proto::server::{self, Server};
use smtp_proto::{Accepted, Config, Connection, Instant, Machine, Route, Security};

/// Both ends of one connection.
pub trait Pair {
    /// Both ends, before a word was said.
    fn open(number: usize) -> Self;
    /// One turn: what there is goes each way once. `false` where nothing happened.
    fn turn(&mut self, now: Instant, round: &mut Round) -> bool;
    /// The client's next message is to go.
    fn send(&mut self, message: usize);
    /// The client is to say QUIT.
    fn quit(&mut self);
    /// The session stands, and nothing is under way.
    fn is_ready(&self) -> bool;
    /// Both ends have come to a good end.
    fn is_closed(&self) -> bool;
}

/// What all pairs share: room for one message, and the count of what has arrived.
pub struct Round {
    size: usize,
    messages: usize,
    text: Vec<u8>,
    up: Vec<u8>,
    down: Vec<u8>,
    /// How often each message has arrived.
    pub arrived: Vec<u8>,
    /// Messages that a client was told were accepted.
    pub accepted: usize,
}

impl Round {
    /// For so many pairs, each with so many messages of so many octets.
    pub fn new(pairs: usize, messages: usize, size: usize) -> Self {
        let arrived = vec![0; pairs * messages];
        Self { size, messages, text: Vec::new(), up: Vec::new(), down: Vec::new(), arrived, accepted: 0 }
    }

    /// The text of a message, no two alike.
    fn text(&mut self, pair: usize, message: usize) -> &[u8] {
        use std::io::Write;
        self.text.clear();
        write!(self.text, "Subject: {pair} {message}\r\n\r\n").expect("a vector takes everything");
        while self.text.len() < self.size {
            self.text.extend_from_slice(b".The quick brown fox jumps over the lazy dog.\r\n");
        }
        &self.text
    }
}

/// One end's place in the message that is under way.
struct Place {
    pair: usize,
    /// Which message goes out next, and which comes in next.
    sent: usize,
    heard: usize,
    /// Octets of it that have gone out, and come in.
    out: usize,
    taken: usize,
}

impl Place {
    fn new(pair: usize) -> Self {
        Self { pair, sent: 0, heard: 0, out: 0, taken: 0 }
    }

    /// Writes what the client takes; `true` where that was all.
    fn write(&mut self, mut body: client::Body<'_>, round: &mut Round) -> bool {
        let (pair, sent) = (self.pair, self.sent);
        let mut rest = &round.text(pair, sent)[self.out..];
        self.out += body.write(&mut rest).expect("canonical line endings");
        let whole = rest.is_empty();
        if whole {
            body.end();
            (self.sent, self.out) = (sent + 1, 0);
        }
        whole
    }

    /// Compares what has come in.
    fn hear(&mut self, octets: &[u8], last: bool, round: &mut Round) {
        let (pair, heard) = (self.pair, self.heard);
        let text = round.text(pair, heard);
        assert!(text[self.taken..].starts_with(octets), "pair {pair}, message {heard}: not what was sent");
        self.taken += octets.len();
        if last {
            assert_eq!(self.taken, text.len(), "pair {pair}, message {heard}: not whole");
            round.arrived[pair * round.messages + heard] += 1;
            (self.heard, self.taken) = (heard + 1, 0);
        }
    }
}

fn envelope(pair: usize, message: usize) -> Envelope {
    Envelope::new(&format!("{message}@{pair}.example.org"), ["bob@example.net"]).expect("an envelope")
}

fn host() -> server::Config {
    server::Config::new("mx.example.org").expect("a name")
}

/// The two machines, without buffers of their own.
pub struct Machines {
    client: Client,
    server: Server,
    place: Place,
    closed: bool,
}

impl Pair for Machines {
    fn open(number: usize) -> Self {
        let mut config = client::Config::new("mx.example.org");
        config.starttls = client::StartTls::Never;
        let client = Client::new(config).expect("a configuration");
        Self { client, server: Server::new(host()), place: Place::new(number), closed: false }
    }

    fn turn(&mut self, now: Instant, round: &mut Round) -> bool {
        let mut up = std::mem::take(&mut round.up);
        let mut down = std::mem::take(&mut round.down);
        let mut moved = self.client.transmit(now, &mut up);
        while let Some(body) = self.client.body(now, &mut up, usize::MAX) {
            moved = true;
            if !self.place.write(body, round) {
                break;
            }
        }
        moved |= self.client.transmit(now, &mut up);
        let mut input = &up[..];
        loop {
            while let Some(event) = self.server.receive(now, &mut input).expect("a session") {
                if let server::Event::Content { octets, last } = event {
                    self.place.hear(&octets, last, round);
                }
                while let Some(decision) = self.server.decision() {
                    decision.accept();
                }
            }
            if !self.server.transmit(now, &mut down) {
                break;
            }
        }
        assert!(input.is_empty(), "it takes everything");
        moved |= !down.is_empty();
        let mut input = &down[..];
        while let Some(event) = self.client.receive(now, &mut input).expect("a session") {
            match event {
                Event::Sent(report) => round.accepted += usize::from(report.is_accepted()),
                Event::Closed(_) => self.closed = true,
                _ => {}
            }
        }
        up.clear();
        down.clear();
        (round.up, round.down) = (up, down);
        moved
    }

    fn send(&mut self, message: usize) {
        let queued = self.client.send(envelope(self.place.pair, message), LineEndings::Canonical);
        queued.expect("an open session");
    }

    fn quit(&mut self) {
        self.client.quit().expect("an open session");
    }

    fn is_ready(&self) -> bool {
        self.client.is_ready() && self.client.is_clean()
    }

    fn is_closed(&self) -> bool {
        self.closed && self.server.is_closed()
    }
}

/// The two stacks, as an adapter has them: with their buffers, in clear.
pub struct Stacks {
    client: Connection,
    server: Accepted,
    place: Place,
    ready: bool,
    closed: bool,
}

impl Pair for Stacks {
    fn open(number: usize) -> Self {
        let config = Config::new("localhost", 2525).security(Security::None).helo("client.example.org");
        let client = Connection::new(config, Route::direct()).expect("a configuration");
        let server = Accepted::new(host(), None).expect("a configuration");
        Self { client, server, place: Place::new(number), ready: false, closed: false }
    }

    fn turn(&mut self, now: Instant, round: &mut Round) -> bool {
        let mut moved = false;
        while let Some(body) = self.client.body(now) {
            if !self.place.write(body, round) {
                break;
            }
        }
        let ours = self.client.wants(now);
        let theirs = self.server.wants(now);
        let up = ours.write.len().min(theirs.read.len());
        theirs.read[..up].copy_from_slice(&ours.write[..up]);
        let down = theirs.write.len().min(ours.read.len());
        ours.read[..down].copy_from_slice(&theirs.write[..down]);
        if up > 0 {
            moved = true;
            self.client.sent(up);
            self.server.received(up);
        }
        if down > 0 {
            moved = true;
            self.server.sent(down);
            self.client.received(down);
        }
        while let Some(event) = self.server.poll(now).expect("a session") {
            moved = true;
            if let server::Event::Content { octets, last } = event {
                self.place.hear(&octets, last, round);
            }
            while let Some(decision) = self.server.decision() {
                decision.accept();
            }
        }
        while let Some(event) = self.client.poll(now).expect("a session") {
            moved = true;
            match event {
                Event::Ready => self.ready = true,
                Event::Sent(report) => round.accepted += usize::from(report.is_accepted()),
                Event::Closed(_) => self.closed = true,
                _ => {}
            }
        }
        moved
    }

    fn send(&mut self, message: usize) {
        let queued: Result<TransactionId, _> =
            self.client.send(envelope(self.place.pair, message), LineEndings::Canonical);
        queued.expect("an open session");
    }

    fn quit(&mut self) {
        self.client.quit().expect("an open session");
    }

    fn is_ready(&self) -> bool {
        self.ready && self.client.is_clean()
    }

    fn is_closed(&self) -> bool {
        self.closed && self.server.is_over()
    }
}

/// All of them, from the greeting to QUIT.
pub struct Many<P> {
    pairs: Vec<P>,
    /// What they share.
    pub round: Round,
    now: Instant,
}

impl<P: Pair> Many<P> {
    /// So many pairs, each with so many messages of so many octets to send.
    pub fn open(pairs: usize, messages: usize, size: usize) -> Self {
        let round = Round::new(pairs, messages, size);
        Self { pairs: (0..pairs).map(P::open).collect(), round, now: Instant::EPOCH }
    }

    /// One turn for each; `false` where nothing happened any more.
    pub fn turn(&mut self) -> bool {
        self.now = self.now.after(Duration::from_millis(1));
        let mut moved = false;
        for pair in &mut self.pairs {
            moved |= pair.turn(self.now, &mut self.round);
        }
        moved
    }

    /// Until nothing happens any more.
    ///
    /// # Panics
    ///
    /// Where they never stop.
    pub fn run(&mut self) {
        let most = 10_000;
        assert!((0..most).any(|_| !self.turn()), "they never stop");
    }

    /// Each is to send its message of this number.
    pub fn send(&mut self, message: usize) {
        self.pairs.iter_mut().for_each(|pair| pair.send(message));
    }

    /// Each is to say QUIT.
    pub fn quit(&mut self) {
        self.pairs.iter_mut().for_each(P::quit);
    }

    /// Whether every session stands, and nothing is under way.
    pub fn are_ready(&self) -> bool {
        self.pairs.iter().all(P::is_ready)
    }

    /// Whether every session has come to a good end.
    pub fn are_closed(&self) -> bool {
        self.pairs.iter().all(P::is_closed)
    }
}
