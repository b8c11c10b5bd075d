//! One mail transaction: MAIL, RCPT.., DATA, the message (RFC 5321 section 3.3).
//!
//! The rules of this file:
//!
//! - What was *said* and what was *heard* advance apart from each other; without PIPELINING they merely alternate.
//! - A transaction is *settled* as soon as its end is known. Replies that are still due then change nothing any more.
//! - If the server says 354 to a transaction that is settled already, a lone dot answers it (RFC 2920 section 3.1).

use alloc::vec::Vec;

use proxy_proto::Instant;

use super::envelope::Envelope;
use super::event::{Event, TransactionId};
use super::report::{Outcome, Recipient, Report};
use crate::Error;
use crate::body::DotStuffing;
use crate::extension::Extensions;
use crate::reply::Reply;

/// What is to be said next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Next {
    Mail,
    Rcpt(usize),
    Data,
    /// DATA was said, and not answered yet.
    Go,
    /// The message, by the caller.
    Body,
    LoneDot,
    /// All is said.
    Nothing,
}

/// What a reply did to the transaction.
pub(super) enum Heard {
    Event(Event),
    /// Nothing worth telling.
    Nothing,
    /// The code has no meaning here.
    Unexpected,
}

pub(super) struct Transaction {
    pub(super) id: TransactionId,
    pub(super) next: Next,
    pub(super) body: DotStuffing,
    /// Octets of the message taken so far.
    pub(super) octets: u64,
    /// Flights of the connection before this transaction's first.
    pub(super) flights_before: u64,
    /// When MAIL was said.
    pub(super) began: Option<Instant>,
    /// The server's reply to MAIL was positive, and no reply has ended the transaction on its side.
    pub(super) open_at_server: bool,
    envelope: Envelope,
    rcpt: Vec<Option<Reply>>,
    answered: usize,
    accepted: usize,
    settled: bool,
}

impl Transaction {
    pub(super) fn new(id: TransactionId, envelope: Envelope, body: DotStuffing) -> Self {
        Self {
            id,
            next: Next::Mail,
            body,
            octets: 0,
            flights_before: 0,
            began: None,
            open_at_server: false,
            rcpt: alloc::vec![None; envelope.recipients.len()],
            envelope,
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

    pub(super) fn encode_mail(&self, extensions: &Extensions, output: &mut Vec<u8>) {
        output.extend_from_slice(b"MAIL FROM:<");
        output.extend_from_slice(self.envelope.reverse_path.as_str().as_bytes());
        output.push(b'>');
        if let Some(size) = self.envelope.size.filter(|_| extensions.offers("SIZE")) {
            output.extend_from_slice(alloc::format!(" SIZE={size}").as_bytes());
        }
        if self.envelope.is_international() {
            output.extend_from_slice(b" SMTPUTF8");
        }
        for parameter in &self.envelope.parameters {
            parameter.encode(output);
        }
        output.extend_from_slice(b"\r\n");
    }

    /// `false` behind the last recipient.
    pub(super) fn encode_rcpt(&self, recipient: usize, output: &mut Vec<u8>) -> bool {
        let Some((path, parameters)) = self.envelope.recipients.get(recipient) else { return false };
        output.extend_from_slice(b"RCPT TO:<");
        output.extend_from_slice(path.as_str().as_bytes());
        output.push(b'>');
        for parameter in parameters {
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
            _ => Heard::Event(self.settle(Some(reply), flights)),
        }
    }

    pub(super) fn hear_rcpt(&mut self, recipient: usize, reply: Reply, flights: u64) -> Heard {
        if self.settled {
            return Heard::Nothing;
        }
        if reply.code().is_intermediate() {
            return Heard::Unexpected;
        }
        self.answered += 1;
        self.accepted += usize::from(reply.code().is_positive());
        self.rcpt[recipient] = Some(reply.clone());
        if self.answered == self.rcpt.len() && self.accepted == 0 {
            return Heard::Event(self.settle(None, flights));
        }
        Heard::Event(Event::Recipient { transaction: self.id, recipient, reply })
    }

    pub(super) fn hear_data(&mut self, reply: Reply, flights: u64) -> Heard {
        let go = reply.code().is_intermediate();
        if self.settled {
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
        Heard::Event(self.settle(Some(reply), flights))
    }

    pub(super) fn hear_message(&mut self, reply: Reply, flights: u64) -> Heard {
        self.open_at_server = false;
        if reply.code().is_intermediate() {
            return Heard::Unexpected;
        }
        Heard::Event(self.settle(Some(reply), flights))
    }

    /// The server refuses the message while it goes out. The dot must never follow.
    pub(super) fn hear_early(&mut self, reply: Reply, flights: u64) -> Event {
        self.next = Next::Nothing;
        self.settle(Some(reply), flights)
    }

    /// The end is known: `reply` decided about every recipient that was not refused by itself.
    fn settle(&mut self, reply: Option<Reply>, flights: u64) -> Event {
        let outcome = match &reply {
            Some(reply) if reply.code().is_positive() => Outcome::Accepted(reply.clone()),
            Some(reply) => Outcome::Refused(reply.clone()),
            None => Outcome::NotSent,
        };
        Event::Sent(self.report(outcome, reply, None, flights))
    }

    /// The session is over before the end is known; `handed_over`: the transport has the whole message.
    pub(super) fn cut_short(&mut self, why: Error, handed_over: bool, flights: u64) -> Report {
        let outcome = if handed_over { Outcome::Unknown } else { Outcome::NotSent };
        self.report(outcome, None, Some(why), flights)
    }

    fn report(&mut self, outcome: Outcome, reply: Option<Reply>, cut_short: Option<Error>, flights: u64) -> Report {
        self.settled = true;
        let recipients = self.envelope.recipients.iter().zip(&mut self.rcpt).map(|((path, _), rcpt)| {
            let rcpt = rcpt.take();
            let outcome = match &rcpt {
                Some(reply) if !reply.code().is_positive() => Outcome::Refused(reply.clone()),
                _ => outcome.clone(),
            };
            Recipient { path: path.clone(), rcpt, outcome }
        });
        Report {
            transaction: self.id,
            reverse_path: self.envelope.reverse_path.clone(),
            recipients: recipients.collect(),
            reply,
            cut_short,
            octets: self.octets,
            flights: if self.began.is_some() { flights - self.flights_before } else { 0 },
        }
    }
}
