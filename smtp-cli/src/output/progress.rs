//! How far a long message is, on a terminal.

use std::io::{self, IsTerminal};

use indicatif::{ProgressBar, ProgressStyle};

/// Below this a message is gone before anybody could look.
const LONG: u64 = 1 << 20;

/// A bar, or nothing.
pub(crate) struct Progress(Option<ProgressBar>);

impl Progress {
    /// A bar for a message of so many octets, if it is long, somebody can see it, and nothing else is shown there.
    pub(crate) fn new(octets: Option<u64>, wanted: bool) -> Self {
        if !wanted || !io::stderr().is_terminal() || octets.is_some_and(|octets| octets < LONG) {
            return Self(None);
        }
        let (bar, template) = match octets {
            Some(octets) => (ProgressBar::new(octets), "{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}"),
            None => (ProgressBar::no_length(), "{spinner} {bytes} {bytes_per_sec}"),
        };
        // The templates are ours; were one broken, the default would do.
        Self(Some(match ProgressStyle::with_template(template) {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        }))
    }

    pub(crate) fn advance(&self, octets: usize) {
        if let Some(bar) = &self.0 {
            bar.inc(octets as u64);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
