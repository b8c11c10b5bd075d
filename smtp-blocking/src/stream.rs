//! What a turn is to a stream that can be waited for, and to the system's clock.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant as Begin};

use smtp_proto::Instant;
use smtp_proto::session::{Did, Turn};

use crate::{Ready, Transport};

/// Waits for what a turn says, but not at all where there is something else to do; then does it.
pub(crate) fn exchange<S: Transport>(
    stream: &mut S,
    turn: Turn<'_>,
    now: Instant,
    busy: bool,
) -> [Option<Did<io::Error>>; 2] {
    if turn.close {
        // Whether it arrives makes no difference to anybody here.
        let _ = stream.close();
        return [Some(Did::Closed), None];
    }
    if turn.flush {
        if let Some(flushed) = settled(stream.flush()) {
            return [Some(Did::Flushed(flushed)), None];
        }
    }
    let wanted = Ready { read: !turn.read.is_empty(), write: turn.flush || !turn.write.is_empty() };
    let limit = if busy { Some(Duration::ZERO) } else { turn.deadline.map(|deadline| deadline.since(now)) };
    let ready = stream.wait(wanted, limit).unwrap_or(wanted);
    let wrote = if ready.write && !turn.flush { settled(stream.write(turn.write)).map(Did::Wrote) } else { None };
    let read = if ready.read { settled(stream.read(turn.read)).map(Did::Read) } else { None };
    [wrote, read]
}

/// Not now is no failure.
fn settled<T>(result: io::Result<T>) -> Option<io::Result<T>> {
    let later = |error: &io::Error| {
        matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::TimedOut)
    };
    if result.as_ref().is_err_and(later) { None } else { Some(result) }
}

/// The machine's clock, which began with the stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Begin);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Begin::now())
    }

    pub(crate) fn now(self) -> Instant {
        Instant::from_epoch(self.0.elapsed())
    }
}
