//! Whether a session that lay idle is fit for the next message.
//!
//! The rules of this file: what can be known without a word is known without a word: a server that has said goodbye or closed
//! shows it in what was received. Only who was silent for long is asked, because something between the two may have
//! forgotten the connection.

use core::time::Duration;

use proxy_proto::Instant;

use crate::client::{Outcome, Recipient, Report};
use crate::reply::Code;
use crate::{Cause, phase};

/// When a session is used once more; for pools.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Reuse {
    /// After so long without a word the server is asked (NOOP) whether it still listens. By default 30 seconds: shorter than
    /// the patience of common servers and of what translates addresses on the way.
    pub ask_after: Duration,
    /// After so many messages a session is not used again. By default 100, which common servers bear; where the server says
    /// how many it takes (LIMITS, RFC 9422), its own word counts, too.
    pub messages: u64,
}

impl Default for Reuse {
    fn default() -> Self {
        Self { ask_after: Duration::from_secs(30), messages: 100 }
    }
}

impl Reuse {
    /// Has the server asked (NOOP) whether it still listens, after so long without a word.
    #[must_use]
    pub fn ask_after(mut self, idle: Duration) -> Self {
        self.ask_after = idle;
        self
    }

    /// Sends so many messages over one connection at most; at least one.
    #[must_use]
    pub fn messages(mut self, most: u64) -> Self {
        self.messages = most.max(1);
        self
    }

    pub(super) fn judge(self, now: Instant, heard: Instant, messages: u64) -> Fitness {
        if messages >= self.messages {
            Fitness::Worn
        } else if now.since(heard) >= self.ask_after {
            Fitness::Doubtful
        } else {
            Fitness::Fit
        }
    }
}

/// What is to be thought of a session that lay idle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fitness {
    /// It can be used at once.
    Fit,
    /// It has been silent for long: NOOP tells.
    Doubtful,
    /// It has done its service: QUIT.
    Worn,
    /// It is over, or something is under way in it: nothing can be said any more.
    Over,
}

/// `true` where the connection was lost, or the server had to close it (421), before anybody could have had the message: it may
/// be sent at once over another connection.
pub fn is_lost_in_vain(report: &Report) -> bool {
    let lost = |cause: &Cause| matches!(cause, Cause::Closed { .. } | Cause::ServiceClosing(_));
    let closing =
        |one: &Recipient| matches!(&one.outcome, Outcome::Refused(reply) if reply.code() == Code::SERVICE_CLOSING);
    let is_over = match (&report.cut_short, report.answered) {
        (Some(error), _) => lost(&error.cause),
        // A 421 to the message itself comes late; one before it has settled the message before the session ended.
        (None, Some(phase::BLOCK | phase::MESSAGE)) => false,
        (None, _) => report.recipients.iter().any(closing),
    };
    is_over && report.recipients.iter().all(|one| one.outcome == Outcome::NotSent || closing(one))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_silent_for_long_is_asked_and_who_has_served_is_not() {
        let at = |seconds| Instant::from_epoch(Duration::from_secs(seconds));
        let reuse = Reuse::default().ask_after(Duration::from_secs(10)).messages(3);
        assert_eq!(reuse.judge(at(14), at(5), 2), Fitness::Fit);
        assert_eq!(reuse.judge(at(15), at(5), 2), Fitness::Doubtful);
        assert_eq!(reuse.judge(at(15), at(5), 3), Fitness::Worn);
    }
}
