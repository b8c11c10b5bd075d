//! The one place that knows rustls.
//!
//! The rules of this file: the buffers of rustls are drained at every call, so that what is held is bounded by one record;
//! plaintext is handed over in one piece, because rustls makes one record of each. The certificate's validity is judged by
//! the clock that the configuration names (rustls' `TimeProvider`); nothing else here knows the time.

use std::boxed::Box;
use std::fmt;
use std::format;
use std::io::{Read, Write};
use std::ops::{Deref, DerefMut};
use std::string::{String, ToString};
use std::sync::Arc;
use std::vec::Vec;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, ConnectionCommon, DigitallySignedStruct, HandshakeKind, ProtocolVersion,
    RootCertStore, ServerConfig, ServerConnection, SideData, SignatureScheme, SupportedProtocolVersion,
};

use super::{Acceptor, Connector, Error, Facts, Session};
use crate::Misuse;
use crate::sasl::{BindingKind, ChannelBinding};

/// TLS as a client, by rustls.
#[derive(Clone)]
pub struct Rustls(Result<Arc<ClientConfig>, Misuse>);

impl Rustls {
    /// Uses a configuration of the caller's own, as it is.
    pub fn new(config: Arc<ClientConfig>) -> Self {
        Self(Ok(config))
    }
}

impl fmt::Debug for Rustls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rustls(..)")
    }
}

impl Connector for Rustls {
    fn connect(&self, name: &str) -> Result<Box<dyn Session>, Misuse> {
        let config = self.0.clone()?;
        let name = name.trim_end_matches('.').to_string();
        let server = ServerName::try_from(name.clone()).map_err(|_| misuse(format!("{name:?} is no server name")))?;
        let connection = ClientConnection::new(config, server).map_err(misuse)?;
        Ok(Box::new(Filter::new(connection, None)))
    }
}

/// TLS as a server, by rustls.
#[derive(Clone, Debug)]
pub struct RustlsServer {
    config: Arc<ServerConfig>,
    /// Known where the certificate is: rustls does not show a server its own.
    end_point: Option<ChannelBinding>,
}

impl RustlsServer {
    /// Uses a configuration of the caller's own, as it is. Its sessions cannot be named by `tls-server-end-point`, since
    /// which certificate will be shown is its own affair.
    pub fn new(config: Arc<ServerConfig>) -> Self {
        Self { config, end_point: None }
    }

    /// A server with this certificate chain and its key, both PEM; any client, TLS 1.2 and 1.3.
    ///
    /// # Errors
    ///
    /// [`Misuse::Tls`] where the certificate or the key cannot be used.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, Misuse> {
        let chain = certificates(chain)?;
        let end_point = chain.first().and_then(end_point);
        let config = ServerConfig::builder_with_provider(provider()?)
            .with_safe_default_protocol_versions()
            .map_err(misuse)?
            .with_no_client_auth()
            .with_single_cert(chain, PrivateKeyDer::from_pem_slice(key).map_err(misuse)?)
            .map_err(misuse)?;
        Ok(Self { config: Arc::new(config), end_point })
    }
}

impl Acceptor for RustlsServer {
    fn accept(&self) -> Result<Box<dyn Session>, Misuse> {
        let connection = ServerConnection::new(self.config.clone()).map_err(misuse)?;
        Ok(Box::new(Filter::new(connection, self.end_point.clone())))
    }
}

/// A version of TLS. Older ones than 1.2 are broken (RFC 8996), and cannot be had.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Version {
    /// TLS 1.2 (RFC 5246).
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

impl Version {
    fn supported(self) -> &'static SupportedProtocolVersion {
        match self {
            Self::Tls12 => &rustls::version::TLS12,
            Self::Tls13 => &rustls::version::TLS13,
        }
    }
}

/// Whom to trust, beside the certificates given by [`Settings::trust_pem`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum Roots {
    /// Whom the platform trusts (needs the feature `platform-roots`).
    #[default]
    Platform,
    /// Nobody else.
    OnlyGiven,
}

/// The settings of TLS as a client.
#[derive(Clone, Debug)]
pub struct Settings {
    min: Version,
    max: Version,
    roots: Roots,
    given: Vec<CertificateDer<'static>>,
    client: Option<Arc<ClientIdentity>>,
    alpn: Vec<Vec<u8>>,
    verify: bool,
}

struct ClientIdentity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientIdentity(..)")
    }
}

impl Default for Settings {
    /// TLS 1.2 or 1.3, verified against the platform's roots.
    fn default() -> Self {
        Self {
            min: Version::Tls12,
            max: Version::Tls13,
            roots: Roots::default(),
            given: Vec::new(),
            client: None,
            alpn: Vec::new(),
            verify: true,
        }
    }
}

impl Settings {
    /// The oldest version permitted, by default 1.2.
    #[must_use]
    pub fn min(mut self, version: Version) -> Self {
        self.min = version;
        self
    }

    /// The newest version permitted, by default 1.3.
    #[must_use]
    pub fn max(mut self, version: Version) -> Self {
        self.max = version;
        self
    }

    /// Whom to trust beside the given certificates.
    #[must_use]
    pub fn roots(mut self, roots: Roots) -> Self {
        self.roots = roots;
        self
    }

    /// Trusts these authorities too: PEM, one certificate or several.
    ///
    /// # Errors
    ///
    /// [`Misuse::Tls`] where there is no certificate in it, or a broken one.
    pub fn trust_pem(mut self, pem: &[u8]) -> Result<Self, Misuse> {
        self.given.extend(certificates(pem)?);
        Ok(self)
    }

    /// Shows this certificate chain to servers that ask for one; chain and key PEM.
    ///
    /// # Errors
    ///
    /// [`Misuse::Tls`] where the certificate or the key cannot be read.
    pub fn client_certificate(mut self, chain: &[u8], key: &[u8]) -> Result<Self, Misuse> {
        let key = PrivateKeyDer::from_pem_slice(key).map_err(misuse)?;
        self.client = Some(Arc::new(ClientIdentity { chain: certificates(chain)?, key }));
        Ok(self)
    }

    /// Offers these protocols by ALPN, the best first.
    #[must_use]
    pub fn alpn(mut self, protocols: impl IntoIterator<Item = Vec<u8>>) -> Self {
        self.alpn = protocols.into_iter().collect();
        self
    }

    /// Accepts any certificate: whoever sits between can read and change everything.
    #[must_use]
    pub fn danger_accept_invalid_certs(mut self) -> Self {
        self.verify = false;
        self
    }

    /// The connector of these settings, with the provider chosen by feature.
    ///
    /// Settings that cannot be used (no roots on this platform, no version left) show themselves when a session begins, so
    /// that who never needs TLS is not stopped by them.
    pub fn connector(&self) -> Rustls {
        Rustls(provider().and_then(|provider| self.config(provider)))
    }

    /// The connector of these settings, with a provider of the caller's own.
    pub fn connector_with(&self, provider: Arc<CryptoProvider>) -> Rustls {
        Rustls(self.config(provider))
    }

    fn config(&self, provider: Arc<CryptoProvider>) -> Result<Arc<ClientConfig>, Misuse> {
        if self.min > self.max {
            return Err(misuse("the oldest TLS version permitted is newer than the newest"));
        }
        let versions: Vec<_> = [Version::Tls12, Version::Tls13]
            .into_iter()
            .filter(|version| (self.min..=self.max).contains(version))
            .map(Version::supported)
            .collect();
        let builder =
            ClientConfig::builder_with_provider(provider.clone()).with_protocol_versions(&versions).map_err(misuse)?;
        let builder = if !self.verify {
            let algorithms = provider.signature_verification_algorithms;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AcceptAnything { algorithms }))
        } else if self.roots == Roots::Platform {
            builder.dangerous().with_custom_certificate_verifier(self.platform(provider)?)
        } else {
            let mut roots = RootCertStore::empty();
            for root in &self.given {
                roots.add(root.clone()).map_err(misuse)?;
            }
            builder.with_root_certificates(roots)
        };
        let mut config = match &self.client {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                builder.with_client_auth_cert(identity.chain.clone(), identity.key.clone_key()).map_err(misuse)?
            }
        };
        config.alpn_protocols.clone_from(&self.alpn);
        Ok(Arc::new(config))
    }

    #[cfg(feature = "platform-roots")]
    fn platform(&self, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, Misuse> {
        let given = self.given.iter().cloned();
        let verifier = rustls_platform_verifier::Verifier::new_with_extra_roots(given, provider).map_err(misuse)?;
        Ok(Arc::new(verifier))
    }

    #[cfg(not(feature = "platform-roots"))]
    fn platform(&self, _: Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, Misuse> {
        Err(misuse("the platform's roots need the feature platform-roots"))
    }
}

fn provider() -> Result<Arc<CryptoProvider>, Misuse> {
    if let Some(provider) = CryptoProvider::get_default() {
        return Ok(provider.clone());
    }
    #[cfg(feature = "ring")]
    return Ok(Arc::new(rustls::crypto::ring::default_provider()));
    #[cfg(all(feature = "aws-lc-rs", not(feature = "ring")))]
    return Ok(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    #[cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]
    Err(misuse("no TLS provider: choose the feature ring or aws-lc-rs, or pass one in"))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Misuse> {
    let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().map_err(misuse)?;
    if found.is_empty() { Err(misuse("there is no certificate in the PEM text")) } else { Ok(found) }
}

fn misuse(why: impl ToString) -> Misuse {
    Misuse::Tls { why: why.to_string() }
}

/// The loud opt-out: every certificate will do. Signatures are still checked, so that the key belongs to the certificate.
#[derive(Debug)]
struct AcceptAnything {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for AcceptAnything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Either side of a session: a rustls connection without a stream.
struct Filter<C> {
    connection: C,
    /// The binding to a server's own certificate, at the server.
    end_point: Option<ChannelBinding>,
    closed_by_peer: bool,
    failed: Option<Error>,
}

impl<C, D> Filter<C>
where
    C: DerefMut + Deref<Target = ConnectionCommon<D>>,
    D: SideData,
{
    fn new(mut connection: C, end_point: Option<ChannelBinding>) -> Self {
        // What waits to be sealed is bounded by who hands it in.
        connection.set_buffer_limit(None);
        Self { connection, end_point, closed_by_peer: false, failed: None }
    }

    /// How this session can be named. Before TLS 1.3 the exporter is only safe with the extended master secret (RFC 9266
    /// section 4.2), which rustls does not tell; `tls-unique` it does not give at all.
    fn bindings(&self) -> Vec<ChannelBinding> {
        let connection = &self.connection;
        let mut bindings = Vec::new();
        if connection.protocol_version() == Some(ProtocolVersion::TLSv1_3) {
            let data = connection.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(b""));
            bindings.extend(data.map(|data| ChannelBinding { kind: BindingKind::TlsExporter, data: data.to_vec() }));
        }
        let servers = connection.peer_certificates().and_then(<[_]>::first).and_then(end_point);
        bindings.extend(self.end_point.clone().or(servers));
        bindings
    }

    fn fail(&mut self, error: Error) -> Error {
        self.failed.get_or_insert(error).clone()
    }
}

impl<C, D> Session for Filter<C>
where
    C: DerefMut + Deref<Target = ConnectionCommon<D>> + Send,
    D: SideData,
{
    fn open(&mut self, input: &mut &[u8], plaintext: &mut Vec<u8>, room: usize) -> Result<(), Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        while !input.is_empty() && plaintext.len() < room {
            if self.closed_by_peer {
                *input = &[];
                break;
            }
            self.connection.read_tls(input).map_err(|error| self.fail(Error::Failed(error.to_string())))?;
            let state = self.connection.process_new_packets().map_err(|error| self.fail(reason(error)))?;
            let ready = state.plaintext_bytes_to_read();
            if ready > 0 {
                let at = plaintext.len();
                plaintext.resize(at + ready, 0);
                let read = self.connection.reader().read_exact(&mut plaintext[at..]);
                read.map_err(|error| self.fail(Error::Failed(error.to_string())))?;
            }
            self.closed_by_peer |= state.peer_has_closed();
        }
        Ok(())
    }

    fn seal(&mut self, plaintext: &[u8], output: &mut Vec<u8>) -> Result<(), Error> {
        let mut sealed = Ok(());
        if !plaintext.is_empty() {
            sealed = self.connection.writer().write_all(plaintext);
        }
        // Even a broken session has its alert to send.
        while sealed.is_ok() && self.connection.wants_write() {
            sealed = self.connection.write_tls(output).map(drop);
        }
        sealed.map_err(|error| self.fail(Error::Failed(error.to_string())))
    }

    fn close(&mut self) {
        self.connection.send_close_notify();
    }

    fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    fn is_closed_by_peer(&self) -> bool {
        self.closed_by_peer
    }

    fn facts(&self) -> Facts {
        let connection = &self.connection;
        let chain = connection.peer_certificates().unwrap_or_default();
        Facts {
            version: match connection.protocol_version() {
                Some(ProtocolVersion::TLSv1_3) => "1.3".into(),
                Some(ProtocolVersion::TLSv1_2) => "1.2".into(),
                other => format!("{other:?}"),
            },
            cipher: connection.negotiated_cipher_suite().map(|suite| iana_name(suite.suite())).unwrap_or_default(),
            alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
            peer_certificates: chain.iter().map(|certificate| certificate.as_ref().to_vec()).collect(),
            resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
            bindings: self.bindings(),
        }
    }
}

#[cfg(feature = "scram")]
fn end_point(certificate: &CertificateDer<'static>) -> Option<ChannelBinding> {
    let data = super::end_point::end_point(certificate)?;
    Some(ChannelBinding { kind: BindingKind::TlsServerEndPoint, data })
}

/// Only SCRAM binds itself to a channel, and it brings the digests that this needs.
#[cfg(not(feature = "scram"))]
fn end_point(_: &CertificateDer<'static>) -> Option<ChannelBinding> {
    None
}

/// rustls spells the suites of TLS 1.3 with a prefix of its own.
fn iana_name(suite: rustls::CipherSuite) -> String {
    let name = suite.as_str().unwrap_or("unknown");
    name.replacen("TLS13_", "TLS_", 1)
}

fn reason(error: rustls::Error) -> Error {
    match error {
        rustls::Error::InvalidCertificate(why) => Error::Certificate(match why {
            rustls::CertificateError::UnknownIssuer => "it is not issued by an authority that is trusted here".into(),
            why => why.to_string(),
        }),
        rustls::Error::NoCertificatesPresented => Error::Certificate("there is none".into()),
        rustls::Error::AlertReceived(alert) => Error::Failed(format!("the peer refuses: {alert:?}")),
        other => Error::Failed(other.to_string()),
    }
}
