//! What a certificate says of itself, as far as people ask.
//!
//! The rules of this file: the peer wrote it, so every text is cleaned, and whatever cannot be read is left out. Whether it is to be
//! trusted is not judged here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;
use x509_parser::x509::X509Name;

use crate::failure::clean;

/// A certificate, read.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(super) struct Certificate {
    pub(super) subject: String,
    /// The names and addresses it is for; nothing else counts (RFC 9525 section 6.3).
    pub(super) names: Vec<String>,
    pub(super) issuer: String,
    /// Days, as RFC 3339 writes them.
    pub(super) not_before: String,
    pub(super) not_after: String,
    pub(super) expired: bool,
    /// Whole days until it expires; where it has, below zero, those that have gone by since.
    pub(super) days_left: i64,
}

/// Reads one certificate in DER.
pub(super) fn read(der: &[u8]) -> Option<Certificate> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
    read_at(der, i64::try_from(now).ok()?)
}

fn read_at(der: &[u8], now: i64) -> Option<Certificate> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let given = alternative.map(|extension| &extension.value.general_names);
    let mut names: Vec<String> = Vec::new();
    for name in given.into_iter().flatten().filter_map(general) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let validity = certificate.validity();
    let left = validity.not_after.timestamp().saturating_sub(now);
    Some(Certificate {
        subject: name(certificate.subject()),
        names,
        issuer: name(certificate.issuer()),
        not_before: day(&validity.not_before),
        not_after: day(&validity.not_after),
        expired: left < 0,
        // Days that are not whole do not count, on either side: so it is said elsewhere how long ago that was.
        days_left: left / (24 * 60 * 60),
    })
}

/// The common name and the organization, where there are such; else all of it.
fn name(name: &X509Name<'_>) -> String {
    let common = name.iter_common_name().next().and_then(|one| one.as_str().ok());
    let organization = name.iter_organization().next().and_then(|one| one.as_str().ok());
    match (common, organization) {
        (Some(common), Some(organization)) if common != organization => {
            clean(format_args!("{common} ({organization})"))
        }
        (Some(one), _) | (None, Some(one)) => clean(one),
        (None, None) => clean(name),
    }
}

fn general(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(clean(name)),
        GeneralName::IPAddress(octets) => {
            let four = <[u8; 4]>::try_from(*octets).map(|octets| IpAddr::from(Ipv4Addr::from(octets)));
            let six = || <[u8; 16]>::try_from(*octets).map(|octets| IpAddr::from(Ipv6Addr::from(octets)));
            four.or_else(|_| six()).ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

fn day(time: &ASN1Time) -> String {
    let time = time.to_datetime();
    format!("{:04}-{:02}-{:02}", time.year(), u8::from(time.month()), time.day())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};

    fn made(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let names = ["mail.example.org", "*.example.org", "192.0.2.1", "2001:db8::1"];
        let mut params = CertificateParams::new(names.map(String::from)).unwrap();
        params.not_before = date_time_ymd(2026, 1, 2);
        params.not_after = date_time_ymd(2026, 3, 4);
        params.distinguished_name.push(DnType::CommonName, "a mail server");
        change(&mut params);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    /// 2026-03-01T00:00:00Z (`date -u -d 2026-03-01 +%s`).
    const MARCH: i64 = 1_772_323_200;

    #[test]
    fn what_people_ask_for() {
        let read = read_at(&made(|_| ()), MARCH).unwrap();
        assert_eq!(read.names, ["mail.example.org", "*.example.org", "192.0.2.1", "2001:db8::1"]);
        assert_eq!((read.subject.as_str(), read.issuer.as_str()), ("a mail server", "a mail server"));
        assert_eq!((read.not_before.as_str(), read.not_after.as_str()), ("2026-01-02", "2026-03-04"));
        assert_eq!((read.days_left, read.expired), (3, false));
    }

    #[test]
    fn days_are_whole_ones_before_and_after() {
        // Its last moment is the midnight at which the 4th of March begins, three days after MARCH.
        let made = made(|_| ());
        let days = |hours: i64| {
            let read = read_at(&made, MARCH + (3 * 24 + hours) * 3_600).unwrap();
            (read.days_left, read.expired)
        };
        assert_eq!([days(-49), days(-48), days(-47), days(-1)].map(|(days, _)| days), [2, 2, 1, 0]);
        assert_eq!([days(1), days(23), days(25), days(60)].map(|(days, _)| days), [0, 0, -1, -2]);
        assert_eq!([days(-1), days(0), days(1)].map(|(_, expired)| expired), [false, false, true]);
    }

    #[test]
    fn an_organization_is_told_beside_the_name() {
        let octets = made(|params| params.distinguished_name.push(DnType::OrganizationName, "Example\x1b[31m"));
        assert_eq!(read_at(&octets, MARCH).unwrap().issuer, "a mail server (Example [31m)");
    }

    #[test]
    fn what_is_cut_short_says_nothing() {
        let whole = made(|_| ());
        for end in 0..whole.len() {
            assert_eq!(read_at(&whole[..end], MARCH), None, "{end}");
        }
    }
}
