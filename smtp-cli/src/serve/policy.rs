//! What the server is, accepts, and does on purpose.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use smtp_proto::server::{Ask, Config, Limits};
use smtp_proto::tls::{Acceptor, RustlsServer};
use smtp_proto::{Accepted, Misuse};

use super::Account;
use crate::args::EarlyArg;
use crate::failure::Failure;

/// Which kind of TLS.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tls {
    StartTls,
    Implicit,
}

/// How the server behaves.
pub(crate) struct Policy {
    host: String,
    tls: Option<(Tls, Arc<dyn Acceptor>)>,
    pub(crate) account: Option<Account>,
    pub(crate) store: Option<PathBuf>,
    pub(crate) lmtp: bool,
    pub(crate) refuse: Vec<String>,
    pub(crate) tempfail: bool,
    pub(crate) greet_after: Option<Duration>,
    pub(crate) early: EarlyArg,
    pub(crate) slow: Option<Duration>,
    pub(crate) drop_after: Option<u64>,
    /// Extensions beyond the usual ones.
    pub(crate) with: Vec<String>,
    pub(crate) without: Vec<String>,
    /// 0: no limit.
    pub(crate) max_size: u64,
}

impl Policy {
    /// A server that accepts everything, at this address.
    pub(crate) fn new(address: &str) -> Self {
        let host = if address.contains(':') { format!("[IPv6:{address}]") } else { format!("[{address}]") };
        Self {
            host,
            tls: None,
            account: None,
            store: None,
            lmtp: false,
            refuse: Vec::new(),
            tempfail: false,
            greet_after: None,
            early: EarlyArg::Refuse,
            slow: None,
            drop_after: None,
            with: Vec::new(),
            without: Vec::new(),
            max_size: 0,
        }
    }

    /// Secures it, with this certificate chain and its key.
    pub(crate) fn tls(mut self, kind: Tls, chain: &[u8], key: &[u8]) -> Result<Self, Failure> {
        let acceptor = RustlsServer::from_pem(chain, key).map_err(|misuse| Failure::input(&misuse))?;
        self.tls = Some((kind, Arc::new(acceptor)));
        Ok(self)
    }

    /// The machine for one connection.
    pub(crate) fn accept(&self) -> Result<Accepted, Misuse> {
        let mut config = Config::new(&self.host)?
            .lmtp(self.lmtp)
            .hold_greeting(self.greet_after.is_some())
            .limits(Limits { message: self.max_size, ..Limits::default() })
            // Nothing is handed on from here, so what these promise is kept by doing nothing.
            .with("DSN")?
            .with("BINARYMIME")?
            .with("REQUIRETLS")?
            .with("DELIVERBY")?
            .with("MT-PRIORITY")?
            .with("FUTURERELEASE 999999999 9999-12-31T23:59:59Z")?
            .with("RRVS")?;
        for line in &self.with {
            config = config.with(line)?;
        }
        if self.slow.is_some() {
            // Each reply to a question can be waited for by itself.
            config = config.ask([Ask::Data, Ask::Verify, Ask::Expand, Ask::Help, Ask::Unknown]);
        }
        if let Some(account) = &self.account {
            // It is a test server: what a client does in clear is worth seeing.
            config = config.mechanisms(account.mechanisms().iter().cloned()).danger_allow_clear_text_auth(true);
        }
        for keyword in &self.without {
            config = config.without(keyword);
        }
        match &self.tls {
            None => Accepted::new(config, None),
            Some((Tls::StartTls, acceptor)) => Accepted::new(config, Some(acceptor.clone())),
            Some((Tls::Implicit, acceptor)) => Accepted::implicit(config, acceptor.clone()),
        }
    }

    /// Whether clients may speak before the greeting: those who know of it by an earlier session (PIPECONNECT).
    pub(crate) fn lets_speak_early(&self) -> bool {
        let has = |words: &[String]| words.iter().any(|word| word.trim().eq_ignore_ascii_case("PIPECONNECT"));
        has(&self.with) && !has(&self.without)
    }

    /// Whether this recipient is one to be refused.
    pub(crate) fn refuses(&self, recipient: &str) -> bool {
        self.refuse.iter().any(|refused| refused.eq_ignore_ascii_case(recipient))
    }
}

/// Whether this can be said of an extension beyond the usual ones: its keyword, and what stands behind it.
pub(crate) fn can_offer(line: &str) -> bool {
    Config::new("localhost").and_then(|config| config.with(line)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_at_any_address_can_be_said() {
        for address in ["127.0.0.1", "::1"] {
            assert!(Policy::new(address).accept().is_ok());
        }
    }

    #[test]
    fn who_may_speak_early_was_told() {
        assert!(can_offer("PIPECONNECT") && can_offer("DELIVERBY 60") && !can_offer("DELIVERBY x") && !can_offer("X"));
        let with = |with: &[&str], without: &[&str]| {
            let owned = |words: &[&str]| words.iter().map(ToString::to_string).collect();
            Policy { with: owned(with), without: owned(without), ..Policy::new("::1") }.lets_speak_early()
        };
        assert!(with(&["LIMITS", "pipeconnect"], &[]) && !with(&["LIMITS"], &[]));
        assert!(!with(&["PIPECONNECT"], &["PipeConnect"]));
    }

    #[test]
    fn recipients_are_refused_in_any_case() {
        let policy = Policy { refuse: vec!["a@b.example".into()], ..Policy::new("127.0.0.1") };
        assert!(policy.refuses("A@B.example") && !policy.refuses("c@b.example"));
    }
}
