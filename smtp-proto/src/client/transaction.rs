//! One mail transaction: MAIL, RCPT.., DATA or BDAT, the message (RFC 5321 section 3.3, RFC 3030 section 2).
//!
//! The rules of this file:
//!
//! - What was *said* and what was *heard* advance apart from each other; without PIPELINING they merely alternate.
//! - A transaction is *settled* as soon as its end is known. Replies that are still due then change nothing any more.
//! - If the server says 354 to a transaction that is settled already, a lone dot answers it (RFC 2920 section 3.1).
//! - A transaction that failed because the server lost track of a group *begins anew*, one level lower, once nothing is due to
//!   it any more; but only where all that was taken of the message is still there.

use alloc::vec::Vec;

use proxy_proto::Instant;

use super::Owed;
use super::envelope::Envelope;
use super::event::{Event, TransactionId};
use super::extended::BodyKind;
use super::framing::Framing;
use super::report::{Outcome, Recipient, Report};
use crate::body::LineEndings;
use crate::extension::Extensions;
use crate::reply::{Code, Reply};
use crate::{Error, Grouping, text};

/// What is to be said next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Next {
    Mail,
    Rcpt(usize),
    /// Nothing before each RCPT is answered.
    Verdict,
    Data,
    /// DATA was said, and not answered yet.
    Go,
    /// The message, by the caller.
    Body,
    /// BDAT LAST: the message is complete.
    Last,
    LoneDot,
    /// All is said.
    Nothing,
}

/// What a reply did to the transaction.
pub(super) enum Heard {
    Event(Event),
    /// Nothing worth telling.
    Nothing,
    /// Nothing, and there is another reply to the same.
    OnceMore,
    /// The code has no meaning here.
    Unexpected,
}

pub(super) struct Transaction {
    pub(super) id: TransactionId,
    pub(super) next: Next,
    pub(super) framing: Framing,
    /// The level it is said at.
    pub(super) grouping: Grouping,
    /// What was put out of the message while the server had yet to prove itself; encoded, so it can be encoded again.
    pub(super) kept: Option<Vec<u8>>,
    /// What must be put out once more before the caller gives the rest.
    replay: Option<Vec<u8>>,
    /// The caller has given the whole message.
    pub(super) complete: bool,
    /// Octets of the message taken so far.
    pub(super) octets: u64,
    /// Flights of the connection before this transaction's first.
    pub(super) flights_before: u64,
    pub(super) commands: u64,
    /// When MAIL was said.
    pub(super) began: Option<Instant>,
    /// MAIL was said while replies were due.
    pub(super) behind_others: bool,
    /// The server's reply to MAIL was positive, and no reply has ended the transaction on its side.
    pub(super) open_at_server: bool,
    /// BDAT was said, so whether the server has a transaction open is settled by its own rules.
    pub(super) chunks_said: bool,
    /// The server has lost track of this transaction.
    pub(super) shaken: bool,
    /// It is to begin anew.
    pub(super) again: bool,
    envelope: Envelope,
    endings: LineEndings,
    /// Each accepted recipient has a reply to the message (RFC 2033 section 4.2).
    lmtp: bool,
    answered: usize,
    accepted: usize,
    settled: bool,
}

impl Transaction {
    pub(super) fn new(id: TransactionId, envelope: Envelope, endings: LineEndings, lmtp: bool) -> Self {
        Self {
            id,
            next: Next::Mail,
            framing: Framing::new(endings, false, &mut Vec::new()),
            grouping: Grouping::OneByOne,
            kept: None,
            replay: None,
            complete: false,
            octets: 0,
            flights_before: 0,
            commands: 0,
            began: None,
            behind_others: false,
            open_at_server: false,
            chunks_said: false,
            shaken: false,
            again: false,
            envelope,
            endings,
            lmtp,
            answered: 0,
            accepted: 0,
            settled: false,
        }
    }

    /// Settled, and all said: nothing holds the transactions behind it back.
    pub(super) fn is_over(&self) -> bool {
        self.settled && self.next == Next::Nothing
    }

    pub(super) fn is_settled(&self) -> bool {
        self.settled
    }

    /// The end of this attempt is known: no more of it need be said.
    pub(super) fn is_decided(&self) -> bool {
        self.settled || self.again
    }

    /// Nothing more is said of a transaction whose end is known; only a 354 already asked for must be answered.
    pub(super) fn say_no_more(&mut self) {
        if self.is_decided() && !matches!(self.next, Next::Go | Next::LoneDot) {
            self.next = Next::Nothing;
        }
    }

    /// MAIL is about to be said, at this level; `room` is where chunks may be gathered.
    pub(super) fn begin(&mut self, grouping: Grouping, extensions: &Extensions, room: &mut Vec<u8>) {
        let flights = grouping == Grouping::Flights && extensions.pipelining() && extensions.chunking();
        self.grouping = grouping;
        self.framing = Framing::new(self.endings, flights || self.is_binary(), room);
    }

    fn is_binary(&self) -> bool {
        self.envelope.is_binary(self.endings)
    }

    /// Whether the server offers what the message needs.
    pub(super) fn is_offered(&self, offered: &Extensions) -> bool {
        self.envelope.check(offered, self.endings).is_ok()
    }

    /// The server turns out not to offer what the message needs; nothing was said of it.
    pub(super) fn check(&mut self, offered: &Extensions) -> Option<Report> {
        let misuse = self.envelope.check(offered, self.endings).err()?;
        self.next = Next::Nothing;
        let report = self.report(Outcome::NotSent, None, None, 0);
        Some(Report { misuse: Some(misuse), ..report })
    }

    /// What comes behind the last RCPT.
    pub(super) fn behind_recipients(&self) -> Next {
        let all_known = self.answered == self.envelope.recipients.len();
        let waits = self.needed() > 1 || (self.framing.is_chunked() && self.grouping < Grouping::Flights);
        match () {
            () if waits && !all_known => Next::Verdict,
            () if self.framing.is_chunked() => Next::Body,
            () => Next::Data,
        }
    }

    fn needed(&self) -> usize {
        self.envelope.require.of(self.envelope.recipients.len())
    }

    /// Something of the message must be put out before the caller is asked for more.
    pub(super) fn has_replay(&self) -> bool {
        self.replay.is_some()
    }

    /// Encodes once more what had been taken of the message.
    pub(super) fn play_again(&mut self, output: &mut Vec<u8>) {
        let Some(octets) = self.replay.take() else { return };
        // They have passed the same encoder before.
        let _ = match &mut self.framing {
            Framing::Data(stuffing) => stuffing.write(&octets, output),
            Framing::Chunks(chunks) => chunks.restore(&octets),
        };
    }

    /// Is this an answer to a command that was in order, from a server that has lost track of the group it stood in?
    pub(super) fn is_lost(&self, to: Owed, code: Code) -> bool {
        let out_of_order = code == Code::BAD_SEQUENCE;
        let unknown = matches!(code.number(), 500 | 502);
        match to {
            _ if self.grouping == Grouping::OneByOne || self.is_decided() => false,
            Owed::Mail(_) => out_of_order && self.behind_others,
            Owed::Rcpt(..) => out_of_order && self.open_at_server,
            Owed::Data(_) => out_of_order && self.accepted > 0,
            Owed::Chunk(_) | Owed::Last(_) => {
                (out_of_order || unknown) && self.accepted > 0 && self.grouping == Grouping::Flights
            }
            _ => false,
        }
    }

    /// Whether all that was taken of the message is still there, and nobody has it.
    fn can_begin_again(&self) -> bool {
        let gathered = !self.chunks_said && (self.octets == 0 || self.framing.is_chunked());
        let delivered = self.envelope.recipients.iter().any(|one| matches!(one.outcome, Outcome::Accepted(_)));
        (gathered || self.kept.is_some() || self.replay.is_some()) && !delivered
    }

    /// Forgets what the server said, keeping what the caller said.
    pub(super) fn begin_again(&mut self) {
        let mut octets = self.replay.take().or(self.kept.take()).unwrap_or_default();
        if let Framing::Chunks(chunks) = &self.framing {
            octets.extend_from_slice(chunks.gathered());
        }
        self.replay = Some(octets).filter(|octets| !octets.is_empty() || self.complete);
        for recipient in &mut self.envelope.recipients {
            (recipient.rcpt, recipient.outcome) = (None, Outcome::NotSent);
        }
        (self.answered, self.accepted) = (0, 0);
        (self.again, self.shaken, self.chunks_said, self.open_at_server) = (false, false, false, false);
        self.next = Next::Mail;
    }

    pub(super) fn encode_mail(&self, extensions: &Extensions, output: &mut Vec<u8>) {
        output.extend_from_slice(b"MAIL FROM:<");
        output.extend_from_slice(self.envelope.reverse_path.as_str().as_bytes());
        output.push(b'>');
        if let Some(size) = self.envelope.size.filter(|_| extensions.offers("SIZE")) {
            text::put(output, format_args!(" SIZE={size}"));
        }
        if self.is_binary() {
            output.extend_from_slice(b" BODY=BINARYMIME");
        } else if self.envelope.body == BodyKind::EightBitMime {
            output.extend_from_slice(b" BODY=8BITMIME");
        }
        if self.envelope.is_international() {
            output.extend_from_slice(b" SMTPUTF8");
        }
        for (_, parameter) in &self.envelope.parameters {
            parameter.encode(output);
        }
        output.extend_from_slice(b"\r\n");
    }

    /// `false` behind the last recipient.
    pub(super) fn encode_rcpt(&self, recipient: usize, output: &mut Vec<u8>) -> bool {
        let Some(recipient) = self.envelope.recipients.get(recipient) else { return false };
        output.extend_from_slice(b"RCPT TO:<");
        output.extend_from_slice(recipient.path.as_str().as_bytes());
        output.push(b'>');
        for (_, parameter) in &recipient.parameters {
            parameter.encode(output);
        }
        output.extend_from_slice(b"\r\n");
        true
    }

    pub(super) fn hear_mail(&mut self, reply: Reply, flights: u64) -> Heard {
        match reply.code() {
            code if code.is_positive() => {
                self.open_at_server = true;
                Heard::Event(Event::Mail { transaction: self.id, reply })
            }
            code if code.is_intermediate() => Heard::Unexpected,
            _ => self.settle(Some(reply), flights),
        }
    }

    pub(super) fn hear_rcpt(&mut self, recipient: usize, reply: Reply, flights: u64) -> Heard {
        if self.is_decided() {
            return Heard::Nothing;
        }
        if reply.code().is_intermediate() {
            return Heard::Unexpected;
        }
        self.answered += 1;
        self.accepted += usize::from(reply.code().is_positive());
        if let Some(one) = self.envelope.recipients.get_mut(recipient) {
            one.rcpt = Some(reply.clone());
        }
        if self.answered == self.envelope.recipients.len() {
            if self.accepted < self.needed() {
                return self.settle(None, flights);
            }
            if self.next == Next::Verdict {
                self.next = self.behind_recipients();
            }
        }
        Heard::Event(Event::Recipient { transaction: self.id, recipient, reply })
    }

    pub(super) fn hear_data(&mut self, reply: Reply, flights: u64) -> Heard {
        let go = reply.code().is_intermediate();
        if self.is_decided() {
            self.next = if go { Next::LoneDot } else { Next::Nothing };
            return Heard::Nothing;
        }
        if go {
            self.next = Next::Body;
            return Heard::Nothing;
        }
        if reply.code().is_positive() {
            return Heard::Unexpected;
        }
        self.next = Next::Nothing;
        self.settle(Some(reply), flights)
    }

    /// A chunk that is not the last. A refused one is the end of the transaction.
    pub(super) fn hear_chunk(&mut self, reply: Reply, flights: u64) -> Heard {
        match reply.code() {
            _ if self.is_decided() => Heard::Nothing,
            code if code.is_intermediate() => Heard::Unexpected,
            code if code.is_positive() => {
                self.kept = None;
                Heard::Nothing
            }
            _ => self.settle(Some(reply), flights),
        }
    }

    /// The reply to the final dot or to BDAT LAST.
    pub(super) fn hear_message(&mut self, reply: Reply, flights: u64) -> Heard {
        self.open_at_server = false;
        if self.is_decided() {
            return Heard::Nothing;
        }
        if reply.code().is_intermediate() {
            return Heard::Unexpected;
        }
        if self.lmtp {
            let mut waiting = self.waiting();
            if let Some(recipient) = waiting.next() {
                recipient.outcome = Outcome::by(reply.clone());
                if waiting.next().is_some() {
                    return Heard::OnceMore;
                }
            }
        }
        self.settle(Some(reply), flights)
    }

    /// The accepted recipients of whose message nothing was said yet, in LMTP.
    fn waiting(&mut self) -> impl Iterator<Item = &mut Recipient> {
        let accepted = |rcpt: &Option<Reply>| rcpt.as_ref().is_some_and(|reply| reply.code().is_positive());
        self.envelope
            .recipients
            .iter_mut()
            .filter(move |one| accepted(&one.rcpt) && matches!(one.outcome, Outcome::NotSent))
    }

    /// The server refuses the message while it goes out. The dot must never follow.
    pub(super) fn hear_early(&mut self, reply: Reply, flights: u64) -> Event {
        self.next = Next::Nothing;
        Event::Sent(self.report(Outcome::Refused(reply.clone()), Some(reply), None, flights))
    }

    /// The end is known: `reply` decided about every recipient that was not refused by itself.
    fn settle(&mut self, reply: Option<Reply>, flights: u64) -> Heard {
        let delivered = reply.as_ref().is_some_and(|reply| reply.code().is_positive());
        if self.shaken && !delivered && self.can_begin_again() {
            self.again = true;
            self.say_no_more();
            return Heard::Nothing;
        }
        let outcome = match &reply {
            Some(reply) if delivered => Outcome::Accepted(reply.clone()),
            Some(reply) if !self.is_out_of_step(reply) => Outcome::Refused(reply.clone()),
            _ => Outcome::NotSent,
        };
        Heard::Event(Event::Sent(self.report(outcome, reply, None, flights)))
    }

    /// This is no refusal: the server has lost track of what was said in a group.
    fn is_out_of_step(&self, reply: &Reply) -> bool {
        self.shaken && reply.code() == Code::BAD_SEQUENCE
    }

    /// The session is over before the end is known; `handed_over`: the transport has the whole message.
    pub(super) fn cut_short(&mut self, why: Error, handed_over: bool, flights: u64) -> Report {
        let outcome = if handed_over { Outcome::Unknown } else { Outcome::NotSent };
        self.report(outcome, None, Some(why), flights)
    }

    fn report(&mut self, outcome: Outcome, reply: Option<Reply>, cut_short: Option<Error>, flights: u64) -> Report {
        self.settled = true;
        self.kept = None;
        for one in &mut self.envelope.recipients {
            one.outcome = match (&one.rcpt, &one.outcome) {
                (Some(reply), _) if self.shaken && reply.code() == Code::BAD_SEQUENCE => Outcome::NotSent,
                (Some(reply), _) if !reply.code().is_positive() => Outcome::Refused(reply.clone()),
                // The message was answered for this one alone.
                (_, Outcome::Accepted(_) | Outcome::Refused(_)) => continue,
                _ => outcome.clone(),
            };
        }
        Report {
            transaction: self.id,
            reverse_path: core::mem::take(&mut self.envelope.reverse_path),
            recipients: core::mem::take(&mut self.envelope.recipients),
            reply,
            cut_short,
            misuse: None,
            octets: self.octets,
            flights: if self.began.is_some() { flights - self.flights_before } else { 0 },
            commands: self.commands,
        }
    }
}
