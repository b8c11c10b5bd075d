//! The laws that every machine obeys (proxy-proto, `machine.rs`), as one test.
//!
//! The rules of this file: a machine is driven through *turns*, what the peer says before it listens again. Within a turn
//! octets may be cut anywhere; across turns the machine speaks. So the same turns at different cuts must come to the same.

use std::fmt::Debug;
use std::time::Duration;

use proxy_proto::{Instant, Machine};

/// All that can be seen of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trace<V, E> {
    /// The events, in order.
    pub events: Vec<V>,
    /// What the machine said, a turn each.
    pub output: Vec<Vec<u8>>,
    /// How it failed.
    pub failure: Option<E>,
    /// What it did not take.
    pub left: Vec<u8>,
}

/// Runs a machine through turns cut into pieces of `piece` octets, and holds it to the laws on the way.
///
/// `act` is the owner: it may answer each event, and is called once more at the end of each turn with `None`.
///
/// # Panics
///
/// Where a law is broken.
pub fn run<M: Machine>(
    machine: &mut M,
    turns: &[&[u8]],
    piece: usize,
    mut act: impl FnMut(&mut M, Option<&M::Event>),
) -> Trace<M::Event, M::Error>
where
    M::Event: Debug,
    M::Error: Clone + PartialEq + Debug,
{
    let mut now = Instant::from_epoch(Duration::from_secs(1));
    let mut trace = Trace { events: Vec::new(), output: Vec::new(), failure: None, left: Vec::new() };
    act(machine, None);
    speak(machine, now, &mut trace);
    'turns: for turn in turns {
        for piece in turn.chunks(piece.max(1)) {
            now = now.after(Duration::from_millis(1));
            trace.left.extend_from_slice(piece);
            loop {
                keep_time(machine, now);
                let mut rest = &trace.left[..];
                let heard = machine.receive(now, &mut rest);
                let taken = trace.left.len() - rest.len();
                trace.left.drain(..taken);
                match heard {
                    Ok(Some(event)) => {
                        act(machine, Some(&event));
                        trace.events.push(event);
                    }
                    // Progress: what waits, waits until there is something new.
                    Ok(None) => {
                        let mut rest = &trace.left[..];
                        let again = machine.receive(now, &mut rest);
                        assert!(matches!(again, Ok(None)), "an event without input between: {again:?}");
                        break;
                    }
                    Err(error) => {
                        stay_failed(machine, now, &error);
                        trace.failure = Some(error);
                        break 'turns;
                    }
                }
            }
        }
        act(machine, None);
        speak(machine, now, &mut trace);
    }
    trace
}

/// *Silence*: who has said everything has nothing to say.
fn speak<M: Machine>(machine: &mut M, now: Instant, trace: &mut Trace<M::Event, M::Error>) {
    let mut output = Vec::new();
    machine.transmit(now, &mut output);
    let said = output.len();
    assert!(!machine.transmit(now, &mut output), "it speaks again without cause");
    assert_eq!(output.len(), said, "it appends without cause");
    trace.output.push(output);
}

/// *Clock*: before the deadline nothing happens, and the deadline stays.
fn keep_time<M: Machine>(machine: &mut M, now: Instant)
where
    M::Error: PartialEq + Debug,
{
    let Some(deadline) = machine.deadline() else { return };
    assert!(deadline.at > now, "a test that runs into a deadline says nothing about cuts");
    machine.expire(now).expect("before the deadline nothing expires");
    assert_eq!(machine.deadline(), Some(deadline), "the deadline moved by looking at it");
}

/// *Stickiness*: after an error, the same error.
fn stay_failed<M: Machine>(machine: &mut M, now: Instant, error: &M::Error)
where
    M::Event: Debug,
    M::Error: PartialEq + Debug,
{
    for input in [&b""[..], b"250 ok\r\n", b"\x16\x03\x01"] {
        match machine.receive(now, &mut &input[..]) {
            Err(again) => assert_eq!(again, *error),
            Ok(event) => panic!("it goes on after an error: {event:?}"),
        }
    }
    assert_eq!(machine.finish().as_ref(), Err(error));
    assert_eq!(machine.expire(now).as_ref(), Err(error));
    assert_eq!(machine.deadline(), None, "it still waits after an error");
}

/// *Cut*: the same turns at every cut come to the same.
///
/// # Panics
///
/// Where a law is broken.
pub fn same_at_every_cut<M: Machine>(
    make: impl Fn() -> M,
    turns: &[&[u8]],
    act: impl Fn(&mut M, Option<&M::Event>),
) -> Trace<M::Event, M::Error>
where
    M::Event: PartialEq + Debug,
    M::Error: Clone + PartialEq + Debug,
{
    let whole = run(&mut make(), turns, usize::MAX, &act);
    for piece in [1, 2, 3, 7, 64, 1000] {
        assert_eq!(run(&mut make(), turns, piece, &act), whole, "cut into pieces of {piece}");
    }
    whole
}
