//! `smtp probe`: which ports a server has, what they speak, and how it is best reached.
//!
//! The rules of this room:
//!
//! - Every port is looked at by both guesses, TLS first and greeting first, all at once, each in a session and a thread of its own.
//! - The budget holds for all of it. What is still under way a little before its end is ended; where somebody is to log in, some of
//!   it is kept for that.
//! - Nobody is logged in but once, at the end, over TLS that was verified.
//! - What peers say is cleaned where it is kept, so what shows it need not think of it.

mod certificate;
mod heard;
mod json;
mod look;
mod reach;
mod report;
mod table;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use smtp_proto::dial::Mode;
use smtp_proto::sasl::Credentials;
use smtp_proto::{Config, Limits, Secret, phase};

use crate::args::{ProbeArgs, TlsArgs};
use crate::failure::Failure;
use crate::signals::{self, Ended};
use crate::{output, proxy, settings, url};
use look::{Aim, Look, Talk, Unverified};
use reach::{Handle, Stop};
use report::{Authentication, Port, Report};

/// Where mail servers are looked for: RFC 8314, RFC 6409, RFC 5321, and where those are blocked.
const PORTS: [u16; 4] = [465, 587, 25, 2525];

/// What a thread that was told to end may still take.
const GRACE: Duration = Duration::from_millis(200);

/// Runs the command; returns the exit status.
pub(crate) fn run(args: ProbeArgs) -> u8 {
    let began = Instant::now();
    let args = Arc::new(args);
    let wanted = args.clone();
    let ended = signals::until_interrupted(move |_| {
        let mut report = Report::default();
        match go(&wanted, began, &mut report) {
            Ok(()) => report.judge(),
            Err(failure) => report.failure = Some(failure),
        }
        report
    });
    let failed = |failure| Report { host: args.server.clone(), failure: Some(failure), ..Report::default() };
    let mut report = match ended {
        Ok(Ended::Done(report, _)) => report,
        Ok(Ended::Left(signal)) => failed(Failure::interrupted(signal)),
        Err(error) => failed(Failure::system(&error)),
    };
    report.seconds = began.elapsed().as_secs_f64();
    if args.json {
        json::print(&report);
    } else {
        table::print(&report);
    }
    if let Some(failure) = &report.failure {
        output::human::print_failure(failure);
    }
    report.exit()
}

/// Reports, as JSON, a failure that came before everything.
pub(crate) fn print_failure(failure: Failure) {
    json::print(&Report { failure: Some(failure), ..Report::default() });
}

fn go(args: &ProbeArgs, began: Instant, report: &mut Report) -> Result<(), Failure> {
    let misuse = |misuse| Failure::misuse(&misuse);
    let (host, port) = url::host_and_port(&args.server).map_err(Failure::usage)?;
    let host = &url::ascii(host).map_err(Failure::usage)?[..];
    report.host = host.into();
    if args.budget.is_zero() || args.budget > Limits::LONGEST {
        return Err(Failure::usage("--budget is too short or too long"));
    }
    let credentials = credentials(args)?;
    report.login = args.user.clone().zip(args.password_env.clone());
    report.options = options(&args.tls);
    let trusted = settings::tls(&args.tls)?;
    let verified = trusted.connector();
    verified.check().map_err(misuse)?;
    let ports = port.map_or(PORTS.to_vec(), |port| vec![port]);
    let name = args.tls.tls_name.as_deref().unwrap_or(host);
    let config = Config::new(host, ports[0]).tls(verified.clone());
    let config = proxy::through(config, &args.proxy, false)?;
    config.check().map_err(misuse)?;
    // What is no name is no server; and a key may be another certificate's.
    for name in [host, name] {
        smtp_proto::tls::Connector::connect(&verified, name).map_err(misuse)?;
    }
    report.route = config.proxies().map(ToString::to_string).collect();
    let until = began + args.budget.mul_f64(if credentials.is_some() { 0.6 } else { 0.9 });
    let (nearest, _) = config.dial();
    let mut look_up = |name: &str, is_server: bool| {
        let began = Instant::now();
        let found = reach::look_up(name, until)?;
        if is_server {
            report.addresses.clone_from(&found);
            report.looked_up = name.parse::<IpAddr>().is_err().then(|| began.elapsed());
        }
        Ok(found)
    };
    let direct = config.proxies().next().is_none();
    let addresses = look_up(&nearest, direct).map_err(|failure: Failure| failure.towards(config.proxies().next()))?;
    let mut resolved = Vec::new();
    for (name, _) in config.names_to_resolve().map_err(misuse)? {
        let found = look_up(&name, name == host)?;
        resolved.extend(found.into_iter().map(|address| (name.clone(), address)));
    }
    let ambiguous = config.proxies().any(|proxy| proxy.proxy().host.to_string() == name);
    let any = trusted.danger_accept_invalid_certs().connector();
    let unverified = Unverified { server: name.into(), others: verified, any };
    let unverified = (!ambiguous).then_some(unverified);
    let (connect, runtime) = (args.budget / 3, args.runtime);
    let tls_name = args.tls.tls_name.clone();
    let aim = Aim { config, tls_name, unverified, runtime, addresses, resolved, connect };
    let hard = until + args.budget / 10;
    report.ports = look_at(&aim, &ports, until, hard);
    if let (Some(choice), Some(credentials)) = (report.choice(), credentials) {
        let (port, mode) = (choice.number, choice.look.mode);
        let (until, hard) = (began + args.budget.mul_f64(0.9), began + args.budget);
        let talk = log_in(&aim, port, mode, credentials, until, hard);
        let (mechanism, failure) = (talk.mechanism, talk.failure);
        report.authentication = Some(Authentication { port, mechanism, failure });
    }
    Ok(())
}

fn credentials(args: &ProbeArgs) -> Result<Option<Credentials>, Failure> {
    let (Some(user), Some(variable)) = (&args.user, &args.password_env) else { return Ok(None) };
    if user.chars().any(char::is_control) {
        return Err(Failure::usage("--user must not contain control characters"));
    }
    Ok(Some(Credentials::password(user, Secret::from(settings::variable_of(variable)?))))
}

/// The same options for `smtp send`.
fn options(args: &TlsArgs) -> Vec<String> {
    let path = |path: &PathBuf| path.display().to_string();
    let versions = [("--tls-min", &args.tls_min), ("--tls-max", &args.tls_max)];
    let versions = versions.into_iter().filter_map(|(option, version)| Some((option, version.as_ref()?.to_string())));
    let name = args.tls_name.clone().map(|name| ("--tls-name", name));
    let authorities = args.ca.iter().map(|file| ("--ca", path(file)));
    let files = [("--client-cert", &args.client_cert), ("--client-key", &args.client_key)];
    let files = files.into_iter().filter_map(|(option, file)| Some((option, path(file.as_ref()?))));
    let all = versions.chain(name).chain(authorities).chain(files);
    all.flat_map(|(option, value)| [option.to_owned(), value]).collect()
}

/// Looks at all ports, by both guesses, at once.
fn look_at(aim: &Aim, ports: &[u16], until: Instant, hard: Instant) -> Vec<Port> {
    let modes = [Mode::Implicit, Mode::StartTls];
    let handles: Vec<[Arc<Handle>; 2]> = ports.iter().map(|_| Default::default()).collect();
    let (tell, hear) = mpsc::channel();
    for (at, (port, handles)) in ports.iter().zip(&handles).enumerate() {
        for (which, mode) in modes.into_iter().enumerate() {
            let (aim, tell, port) = (aim.clone(), tell.clone(), *port);
            let (own, other) = (handles[which].clone(), handles[1 - which].clone());
            thread::spawn(move || {
                let _ = tell.send((at, which, look::look(&aim, port, mode, &own, &other, until)));
            });
        }
    }
    drop(tell);
    let mut looks: Vec<[Option<Look>; 2]> = ports.iter().map(|_| [None, None]).collect();
    gather(&hear, handles.as_flattened(), hard, |(at, which, look)| looks[at][which] = Some(look));
    let port = |(number, looks): (&u16, [Option<Look>; 2])| {
        let looks = looks.into_iter().zip(modes).map(|(look, mode)| look.unwrap_or_else(|| Look::late(mode)));
        Port::of(*number, looks)
    };
    ports.iter().zip(looks).filter_map(port).collect()
}

/// Authenticates, once.
fn log_in(aim: &Aim, port: u16, mode: Mode, credentials: Credentials, until: Instant, hard: Instant) -> Talk {
    let handle = [Arc::<Handle>::default()];
    let (tell, hear) = mpsc::channel();
    let (config, aim, own) = (aim.at(port, mode).credentials(credentials), aim.clone(), handle[0].clone());
    thread::spawn(move || {
        let _ = tell.send(aim.converse(config, &own, None, until));
    });
    let mut talk = Talk { failure: Some(Failure::late(phase::AUTH)), ..Talk::default() };
    gather(&hear, &handle, hard, |told| talk = told);
    talk
}

/// Hears all threads; when the time is over it ends their sessions, and waits only a little longer.
fn gather<T>(hear: &mpsc::Receiver<T>, handles: &[Arc<Handle>], hard: Instant, mut take: impl FnMut(T)) {
    let mut end = hard;
    loop {
        match hear.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(told) => take(told),
            Err(mpsc::RecvTimeoutError::Timeout) if end == hard => {
                handles.iter().for_each(|handle| handle.stop(Stop::Late));
                end = hard + GRACE;
            }
            Err(_) => return,
        }
    }
}
