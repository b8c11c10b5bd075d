//! What the caller asked for: messages and commands, in order, each answered once.
//!
//! The rules of this file: what can be refused is refused when it is asked for; what could not be known then is told as an
//! event, before anything of it is said; whatever the session comes to, each message gets its report.

use super::envelope::Envelope;
use super::event::{CommandId, Event, TransactionId};
use super::report::Report;
use super::transaction::{Next, Transaction};
use super::{Client, Stage};
use crate::Misuse;
use crate::body::LineEndings;
use crate::command::Command;
use crate::extension::Extensions;

/// What the caller asked for, in order.
pub(super) enum Work {
    Message(Transaction),
    Command(CommandId, Command),
    Quit,
}

impl Work {
    /// A message whose MAIL is still to be said.
    pub(super) fn is_unsaid_mail(&self) -> bool {
        matches!(self, Self::Message(transaction) if transaction.next == Next::Mail && !transaction.is_settled())
    }
}

impl Client {
    /// Queues a message; its [`Body`](super::Body) is asked for with [`body`](Self::body) when its turn has come.
    ///
    /// # Errors
    ///
    /// [`Misuse::NotOpen`] after QUIT or a failure; [`Misuse::NotOffered`] where the message needs an extension that the server
    /// does not offer, [`Misuse::TooLarge`], [`Misuse::TooManyRecipients`], [`Misuse::TooManyDomains`] and
    /// [`Misuse::TooManyMessages`] where it exceeds a limit that the server states ([`Envelope::parts`] keeps to some of them).
    /// Before the session is ready that cannot be known: [`Report::misuse`] tells it then.
    pub fn send(&mut self, envelope: Envelope, endings: LineEndings) -> Result<TransactionId, Misuse> {
        self.check_open()?;
        self.check_now(|offered| envelope.check(offered, endings))?;
        if let (true, Some(0), Some(limit)) = (self.is_ready(), self.mails_left(), self.extensions.limit("MAILMAX")) {
            return Err(Misuse::TooManyMessages { limit });
        }
        let id = TransactionId(self.next_number());
        self.work.push_back(Work::Message(Transaction::new(id, envelope, endings, self.config.lmtp)));
        Ok(id)
    }

    /// Queues a command of the caller's own.
    ///
    /// # Errors
    ///
    /// [`Misuse::NotOpen`] after QUIT or a failure; [`Misuse::NotOffered`] where it needs an extension that the server does not
    /// offer. Before the session is ready that cannot be known: [`Event::NotSaid`] tells it then.
    pub fn command(&mut self, command: Command) -> Result<CommandId, Misuse> {
        self.check_open()?;
        self.check_now(|offered| command.check(offered))?;
        let id = CommandId(self.next_number());
        self.work.push_back(Work::Command(id, command));
        Ok(id)
    }

    /// Queues QUIT, behind all that was asked for before; [`Event::Closed`] follows.
    ///
    /// # Errors
    ///
    /// [`Misuse::NotOpen`] after QUIT or a failure.
    pub fn quit(&mut self) -> Result<(), Misuse> {
        self.check_open()?;
        self.quitting = true;
        self.work.push_back(Work::Quit);
        Ok(())
    }

    /// After a failure, what became of each message that was under way or waiting, one a call.
    ///
    /// `handed_over` says whether the transport has taken a message up to its final dot: the outcome is unknown then, and
    /// not before.
    pub fn abandoned(&mut self, handed_over: impl Fn(TransactionId) -> bool) -> Option<Report> {
        let why = self.failure().cloned()?;
        let flights = self.dialogue.flights();
        while let Some(work) = self.work.pop_front() {
            if let Work::Message(mut transaction) = work {
                if !transaction.is_settled() {
                    let all_said = transaction.next == Next::Nothing && !transaction.again;
                    let dot_is_out = all_said && handed_over(transaction.id);
                    return Some(transaction.cut_short(why, dot_is_out, flights));
                }
            }
        }
        None
    }

    /// Takes back what was asked for and not begun. `false` where a message is left that was begun and not given as a whole:
    /// nothing can be said behind it.
    pub(crate) fn withdraw(&mut self) -> bool {
        let begun = |work: &Work| matches!(work, Work::Message(transaction) if transaction.began.is_some());
        let keep = self.said + usize::from(self.work.get(self.said).is_some_and(begun));
        self.work.truncate(keep);
        self.quitting = self.work.iter().any(|work| matches!(work, Work::Quit));
        self.work.iter().all(|work| match work {
            Work::Message(transaction) => transaction.complete || transaction.is_settled(),
            Work::Command(..) | Work::Quit => true,
        })
    }

    /// Checks against what the server offers, where that is known; else it is done when the session is ready.
    fn check_now(&mut self, check: impl FnOnce(&Extensions) -> Result<(), Misuse>) -> Result<(), Misuse> {
        if !self.is_ready() {
            self.unchecked += 1;
            return Ok(());
        }
        check(&self.extensions)?;
        // Behind XCLIENT the server may offer something else.
        if self.work.iter().any(|work| matches!(work, Work::Command(_, command) if command.reopens())) {
            self.unchecked += 1;
        }
        Ok(())
    }

    /// Being ready, refuses what was queued before and needs what is not offered; one a call.
    pub(super) fn check_queued(&mut self) -> Option<Event> {
        if self.unchecked == 0 || self.stage != Stage::Ready {
            return None;
        }
        let flights = self.dialogue.flights();
        let limit = self.extensions.limit("MAILMAX");
        let mut mails = self.mails;
        for at in 0..self.work.len() {
            mails += u64::from(self.work[at].is_unsaid_mail());
            match &mut self.work[at] {
                Work::Message(transaction)
                    if transaction.next == Next::Mail && limit.is_some_and(|limit| mails > limit) =>
                {
                    let misuse = Misuse::TooManyMessages { limit: limit.unwrap_or_default() };
                    return Some(Event::Sent(transaction.refuse(misuse, flights)));
                }
                Work::Message(transaction) if !transaction.is_settled() => {
                    if let Some(report) = transaction.check(&self.extensions, flights) {
                        // MAIL may have been said before its time.
                        self.must_reset |= transaction.began.is_some();
                        return Some(Event::Sent(report));
                    }
                }
                Work::Command(id, command) if at >= self.said => {
                    if let Err(misuse) = command.check(&self.extensions) {
                        let command = *id;
                        self.work.remove(at);
                        return Some(Event::NotSaid { command, misuse });
                    }
                    // What stands behind it is checked when it was answered.
                    if command.reopens() {
                        return None;
                    }
                }
                Work::Command(..) | Work::Message(_) | Work::Quit => {}
            }
        }
        self.unchecked = 0;
        None
    }

    fn check_open(&self) -> Result<(), Misuse> {
        if self.quitting || self.failure.is_some() || self.stage == Stage::Closed {
            return Err(Misuse::NotOpen);
        }
        Ok(())
    }

    fn next_number(&mut self) -> u64 {
        self.count += 1;
        self.count
    }
}
