//! The report for people: a line for each port, then what is behind it, then what to do.
//!
//! The rules of this file: no line is longer than [`WIDTH`], unless a single word is; colours only say again what the words say.

use std::fmt::Write as _;
use std::io::{self, IsTerminal};
use std::time::Duration;

use smtp_proto::dial::Mode;

use super::heard::{Offer, Spent};
use super::look::Speaks;
use super::report::{Port, Report};
use crate::output::human::has_colours;
use crate::output::put;

/// Columns of a line.
const WIDTH: usize = 96;
/// Columns before what a label says.
const LABEL: usize = 15;
/// A space at which no line is broken; it is shown as a common one.
const UNBROKEN: &str = "\u{a0}";
/// Names of a certificate that are shown.
const NAMES: usize = 12;

const GREEN: &str = "32";
const RED: &str = "31";
const BOLD: &str = "1";
const DIM: &str = "2";

/// Prints the report on standard output.
pub(super) fn print(report: &Report) {
    let shown = Table { out: String::new(), coloured: has_colours(io::stdout().is_terminal()) }.report(report);
    put(shown.as_bytes());
}

struct Table {
    out: String,
    coloured: bool,
}

impl Table {
    fn report(mut self, report: &Report) -> String {
        if report.ports.is_empty() {
            return self.out;
        }
        self.head(report);
        self.overview(&report.ports);
        for port in report.ports.iter().filter(|port| port.look.talk.has_reached()) {
            self.port(port);
        }
        self.end(report);
        self.out
    }

    fn head(&mut self, report: &Report) {
        let mut head = report.host.clone();
        let addresses: Vec<_> = report.addresses.iter().map(ToString::to_string).collect();
        if !addresses.is_empty() && addresses != [report.host.clone()] {
            let took = report.looked_up.map(|took| format!(" (looked up in {})", span(took))).unwrap_or_default();
            let _ = write!(head, ": {}{took}", addresses.join(", "));
        }
        for line in wrapped(&head, WIDTH) {
            self.line(BOLD, &line);
        }
        for proxy in &report.route {
            self.line("", &format!("through {proxy}"));
        }
        self.out.push('\n');
    }

    fn overview(&mut self, ports: &[Port]) {
        let title = ["PORT", "CONNECTS", "SPEAKS", "TLS", "CERTIFICATE", "LOGIN UNDER TLS"].map(String::from);
        let rows: Vec<_> = ports.iter().map(|port| (port, row(port))).collect();
        let all = || std::iter::once(&title).chain(rows.iter().map(|(_, row)| row));
        let width = |column: usize| all().map(|row| row[column].chars().count()).max().unwrap_or_default();
        let widths: [usize; 6] = std::array::from_fn(width);
        let laid_out = |row: &[String; 6]| {
            let mut line = String::new();
            for (at, (word, width)) in row.iter().zip(widths).enumerate() {
                let _ = if at == 0 { write!(line, "{word:>width$}") } else { write!(line, "  {word:<width$}") };
            }
            cut(line.trim_end(), WIDTH)
        };
        self.line(DIM, &laid_out(&title));
        for (port, row) in &rows {
            let colour = match (port.look.is_secure(), port.speaks()) {
                (true, _) => GREEN,
                (false, Some(_)) => RED,
                (false, None) => "",
            };
            self.line(colour, &laid_out(row));
        }
    }

    fn port(&mut self, port: &Port) {
        let (talk, heard) = (&port.look.talk, &port.look.talk.heard);
        self.out.push('\n');
        self.line(BOLD, &format!("port {}: {}", port.number, kind(port)));
        if let Some(address) = talk.address {
            self.row("connected to", &address.to_string());
        }
        if let Some(greeting) = &heard.greeting {
            self.row("greeting", &format!("{} {}", greeting.code, greeting.lines.join(" / ")));
        }
        if let Some(facts) = &talk.facts {
            self.row("TLS", &format!("{}, {}", facts.version, facts.cipher));
        }
        self.certificate(port);
        if let Some(offer) = &heard.before {
            self.row("before TLS", &offered(offer));
        }
        if let Some(offer) = &heard.under {
            self.row("under TLS", &offered(offer));
        }
        let mechanisms = |offer: &Option<Offer>| match offer {
            Some(offer) if !offer.mechanisms.is_empty() => offer.mechanisms.join(" "),
            _ => "none".into(),
        };
        if heard.before.is_some() || heard.under.is_some() {
            let before = if heard.before.is_some() {
                format!("; before it: {}", mechanisms(&heard.before))
            } else {
                String::new()
            };
            self.row("login", &format!("under TLS: {}{before}", mechanisms(&heard.under)));
        }
        self.row("times", &times(&heard.times));
        if let Some(failure) = &talk.failure {
            self.row_in(RED, "but", &failure.to_string());
        }
    }

    fn certificate(&mut self, port: &Port) {
        let distrust = port.look.distrust.as_deref();
        let Some(own) = port.chain.first() else {
            if let Some(why) = distrust {
                self.row_in(RED, "certificate", &format!("not trusted: {why}"));
            }
            return;
        };
        let mut names = own.names.iter().take(NAMES).cloned().collect::<Vec<_>>().join(", ");
        match own.names.len().checked_sub(NAMES) {
            Some(more) if more > 0 => names.push_str(&format!(", and {more} more")),
            _ if own.names.is_empty() => names = format!("no name at all (its subject is {})", own.subject),
            _ => {}
        }
        self.row("certificate", &format!("for {names}"));
        self.row("", &format!("issued by {}", own.issuer));
        let left = match (own.expired, own.days_left.unsigned_abs()) {
            (false, 1) => "1 day left".into(),
            (false, days) => format!("{days} days left"),
            (true, 0) => "expired less than a day ago".into(),
            (true, 1) => "expired a day ago".into(),
            (true, days) => format!("expired {days} days ago"),
        };
        self.row("", &format!("valid from {} to {}, {left}", own.not_before, own.not_after));
        for above in port.chain.iter().skip(1) {
            self.row("", &format!("with {}, issued by {}, valid to {}", above.subject, above.issuer, above.not_after));
        }
        match distrust {
            None => self.row_in(GREEN, "", "trusted"),
            Some(why) => self.row_in(RED, "", &format!("NOT TRUSTED: {why}")),
        }
    }

    fn end(&mut self, report: &Report) {
        self.out.push('\n');
        if let Some(login) = &report.authentication {
            match (&login.mechanism, &login.failure) {
                (Some(mechanism), None) => {
                    self.line(GREEN, &format!("logged in on port {} by {mechanism}", login.port));
                }
                _ => self.line(RED, &format!("not logged in on port {}", login.port)),
            }
        }
        match report.recommended() {
            None => self.line(RED, "no secure way was found"),
            Some(best) => {
                let how = if best.mode == Mode::Implicit { "TLS from the first octet" } else { "STARTTLS" };
                self.line(BOLD, &format!("recommended: port {}, {how}", best.port));
                // In one line, because it is to be pasted.
                self.line("", &format!("  {}", best.line()));
            }
        }
    }

    fn row(&mut self, label: &str, text: &str) {
        self.row_in("", label, text);
    }

    fn row_in(&mut self, colour: &str, label: &str, text: &str) {
        for (at, line) in wrapped(text, WIDTH - LABEL).into_iter().enumerate() {
            let label = if at == 0 { label } else { "" };
            let label = self.painted(DIM, &format!("  {label:<width$}", width = LABEL - 2));
            let line = self.painted(colour, &line);
            let _ = writeln!(self.out, "{}", format!("{label}{line}").trim_end());
        }
    }

    fn line(&mut self, colour: &str, text: &str) {
        let line = self.painted(colour, text);
        let _ = writeln!(self.out, "{line}");
    }

    fn painted(&self, colour: &str, text: &str) -> String {
        if self.coloured && !colour.is_empty() { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// What the overview says of a port.
fn row(port: &Port) -> [String; 6] {
    let talk = &port.look.talk;
    let none = || "-".to_owned();
    let connects = match talk.unreached {
        Some(word) => word.to_owned(),
        None if !talk.has_reached() => "no".to_owned(),
        None => talk.heard.times.first().map_or_else(none, |first| span(Duration::from_secs_f64(first.seconds))),
    };
    let speaks = match (port.speaks(), port.mode()) {
        (None, _) => none(),
        (Some(Speaks::Smtp), Some(Mode::StartTls)) => "SMTP, STARTTLS".into(),
        (Some(Speaks::Smtp), Some(Mode::None)) => "SMTP, no TLS".into(),
        (Some(_), Some(Mode::Implicit)) => "TLS".into(),
        (Some(Speaks::Nothing), _) => "nothing".into(),
        (Some(_), _) => "something else".into(),
    };
    let certificate = match (port.chain.first(), &port.look.distrust) {
        (_, Some(_)) => "NOT TRUSTED".into(),
        (Some(own), None) => format!("trusted, {} days", own.days_left),
        (None, None) => none(),
    };
    let mechanisms = talk.heard.under.as_ref().map(|offer| offer.mechanisms.join(" "));
    [
        port.number.to_string(),
        connects,
        speaks,
        talk.facts.as_ref().map_or_else(none, |facts| facts.version.clone()),
        certificate,
        mechanisms.filter(|mechanisms| !mechanisms.is_empty()).unwrap_or_else(none),
    ]
}

fn kind(port: &Port) -> &'static str {
    match (port.speaks(), port.mode()) {
        (_, Some(Mode::Implicit)) => "TLS from the first octet",
        (_, Some(Mode::StartTls)) => "SMTP in clear, then STARTTLS",
        (_, Some(Mode::None)) => "SMTP in clear, without STARTTLS",
        (Some(Speaks::Nothing), _) => "it connects, and nothing is heard",
        _ => "neither TLS nor SMTP",
    }
}

fn offered(offer: &Offer) -> String {
    let one = |extension: &super::heard::Extension| {
        let words = std::iter::once(&extension.keyword).chain(&extension.parameters);
        words.cloned().collect::<Vec<_>>().join(" ")
    };
    if offer.extensions.is_empty() {
        return "no extensions".into();
    }
    offer.extensions.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn times(times: &[Spent]) -> String {
    let one = |spent: &Spent| {
        let span = span(Duration::from_secs_f64(spent.seconds));
        format!("{} {span}", spent.phase).replace(' ', UNBROKEN)
    };
    times.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// A span of time, as exactly as it matters.
fn span(time: Duration) -> String {
    let milliseconds = time.as_secs_f64() * 1000.0;
    match milliseconds {
        _ if milliseconds < 9.95 => format!("{milliseconds:.1} ms"),
        _ if milliseconds < 999.5 => format!("{milliseconds:.0} ms"),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}

/// The text in lines of at most `width` columns, broken between words; a longer word stays whole.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let last = lines.last().map_or(0, |line| line.chars().count());
        match lines.last_mut() {
            Some(line) if last == 0 => line.push_str(word),
            Some(line) if last + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.iter().map(|line| line.replace(UNBROKEN, " ")).collect()
}

fn cut(line: &str, width: usize) -> String {
    if line.chars().count() <= width {
        return line.to_owned();
    }
    let kept: String = line.chars().take(width - 1).collect();
    format!("{kept}…")
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::{dead, offer, report, secure};
    use super::*;

    fn shown(report: &Report) -> String {
        Table { out: String::new(), coloured: false }.report(report)
    }

    #[test]
    fn columns_stand_below_each_other() {
        let ports =
            vec![secure(465, Mode::Implicit, &["PLAIN", "LOGIN"]), secure(587, Mode::StartTls, &[]), dead(2525)];
        let shown = shown(&report(ports));
        let lines: Vec<_> = shown.lines().skip(2).take(4).collect();
        let at = |line: &str, word: &str| line.find(word).unwrap_or_else(|| panic!("{line}"));
        let speaks = at(lines[0], "SPEAKS");
        assert_eq!((at(lines[1], "TLS"), at(lines[2], "SMTP, STARTTLS")), (speaks, speaks));
        assert_eq!(at(lines[3], "refused"), at(lines[0], "CONNECTS"));
        assert!(lines[1].starts_with(" 465  ") && lines[3].starts_with("2525  "));
        assert!(shown.ends_with(
            "recommended: port 465, TLS from the first octet\n  smtp send --server submissions://mail.example.org\n"
        ));
    }

    #[test]
    fn no_line_is_too_long() {
        let many: Vec<String> = (0..60).map(|at| format!("X-EXTENSION-{at}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let mut port = secure(587, Mode::StartTls, &many);
        port.look.talk.heard.before = Some(offer(&many, &many));
        let shown = shown(&report(vec![port]));
        assert!(shown.lines().all(|line| line.chars().count() <= WIDTH), "{shown}");
        assert!(shown.contains("X-EXTENSION-59"));
    }

    #[test]
    fn colours_only_where_they_are_wanted() {
        let report = report(vec![secure(465, Mode::Implicit, &[]), dead(587)]);
        assert!(!shown(&report).contains('\x1b'));
        let coloured = Table { out: String::new(), coloured: true }.report(&report);
        let mut plain = coloured.clone();
        for code in [GREEN, RED, BOLD, DIM, "0"] {
            plain = plain.replace(&format!("\x1b[{code}m"), "");
        }
        assert!(coloured.contains("\x1b[32m"));
        assert_eq!(plain.lines().map(str::trim_end).collect::<Vec<_>>(), shown(&report).lines().collect::<Vec<_>>());
    }

    #[test]
    fn spans_are_as_exact_as_it_matters() {
        let said = |micros| span(Duration::from_micros(micros));
        assert_eq!(
            [said(340), said(9_900), said(12_300), said(999_400), said(1_540_000)],
            ["0.3 ms", "9.9 ms", "12 ms", "999 ms", "1.5 s"]
        );
    }
}
