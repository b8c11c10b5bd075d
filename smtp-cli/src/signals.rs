//! Ctrl-C and its like: what is done when the command is asked to end.
//!
//! The rules of this file: who asks once is obeyed in order, so that whatever is known is told; who asks twice does not want to
//! wait for anybody. A session that is under way is ended by closing its stream: then the machine itself says what became of each
//! message, and nobody has to guess.

use std::future::pending;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::oneshot;

/// What somebody who wants the command to end sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Signal {
    Interrupt,
    #[cfg_attr(not(unix), allow(dead_code, reason = "there is no such signal"))]
    Terminate,
}

impl Signal {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }

    /// The exit status, as a shell has it for whom a signal ended.
    pub(crate) fn status(self) -> u8 {
        128 + match self {
            Self::Interrupt => 2,
            Self::Terminate => 15,
        }
    }
}

/// Hears the signals from now on; they do not end the command by themselves any more.
pub(crate) struct Signals {
    #[cfg(unix)]
    heard: Option<(tokio::signal::unix::Signal, tokio::signal::unix::Signal)>,
}

impl Signals {
    /// Within a tokio runtime.
    pub(crate) fn listen() -> Self {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            Self { heard: signal(SignalKind::interrupt()).ok().zip(signal(SignalKind::terminate()).ok()) }
        }
        #[cfg(not(unix))]
        Self {}
    }

    /// The next one.
    pub(crate) async fn next(&mut self) -> Signal {
        #[cfg(unix)]
        {
            // Where they cannot be heard they still end the command, by themselves.
            let Some((interrupt, terminate)) = &mut self.heard else { return pending().await };
            tokio::select! {
                Some(()) = interrupt.recv() => Signal::Interrupt,
                Some(()) = terminate.recv() => Signal::Terminate,
                else => pending().await,
            }
        }
        #[cfg(not(unix))]
        match tokio::signal::ctrl_c().await {
            Ok(()) => Signal::Interrupt,
            Err(_) => pending().await,
        }
    }
}

/// What ends a session from another thread.
pub(crate) type End = Box<dyn FnOnce() + Send>;

/// Whether somebody wants it to end, and what there is to be ended.
#[derive(Default)]
pub(crate) struct Interruption(Mutex<State>);

#[derive(Default)]
struct State {
    signal: Option<Signal>,
    end: Option<End>,
}

impl Interruption {
    /// A session has begun, which `end` ends. It is refused where somebody has asked before.
    pub(crate) fn begin(&self, end: End) -> Result<(), Signal> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match state.signal {
            Some(signal) => Err(signal),
            None => {
                state.end = Some(end);
                Ok(())
            }
        }
    }

    /// The session is over.
    pub(crate) fn over(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).end = None;
    }

    /// Ends what is under way; `false` where that is nothing.
    fn stop(&self, signal: Signal) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.signal.get_or_insert(signal);
        match state.end.take() {
            Some(end) => {
                end();
                true
            }
            None => false,
        }
    }
}

/// How work came to its end.
pub(crate) enum Ended<T> {
    /// It is done, or was ended by this signal, which it could tell of.
    Done(T, Option<Signal>),
    /// It was left where it stood.
    Left(Signal),
}

/// Does some work in a thread of its own, until it is done or somebody wants it to end.
pub(crate) fn until_interrupted<T: Send + 'static>(
    work: impl FnOnce(&Interruption) -> T + Send + 'static,
) -> std::io::Result<Ended<T>> {
    let interruption = Arc::new(Interruption::default());
    let (tell, mut done) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Before anything has begun, so that none is missed.
    let mut signals = runtime.block_on(async { Signals::listen() });
    let own = interruption.clone();
    let thread = thread::Builder::new().stack_size(STACK).spawn(move || {
        let _ = tell.send(work(&own));
    })?;
    let ended = runtime.block_on(async {
        let signal = tokio::select! {
            biased;
            done = &mut done => return done.ok().map(|done| Ended::Done(done, None)),
            signal = signals.next() => signal,
        };
        if !interruption.stop(signal) {
            return Some(Ended::Left(signal));
        }
        tokio::select! {
            biased;
            done = &mut done => done.ok().map(|done| Ended::Done(done, Some(signal))),
            again = signals.next() => std::process::exit(again.status().into()),
        }
    });
    match ended {
        Some(ended) => Ok(ended),
        // Nothing was told, so it has panicked, and goes on doing that.
        None => match thread.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(()) => Err(std::io::Error::other("the work came to nothing")),
        },
    }
}

/// As much as a main thread has.
const STACK: usize = 8 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn who_is_to_end_is_ended_once_and_begins_nothing_more() {
        let (interruption, ended) = (Interruption::default(), Arc::new(AtomicBool::new(false)));
        let seen = ended.clone();
        assert_eq!(interruption.begin(Box::new(move || seen.store(true, Ordering::SeqCst))), Ok(()));
        assert!(interruption.stop(Signal::Terminate) && ended.load(Ordering::SeqCst));
        assert!(!interruption.stop(Signal::Interrupt), "it was ended before");
        assert_eq!(interruption.begin(Box::new(|| ())), Err(Signal::Terminate));
    }

    #[test]
    fn what_is_over_is_not_ended() {
        let interruption = Interruption::default();
        assert_eq!(interruption.begin(Box::new(|| panic!("ended"))), Ok(()));
        interruption.over();
        assert!(!interruption.stop(Signal::Interrupt));
    }

    #[test]
    fn work_is_done_where_nobody_minds() {
        assert!(matches!(until_interrupted(|_| 7), Ok(Ended::Done(7, None))));
    }

    #[test]
    fn statuses_are_those_of_shells() {
        // 128 and the number of the signal (POSIX.1, kill): 2 and 15.
        assert_eq!((Signal::Interrupt.status(), Signal::Terminate.status()), (130, 143));
    }
}
