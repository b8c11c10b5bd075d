//! The laws that every machine obeys (proxy-proto, `machine.rs`), as one test.
//!
//! The rules of this file: a machine is driven through *turns*, what the peer says before it listens again. Within a turn
//! octets may be cut anywhere; across turns the machine speaks. So the same turns at different cuts must come to the same.
//! What a law forbids is a panic here, so that tests and fuzz targets share it.

use std::fmt::Debug;
use std::time::Duration;

use proxy_proto::{Instant, Machine};

/// All that can be seen of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trace<V, E> {
    /// The events, in order.
    pub events: Vec<V>,
    /// What the machine said, a turn each; the first before anything was heard, the last behind a failure.
    pub output: Vec<Vec<u8>>,
    /// How it failed.
    pub failure: Option<E>,
    /// What it did not take; nothing behind a failure, where it is nobody's.
    pub left: Vec<u8>,
    /// What the end of the stream meant, after all that.
    pub end: Result<(), E>,
}

/// The moment at which every run begins.
pub const BEGIN: Instant = Instant::from_epoch(Duration::from_secs(1));

/// How a turn is cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cut {
    /// Into pieces of this many octets.
    Pieces(usize),
    /// Once, behind this octet of the turn.
    At(usize),
}

impl Cut {
    fn pieces(self, turn: &[u8]) -> Vec<&[u8]> {
        match self {
            // An empty turn is heard, too: what was left before may be taken now.
            Self::Pieces(_) if turn.is_empty() => vec![turn],
            Self::Pieces(size) => turn.chunks(size.max(1)).collect(),
            Self::At(at) => <[&[u8]; 2]>::from(turn.split_at(at.min(turn.len()))).to_vec(),
        }
    }

    /// Every cut that the law is checked with: pieces of some sizes, and once behind each octet of a turn.
    pub fn all(turns: &[&[u8]]) -> impl Iterator<Item = Self> + use<> {
        let longest = turns.iter().map(|turn| turn.len()).max().unwrap_or_default();
        // Long turns are cut near their heads and in a few sizes: the framing is what can go wrong.
        let places = (1..longest.min(128)).map(Self::At);
        [1, 2, 3, 7, 64, 1000].into_iter().map(Self::Pieces).chain(places)
    }
}

/// Runs a machine through turns, and holds it to the laws on the way.
///
/// `act` is the owner: it is called before anything is heard, with each event, and once more with `None` at the end of each
/// turn; what it appends goes out before what the machine says.
///
/// # Panics
///
/// Where a law is broken.
pub fn run<M: Machine>(
    machine: &mut M,
    turns: &[&[u8]],
    cut: Cut,
    mut act: impl FnMut(&mut M, Instant, Option<&M::Event>, &mut Vec<u8>),
) -> Trace<M::Event, M::Error>
where
    M::Event: Debug,
    M::Error: Clone + PartialEq + Debug,
{
    let mut now = BEGIN;
    let (mut events, mut output, mut failure, mut left) = (Vec::new(), Vec::new(), None, Vec::new());
    output.push(speak(machine, now, &mut act));
    'turns: for turn in turns {
        let mut said = Vec::new();
        for piece in cut.pieces(turn) {
            now = now.after(Duration::from_micros(100));
            left.extend_from_slice(piece);
            loop {
                keep_time(machine, now);
                let mut rest = &left[..];
                let heard = machine.receive(now, &mut rest);
                let taken = left.len() - rest.len();
                assert!(left.ends_with(rest), "it gives back other octets than it was given");
                left.drain(..taken);
                match heard {
                    Ok(Some(event)) => {
                        act(machine, now, Some(&event), &mut said);
                        events.push(event);
                    }
                    // Progress: what waits, waits until there is something new.
                    Ok(None) => {
                        let mut rest = &left[..];
                        let again = machine.receive(now, &mut rest);
                        assert!(matches!(again, Ok(None)), "an event without input between: {again:?}");
                        assert_eq!(rest.len(), left.len(), "it waits, and takes octets all the same");
                        break;
                    }
                    Err(error) => {
                        said.extend(stay_failed(machine, now, &error));
                        output.push(said);
                        failure = Some(error);
                        left.clear();
                        break 'turns;
                    }
                }
            }
        }
        said.extend(speak(machine, now, &mut act));
        output.push(said);
    }
    let end = machine.finish();
    assert_eq!(machine.finish(), end, "the end of the stream means one thing");
    Trace { events, output, failure, left, end }
}

/// *Silence*: who has said everything has nothing to say.
fn speak<M: Machine>(
    machine: &mut M,
    now: Instant,
    act: &mut impl FnMut(&mut M, Instant, Option<&M::Event>, &mut Vec<u8>),
) -> Vec<u8> {
    let mut output = Vec::new();
    act(machine, now, None, &mut output);
    transmit(machine, now, &mut output);
    output
}

fn transmit<M: Machine>(machine: &mut M, now: Instant, output: &mut Vec<u8>) {
    let before = output.clone();
    let spoke = machine.transmit(now, output);
    assert!(output.starts_with(&before), "it takes back what was said");
    assert!(spoke || output.len() == before.len(), "it says that it said nothing");
    let said = output.len();
    assert!(!machine.transmit(now, output), "it speaks again without cause");
    assert_eq!(output.len(), said, "it appends without cause");
}

/// *Clock*: before the deadline nothing happens, and the deadline stays.
fn keep_time<M: Machine>(machine: &mut M, now: Instant)
where
    M::Error: PartialEq + Debug,
{
    let Some(deadline) = machine.deadline() else { return };
    assert!(deadline.at > now, "a test that runs into a deadline says nothing about cuts");
    let just_before = Instant::from_epoch(deadline.at.since_epoch() - Duration::from_nanos(1));
    for moment in [now, just_before] {
        machine.expire(moment).expect("before the deadline nothing expires");
        assert_eq!(machine.deadline(), Some(deadline), "the deadline moved by looking at it");
    }
}

/// *Stickiness*: after an error, the same error; a farewell may still be said, once.
///
/// # Panics
///
/// Where the law is broken.
pub fn stay_failed<M: Machine>(machine: &mut M, now: Instant, error: &M::Error) -> Vec<u8>
where
    M::Event: Debug,
    M::Error: PartialEq + Debug,
{
    let mut farewell = Vec::new();
    for input in [&b""[..], b"250 ok\r\n", b"\x16\x03\x01", b"QUIT\r\n", b"\x05\x00"] {
        let mut rest = input;
        match machine.receive(now, &mut rest) {
            Err(again) => assert_eq!(again, *error),
            Ok(event) => panic!("it goes on after an error: {event:?}"),
        }
        transmit(machine, now, &mut farewell);
    }
    assert_eq!(machine.finish().as_ref(), Err(error));
    assert_eq!(machine.expire(now).as_ref(), Err(error));
    assert_eq!(machine.deadline(), None, "it still waits after an error");
    farewell
}

/// *Cut*: the same turns at every cut come to the same.
///
/// # Panics
///
/// Where a law is broken.
pub fn same_at_every_cut<M: Machine>(
    make: impl Fn() -> M,
    turns: &[&[u8]],
    act: impl Fn(&mut M, Instant, Option<&M::Event>, &mut Vec<u8>),
) -> Trace<M::Event, M::Error>
where
    M::Event: PartialEq + Debug,
    M::Error: Clone + PartialEq + Debug,
{
    let whole = run(&mut make(), turns, Cut::Pieces(usize::MAX), &act);
    for cut in Cut::all(turns) {
        assert_eq!(run(&mut make(), turns, cut, &act), whole, "cut {cut:?}");
    }
    whole
}

/// The laws for machines whose unit is a message, as SASL's are: a message comes whole, and may be empty.
///
/// # Panics
///
/// Where a law is broken.
pub fn run_messages<M: Machine + ?Sized>(
    machine: &mut M,
    messages: &[&[u8]],
    mut act: impl FnMut(&mut M, Option<&M::Event>),
) -> Trace<M::Event, M::Error>
where
    M::Event: Debug,
    M::Error: Clone + PartialEq + Debug,
{
    let (mut events, mut output, mut failure) = (Vec::new(), Vec::new(), None);
    let speak = |machine: &mut M, output: &mut Vec<Vec<u8>>| {
        let mut said = Vec::new();
        let spoke = machine.transmit(BEGIN, &mut said);
        assert!(spoke || said.is_empty(), "it says that it said nothing");
        let length = said.len();
        assert!(!machine.transmit(BEGIN, &mut said) && said.len() == length, "it speaks again without cause");
        output.push(said);
    };
    speak(machine, &mut output);
    for message in messages {
        assert_eq!(machine.deadline(), None, "its time is its owner's");
        let mut rest = *message;
        match machine.receive(BEGIN, &mut rest) {
            Ok(event) => {
                assert!(rest.is_empty(), "a message is taken whole");
                act(machine, event.as_ref());
                events.extend(event);
            }
            Err(error) => {
                for more in [&b""[..], b"x"] {
                    assert_eq!(machine.receive(BEGIN, &mut &more[..]).err().as_ref(), Some(&error));
                    assert!(!machine.transmit(BEGIN, &mut Vec::new()), "it speaks after an error");
                }
                assert_eq!(machine.expire(BEGIN).as_ref(), Err(&error));
                failure = Some(error);
                break;
            }
        }
        speak(machine, &mut output);
    }
    let end = machine.finish();
    assert_eq!(machine.finish(), end, "success means one thing");
    Trace { events, output, failure, left: Vec::new(), end }
}
