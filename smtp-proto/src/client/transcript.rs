//! The dialogue as it is shown: who said what, without secrets. To be kept it becomes an [`Entry`](super::Entry).
//!
//! The rules of this file: a secret never gets here. What is hidden is hidden where it is said, by type, not searched for
//! in finished lines.

use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;

use proxy_proto::{Instant, Phase};

use crate::reply::Reply;

/// One entry of a transcript.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Line<'a> {
    /// What the client said: a command without its line end, with `***` in the place of a secret.
    Client(&'a str),
    /// What the server said.
    Server(&'a Reply),
    /// What happened below the dialogue: TLS began, a message went out.
    Note(&'a str),
}

impl fmt::Display for Line<'_> {
    /// As people know it: `C: ` and `S: `, one line of text for each line on the wire.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(line) => write!(f, "C: {line}"),
            Self::Note(note) => write!(f, "-- {note}"),
            Self::Server(reply) => {
                let mut lines = reply.lines().peekable();
                while let Some(line) = lines.next() {
                    let more = lines.peek().is_some();
                    write!(f, "S: {}{}", reply.code(), if more { '-' } else { ' ' })?;
                    let clean = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
                    for c in String::from_utf8_lossy(line).chars() {
                        write!(f, "{}", clean(c))?;
                    }
                    if more {
                        f.write_str("\n")?;
                    }
                }
                Ok(())
            }
        }
    }
}

/// Who listens: called with each line, its moment and its phase.
#[derive(Clone)]
pub struct Transcript(Arc<Listener>);

type Listener = dyn Fn(Instant, Phase, Line<'_>) + Send + Sync;

impl Transcript {
    /// A transcript that hands each line to `listener`.
    pub fn new(listener: impl Fn(Instant, Phase, Line<'_>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(listener))
    }

    pub(crate) fn line(&self, now: Instant, phase: Phase, line: Line<'_>) {
        (self.0)(now, phase, line);
    }
}

impl fmt::Debug for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transcript(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn debug_shows_nobody_who_listens() {
        assert_eq!(format!("{:?}", Transcript::new(|_, _, _| {})), "Transcript(..)");
    }
}
