//! The server that `smtp send` brings along where none is named: on a loopback port, with a certificate of its own.
//!
//! The rules of this file: it needs nothing of the machine it runs on, neither network nor trusted authorities; both
//! runtimes can talk to it, so it has a thread of its own.

use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use smtp_proto::Secret;
use smtp_tokio::serve::serve;
use tokio::sync::oneshot;

use crate::args::{SecurityArg, SendArgs};
use crate::certificate::ThrowAway;
use crate::failure::Failure;
use crate::serve::policy::{Policy, Tls};
use crate::serve::{Account, Arrived, session};
use crate::settings::{self, Own};

const USER: &str = "alice@example.org";

/// A server, running.
pub(crate) struct Embedded {
    own: Own,
    arrived: Arc<Mutex<Vec<u8>>>,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Embedded {
    /// Starts it.
    pub(crate) fn start(args: &SendArgs) -> Result<Self, Failure> {
        let loopback = "127.0.0.1:0";
        let unusable = |error| Failure::listen(loopback, &error);
        let listener = TcpListener::bind(loopback).map_err(unusable)?;
        listener.set_nonblocking(true).map_err(unusable)?;
        let port = listener.local_addr().map_err(unusable)?.port();
        let broken = |error| Failure::usage(format_args!("no certificate could be made: {error}"));
        let certificate = ThrowAway::new(vec!["localhost".into(), "127.0.0.1".into()]).map_err(broken)?;
        // Who brings a user and a secret logs in with these.
        let (user, password) = match (&args.user, settings::secret(args)?) {
            (Some(user), Some(secret)) => (user.clone(), secret),
            _ => (USER.into(), random_password()?),
        };
        let mut policy = Policy::new("127.0.0.1");
        policy.lmtp = args.lmtp;
        if args.security != Some(SecurityArg::None) {
            let implicit = args.security == Some(SecurityArg::Implicit);
            let kind = if implicit { Tls::Implicit } else { Tls::StartTls };
            policy = policy.tls(kind, certificate.chain.as_bytes(), certificate.key.as_bytes())?;
        }
        policy.account = Some(Account::new(&user, password.clone())?);
        let arrived = Arc::new(Mutex::new(Vec::new()));
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(unusable)?;
        let kept = arrived.clone();
        let thread = thread::spawn(move || {
            runtime.block_on(async move {
                let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
                let policy = Arc::new(policy);
                let stopped = async { drop(stopped.await) };
                serve(listener, 4, stopped, move |stream, peer, stopping| {
                    let (policy, kept) = (policy.clone(), kept.clone());
                    async move { session::hold(&policy, stream, peer, stopping, &|mail| keep(&kept, &mail)).await }
                })
                .await;
            });
        });
        let own = Own { port, user, password, ca: certificate.ca };
        Ok(Self { own, arrived, stop, thread })
    }

    /// What the options need of it.
    pub(crate) fn own(&self) -> &Own {
        &self.own
    }

    /// Stops it; what arrived, as it is shown.
    pub(crate) fn stop(self) -> Vec<u8> {
        let _ = self.stop.send(());
        // A thread that panicked has said so already.
        let _ = self.thread.join();
        self.arrived.lock().map(|mut arrived| std::mem::take(&mut *arrived)).unwrap_or_default()
    }
}

fn random_password() -> Result<Secret, Failure> {
    let mut random = [0; 12];
    getrandom::fill(&mut random).map_err(|error| Failure::usage(format_args!("no randomness: {error}")))?;
    Ok(random.iter().map(|octet| format!("{octet:02x}")).collect::<String>().into())
}

fn keep(kept: &Mutex<Vec<u8>>, mail: &Arrived) {
    let Ok(mut kept) = kept.lock() else { return };
    // The first few are enough to see how it goes.
    if kept.len() > 1 << 20 {
        return;
    }
    kept.extend_from_slice(b"-- the message as it arrived\n");
    kept.extend(mail.head.iter().filter(|octet| **octet != b'\r'));
    if mail.octets > mail.head.len() as u64 {
        kept.extend_from_slice(format!("\n-- and {} octets more\n", mail.octets - mail.head.len() as u64).as_bytes());
    }
    kept.extend_from_slice(b"-- end of the message\n");
}
