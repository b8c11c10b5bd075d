//! The far end of the stream: the proxies on the way, then the server.
//!
//! The rules of this file: proxies are served by the accepting sides of `proxy-proto` (`way.rs`); one after the other they
//! leave the stream to what is asked of them; TLS with an HTTPS proxy stays as a filter below all that comes behind it.

use std::collections::VecDeque;
use std::sync::Arc;

use proxy_proto::{Instant, Limits, Machine, http, socks4, socks5};
use smtp_proto::session::{Did, Link, Polled};
use smtp_proto::{Accepted, tls};

use super::coverage::Coverage;
use super::owner::Owner;
use super::plan::{Plan, Wants};
use crate::dice::Dice;
use crate::stream::{Fault, Read, Stream, Way};

/// Octets that may wait before no more is read, or said.
const HIGH: usize = 16 * 1024;

enum Step {
    Tls,
    Proxy(usize),
    Header,
    Server,
}

/// What stands at the top of the stream, now.
pub(super) enum Top {
    Socks4(usize, socks4::Accept),
    Socks5(usize, socks5::Accept),
    Http(usize, http::Accept),
    /// What is to come of the PROXY header.
    Header(&'static [u8]),
    Server(Box<Link<Accepted, ()>>),
    /// Closes once everything is said.
    Over,
}

/// The PROXY header that is expected.
pub(super) const HEADER: &[u8] = b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 25\r\n";

/// The far end.
pub(super) struct Far<'a> {
    pub(super) plan: &'a Plan,
    acceptor: Arc<dyn tls::Acceptor>,
    session: usize,
    steps: VecDeque<Step>,
    pub(super) top: Top,
    floors: Vec<Box<dyn tls::Session>>,
    /// What was read and not taken: from the stream, then by each floor.
    pub(super) levels: Vec<Vec<u8>>,
    out: Vec<u8>,
    dice: Dice,
    /// 354 was said, and nothing since.
    in_content: bool,
    pub(super) ended: bool,
    unwritable: bool,
    /// Our direction is closed.
    closed: bool,
    /// Nothing more will come of this end.
    pub(super) gone: bool,
    /// The server's owner.
    pub(super) owner: Owner,
    /// What was said to the server itself before TLS.
    pub(super) in_clear: Vec<u8>,
    /// What should not have happened.
    pub(super) wrong: Vec<String>,
}

impl<'a> Far<'a> {
    /// The far end of one session.
    pub(super) fn new(plan: &'a Plan, session: usize, acceptor: Arc<dyn tls::Acceptor>, mut dice: Dice) -> Self {
        let mut steps = VecDeque::new();
        for (at, proxy) in plan.proxies.iter().enumerate() {
            if proxy.url.needs_tls() {
                steps.push_back(Step::Tls);
            }
            steps.push_back(Step::Proxy(at));
        }
        if plan.header {
            steps.push_back(Step::Header);
        }
        steps.push_back(Step::Server);
        let owner = Owner::new(plan.servers[session].policy, &plan.right_secret, session, dice.fork());
        let mut far = Self {
            plan,
            acceptor,
            session,
            steps,
            top: Top::Over,
            floors: Vec::new(),
            levels: vec![Vec::new()],
            out: Vec::new(),
            dice: dice.fork(),
            in_content: false,
            ended: false,
            unwritable: false,
            closed: false,
            gone: false,
            owner,
            in_clear: Vec::new(),
            wrong: Vec::new(),
        };
        far.next_step();
        far
    }

    pub(super) fn next_step(&mut self) {
        let limits = Limits::default();
        self.top = match self.steps.pop_front() {
            Some(Step::Tls) => {
                self.floors.push(self.acceptor.accept().expect("a session"));
                self.levels.push(Vec::new());
                return self.next_step();
            }
            Some(Step::Proxy(at)) => {
                let proxy = &self.plan.proxies[at];
                match proxy.url.scheme().as_str() {
                    "socks4" | "socks4a" => Top::Socks4(at, socks4::Accept::new(limits)),
                    "socks5" | "socks5h" => {
                        let wants = proxy.wants != Wants::Nothing;
                        let admission = if wants { socks5::Admission::Password } else { socks5::Admission::Either };
                        Top::Socks5(at, socks5::Accept::new(admission, limits))
                    }
                    _ => Top::Http(at, http::Accept::new(limits)),
                }
            }
            Some(Step::Header) => Top::Header(HEADER),
            Some(Step::Server) => {
                let server = &self.plan.servers[self.session];
                let (config, acceptor) = (server.config.clone(), self.acceptor.clone());
                let machine = if server.implicit {
                    Accepted::implicit(config, acceptor)
                } else {
                    Accepted::new(config, server.tls.then_some(acceptor))
                };
                Top::Server(Box::new(Link::new(machine.expect("a server's configuration"))))
            }
            None => Top::Over,
        };
    }

    /// Does what can be done now; whether anything has moved.
    pub(super) fn turn(&mut self, now: Instant, stream: &mut Stream, coverage: &mut Coverage) -> bool {
        if self.gone {
            return false;
        }
        let mut moved = self.read(now, stream);
        moved |= self.lift(coverage);
        moved |= match &mut self.top {
            Top::Server(_) => self.serve(now, stream, coverage),
            Top::Header(_) => self.take_header(),
            Top::Over => false,
            _ => self.open_way(now, coverage),
        };
        moved | self.write(now, stream)
    }

    /// When it must be asked again.
    pub(super) fn next(&mut self, now: Instant) -> Option<Instant> {
        if self.gone {
            return None;
        }
        let of_top = match &mut self.top {
            Top::Server(link) => link.turn(now).deadline,
            Top::Socks4(_, machine) => machine.deadline().map(|deadline| deadline.at),
            Top::Socks5(_, machine) => machine.deadline().map(|deadline| deadline.at),
            Top::Http(_, machine) => machine.deadline().map(|deadline| deadline.at),
            Top::Header(_) | Top::Over => None,
        };
        of_top.into_iter().chain(self.owner.due()).min()
    }

    fn read(&mut self, now: Instant, stream: &mut Stream) -> bool {
        if self.ended || self.levels.iter().any(|level| level.len() >= HIGH) {
            return false;
        }
        let mut room = [0; 4096];
        match stream.read(Way::Up, now, &mut room) {
            Read::Nothing => return false,
            Read::Octets(n) => self.levels[0].extend_from_slice(&room[..n]),
            Read::End => self.ended = true,
            Read::Reset => (self.ended, self.unwritable) = (true, true),
        }
        true
    }

    fn lift(&mut self, coverage: &mut Coverage) -> bool {
        let mut moved = false;
        for (at, floor) in self.floors.iter_mut().enumerate() {
            let (below, above) = self.levels.split_at_mut(at + 1);
            let (input, plain) = (&mut below[at], &mut above[0]);
            let mut rest = &input[..];
            let before = (plain.len(), rest.len());
            let opened = floor.open(&mut rest, plain, HIGH);
            let left = rest.len();
            moved |= (plain.len(), left) != before;
            input.drain(..input.len() - left);
            if opened.is_err() {
                coverage.met("proxy", "TLS fails");
                self.top = Top::Over;
                input.clear();
            }
        }
        moved
    }

    fn take_header(&mut self) -> bool {
        let Top::Header(due) = &mut self.top else { return false };
        let level = self.levels.last_mut().expect("the stream's own");
        let n = level.len().min(due.len());
        if level[..n] != due[..n] {
            self.wrong.push(format!("not the PROXY header: {}", level.escape_ascii()));
        }
        level.drain(..n);
        *due = &due[n..];
        if due.is_empty() {
            self.next_step();
            return true;
        }
        if self.ended {
            self.top = Top::Over;
        }
        n > 0 || self.ended
    }

    fn serve(&mut self, now: Instant, stream: &mut Stream, coverage: &mut Coverage) -> bool {
        let Top::Server(link) = &mut self.top else { return false };
        let mut moved = false;
        loop {
            match link.poll(now) {
                Polled::Event(event) => {
                    moved = true;
                    self.owner.hear(now, event, coverage);
                }
                Polled::Wait => {
                    if link.end_mut().decision().is_some() {
                        self.owner.hear_greeting(now);
                    }
                    // Whoever thinks still listens: a limit may pass meanwhile.
                    if !self.owner.answer(now, link.end_mut(), coverage) {
                        break;
                    }
                    moved = true;
                    if self.owner.vanishes {
                        // As a process does that is killed: its kernel closes for it.
                        stream.break_now(Way::Down, now, if self.ended { Fault::Reset } else { Fault::Cut });
                        self.gone = true;
                        return true;
                    }
                }
                Polled::Over(how) => {
                    match how {
                        Ok(()) => coverage.met("server ends", "well"),
                        Err(error) => coverage.met("server ends", word(&format!("{error:?}"))),
                    }
                    self.top = Top::Over;
                    return true;
                }
            }
        }
        let level = self.levels.last_mut().expect("the stream's own");
        let turn = link.turn(now);
        if turn.write.len() > 64 * 1024 || turn.read.len() > HIGH {
            self.wrong.push(format!("the server holds {} octets, and room for {}", turn.write.len(), turn.read.len()));
        }
        let said = if self.out.len() < HIGH { turn.write.to_vec() } else { Vec::new() };
        let n = turn.read.len().min(level.len());
        turn.read[..n].copy_from_slice(&level[..n]);
        let (has_room, flush, close) = (!turn.read.is_empty(), turn.flush, turn.close);
        if n > 0 {
            if link.end().tls().is_none() {
                self.in_clear.extend_from_slice(&level[..n]);
            }
            level.drain(..n);
            link.did(Did::Read(Ok(n)));
        } else if has_room && level.is_empty() && self.ended {
            link.did(Did::Read(if self.unwritable { Err(()) } else { Ok(0) }));
            moved = true;
        }
        if !said.is_empty() {
            link.did(Did::Wrote(if self.unwritable { Err(()) } else { Ok(said.len()) }));
        }
        if flush {
            link.did(Did::Flushed(Ok(())));
        }
        if close {
            link.did(Did::Closed);
        }
        moved |= n > 0 || !said.is_empty() || flush || close;
        let in_clear = link.end().tls().is_none() && !self.unwritable;
        if in_clear && self.refuses_amid(&said, n, coverage) {
            return true;
        }
        if !self.unwritable {
            self.say(&said);
        }
        if close && self.out.is_empty() {
            self.closed = true;
            stream.close(Way::Down, now);
        }
        moved
    }

    /// What the server's machine never says, and servers do: a refusal of a message that is not complete. Then it is gone, and
    /// so has taken nothing since.
    fn refuses_amid(&mut self, said: &[u8], heard: usize, coverage: &mut Coverage) -> bool {
        let go = said.windows(4).any(|part| part == b"354 ");
        self.in_content = go || (self.in_content && said.is_empty() && self.out.is_empty());
        let odds = self.plan.servers[self.session].policy.amid;
        if go || !self.in_content || heard == 0 || !self.dice.one_in(odds) {
            return false;
        }
        coverage.met("server refuses", "a message amid it");
        let code = self.dice.pick(&[452, 552, 421]);
        self.say(format!("{code} no\r\n").as_bytes());
        self.top = Top::Over;
        true
    }

    pub(super) fn say(&mut self, octets: &[u8]) {
        let mut said = octets.to_vec();
        for floor in self.floors.iter_mut().rev() {
            let mut sealed = Vec::new();
            if floor.is_handshaking() && !said.is_empty() {
                self.wrong.push("it speaks during the handshake".into());
                return;
            }
            // What cannot be sealed is lost, as it is when a session breaks.
            let _ = floor.seal(&said, &mut sealed);
            said = sealed;
        }
        self.out.extend(said);
    }

    fn write(&mut self, now: Instant, stream: &mut Stream) -> bool {
        // What a session has to say by itself: its handshake.
        if !self.floors.is_empty() {
            self.say(&[]);
        }
        let before = self.out.len();
        if !self.out.is_empty() {
            match stream.write(Way::Down, now, &self.out) {
                Ok(n) => drop(self.out.drain(..n)),
                Err(_) => {
                    self.unwritable = true;
                    self.out.clear();
                }
            }
        }
        let moved = self.out.len() < before;
        if matches!(self.top, Top::Over) && self.out.is_empty() {
            stream.close(Way::Down, now);
            stream.abandon(Way::Up);
            self.gone = true;
            return true;
        }
        moved
    }
}

/// The first words of a shown value: what kind it is, and not what it holds.
pub(super) fn word(shown: &str) -> String {
    let end = shown.find(['{', '"', ',']).unwrap_or(shown.len());
    shown[..end].trim_end_matches(['(', ' ', ')']).to_owned()
}
