//! A client and a server on a wire in memory, in virtual time.
//!
//! The rules of this file: octets go over in pieces of one size, so that every cut can be tried; when neither end has
//! anything to do, time jumps to the next deadline; what the server is asked, it accepts.

use std::time::Duration;

use smtp_proto::body::LineEndings;
use smtp_proto::client::{Body, Envelope, Event, Report, TransactionId};
use smtp_proto::parameter::{MailParameters, RcptParameters};
use smtp_proto::sasl::Channel;
use smtp_proto::sasl::server::Answer;
use smtp_proto::{Accepted, AcceptedError, Config, Connection, Error, Instant, Route, Secret, server, tls};

use std::sync::Arc;

/// A message as it arrived.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Arrived {
    /// MAIL's path.
    pub from: String,
    /// MAIL's parameters.
    pub mail: MailParameters,
    /// The accepted recipients.
    pub to: Vec<String>,
    /// Their parameters.
    pub rcpt: Vec<RcptParameters>,
    /// The octets, unstuffed.
    pub content: Vec<u8>,
}

/// How the server answers, beside accepting everything.
#[derive(Clone, Debug, Default)]
pub struct Manners {
    /// Recipients refused with 550.
    pub refuse: Vec<String>,
    /// Recipients refused with 550 once the message is there, which only LMTP and PRDR can say.
    pub full: Vec<String>,
    /// Whoever was accepted by PRDR is refused by the last word.
    pub takes_back: bool,
    /// The password of everybody, for mechanisms that ask for one.
    pub password: Option<String>,
}

/// Where the wire breaks, for good: beyond this many octets nothing arrives, and both ends see the end of the stream.
#[derive(Clone, Copy, Debug)]
pub struct Break {
    /// Octets that arrive at the server.
    pub up: usize,
    /// Octets that arrive at the client.
    pub down: usize,
    /// The client's transport takes what it is given all the same, as a kernel does; else the write fails.
    pub swallows: bool,
}

/// Two ends and what has happened between them.
pub struct Wire {
    /// The client's end.
    pub client: Connection,
    /// The server's end.
    pub server: Accepted,
    /// The virtual time.
    pub now: Instant,
    /// Octets that go over at once.
    pub piece: usize,
    /// How the server answers.
    pub manners: Manners,
    /// Where the wire breaks, if it does.
    pub breaks: Option<Break>,
    /// Octets that the client's transport took, were they lost on the way.
    pub taken: usize,
    /// Where the message last ended stands among the octets of the client, at the latest.
    pub ended: Option<usize>,
    /// What the client said, as octets on the wire.
    pub from_client: Vec<u8>,
    /// What the server said, as octets on the wire.
    pub from_server: Vec<u8>,
    /// What the client was told.
    pub events: Vec<Event>,
    /// How the client's end failed.
    pub failure: Option<Error>,
    /// How the server's end failed.
    pub server_failure: Option<AcceptedError>,
    /// What arrived.
    pub arrived: Vec<Arrived>,
    arriving: Arrived,
    hung_up: bool,
    broken: bool,
    body_ended: bool,
}

impl Wire {
    /// Two ends that have not said a word.
    ///
    /// # Panics
    ///
    /// Where a configuration cannot be used.
    pub fn new(
        client: Config,
        server: server::Config,
        acceptor: Option<Arc<dyn tls::Acceptor>>,
        implicit: bool,
        piece: usize,
    ) -> Self {
        let server = match acceptor {
            Some(acceptor) if implicit => Accepted::implicit(server, acceptor),
            acceptor => Accepted::new(server, acceptor),
        };
        Self {
            client: Connection::new(client, Route::direct()).expect("a client's configuration"),
            server: server.expect("a server's configuration"),
            now: Instant::EPOCH,
            piece,
            manners: Manners::default(),
            breaks: None,
            taken: 0,
            ended: None,
            from_client: Vec::new(),
            from_server: Vec::new(),
            events: Vec::new(),
            failure: None,
            server_failure: None,
            arrived: Vec::new(),
            arriving: Arrived::default(),
            hung_up: false,
            broken: false,
            body_ended: false,
        }
    }

    /// Runs until `done` says so of an event, or nothing can happen any more.
    pub fn run_until(&mut self, done: impl Fn(&Event) -> bool) -> bool {
        self.run(|body| body.end(), done)
    }

    /// Runs until nothing can happen any more, handing over each message when its turn has come.
    ///
    /// # Panics
    ///
    /// Where a message is asked for that is not among these.
    pub fn run_out(&mut self, messages: &[(TransactionId, &[u8])]) {
        self.run_out_to(messages, |_| false);
    }

    /// The same, until `done` says so of an event.
    ///
    /// # Panics
    ///
    /// Where a message is asked for that is not among these.
    pub fn run_out_to(&mut self, messages: &[(TransactionId, &[u8])], done: impl Fn(&Event) -> bool) {
        let mut rest: Vec<_> = messages.to_vec();
        self.run(
            |mut body| {
                let id = body.transaction();
                let (_, octets) = rest.iter_mut().find(|(one, _)| Some(*one) == id).expect("a message");
                body.write(octets).expect("canonical line endings");
                if octets.is_empty() {
                    body.end();
                }
            },
            done,
        );
    }

    /// Sends one message, and gives its report.
    ///
    /// # Panics
    ///
    /// Where the message is refused as a misuse, or nothing becomes of it.
    pub fn send(&mut self, envelope: &Envelope, message: &[u8]) -> Report {
        self.send_pieces(envelope, LineEndings::default(), &[message])
    }

    /// The same of a message that is there in pieces, of which as many are written each time as there is room for.
    ///
    /// # Panics
    ///
    /// As for [`send`](Self::send).
    pub fn send_pieces(&mut self, envelope: &Envelope, endings: LineEndings, pieces: &[&[u8]]) -> Report {
        let id = self.client.send(envelope.clone(), endings).expect("an open session");
        let ours = |event: &Event| matches!(event, Event::Sent(report) if report.transaction == id);
        let (mut pieces, mut rest) = (pieces.iter(), &[][..]);
        let write = |mut body: Body<'_>| {
            while rest.is_empty() {
                match pieces.next() {
                    Some(next) => rest = next,
                    None => return body.end(),
                }
                body.write(&mut rest).expect("canonical line endings");
            }
            body.write(&mut rest).expect("canonical line endings");
        };
        assert!(self.run(write, ours), "nothing became of the message: {:?}", self.failure);
        match self.events.last() {
            Some(Event::Sent(report)) => report.clone(),
            other => panic!("not a report: {other:?}"),
        }
    }

    fn run(&mut self, mut write: impl FnMut(Body<'_>), done: impl Fn(&Event) -> bool) -> bool {
        loop {
            let mut moved = false;
            while self.failure.is_none() {
                match self.client.poll(self.now) {
                    Ok(Some(event)) => {
                        moved = true;
                        self.events.push(event.clone());
                        if done(&event) {
                            return true;
                        }
                    }
                    Ok(None) => break,
                    Err(error) => self.failure = Some(error),
                }
            }
            // As long as it takes any: messages may stand one behind the other in one flight.
            let mut written = usize::MAX;
            while let Some(body) = self.client.body(self.now) {
                write(body);
                self.body_ended = self.client.body(self.now).is_none();
                let waits = self.client.wants(self.now).write.len();
                if waits == written {
                    break;
                }
                written = waits;
            }
            moved |= self.poll_server();
            moved |= self.carry();
            if !moved && !self.pass_time() {
                return false;
            }
        }
    }

    /// Carries a piece each way.
    fn carry(&mut self) -> bool {
        if self.broken {
            return false;
        }
        let ours = self.client.wants(self.now);
        if std::mem::take(&mut self.body_ended) {
            self.ended = Some(self.taken + ours.write.len());
        }
        let theirs = self.server.wants(self.now);
        if let Some(end) = self.breaks {
            let up = !ours.write.is_empty() && self.from_client.len() >= end.up;
            let down = !theirs.write.is_empty() && self.from_server.len() >= end.down;
            if up || down {
                self.broken = true;
                let lost = ours.write.len();
                if end.swallows {
                    self.taken += lost;
                    self.client.sent(lost);
                } else {
                    self.client.write_failed();
                }
                self.client.received(0);
                self.server.received(0);
                return true;
            }
        }
        let (up_left, down_left) = self.breaks.map_or((usize::MAX, usize::MAX), |end| {
            (end.up - self.from_client.len().min(end.up), end.down - self.from_server.len().min(end.down))
        });
        let up = ours.write.len().min(theirs.read.len()).min(self.piece).min(up_left);
        theirs.read[..up].copy_from_slice(&ours.write[..up]);
        self.from_client.extend_from_slice(&ours.write[..up]);
        let down = theirs.write.len().min(ours.read.len()).min(self.piece).min(down_left);
        ours.read[..down].copy_from_slice(&theirs.write[..down]);
        self.from_server.extend_from_slice(&theirs.write[..down]);
        let hung_up = self.server.is_over() && down == 0;
        if up > 0 {
            self.taken += up;
            self.client.sent(up);
            self.server.received(up);
        }
        if down > 0 {
            self.server.sent(down);
            self.client.received(down);
        } else if hung_up && !self.hung_up {
            self.hung_up = true;
            self.client.received(0);
            return true;
        }
        up > 0 || down > 0
    }

    /// Jumps to the next deadline; `false` where there is none.
    fn pass_time(&mut self) -> bool {
        let ours = self.client.wants(self.now).deadline;
        let theirs = self.server.wants(self.now).deadline;
        let next = ours.map(|deadline| deadline.at).into_iter().chain(theirs.map(|deadline| deadline.at)).min();
        match next {
            Some(at) if self.failure.is_none() => {
                self.now = at.max(self.now.after(Duration::from_millis(1)));
                true
            }
            _ => false,
        }
    }

    fn poll_server(&mut self) -> bool {
        let mut moved = false;
        while self.server_failure.is_none() {
            match self.server.poll(self.now) {
                Ok(Some(event)) => {
                    moved = true;
                    self.answer(event);
                }
                Ok(None) => break,
                Err(error) => self.server_failure = Some(error),
            }
        }
        moved
    }

    /// Accepts whatever the server is asked, but for what its manners forbid.
    fn answer(&mut self, event: server::Event) {
        match event {
            server::Event::Authenticate { .. } => {
                let channel = self.server.tls().map_or(Channel::clear(), tls::Facts::channel);
                let question = self.server.authentication().expect("a question about AUTH");
                question.begin(&channel, [9; 24]).expect("an offered mechanism");
            }
            server::Event::Credentials(question) => {
                use smtp_proto::sasl::server::Event as Asked;
                let expected = self.manners.password.clone().unwrap_or_default();
                let answer = match question {
                    Asked::Verify { password, .. } if password == Secret::from(expected.as_str()) => Answer::Accept,
                    Asked::Verify { .. } => Answer::Refuse,
                    Asked::VerifyToken { token, .. } if token == Secret::from(expected.as_str()) => Answer::Accept,
                    Asked::VerifyToken { .. } => Answer::RefuseBecause(br#"{"status":"invalid_token"}"#.to_vec()),
                    Asked::Lookup { mechanism, .. } => lookup(&mechanism, &expected),
                    // Whoever has come is this one.
                    Asked::External { .. } | Asked::Anonymous { .. } if !expected.is_empty() => {
                        Answer::AcceptAs(expected)
                    }
                    _ => Answer::Refuse,
                };
                let question = self.server.credentials().expect("a question about credentials");
                question.answer(answer).expect("an answer that fits");
            }
            server::Event::Mail { from, parameters } => {
                self.arriving = Arrived { from: from.to_string(), mail: parameters, ..Arrived::default() };
                self.server.decision().expect("a question about MAIL").accept();
            }
            server::Event::Recipient { to, parameters } => {
                let decision = self.server.decision().expect("a question about RCPT");
                if self.manners.refuse.iter().any(|refused| refused == to.as_str()) {
                    decision.reject();
                } else {
                    self.arriving.to.push(to.to_string());
                    self.arriving.rcpt.push(parameters);
                    decision.accept();
                }
            }
            server::Event::Content { octets, last } => {
                self.arriving.content.extend(octets);
                if last {
                    self.complete();
                }
            }
            server::Event::Abandoned(_) => self.arriving = Arrived::default(),
            _ => {
                // Whatever else is asked: the machine's own answer.
                while let Some(decision) = self.server.decision() {
                    decision.accept();
                }
            }
        }
    }

    /// Answers for a message that is there; it has arrived where it was accepted for anybody.
    fn complete(&mut self) {
        let mut arrived = std::mem::take(&mut self.arriving);
        let mut each = std::mem::take(&mut arrived.to).into_iter();
        while let Some(decision) = self.server.decision() {
            let one_by_one = matches!(decision.question(), server::Question::MessageFor(_));
            let whole = !one_by_one && each.len() == 0;
            match each.next() {
                _ if whole && self.manners.takes_back => {
                    decision.reject();
                    arrived.to.clear();
                }
                Some(full) if one_by_one && self.manners.full.contains(&full) => decision.reject(),
                to => {
                    decision.accept();
                    arrived.to.extend(to);
                    if !one_by_one {
                        arrived.to.extend(each.by_ref());
                    }
                }
            }
        }
        if !arrived.to.is_empty() {
            self.arrived.push(arrived);
        }
    }
}

fn lookup(mechanism: &smtp_proto::sasl::MechanismName, password: &str) -> Answer {
    use smtp_proto::sasl::ScramHash;
    use smtp_proto::sasl::server::ScramKeys;
    let hash = match mechanism.as_str() {
        name if name.starts_with("SCRAM-SHA-512") => ScramHash::Sha512,
        name if name.starts_with("SCRAM-SHA-256") => ScramHash::Sha256,
        name if name.starts_with("SCRAM-SHA-1") => ScramHash::Sha1,
        _ => return Answer::Password(Secret::from(password)),
    };
    match ScramKeys::derive(hash, &Secret::from(password), *b"salt of a test", 4096) {
        Ok(keys) => Answer::Scram(keys),
        Err(_) => Answer::Refuse,
    }
}
