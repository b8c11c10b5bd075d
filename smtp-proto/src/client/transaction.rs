//! One mail transaction: MAIL, RCPT.., DATA or BDAT, the message (RFC 5321 section 3.3, RFC 3030 section 2).
//!
//! The rules of this file:
//!
//! - What was *said* and what was *heard* advance apart from each other; without PIPELINING they merely alternate.
//! - A transaction is *settled* as soon as its end is known (`verdict.rs`). Replies that are still due then change nothing any
//!   more.
//! - If the server says 354 to a transaction that is settled already, a lone dot answers it (RFC 2920 section 3.1).
//! - A transaction that failed because the server lost track of a group *begins anew*, one level lower, once nothing is due to
//!   it any more; but only where all that was taken of the message is still there.

use alloc::vec::Vec;

use proxy_proto::Instant;

use super::envelope::Envelope;
use super::event::TransactionId;
use super::extended::BodyKind;
use super::framing::Framing;
use super::report::{Outcome, Report};
use super::urls::ContentUrl;
use crate::body::LineEndings;
use crate::extension::Extensions;
use crate::{Grouping, Misuse, text};

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

pub(super) struct Transaction {
    pub(super) id: TransactionId,
    pub(super) next: Next,
    pub(super) framing: Framing,
    /// The level it is said at.
    pub(super) grouping: Grouping,
    /// What was put out of the message while the server had yet to prove itself; encoded, so it can be encoded again.
    pub(super) kept: Option<Vec<u8>>,
    /// What must be put out once more before the caller gives the rest.
    pub(super) replay: Option<Vec<u8>>,
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
    /// It was begun before the server had said what it offers, and that is not what was assumed: a refusal counts for nothing
    /// while nothing of the message is out.
    pub(super) in_doubt: bool,
    /// It is to begin anew.
    pub(super) again: bool,
    pub(super) envelope: Envelope,
    pub(super) endings: LineEndings,
    /// The URL that the message ends with, while it could not be said yet.
    pub(super) last_url: Option<ContentUrl>,
    /// Each accepted recipient has a reply to the message (RFC 2033 section 4.2).
    pub(super) lmtp: bool,
    /// The same, and one more for the message (PRDR): the server has said so.
    pub(super) each: bool,
    pub(super) answered: usize,
    pub(super) accepted: usize,
    pub(super) settled: bool,
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
            in_doubt: false,
            again: false,
            envelope,
            endings,
            last_url: None,
            lmtp,
            each: false,
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
        self.framing = Framing::new(self.endings, flights || self.envelope.is_chunked(self.endings), room);
    }

    /// MAIL was said before it was known what the server offers, and this is it: what is left to say is said accordingly.
    pub(super) fn reframe(&mut self, grouping: Grouping, extensions: &Extensions, room: &mut Vec<u8>) {
        if self.is_decided() || !matches!(self.next, Next::Rcpt(_) | Next::Verdict | Next::Data | Next::Body) {
            return;
        }
        if let Some(unused) = self.framing.take_room() {
            *room = unused;
        }
        self.begin(grouping, extensions, room);
        if matches!(self.next, Next::Data | Next::Body) {
            self.next = self.behind_recipients();
        }
    }

    /// Parts of the message are fetched by the server.
    pub(super) fn has_urls(&self) -> bool {
        self.envelope.declared.urls
    }

    fn is_binary(&self) -> bool {
        self.envelope.is_binary(self.endings)
    }

    /// Whether the server offers what the message needs.
    pub(super) fn is_offered(&self, offered: &Extensions) -> bool {
        self.envelope.check(offered, self.endings).is_ok()
    }

    /// The server turns out not to offer what the message needs; nothing was said of the message itself.
    pub(super) fn check(&mut self, offered: &Extensions, flights: u64) -> Option<Report> {
        if self.octets > 0 || self.chunks_said {
            return None;
        }
        let misuse = self.envelope.check(offered, self.endings).err()?;
        Some(self.refuse(misuse, flights))
    }

    /// The message is not sent, for this reason.
    pub(super) fn refuse(&mut self, misuse: Misuse, flights: u64) -> Report {
        let report = self.report(Outcome::NotSent, None, None, flights);
        self.say_no_more();
        Report { misuse: Some(misuse), ..report }
    }

    /// What comes behind the last RCPT.
    pub(super) fn behind_recipients(&self) -> Next {
        let all_known = self.answered == self.envelope.recipients.len();
        // In LMTP a last chunk has as many replies as there are accepted recipients, be it none (RFC 2033 section 4.3).
        let waits =
            self.needed() > 1 || (self.framing.is_chunked() && (self.grouping < Grouping::Flights || self.lmtp));
        match () {
            () if waits && !all_known => Next::Verdict,
            () if self.framing.is_chunked() => Next::Body,
            () => Next::Data,
        }
    }

    pub(super) fn needed(&self) -> usize {
        self.envelope.declared.require.of(self.envelope.recipients.len())
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

    /// Whether all that was taken of the message is still there, and nobody has it.
    pub(super) fn can_begin_again(&self) -> bool {
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
        self.in_doubt = false;
        self.next = Next::Mail;
    }

    pub(super) fn encode_mail(&self, extensions: &Extensions, output: &mut Vec<u8>) {
        output.extend_from_slice(b"MAIL FROM:<");
        output.extend_from_slice(self.envelope.reverse_path.as_str().as_bytes());
        output.push(b'>');
        if let Some(size) = self.envelope.declared.size.filter(|_| extensions.offers("SIZE")) {
            text::put(output, format_args!(" SIZE={size}"));
        }
        if self.is_binary() {
            output.extend_from_slice(b" BODY=BINARYMIME");
        } else if self.envelope.declared.body == BodyKind::EightBitMime {
            output.extend_from_slice(b" BODY=8BITMIME");
        }
        if self.envelope.is_international() {
            output.extend_from_slice(b" SMTPUTF8");
        }
        for (_, parameter) in &self.envelope.declared.parameters {
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
}
