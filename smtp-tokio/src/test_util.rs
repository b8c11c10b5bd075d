//! A server for the tests of programs that send mail, on a free port of this machine.
//!
//! ```
//! use smtp_tokio::proto::{client::Envelope, sasl::Credentials};
//! use smtp_tokio::test_util::{Policy, Server};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let policy = Policy::new().starttls().user("alice", "correct horse").refuse_recipient("nobody@example.net");
//! let server = Server::start(policy).await?;
//! let config = server.client().credentials(Credentials::password("alice", "correct horse"));
//! let mut smtp = smtp_tokio::connect(&config).await?;
//! let envelope = Envelope::new("alice@example.org", ["bob@example.net", "nobody@example.net"])?;
//! let report = smtp.send(&envelope, &b"Subject: hello\r\n\r\nHello, Bob.\r\n"[..]).await?;
//! assert!(!report.is_accepted(), "one was refused");
//! smtp.quit().await?;
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
//! its handle, on the runtime that it was started on. A test that blocks the only thread of that runtime waits for ever: for
//! blocking programs there is the same in `smtp-blocking`.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use smtp_proto::Config;
use smtp_proto::test_util::{Attendant, Desk};
pub use smtp_proto::test_util::{Policy, Received};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::serve::{Served, serve};

/// Connections at once; who comes then waits.
const MOST: usize = 4096;

/// A server that is running; it stops when this is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    desk: Desk,
    arrived: watch::Receiver<()>,
    running: JoinHandle<()>,
}

impl Server {
    /// Starts one on a free port of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// No port, or [`io::ErrorKind::InvalidInput`] where the policy cannot be kept.
    pub async fn start(policy: Policy) -> io::Result<Self> {
        let desk = Desk::new(policy).map_err(|misuse| io::Error::new(io::ErrorKind::InvalidInput, misuse))?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (tell, arrived) = watch::channel(());
        let (tell, desk_of_all) = (std::sync::Arc::new(tell), desk.clone());
        let serving = serve(listener, MOST, std::future::pending(), move |stream, _, stopping| {
            let (desk, tell) = (desk_of_all.clone(), tell.clone());
            async move {
                // The policy was tried before.
                let Ok((accepted, attendant)) = desk.accept() else { return };
                attend(Served::new(accepted, stream).until(stopping), attendant, &desk, &tell).await;
            }
        });
        Ok(Self { address, desk, arrived, running: tokio::spawn(serving) })
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
    pub async fn wait_for(&self, messages: usize, limit: Duration) -> Vec<Received> {
        let mut arrived = self.arrived.clone();
        let enough = arrived.wait_for(|()| self.desk.received().len() >= messages);
        // Too late, or never: what is there says so.
        let _ = tokio::time::timeout(limit, enough).await;
        self.desk.received()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.running.abort();
    }
}

async fn attend(mut served: Served, mut attendant: Attendant, desk: &Desk, tell: &watch::Sender<()>) {
    while let Ok(Some(event)) = served.next().await {
        if let Some(received) = attendant.attend(served.connection(), event) {
            desk.put(received);
            tell.send_replace(());
        }
    }
}
