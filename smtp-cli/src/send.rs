//! `smtp send`.
//!
//! The rules of this file: the order of things, and that whatever is known when something fails is told.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use smtp_proto::command::ForwardPath;

use crate::args::SendArgs;
use crate::embedded::Embedded;
use crate::failure::Failure;
use crate::output::transcript::transcript;
use crate::output::{Sent, Server, Session, Summary, human, json};
use crate::runtime::{self, Dialed};
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
            let _ = std::io::stdout().write_all(arrived);
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
        let _ = writeln!(std::io::stderr(), "{warning}");
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
    let mut config = plan.config.clone();
    summary.route = config.proxies().map(ToString::to_string).collect();
    let look =
        |session: &runtime::Session| Some(Session::of(session.connection(), &plan.allowed, plan.credentials.as_ref()));
    let mut session = loop {
        let dialed = Dialed::dial(args.runtime, &config);
        let (dialed, route) = dialed.map_err(|failure| failure.towards(config.proxies().next()))?;
        if let Ok((peer, local)) = dialed.addresses() {
            // Behind a proxy, whose address it is that the server has is the proxy's secret.
            let address = Some(peer).filter(|_| summary.route.is_empty());
            summary.server = Some(Server { host: plan.host.clone(), port: plan.port, address });
            if plan.helo.is_none() {
                config = config.helo(literal(local));
            }
        }
        let mut session = dialed.begin(&config, route)?;
        let opened = session.ready();
        summary.session = look(&session);
        let Err(failure) = opened else { break session };
        // A proxy that asks for credentials and closes is answered on a new connection, once.
        config = session.connection().failure().and_then(|error| config.answering(error)).ok_or(failure)?;
    };
    summary.ready = true;
    let mut usable = true;
    match &plan.mail {
        None => summary.validated = true,
        Some(mail) => usable = send_all(args, mail, &mut session, summary),
    }
    summary.session = look(&session);
    if usable {
        session.quit();
    }
    Ok(())
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

/// The own address as EHLO wants it, where there is no name (RFC 5321 section 4.1.3).
fn literal(local: SocketAddr) -> String {
    match local.ip().to_canonical() {
        IpAddr::V4(address) => format!("[{address}]"),
        IpAddr::V6(address) => format!("[IPv6:{address}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_literals() {
        assert_eq!(literal("192.0.2.1:1".parse().unwrap()), "[192.0.2.1]");
        assert_eq!(literal("[::ffff:192.0.2.1]:1".parse().unwrap()), "[192.0.2.1]");
        assert_eq!(literal("[2001:db8::1]:1".parse().unwrap()), "[IPv6:2001:db8::1]");
    }
}
