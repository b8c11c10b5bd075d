//! Either side of a session: a rustls connection without a stream.
//!
//! The rules of this file: the buffers of rustls are drained at every call, so that what is held is bounded by one record;
//! plaintext is handed over all at once, because rustls makes one record of each time.

use std::format;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::ops::{Deref, DerefMut};
use std::string::{String, ToString};
use std::time::Duration;
use std::vec::Vec;

use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{AlertDescription, ConnectionCommon, HandshakeKind, ProtocolVersion, SideData};

use super::verifier::{is_an_authoritys, is_self_signed};
use crate::sasl::{BindingKind, ChannelBinding};
use crate::tls::{CertificateError, Error, Facts, Session};

/// Pieces that are handed over in one go: a command, what was gathered, and what was not.
const SEAMLESS: usize = 3;

/// Which side of the session this is, where the two differ.
pub(super) enum Side {
    Client,
    /// With the binding to its own certificate, which rustls does not show it; the peer's is a client's here, and no
    /// binding to a server.
    Server(Option<ChannelBinding>),
}

/// Either side of a session: a rustls connection without a stream.
pub(super) struct Filter<C> {
    connection: C,
    side: Side,
    closed_by_peer: bool,
    failed: Option<Error>,
}

impl<C, D> Filter<C>
where
    C: DerefMut + Deref<Target = ConnectionCommon<D>>,
    D: SideData,
{
    pub(super) fn new(mut connection: C, side: Side) -> Self {
        // What waits to be sealed is bounded by who hands it in.
        connection.set_buffer_limit(None);
        Self { connection, side, closed_by_peer: false, failed: None }
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
        bindings.extend(match &self.side {
            Side::Client => connection.peer_certificates().and_then(<[_]>::first).and_then(end_point),
            Side::Server(own) => own.clone(),
        });
        bindings
    }

    fn fail(&mut self, error: Error) -> Error {
        self.failed.get_or_insert(error).clone()
    }

    /// Hands over all pieces, without a seam between those that fit into one go.
    fn write(&mut self, pieces: &[&[u8]]) -> Result<(), Error> {
        let mut slices = [IoSlice::new(&[]); SEAMLESS];
        let mut pieces = pieces.iter().filter(|piece| !piece.is_empty()).peekable();
        while pieces.peek().is_some() {
            let count = slices.iter_mut().zip(&mut pieces).map(|(slice, piece)| *slice = IoSlice::new(piece)).count();
            let mut left = &mut slices[..count];
            while !left.is_empty() {
                // It takes less than all where its keys have to change.
                let written = match self.connection.writer().write_vectored(left) {
                    Ok(0) => Err(ErrorKind::WriteZero.into()),
                    written => written,
                };
                let written = written.map_err(|error| self.fail(Error::Failed(error.to_string())))?;
                IoSlice::advance_slices(&mut left, written);
            }
        }
        Ok(())
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
        self.seal_all(&[plaintext], output)
    }

    fn seal_all(&mut self, pieces: &[&[u8]], output: &mut Vec<u8>) -> Result<(), Error> {
        self.write(pieces)?;
        // Even a broken session has its alert to send.
        while self.connection.wants_write() {
            self.connection.write_tls(output).map_err(|error| self.fail(Error::Failed(error.to_string())))?;
        }
        Ok(())
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
pub(super) fn end_point(certificate: &CertificateDer<'static>) -> Option<ChannelBinding> {
    let data = crate::tls::end_point::end_point(certificate)?;
    Some(ChannelBinding { kind: BindingKind::TlsServerEndPoint, data })
}

/// Only SCRAM binds itself to a channel, and it brings the digests that this needs.
#[cfg(not(feature = "scram"))]
pub(super) fn end_point(_: &CertificateDer<'static>) -> Option<ChannelBinding> {
    None
}

/// rustls spells the suites of TLS 1.3 with a prefix of its own.
fn iana_name(suite: rustls::CipherSuite) -> String {
    let name = suite.as_str().unwrap_or("unknown");
    name.replacen("TLS13_", "TLS_", 1)
}

fn reason(error: rustls::Error) -> Error {
    match error {
        rustls::Error::InvalidCertificate(why) => Error::Certificate(refused(why)),
        rustls::Error::NoCertificatesPresented => Error::Certificate(CertificateError::Missing),
        rustls::Error::AlertReceived(alert) => Error::Failed(refusal(alert)),
        other => Error::Failed(other.to_string()),
    }
}

/// Why a certificate is refused here.
fn refused(why: rustls::CertificateError) -> CertificateError {
    use rustls::CertificateError as Why;
    let after = |late: UnixTime, early: UnixTime| Duration::from_secs(late.as_secs().saturating_sub(early.as_secs()));
    match why {
        Why::ExpiredContext { time, not_after } => CertificateError::Expired { since: after(time, not_after) },
        Why::NotValidYetContext { time, not_before } => {
            CertificateError::NotYetValid { until: after(not_before, time) }
        }
        Why::NotValidForNameContext { expected, presented } => {
            let presented = presented.iter().map(|name| bare(name).into()).collect();
            CertificateError::WrongName { expected: expected.to_str().into(), presented }
        }
        Why::UnknownIssuer => CertificateError::UnknownAuthority,
        Why::Revoked => CertificateError::Revoked,
        Why::InvalidPurpose | Why::InvalidPurposeContext { .. } => CertificateError::WrongPurpose,
        why if is_self_signed(&why) => CertificateError::SelfSigned,
        why if is_an_authoritys(&why) => CertificateError::AnAuthoritys,
        why => CertificateError::Other(why.to_string()),
    }
}

/// The name itself, of what is told as `DnsName("mx.example.org")`.
fn bare(name: &str) -> &str {
    let inner =
        ["DnsName(\"", "UniformResourceIdentifier(\"", "IpAddress("].iter().find_map(|kind| name.strip_prefix(kind));
    inner.and_then(|inner| inner.strip_suffix("\")").or_else(|| inner.strip_suffix(')'))).unwrap_or(name)
}

/// Why the peer ends the handshake, by its alert (RFC 8446 section 6.2), and what it means here.
fn refusal(alert: AlertDescription) -> String {
    use AlertDescription as A;
    let meaning = match alert {
        A::ProtocolVersion => "it has no TLS version in common with those permitted here",
        A::HandshakeFailure => "it has nothing in common with what is offered here",
        A::CertificateRequired => "it wants a client certificate",
        A::BadCertificate | A::UnsupportedCertificate | A::CertificateUnknown | A::UnknownCA => {
            "it does not accept the certificate shown to it"
        }
        A::CertificateExpired => "the certificate shown to it has expired",
        A::CertificateRevoked => "the certificate shown to it is revoked",
        A::NoApplicationProtocol => "it knows none of the protocols offered by ALPN",
        A::UnrecognisedName => "it is not the host of that name",
        _ => return format!("the peer refuses: {alert:?}"),
    };
    format!("the peer refuses: {meaning} ({alert:?})")
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn every_alert_that_a_person_can_act_on_is_said_in_words() {
        use AlertDescription as A;
        // RFC 8446 section 6.2.
        for (alert, part) in [
            (A::ProtocolVersion, "no TLS version in common"),
            (A::HandshakeFailure, "nothing in common"),
            (A::CertificateRequired, "wants a client certificate"),
            (A::UnknownCA, "does not accept the certificate"),
            (A::CertificateExpired, "expired"),
            (A::CertificateRevoked, "revoked"),
            (A::NoApplicationProtocol, "ALPN"),
            (A::UnrecognisedName, "not the host of that name"),
            (A::InternalError, "InternalError"),
        ] {
            let text = reason(rustls::Error::AlertReceived(alert)).to_string();
            assert!(text.contains("the peer refuses") && text.contains(part), "{text}");
            assert!(text.contains(&alloc::format!("{alert:?}")), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_certificate_keeps_its_name() {
        use rustls::CertificateError as Why;
        for (why, error) in [
            (Why::Revoked, CertificateError::Revoked),
            (Why::UnknownIssuer, CertificateError::UnknownAuthority),
            (Why::InvalidPurpose, CertificateError::WrongPurpose),
        ] {
            assert_eq!(reason(rustls::Error::InvalidCertificate(why)), Error::Certificate(error));
        }
        assert_eq!(reason(rustls::Error::NoCertificatesPresented), Error::Certificate(CertificateError::Missing));
        let other = reason(rustls::Error::InvalidCertificate(Why::BadEncoding));
        assert!(matches!(other, Error::Certificate(CertificateError::Other(why)) if !why.is_empty()));
    }
}
