//! The dialogue as it is shown: `C:` and `S:` lines, with the phases between them.
//!
//! The rules of this file: secrets were taken out where they were said, so there is none here to be looked for.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::Mutex;

use smtp_proto::client::{Line, Transcript};
use smtp_proto::{Instant, Phase};

use super::human::has_colours;
use crate::failure::Failure;

/// Where the lines go.
struct Sink {
    shown: bool,
    coloured: bool,
    file: Option<File>,
    phase: Option<Phase>,
}

/// A transcript on standard error, into a file, or both; `None` where neither is wanted.
pub(crate) fn transcript(shown: bool, file: Option<&Path>) -> Result<Option<Transcript>, Failure> {
    let create =
        |path: &Path| File::create(path).map_err(|error| Failure::input(format_args!("{}: {error}", path.display())));
    let file = file.map(create).transpose()?;
    if !shown && file.is_none() {
        return Ok(None);
    }
    let coloured = has_colours(io::stderr().is_terminal());
    let sink = Mutex::new(Sink { shown, coloured, file, phase: None });
    Ok(Some(Transcript::new(move |now, phase, line| {
        if let Ok(mut sink) = sink.lock() {
            sink.line(now, phase, line);
        }
    })))
}

impl Sink {
    fn line(&mut self, now: Instant, phase: Phase, line: Line<'_>) {
        let begins = self.phase.replace(phase) != Some(phase);
        let mut text = String::new();
        if begins {
            text = format!("-- {phase} ({:.3} s)\n", now.since_epoch().as_secs_f64());
        }
        text.push_str(&line.to_string());
        text.push('\n');
        if let Some(file) = &mut self.file {
            let _ = file.write_all(text.as_bytes());
        }
        if self.shown {
            let text = if self.coloured { colour(&text) } else { text };
            let _ = io::stderr().write_all(text.as_bytes());
        }
    }
}

fn colour(text: &str) -> String {
    let mut coloured = String::new();
    for line in text.lines() {
        let code = match line.as_bytes().first() {
            Some(b'C') => "36",
            Some(b'S') => "32",
            _ => "2",
        };
        coloured.push_str(&format!("\x1b[{code}m{line}\x1b[0m\n"));
    }
    coloured
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_stand_between_the_lines() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut sink = Sink { shown: false, coloured: false, file: Some(file.reopen().unwrap()), phase: None };
        let now = Instant::EPOCH;
        sink.line(now, Phase::named("EHLO"), Line::Client("EHLO a"));
        sink.line(now, Phase::named("EHLO"), Line::Note("TLS 1.3"));
        sink.line(now, Phase::named("MAIL"), Line::Client("MAIL FROM:<>"));
        let text = std::fs::read_to_string(file.path()).unwrap();
        assert_eq!(text, "-- EHLO (0.000 s)\nC: EHLO a\n-- TLS 1.3\n-- MAIL (0.000 s)\nC: MAIL FROM:<>\n");
    }
}
