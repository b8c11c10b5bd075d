//! The wire, and the TLS sessions on it: octets go up and down, whatever is spoken at the top.
//!
//! The rules of this file: it knows neither SMTP nor proxies; every floor holds one record's worth upwards, and downwards
//! what was said in one turn, beside octets of a message that are sealed from where they lie. Either side of a session can
//! stand on it.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::buffer::{Incoming, Outgoing};
use crate::tls;

/// Plaintext that may wait on one floor before no more is opened.
const ROOM: usize = 16 * 1024;

/// The wire, with a TLS session a floor, the one nearest to the wire first.
#[derive(Default)]
pub(crate) struct Stack {
    incoming: Incoming,
    pub(super) outgoing: Outgoing,
    floors: Vec<Floor>,
    ended: bool,
    unwritable: bool,
}

struct Floor {
    session: Box<dyn tls::Session>,
    /// Opened, and not taken by the floor above.
    plain: Vec<u8>,
    taken: usize,
    /// Said by the floor above, and not sealed.
    said: Vec<u8>,
    heard: bool,
    /// How it broke while nobody was there to be told.
    broken: Option<tls::Error>,
}

impl Floor {
    fn unread(&self) -> &[u8] {
        &self.plain[self.taken..]
    }

    fn consume(&mut self, n: usize) {
        self.taken += n;
        if self.taken >= self.plain.len() {
            self.plain.clear();
            self.taken = 0;
        }
    }
}

/// The way down from the top, for octets that need not be gathered before they are sealed.
pub(crate) struct Seal<'a> {
    session: &'a mut dyn tls::Session,
    broken: &'a mut Option<tls::Error>,
    output: &'a mut Vec<u8>,
    sealed: usize,
}

impl Seal<'_> {
    /// Octets of one record at most (RFC 8446 section 5.1).
    pub(crate) const RECORD: usize = 16 * 1024;

    /// Octets that were sealed so far.
    pub(crate) fn sealed(&self) -> usize {
        self.sealed
    }

    /// Seals what was said, and `behind` it what was not.
    pub(crate) fn seal(&mut self, said: &mut Vec<u8>, behind: [&[u8]; 2]) {
        self.put(&[said, behind[0], behind[1]]);
        said.clear();
    }

    /// Seals what was said, as far as it fills records.
    pub(crate) fn seal_records(&mut self, said: &mut Vec<u8>) {
        let whole = said.len() - said.len() % Self::RECORD;
        if whole > 0 {
            self.put(&[&said[..whole]]);
            said.drain(..whole);
        }
    }

    fn put(&mut self, pieces: &[&[u8]]) {
        self.sealed += pieces.iter().fold(0, |sum, piece| sum + piece.len());
        if let Err(error) = self.session.seal_all(pieces, self.output) {
            self.broken.get_or_insert(error);
        }
    }
}

/// A fault of a TLS session, and which one: 0 is nearest to the wire.
pub(crate) struct Broken {
    pub(crate) floor: usize,
    pub(crate) error: tls::Error,
}

impl Stack {
    /// Puts a session on top of what stands.
    pub(crate) fn push(&mut self, session: Box<dyn tls::Session>) {
        self.floors.push(Floor { session, plain: Vec::new(), taken: 0, said: Vec::new(), heard: false, broken: None });
    }

    pub(crate) fn session(&mut self) -> Option<&mut dyn tls::Session> {
        match self.floors.last_mut() {
            Some(floor) => Some(floor.session.as_mut()),
            None => None,
        }
    }

    /// Has the topmost session heard anything at all?
    pub(crate) fn has_heard(&self) -> bool {
        self.floors.last().is_some_and(|floor| floor.heard)
    }

    /// Carries what was received up through the sessions.
    pub(crate) fn lift(&mut self) -> Result<(), Broken> {
        for at in 0..self.floors.len() {
            let (below, above) = self.floors.split_at_mut(at);
            let Some(floor) = above.first_mut() else { break };
            let input = match below.last() {
                Some(lower) => lower.unread(),
                None => self.incoming.unread(),
            };
            // Anything else than a record is an answer in clear: that is worth saying, and no secret of TLS.
            if let Some(first) = input.first().filter(|_| !floor.heard) {
                if !(0x14..=0x17).contains(first) {
                    return Err(Broken { floor: at, error: tls::Error::NotTls(*first) });
                }
                floor.heard = true;
            }
            let mut rest = input;
            let opened = floor.session.open(&mut rest, &mut floor.plain, floor.taken + ROOM);
            let read = input.len() - rest.len();
            match below.last_mut() {
                Some(lower) => lower.consume(read),
                None => self.incoming.consume(read),
            }
            opened.map_err(|error| Broken { floor: at, error })?;
        }
        Ok(())
    }

    /// Carries what was said down through the sessions, to the wire.
    pub(crate) fn lower(&mut self) -> Result<(), Broken> {
        let mut result = Ok(());
        for at in (0..self.floors.len()).rev() {
            let (below, above) = self.floors.split_at_mut(at);
            let Some(floor) = above.first_mut() else { break };
            let output = match below.last_mut() {
                Some(lower) => &mut lower.said,
                None => self.outgoing.tail(),
            };
            // Behind what could not be sealed nothing follows but the session's own words: a message would have a gap.
            let broken = floor.broken.take();
            let said = if broken.is_some() { &[] } else { &*floor.said };
            let sealed = floor.session.seal(said, output);
            if let Some(error) = broken.or(sealed.err()) {
                result = result.and(Err(Broken { floor: at, error }));
            }
            floor.said.clear();
        }
        if self.unwritable {
            self.outgoing.discard();
        }
        result
    }

    /// What the top may read.
    pub(crate) fn unread(&self) -> &[u8] {
        match self.floors.last() {
            Some(floor) => floor.unread(),
            None => self.incoming.unread(),
        }
    }

    /// The top has read `n` octets.
    pub(crate) fn consume(&mut self, n: usize) {
        match self.floors.last_mut() {
            Some(floor) => floor.consume(n),
            None => self.incoming.consume(n),
        }
    }

    /// Where the top speaks.
    pub(crate) fn said(&mut self) -> &mut Vec<u8> {
        match self.floors.last_mut() {
            Some(floor) => &mut floor.said,
            None => self.outgoing.tail(),
        }
    }

    /// Where the top speaks, and the way down from there where it speaks to a session.
    pub(crate) fn said_and_seal(&mut self) -> (&mut Vec<u8>, Option<Seal<'_>>) {
        let Some((top, below)) = self.floors.split_last_mut() else { return (self.outgoing.tail(), None) };
        let output = match below.last_mut() {
            Some(lower) => &mut lower.said,
            None => self.outgoing.tail(),
        };
        let seal = Seal { session: top.session.as_mut(), broken: &mut top.broken, output, sealed: 0 };
        (&mut top.said, Some(seal))
    }

    /// Octets on their way down that the transport has not taken, but for those that the top has said just now.
    pub(crate) fn waiting(&self) -> usize {
        let below = self.floors.split_last().map_or(&[][..], |(_, below)| below);
        below.iter().fold(self.outgoing.unsent().len(), |sum, floor| sum + floor.said.len())
    }

    /// What is to be sent, and room for what may be received, little where the session is idle; none behind the end of the
    /// stream.
    pub(crate) fn wire(&mut self, idle: bool) -> (&mut [u8], &[u8]) {
        let read = if self.ended { &mut [] } else { self.incoming.space(idle) };
        (read, self.outgoing.unsent())
    }

    pub(crate) fn received(&mut self, n: usize) {
        if n == 0 {
            self.ended = true;
        }
        self.incoming.fill(n);
    }

    pub(crate) fn sent(&mut self, n: usize) {
        self.outgoing.sent(n);
    }

    /// The transport takes nothing any more; what it may still bring is read all the same.
    pub(crate) fn set_unwritable(&mut self) {
        self.unwritable = true;
        self.outgoing.discard();
    }

    /// Everything that came was read, but for what cannot be opened yet.
    pub(crate) fn is_drained(&self) -> bool {
        self.incoming.unread().is_empty() && self.floors.iter().all(|floor| floor.unread().is_empty())
    }

    /// Nothing can come any more, and everything that came was read.
    pub(crate) fn is_ended(&self) -> bool {
        // A goodbye on any floor is the end of what stands above it.
        let goodbye = self.floors.iter().any(|floor| floor.session.is_closed_by_peer());
        self.unread().is_empty() && (goodbye || (self.ended && self.is_drained()))
    }

    /// Frees what is empty.
    pub(crate) fn give_back(&mut self) {
        self.incoming.give_back();
        self.outgoing.give_back();
        for floor in &mut self.floors {
            if floor.plain.is_empty() {
                floor.plain = Vec::new();
            }
            if floor.said.is_empty() {
                floor.said = Vec::new();
            }
        }
    }
}
