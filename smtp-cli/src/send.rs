//! `smtp send`.
//!
//! The rules of this file: the order of things, and that whatever is known when something fails is told.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use smtp_proto::dial::{Attempt, Dialer, Policy};
use smtp_proto::{Config, Connection};

use crate::args::SendArgs;
use crate::embedded::Embedded;
use crate::failure::Failure;
use crate::output::transcript::transcript;
use crate::output::{Sent, Server, Summary, human, json, put};
use crate::runtime;
use crate::settings::{self, Mail, Plan};
use crate::signals::{self, Ended, Interruption};

/// What is known so far; whoever interrupts is told that.
#[derive(Default)]
struct Told(Mutex<Summary>);

impl Told {
    fn with<T>(&self, tell: impl FnOnce(&mut Summary) -> T) -> T {
        tell(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Runs the command; returns the exit status.
pub(crate) fn run(args: SendArgs) -> u8 {
    let began = Instant::now();
    let (args, told) = (Arc::new(args), Arc::new(Told::default()));
    let (wanted, known) = (args.clone(), told.clone());
    let ended = signals::until_interrupted(move |interruption| {
        let mut arrived = None;
        if let Err(failure) = go(&wanted, &known, interruption, &mut arrived) {
            known.with(|summary| summary.failure = Some(failure));
        }
        arrived
    });
    let (arrived, signal) = match ended {
        Ok(Ended::Done(arrived, signal)) => (arrived, signal),
        Ok(Ended::Left(signal)) => (None, Some(signal)),
        Err(error) => {
            told.with(|summary| summary.failure = Some(Failure::system(&error)));
            (None, None)
        }
    };
    let mut summary = told.with(std::mem::take);
    if let Some(signal) = signal {
        summary.interrupt(signal);
    }
    summary.seconds = began.elapsed().as_secs_f64();
    if args.json {
        json::print(&summary);
    } else if !args.quiet {
        if let Some(arrived) = &arrived {
            put(arrived);
        }
        human::print(&summary);
    }
    if let Some(failure) = summary.failure() {
        human::print_failure(failure);
    }
    summary.exit()
}

fn go(args: &SendArgs, told: &Told, interruption: &Interruption, arrived: &mut Option<Vec<u8>>) -> Result<(), Failure> {
    if args.danger_accept_invalid_certs {
        let warning = "smtp: certificates are not checked: whoever sits between can read and change everything";
        let _ = writeln!(io::stderr(), "{warning}");
    }
    let embedded = match &args.server {
        Some(_) => None,
        None => Some(Embedded::start(args)?),
    };
    let own = embedded.as_ref().map(Embedded::own);
    let url = settings::server(args, own)?;
    told.with(|summary| summary.server = Some(Server { host: url.host.clone(), port: url.port, address: None }));
    let shown = args.transcript || (embedded.is_some() && !args.json && !args.quiet);
    let transcript = transcript(shown, args.transcript_file.as_deref())?;
    let plan = Plan::new(args, url, own, transcript)?;
    told.with(|summary| {
        summary.route = plan.config.proxies().map(ToString::to_string).collect();
        summary.wanted = plan.mail.as_ref().map(|mail| (mail.not_sent(None), mail.count()));
    });
    let done = converse(args, &plan, told, interruption);
    // Everybody is told of, whatever came between.
    told.with(Summary::complete);
    if let Some(embedded) = embedded {
        *arrived = Some(embedded.stop());
    }
    done
}

/// One session after the other, as many as it takes: a server may limit how many messages it takes in one (RFC 9422).
fn converse(args: &SendArgs, plan: &Plan, told: &Told, interruption: &Interruption) -> Result<(), Failure> {
    let mut config = plan.config.clone();
    loop {
        let mut session = connect(args, plan, config.clone(), told)?;
        let end = session.end().map_err(Failure::unreachable)?;
        interruption.begin(end).map_err(Failure::interrupted)?;
        let usable = match &plan.mail {
            None => true,
            Some(mail) => send_all(args, mail, &mut session, told),
        };
        let look = plan.look(session.connection());
        let left = told.with(|summary| {
            summary.flights += look.flights;
            summary.session = Some(look);
            plan.mail.as_ref().is_some_and(|mail| summary.messages.len() < mail.count())
        });
        if let Some(verdict) = session.verdict() {
            config = config.hint(verdict);
        }
        if usable {
            session.quit();
        }
        interruption.over();
        if !usable || !left {
            told.with(|summary| summary.validated = plan.mail.is_none());
            return Ok(());
        }
    }
}

/// Dials; what is found, or what a session had come to when it failed, is told.
fn connect(args: &SendArgs, plan: &Plan, config: Config, told: &Told) -> Result<runtime::Session, Failure> {
    let dialer = Dialer::new(config, Policy::default()).map_err(|why| Failure::misuse(&why))?;
    let failed = Arc::new(Mutex::new(Vec::new()));
    let (seen, look) = (failed.clone(), plan.looker());
    let watch = move |id, connection: &Connection| {
        seen.lock().unwrap_or_else(PoisonError::into_inner).push((id, look(connection)));
    };
    let server = |port, address: Option<SocketAddr>| {
        // Behind a proxy, whose address it is that the server has is the proxy's secret.
        let address = address.filter(|_| plan.config.proxies().next().is_none());
        Some(Server { host: plan.host.clone(), port, address })
    };
    match runtime::Session::connect(args.runtime, dialer, Box::new(watch)) {
        Ok(session) => {
            let verdict = session.verdict();
            told.with(|summary| {
                summary.server = server(verdict.map(|verdict| verdict.port).or(plan.port), session.peer());
                summary.hint = verdict.map(ToString::to_string);
            });
            Ok(session)
        }
        Err(error) => {
            if let Some(telling) = telling(&error) {
                let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                let at = failed.iter().position(|(id, _)| Some(*id) == telling.id);
                let look = at.map(|at| failed.swap_remove(at).1);
                told.with(|summary| {
                    summary.server = server(plan.port.or(Some(telling.port)), telling.to);
                    summary.flights += look.as_ref().map_or(0, |look| look.flights);
                    summary.session = look;
                });
            }
            let failure = Failure::from(error).towards(plan.config.proxies().next());
            let secured = told.with(|summary| summary.session.as_ref().is_some_and(|session| session.tls.is_some()));
            Err(if secured { failure.within_tls() } else { failure })
        }
    }
}

/// The attempt that has most to tell.
fn telling(error: &runtime::Error) -> Option<&Attempt<io::Error>> {
    match error {
        runtime::Error::Dial(failure) => failure.telling(),
        _ => None,
    }
}

/// Sends what is left, as much as the server takes; `false` where the session broke down, after which nothing more is sent.
fn send_all(args: &SendArgs, mail: &Mail, session: &mut runtime::Session, told: &Told) -> bool {
    let began = Instant::now();
    let wanted = !args.quiet && !args.json && !args.transcript && args.server.is_some();
    let first = told.with(|summary| summary.messages.len());
    let room = session.connection().mails_left().and_then(|left| usize::try_from(left).ok()).unwrap_or(usize::MAX);
    // Who says that it takes none is taken at its word where it says so again.
    let messages = mail.from(first).take(room.max(1));
    let done = session.send_all(messages, wanted, |sent| {
        let sent = match sent {
            Ok(report) => Sent::of(&report),
            Err(failure) => mail.not_sent(Some(failure)),
        };
        told.with(|summary| summary.messages.push(sent));
    });
    let usable = done.is_ok();
    told.with(|summary| {
        if mail.count() > 1 {
            *summary.sending.get_or_insert_default() += began.elapsed();
        }
        // What broke the session is told with the message that it hit, where there was one.
        let told_why = summary.messages.iter().any(|message| message.failure.is_some());
        summary.failure = done.err().filter(|_| !told_why);
    });
    usable
}
