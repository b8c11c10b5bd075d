//! `smtp serve`: a server for tests.
//!
//! The rules of this room: the machine keeps the order of the dialogue, `policy` says what is accepted, `session` carries
//! one connection, `mail` keeps what arrives, `faulty` misbehaves as told, and `show` tells of it.

pub(crate) mod accounts;
mod faulty;
mod mail;
pub(crate) mod policy;
pub(crate) mod session;
pub(crate) mod show;

pub(crate) use accounts::Account;
pub(crate) use mail::Arrived;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use smtp_tokio::serve::serve;
use tokio::net::{TcpListener, TcpSocket, lookup_host};

use crate::args::{ServeArgs, ServeTls};
use crate::certificate::ThrowAway;
use crate::failure::{Failure, status};
use crate::output::human;
use crate::settings::{read, variable_of};
use crate::signals::Signals;
use policy::{Policy, Tls};
use show::Show;

/// Connections held at once; who comes then waits.
const MOST: u32 = 4096;

/// Runs the command; returns the exit status.
pub(crate) fn run(args: &ServeArgs) -> u8 {
    match go(args) {
        Ok(()) => status::OK,
        Err(failure) => {
            if args.json {
                show::failed(&failure);
            }
            human::print_failure(&failure);
            failure.status
        }
    }
}

fn go(args: &ServeArgs) -> Result<(), Failure> {
    raise_limit();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::system(&error))?;
    let done = runtime.block_on(async {
        let bound =
            listen(&args.listen).await.and_then(|listener| listener.local_addr().map(|address| (listener, address)));
        let (listener, address) = bound.map_err(|error| Failure::listen(&args.listen, &error))?;
        // Kept until the end: it is removed when dropped.
        let (policy, ca) = policy(args, address)?;
        let show = Arc::new(Show::new(args.json));
        // Who has read the address may want it to end.
        let (mut once, mut twice) = (Signals::listen(), Signals::listen());
        let stopped = async move {
            once.next().await;
        };
        show.listening(address, args, ca.as_ref().map(tempfile::NamedTempFile::path));
        let policy = Arc::new(policy);
        let sessions = serve(listener, MOST as usize, stopped, move |stream, peer, stopping| {
            let (policy, show) = (policy.clone(), show.clone());
            async move {
                session::hold(&policy, stream, peer, stopping, &|arrived: Arrived| show.arrived(&arrived)).await;
            }
        });
        tokio::select! {
            () = sessions => Ok(()),
            // Who asks twice does not want to wait for anybody.
            _ = async { (twice.next().await, twice.next().await) } => Ok(()),
        }
    });
    runtime.shutdown_background();
    done
}

/// Listens with room for as many as are served. Of a crowd that finds no room some are lost for good: they take the connection
/// for established and wait for a greeting, while the system has forgotten them.
async fn listen(address: &str) -> io::Result<TcpListener> {
    let mut failed = io::Error::new(io::ErrorKind::InvalidInput, "the name has no address");
    for address in lookup_host(address).await? {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // Else a port is taken for a minute after its last server; elsewhere the option means sharing it.
        #[cfg(unix)]
        socket.set_reuseaddr(true)?;
        match socket.bind(address).and_then(|()| socket.listen(MOST)) {
            Ok(listener) => return Ok(listener),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// Each connection is an open file, and the usual soft limit is too low for a crowd.
fn raise_limit() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, getrlimit, setrlimit};
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = limit.maximum;
        // What cannot be had is done without.
        let _ = setrlimit(Resource::Nofile, limit);
    }
}

/// What the options mean together, and the file that holds the throw-away authority, where there is one.
fn policy(args: &ServeArgs, address: SocketAddr) -> Result<(Policy, Option<tempfile::NamedTempFile>), Failure> {
    let words = [("--refuse-rcpt", &args.refuse_rcpt), ("--without", &args.without), ("--with", &args.with)];
    if let Some((name, _)) = words.iter().find(|(_, words)| words.iter().any(|word| word.contains(char::is_control))) {
        return Err(Failure::usage(format_args!("{name} must not contain control characters")));
    }
    let mut policy = Policy::new(&address.ip().to_string());
    for line in &args.with {
        if !policy::can_offer(line) {
            return Err(Failure::usage(format_args!(
                "--with {line}: it cannot be offered (--help names those that can)"
            )));
        }
    }
    let wanted = args.tls.unwrap_or(if args.cert.is_some() { ServeTls::Starttls } else { ServeTls::None });
    let mut ca = None;
    if wanted != ServeTls::None {
        let (chain, key) = match (&args.cert, &args.key) {
            (Some(chain), Some(key)) => (read(chain)?, read(key)?),
            _ => {
                let names = vec!["localhost".into(), "127.0.0.1".into(), "::1".into(), address.ip().to_string()];
                let broken = |error| Failure::usage(format_args!("no certificate could be made: {error}"));
                let made = ThrowAway::new(names).map_err(broken)?;
                ca = Some(keep(&made.ca).map_err(|error| Failure::input(format_args!("the CA file: {error}")))?);
                (made.chain.into_bytes(), made.key.into_bytes())
            }
        };
        let kind = if wanted == ServeTls::Implicit { Tls::Implicit } else { Tls::StartTls };
        policy = policy.tls(kind, &chain, &key).map_err(|failure| match (&args.cert, &args.key) {
            (Some(cert), Some(key)) => {
                Failure::input(format_args!("{} and {}: {}", cert.display(), key.display(), failure.text))
            }
            _ => failure,
        })?;
    }
    if let (Some(user), Some(variable)) = (&args.user, &args.password_env) {
        policy.account = Some(Account::new(user, variable_of(variable)?)?.by(&args.auth));
    }
    if let Some(store) = &args.store {
        std::fs::create_dir_all(store).map_err(|error| {
            let other = if store.exists() { "this is no directory".into() } else { error.to_string() };
            Failure::input(format_args!("{}: {other}", store.display()))
        })?;
    }
    policy.store.clone_from(&args.store);
    policy.lmtp = args.lmtp;
    policy.refuse.clone_from(&args.refuse_rcpt);
    policy.tempfail = args.tempfail;
    policy.greet_after = args.greet_after;
    policy.early = args.early_talkers;
    policy.slow = args.slow;
    policy.drop_after = args.drop_after;
    policy.with.clone_from(&args.with);
    policy.without.clone_from(&args.without);
    policy.max_size = args.max_size.unwrap_or(0);
    // What cannot be said is better known before anybody comes.
    policy.accept().map_err(|misuse| Failure::misuse(&misuse))?;
    Ok((policy, ca))
}

fn keep(pem: &str) -> io::Result<tempfile::NamedTempFile> {
    let mut file = tempfile::Builder::new().prefix("smtp-serve-ca-").suffix(".pem").tempfile()?;
    file.write_all(pem.as_bytes())?;
    Ok(file)
}
