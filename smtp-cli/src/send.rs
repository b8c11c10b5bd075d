//! `smtp send`.
//!
//! The rules of this file: the order of things, and that whatever is known when something fails is told.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use smtp_proto::Connection;
use smtp_proto::command::ForwardPath;
use smtp_proto::dial::{Attempt, Dialer, Policy};

use crate::args::SendArgs;
use crate::embedded::Embedded;
use crate::failure::Failure;
use crate::output::transcript::transcript;
use crate::output::{Sent, Server, Session, Summary, human, json};
use crate::runtime;
use crate::settings::{self, Mail, Plan};

/// Runs the command; returns the exit status.
pub(crate) fn run(args: &SendArgs) -> u8 {
    let began = Instant::now();
    let mut summary = Summary::default();
    let mut arrived = None;
    if let Err(failure) = go(args, &mut summary, &mut arrived) {
        summary.failure = Some(failure);
    }
    summary.seconds = began.elapsed().as_secs_f64();
    if args.json {
        json::print(&summary);
    } else if !args.quiet {
        if let Some(arrived) = &arrived {
            let _ = io::stdout().write_all(arrived);
        }
        human::print(&summary);
    }
    if let Some(failure) = summary.failure() {
        human::print_failure(failure);
    }
    summary.exit()
}

fn go(args: &SendArgs, summary: &mut Summary, arrived: &mut Option<Vec<u8>>) -> Result<(), Failure> {
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
    summary.server = Some(Server { host: url.host.clone(), port: url.port, address: None });
    let shown = args.transcript || (embedded.is_some() && !args.json && !args.quiet);
    let transcript = transcript(shown, args.transcript_file.as_deref())?;
    let plan = Plan::new(args, url, own, transcript)?;
    let done = converse(args, &plan, summary);
    if let Some(embedded) = embedded {
        *arrived = Some(embedded.stop());
    }
    done
}

fn converse(args: &SendArgs, plan: &Plan, summary: &mut Summary) -> Result<(), Failure> {
    summary.route = plan.config.proxies().map(ToString::to_string).collect();
    let (allowed, credentials) = (plan.allowed.clone(), plan.credentials.clone());
    let look = move |connection: &Connection| Session::of(connection, &allowed, credentials.as_ref());
    let dialer = Dialer::new(plan.config.clone(), Policy::default()).map_err(|why| Failure::misuse(&why))?;
    // What a session had come to is worth telling where it has failed, too.
    let failed = Arc::new(Mutex::new(Vec::new()));
    let seen = (look.clone(), failed.clone());
    let watch = move |id, connection: &Connection| {
        let (look, failed) = &seen;
        failed.lock().unwrap_or_else(PoisonError::into_inner).push((id, look(connection)));
    };
    let server = |port, address: Option<SocketAddr>| {
        // Behind a proxy, whose address it is that the server has is the proxy's secret.
        let address = address.filter(|_| plan.config.proxies().next().is_none());
        Some(Server { host: plan.host.clone(), port, address })
    };
    let mut session = match runtime::Session::connect(args.runtime, dialer, Box::new(watch)) {
        Ok(session) => session,
        Err(error) => {
            if let Some(telling) = telling(&error) {
                summary.server = server(plan.port.or(Some(telling.port)), telling.to);
                let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                let at = failed.iter().position(|(id, _)| Some(*id) == telling.id);
                summary.session = at.map(|at| failed.swap_remove(at).1);
            }
            return Err(Failure::from(error).towards(plan.config.proxies().next()));
        }
    };
    let verdict = session.verdict();
    summary.server = server(verdict.map(|verdict| verdict.port).or(plan.port), session.peer());
    summary.hint = verdict.map(ToString::to_string);
    summary.session = Some(look(session.connection()));
    let mut usable = true;
    match &plan.mail {
        None => summary.validated = true,
        Some(mail) => usable = send_all(args, mail, &mut session, summary),
    }
    summary.session = Some(look(session.connection()));
    if usable {
        session.quit();
    }
    Ok(())
}

/// The attempt that has most to tell.
fn telling(error: &runtime::Error) -> Option<&Attempt<io::Error>> {
    match error {
        runtime::Error::Dial(failure) => failure.telling(),
        _ => None,
    }
}

/// Sends everything; `false` where the session broke down, after which nothing more is sent.
fn send_all(args: &SendArgs, mail: &Mail, session: &mut runtime::Session, summary: &mut Summary) -> bool {
    let began = Instant::now();
    let not_sent = |failure| {
        let envelope = &mail.envelope;
        Sent::not_sent(envelope.reverse_path().as_str(), envelope.recipients().map(ForwardPath::as_str), failure)
    };
    let wanted = !args.quiet && !args.json && !args.transcript && args.server.is_some();
    let told = &mut summary.messages;
    let done = session.send_all(mail, wanted, |sent| {
        told.push(match sent {
            Ok(report) => Sent::of(&report),
            Err(failure) => not_sent(Some(failure)),
        });
    });
    let told_why = told.iter().any(|message| message.failure.is_some());
    told.resize_with(mail.count(), || not_sent(None));
    if mail.count() > 1 {
        summary.sending = Some(began.elapsed());
    }
    let usable = done.is_ok();
    // What broke the session is told with the message that it hit, where there was one.
    summary.failure = done.err().filter(|_| !told_why);
    usable
}
