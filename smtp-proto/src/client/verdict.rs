//! What a reply does to the transaction it belongs to (RFC 5321 section 4.3.2, RFC 3030 section 2, RFC 2033 section 4.2).
//!
//! The rules of this file: a transaction is settled once; each recipient has an end of its own; a reply that shows that the
//! server has lost track is no refusal.

use proxy_proto::Phase;

use super::Owed;
use super::event::Event;
use super::report::{Outcome, Recipient, Report};
use super::transaction::{Next, Transaction};
use crate::reply::{Code, Reply};
use crate::{Error, Grouping, phase};

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

impl Transaction {
    /// Is this an answer to a command that was in order, from a server that has lost track of the group it stood in?
    pub(super) fn is_lost(&self, to: Owed, code: Code) -> bool {
        let out_of_order = code == Code::BAD_SEQUENCE;
        let unknown = matches!(code.number(), 500 | 502);
        match to {
            _ if self.grouping == Grouping::OneByOne || self.is_decided() || self.each => false,
            Owed::Mail(_) => out_of_order && self.behind_others,
            Owed::Rcpt(..) => out_of_order && self.open_at_server,
            Owed::Data(_) => out_of_order && self.accepted > 0,
            Owed::Chunk(_) | Owed::Last(_) => {
                (out_of_order || unknown) && self.accepted > 0 && self.grouping == Grouping::Flights
            }
            _ => false,
        }
    }

    pub(super) fn hear_mail(&mut self, reply: Reply, flights: u64) -> Heard {
        match reply.code() {
            code if code.is_positive() => {
                self.open_at_server = true;
                if self.is_decided() {
                    return Heard::Nothing;
                }
                Heard::Event(Event::Mail { transaction: self.id, reply })
            }
            _ if self.is_decided() => Heard::Nothing,
            code if code.is_intermediate() => Heard::Unexpected,
            _ => self.settle(Some((phase::MAIL, reply)), flights),
        }
    }

    pub(super) fn hear_rcpt(&mut self, recipient: usize, reply: Reply, flights: u64) -> Heard {
        self.accepted += usize::from(reply.code().is_positive());
        if self.is_decided() {
            return Heard::Nothing;
        }
        if reply.code().is_intermediate() {
            return Heard::Unexpected;
        }
        self.answered += 1;
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
        // A lone dot would be an empty message for those who were accepted; only closing the connection spares them that.
        if go && self.is_decided() && self.accepted > 0 {
            return Heard::Unexpected;
        }
        if self.is_decided() {
            self.next = if go { Next::LoneDot } else { Next::Nothing };
            return Heard::Nothing;
        }
        if go {
            self.in_doubt = false;
            self.next = Next::Body;
            return Heard::Nothing;
        }
        if reply.code().is_positive() {
            return Heard::Unexpected;
        }
        self.next = Next::Nothing;
        self.settle(Some((phase::DATA, reply)), flights)
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
            _ => self.settle(Some((phase::BLOCK, reply)), flights),
        }
    }

    /// The reply to the final dot or to BDAT LAST; where the server answers for each recipient, one of them.
    pub(super) fn hear_message(&mut self, reply: Reply, flights: u64) -> Heard {
        self.open_at_server = false;
        if self.is_decided() {
            return Heard::Nothing;
        }
        if self.envelope.declared.prdr && !self.each && reply.code() == Code::EACH_RECIPIENT {
            self.each = true;
            return Heard::OnceMore;
        }
        if reply.code().is_intermediate() {
            return Heard::Unexpected;
        }
        if self.lmtp || self.each {
            let mut waiting = self.waiting();
            if let Some(recipient) = waiting.next() {
                recipient.outcome = Outcome::by(reply.clone());
                let more = waiting.next().is_some();
                drop(waiting);
                // Behind PRDR's there is one more, for the message.
                if more || self.each {
                    return Heard::OnceMore;
                }
            } else {
                drop(waiting);
                self.decide_for_all(Outcome::by(reply.clone()));
            }
        }
        self.settle(Some((phase::MESSAGE, reply)), flights)
    }

    /// The last word on a message whose recipients were answered one by one (PRDR): who was accepted has it as his own.
    fn decide_for_all(&mut self, outcome: Outcome) {
        for one in &mut self.envelope.recipients {
            if matches!(one.outcome, Outcome::Accepted(_)) {
                one.outcome = outcome.clone();
            }
        }
    }

    /// The accepted recipients of whose message nothing was said yet, where each is answered for.
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
        Event::Sent(self.report(Outcome::Refused(reply.clone()), Some((phase::BLOCK, reply)), None, flights))
    }

    /// The end is known: the reply, to what it answers, decided about every recipient that was not refused by itself.
    fn settle(&mut self, reply: Option<(Phase, Reply)>, flights: u64) -> Heard {
        let delivered = reply.as_ref().is_some_and(|(_, reply)| reply.code().is_positive());
        if (self.shaken || self.in_doubt) && !delivered && self.can_begin_again() {
            self.again = true;
            self.say_no_more();
            return Heard::Nothing;
        }
        let outcome = match &reply {
            Some((_, reply)) if delivered => Outcome::Accepted(reply.clone()),
            Some((_, reply)) if !self.is_out_of_step(reply) => Outcome::Refused(reply.clone()),
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
        // Without the last word nobody is accepted for good.
        if self.each {
            self.decide_for_all(Outcome::NotSent);
        }
        self.report(outcome, None, Some(why), flights)
    }

    pub(super) fn report(
        &mut self,
        outcome: Outcome,
        reply: Option<(Phase, Reply)>,
        cut_short: Option<Error>,
        flights: u64,
    ) -> Report {
        let (answered, reply) = reply.unzip();
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
            answered,
            cut_short,
            misuse: None,
            octets: self.octets,
            flights: if self.began.is_some() { flights.saturating_sub(self.flights_before) } else { 0 },
            commands: self.commands,
            declared: core::mem::take(&mut self.envelope.declared),
        }
    }
}
