//! A process that has chosen its provider of cryptography: it is used without being named.

use std::sync::Arc;

use smtp_proto::client::Event;
use smtp_proto::rustls::crypto::{CryptoProvider, ring};
use smtp_proto::{Config, Security, server};
use tests::tls::Pki;
use tests::wire::Wire;

/// Alone in its program, because the choice holds for all of it.
#[test]
fn the_provider_of_the_process_is_the_one_that_is_used() {
    let only = ring::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256;
    let provider = CryptoProvider { cipher_suites: vec![only], ..ring::default_provider() };
    provider.install_default().expect("the first choice");
    let pki = Pki::new();
    let config = Config::new("localhost", 465).security(Security::Implicit).tls(pki.client.clone());
    let acceptor = Arc::new(pki.server.clone());
    let mut wire = Wire::new(config, server::Config::new("mx.example.org").unwrap(), Some(acceptor), true, 1000);
    assert!(wire.run_until(|event| *event == Event::Ready), "{:?}", wire.failure);
    assert_eq!(wire.client.tls().map(|facts| facts.cipher.as_str()), Some("TLS_CHACHA20_POLY1305_SHA256"));
}
