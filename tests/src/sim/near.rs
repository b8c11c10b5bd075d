//! The near end of the stream: the client, driven as an adapter drives it, and what it tells.
//!
//! The rules of this file: it does what a [`Link`] says, as any adapter; it checks what can be checked while it runs: one
//! report a message, nothing behind the end, bounded memory, bounded waits.

use std::time::Duration;

use proxy_proto::Instant;
use smtp_proto::client::{CommandId, Event, Remembered, Report, TransactionId};
use smtp_proto::command::Command;
use smtp_proto::session::{Did, FAREWELL, Link, Polled};
use smtp_proto::{Connection, Error};

use super::coverage::Coverage;
use super::far::word;
use super::model;
use super::plan::{Message, Pace, Plan};
use crate::dice::Dice;
use crate::stream::{Read, Stream, Way};

/// Octets that may wait to be sent: what [`Connection`] promises (64 KiB, two chunks of as much), and room for commands.
const MOST: usize = (64 + 2 * 64 + 64) * 1024;

/// A message on its way.
pub(super) struct Sending {
    /// As the client named it.
    pub(super) id: TransactionId,
    /// Which of the plan's messages.
    pub(super) message: usize,
    /// For whom: those who may have it still.
    pub(super) to: Vec<String>,
    /// Octets given so far.
    given: usize,
    /// The author has given it up, or had to.
    pub(super) given_up: bool,
    /// Where it ends among the connection's octets: behind this one at the earliest.
    pub(super) ends_behind: Option<u64>,
    /// What became of it, and how many octets the transport had then.
    pub(super) report: Option<(Report, u64)>,
}

/// The near end.
pub(super) struct Near<'a> {
    plan: &'a Plan,
    link: Link<Connection, ()>,
    dice: Dice,
    to_send: std::vec::IntoIter<(usize, Vec<String>)>,
    /// What was asked for.
    pub(super) sending: Vec<Sending>,
    commands: Vec<(CommandId, bool)>,
    began: Option<Instant>,
    /// When it last heard or said something.
    alive: Instant,
    /// The session was ready.
    pub(super) ready: bool,
    /// What is worth remembering of the server.
    pub(super) remembered: Option<Remembered>,
    /// When the error was told.
    failed_at: Option<Instant>,
    /// How it ended.
    pub(super) over: Option<Result<(), Error>>,
    /// What should not have happened.
    pub(super) wrong: Vec<String>,
}

impl<'a> Near<'a> {
    /// A client that is to send these messages to these recipients.
    pub(super) fn new(plan: &'a Plan, client: Connection, to_send: Vec<(usize, Vec<String>)>, dice: Dice) -> Self {
        let mut near = Self {
            plan,
            link: Link::new(client),
            dice,
            to_send: to_send.into_iter(),
            sending: Vec::new(),
            commands: Vec::new(),
            began: None,
            alive: Instant::EPOCH,
            ready: false,
            remembered: None,
            failed_at: None,
            over: None,
            wrong: Vec::new(),
        };
        if plan.pace == Pace::AtOnce {
            near.ask_for_all();
        }
        near
    }

    /// The connection itself.
    pub(super) fn client(&self) -> &Connection {
        self.link.end()
    }

    fn ask_for_all(&mut self) {
        while self.ask_for_next() {}
    }

    /// Asks for the next message, or for QUIT; `false` behind that.
    fn ask_for_next(&mut self) -> bool {
        let client = self.link.end_mut();
        for (message, to) in self.to_send.by_ref() {
            if self.dice.one_in(self.plan.noops) {
                self.commands.extend(client.command(Command::noop()).map(|id| (id, false)));
            }
            let one = &self.plan.messages[message];
            let Some(envelope) = model::envelope(one, &to) else { continue };
            // What the server does not offer is refused at once where that is known.
            if let Ok(id) = client.send(envelope, one.endings) {
                let (given, given_up) = (0, false);
                self.sending.push(Sending { id, message, to, given, given_up, ends_behind: None, report: None });
                return true;
            }
        }
        let _ = client.quit();
        false
    }

    /// Does what can be done now; whether anything has moved.
    pub(super) fn turn(&mut self, now: Instant, stream: &mut Stream, coverage: &mut Coverage) -> bool {
        if self.over.is_some() {
            return false;
        }
        if self.began.is_none() {
            (self.began, self.alive) = (Some(now), now);
        }
        let mut moved = false;
        loop {
            match self.link.poll(now) {
                Polled::Event(event) => {
                    moved = true;
                    self.hear(now, event, coverage);
                }
                Polled::Wait => break,
                Polled::Over(how) => {
                    self.end(now, how, stream, coverage);
                    return true;
                }
            }
        }
        if self.link.failure().is_some() {
            self.failed_at.get_or_insert(now);
        } else {
            moved |= self.give(now);
        }
        let acted = self.act(now, stream);
        if acted {
            self.alive = now;
        }
        self.watch(now);
        moved | acted
    }

    /// When it must be asked again.
    pub(super) fn next(&mut self, now: Instant) -> Option<Instant> {
        if self.over.is_some() { None } else { self.link.turn(now).deadline }
    }

    /// Where it stands, for people.
    pub(super) fn stands(&mut self, now: Instant) -> String {
        let client = self.link.end_mut();
        let (phase, has_body) = (client.phase(), client.body(now).is_some());
        let waits = client.wants(now).write.len();
        let given: Vec<_> = self.sending.iter().map(|one| (one.message, one.given, one.ends_behind)).collect();
        format!("in {phase}, a message is asked for: {has_body}, {waits} octets wait, given: {given:?}")
    }

    fn hear(&mut self, now: Instant, event: Event, coverage: &mut Coverage) {
        let octets = self.link.end().octets();
        if matches!(event, Event::Ready | Event::Sent(_)) {
            self.remembered = self.link.end().remembered().or(self.remembered.take());
        }
        match event {
            Event::Ready => {
                if std::mem::replace(&mut self.ready, true) {
                    self.wrong.push("ready twice".into());
                }
                self.on_time(now, "becoming ready");
                coverage.met("security", format!("{:?}", self.link.end().security()));
                if let Some(name) = self.link.end().authenticated() {
                    coverage.met("AUTH succeeded", name);
                }
                if self.link.end().spoke_early() {
                    coverage.met("early", "ready");
                }
                match self.plan.pace {
                    Pace::AtOnce => {}
                    Pace::WhenReady => self.ask_for_all(),
                    Pace::OneByOne => drop(self.ask_for_next()),
                }
            }
            Event::Sent(report) => {
                let transaction = report.transaction;
                match self.sending.iter_mut().find(|one| one.id == transaction) {
                    None => self.wrong.push(format!("a report of nothing: {report:?}")),
                    Some(Sending { report: Some(_), .. }) => self.wrong.push(format!("reported twice: {report:?}")),
                    Some(sending) => sending.report = Some((report, octets)),
                }
                // What failed has told its reports before its error.
                if self.plan.pace == Pace::OneByOne && self.link.failure().is_none() {
                    self.ask_for_next();
                }
            }
            Event::Replied { command, .. } | Event::NotSaid { command, .. } => {
                match self.commands.iter_mut().find(|(id, _)| *id == command) {
                    Some((_, answered @ false)) => *answered = true,
                    _ => self.wrong.push(format!("an answer to nothing: {command:?}")),
                }
            }
            _ => {}
        }
    }

    /// Gives octets of messages, as their authors do: some now, some later.
    fn give(&mut self, now: Instant) -> bool {
        let mut moved = false;
        for _ in 0..self.dice.range(1, 12) {
            let client = self.link.end_mut();
            let Some(id) = client.body(now).and_then(|mut body| body.transaction()) else { break };
            let Some(sending) = self.sending.iter_mut().find(|one| one.id == id) else {
                self.wrong.push("a message is asked for that nobody sends".into());
                break;
            };
            let Message { content, abandoned, .. } = &self.plan.messages[sending.message];
            let rest = &content[sending.given..];
            let half = *abandoned && sending.given * 2 >= content.len();
            if half || (rest.is_empty() && sending.ends_behind.is_none()) {
                let before = client.wants(now).write.len() as u64 + client.octets();
                let Some(body) = client.body(now) else { continue };
                moved = true;
                if half {
                    sending.given_up = true;
                    body.abandon();
                    break;
                }
                sending.ends_behind = Some(before);
                body.end();
                continue;
            }
            let most = if rest.len() > 10_000 { 40_000 } else { 3000 };
            let chunk = &rest[..self.dice.range(1, most).min(rest.len())];
            let Some(mut body) = client.body(now) else { break };
            match body.write(&mut &*chunk) {
                Ok(0) => break,
                Ok(n) => sending.given += n,
                Err(_) => {
                    sending.given_up = true;
                    body.abandon();
                }
            }
            moved = true;
        }
        moved
    }

    fn act(&mut self, now: Instant, stream: &mut Stream) -> bool {
        let turn = self.link.turn(now);
        if turn.write.len() > MOST || turn.read.len() > 16 * 1024 {
            self.wrong.push(format!("the client holds {} octets, and room for {}", turn.write.len(), turn.read.len()));
        }
        let (flush, close, writes) = (turn.flush, turn.close, !turn.write.is_empty());
        let read = stream.read(Way::Down, now, turn.read);
        let wrote = if writes { stream.write(Way::Up, now, turn.write) } else { Ok(0) };
        match read {
            Read::Nothing => {}
            Read::Octets(n) => self.link.did(Did::Read(Ok(n))),
            Read::End => self.link.did(Did::Read(Ok(0))),
            Read::Reset => self.link.did(Did::Read(Err(()))),
        }
        match wrote {
            Ok(0) => {}
            Ok(n) => self.link.did(Did::Wrote(Ok(n))),
            Err(_) => self.link.did(Did::Wrote(Err(()))),
        }
        if flush {
            self.link.did(Did::Flushed(Ok(())));
        }
        if close {
            self.link.did(Did::Closed);
        }
        read != Read::Nothing || wrote != Ok(0) || flush || close
    }

    /// No wait may be longer than the longest limit, nor an operation than its own; parting is bounded, too.
    fn watch(&mut self, now: Instant) {
        let limits = &self.plan.limits;
        let all = [
            limits.hop,
            limits.tls,
            limits.greeting,
            limits.ehlo,
            limits.auth,
            limits.mail,
            limits.rcpt,
            limits.data,
            limits.block,
            limits.message,
            limits.command,
            limits.quit,
        ];
        let longest = all.into_iter().max().unwrap_or(Duration::ZERO);
        let waited = now.since(self.alive);
        match self.failed_at {
            // Once it has failed it only parts, which has a limit of its own.
            Some(at) if now.since(at) > FAREWELL => self.wrong.push("parting takes too long".into()),
            Some(_) => {}
            None if waited > longest => self.wrong.push(format!("it has waited for {waited:?}")),
            None if !self.ready => self.on_time(now, "becoming ready"),
            None => {}
        }
    }

    fn on_time(&mut self, now: Instant, what: &str) {
        let took = self.began.map_or(Duration::ZERO, |began| now.since(began));
        if self.plan.limits.operation.is_some_and(|whole| took > whole) {
            self.wrong.push(format!("{what} took {took:?}"));
        }
    }

    fn end(&mut self, now: Instant, how: Result<(), Error>, stream: &mut Stream, coverage: &mut Coverage) {
        stream.close(Way::Up, now);
        stream.abandon(Way::Down);
        match &how {
            Ok(()) => coverage.met("client ends", "well"),
            Err(error) => {
                coverage.met("client ends", word(&format!("{:?}", error.cause)));
                coverage.met("client fails in", error.phase);
            }
        }
        // Nothing follows the end, and an error stays.
        for _ in 0..2 {
            let again = self.link.end_mut().poll(now.after(Duration::from_secs(86_400)));
            let expected = how.clone().map(|()| None);
            if again != expected {
                self.wrong.push(format!("behind the end: {again:?}"));
            }
        }
        if how.is_ok() && self.commands.iter().any(|(_, answered)| !answered) {
            self.wrong.push("a command was not answered".into());
        }
        self.over = Some(how);
    }
}
