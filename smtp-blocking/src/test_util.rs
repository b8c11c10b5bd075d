//! A server for the tests of programs that send mail, on a free port of this machine.
//!
//! ```
//! use smtp_blocking::proto::{client::Envelope, sasl::Credentials};
//! use smtp_blocking::test_util::{Policy, Server};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let policy = Policy::new().starttls().user("alice", "correct horse").refuse_recipient("nobody@example.net");
//! let server = Server::start(policy)?;
//! let config = server.client().credentials(Credentials::password("alice", "correct horse"));
//! let mut smtp = smtp_blocking::connect(&config)?;
//! let envelope = Envelope::new("alice@example.org", ["bob@example.net", "nobody@example.net"])?;
//! let report = smtp.send(&envelope, &b"Subject: hello\r\n\r\nHello, Bob.\r\n"[..])?;
//! assert!(!report.is_accepted(), "one was refused");
//! smtp.quit()?;
//!
//! let received = server.received();
//! assert_eq!(received.len(), 1);
//! assert_eq!((received[0].to(), received[0].user()), (vec!["bob@example.net"], Some("alice")));
//! assert!(received[0].tls.is_some() && received[0].text().ends_with("Hello, Bob.\r\n"));
//! # Ok(())
//! # }
//! ```
//!
//! The rules of this file: it binds [`smtp_proto::test_util`] to a listener, and knows nothing else; the server lives as long as
//! its handle, in threads of its own.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use smtp_proto::Config;
use smtp_proto::test_util::Desk;
pub use smtp_proto::test_util::{Policy, Received};

use crate::serve::{Served, Stop, serve};

/// Connections at once; who comes then waits.
const MOST: usize = 1024;

/// A server that is running; it stops when this is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    desk: Desk,
    stop: Stop,
    arrived: Arc<Arrived>,
}

/// Tells who waits that a message has arrived.
#[derive(Debug, Default)]
struct Arrived {
    guard: Mutex<()>,
    bell: Condvar,
}

impl Server {
    /// Starts one on a free port of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// No port, or [`io::ErrorKind::InvalidInput`] where the policy cannot be kept.
    pub fn start(policy: Policy) -> io::Result<Self> {
        let desk = Desk::new(policy).map_err(|misuse| io::Error::new(io::ErrorKind::InvalidInput, misuse))?;
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let stop = Stop::new();
        let arrived = Arc::new(Arrived::default());
        let (all, end, told) = (desk.clone(), stop.clone(), arrived.clone());
        thread::Builder::new().spawn(move || {
            let served = serve(listener, MOST, &end, |stream, _| {
                // The policy was tried before.
                let Ok((accepted, mut attendant)) = all.accept() else { return };
                let mut served = Served::new(accepted, stream).until(&end);
                while let Ok(Some(event)) = served.next() {
                    if let Some(received) = attendant.attend(served.connection(), event) {
                        let _held = told.guard.lock().unwrap_or_else(PoisonError::into_inner);
                        all.put(received);
                        told.bell.notify_all();
                    }
                }
            });
            served.expect("a listener that can be waited for");
        })?;
        Ok(Self { address, desk, stop, arrived })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What a client of ours needs to reach it, trust in its certificate included; credentials are for the test to add.
    ///
    /// # Panics
    ///
    /// Where TLS cannot be set up, for want of a provider.
    pub fn client(&self) -> Config {
        self.desk.client(self.address).expect("a build with a TLS provider")
    }

    /// The authority that has signed its certificate, as PEM, for other clients to trust; the certificate is for `localhost`,
    /// `127.0.0.1` and `::1`.
    pub fn authority(&self) -> &str {
        self.desk.authority()
    }

    /// Behaves otherwise from the next connection on; what kind of TLS there is does not change.
    pub fn set_policy(&self, policy: Policy) {
        self.desk.set_policy(policy);
    }

    /// What has arrived so far, in its order.
    pub fn received(&self) -> Vec<Received> {
        self.desk.received()
    }

    /// What has arrived so far, and is forgotten by this.
    pub fn take(&self) -> Vec<Received> {
        self.desk.take()
    }

    /// Waits until so many messages have arrived, or the time is up; gives what has.
    pub fn wait_for(&self, messages: usize, limit: Duration) -> Vec<Received> {
        let missing = |_: &mut ()| self.desk.received().len() < messages;
        let held = self.arrived.guard.lock().unwrap_or_else(PoisonError::into_inner);
        // Too late, or never: what is there says so.
        drop(self.arrived.bell.wait_timeout_while(held, limit, missing));
        self.desk.received()
    }
}

impl Drop for Server {
    /// Who is connected hears 421; whoever is in the middle of a message may finish it, and is not waited for.
    fn drop(&mut self) {
        self.stop.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smtp_proto::client::Envelope;

    #[test]
    fn what_comes_after_the_end_is_not_taken() {
        let envelope = Envelope::new("a@b.example", ["c@d.example"]).unwrap();
        for _ in 0..20 {
            let server = Server::start(Policy::new()).unwrap();
            let mut smtp = crate::connect(&server.client()).unwrap();
            let desk = server.desk.clone();
            drop(server);
            let sent = smtp.send(&envelope, &b"x\r\n"[..]);
            assert!(!sent.is_ok_and(|report| report.is_accepted()));
            assert!(desk.received().is_empty());
        }
    }
}
