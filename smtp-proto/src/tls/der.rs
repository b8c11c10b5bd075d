//! As much of DER as is needed to look into a certificate: never more than slices of what was given.

/// The tag of a SEQUENCE.
pub(super) const SEQUENCE: u8 = 0x30;

/// The contents of the first value, if it has this tag, and what stands behind it.
pub(super) fn value(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (head, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match *first {
        short @ 0..=0x7f => (usize::from(short), rest),
        long => {
            let octets = usize::from(long & 0x7f);
            if !(1..=3).contains(&octets) || rest.len() < octets {
                return None;
            }
            let (length, rest) = rest.split_at(octets);
            (length.iter().fold(0, |sum, octet| sum << 8 | usize::from(*octet)), rest)
        }
    };
    (*head == tag && rest.len() >= length).then(|| rest.split_at(length))
}

/// Whether a certificate names itself as its issuer (RFC 5280 section 3.2): `TBSCertificate ::= SEQUENCE { version [0]
/// OPTIONAL, serialNumber INTEGER, signature SEQUENCE, issuer Name, validity SEQUENCE, subject Name, .. }`.
pub(super) fn is_self_issued(certificate: &[u8]) -> bool {
    const VERSION: u8 = 0xa0;
    const INTEGER: u8 = 0x02;
    let names = || {
        let (certificate, _) = value(certificate, SEQUENCE)?;
        let (inner, _) = value(certificate, SEQUENCE)?;
        let rest = value(inner, VERSION).map_or(inner, |(_, rest)| rest);
        let (_, rest) = value(rest, INTEGER)?;
        let (_, rest) = value(rest, SEQUENCE)?;
        let (issuer, rest) = value(rest, SEQUENCE)?;
        let (_, rest) = value(rest, SEQUENCE)?;
        let (subject, _) = value(rest, SEQUENCE)?;
        Some(issuer == subject)
    };
    names().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    /// A value of at most 127 octets.
    fn made(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let inner = parts.concat();
        [&[tag, u8::try_from(inner.len()).unwrap()], &inner[..]].concat()
    }

    /// A certificate's outline, by the grammar of RFC 5280 section 4.1.
    fn certificate(issuer: &[u8], subject: &[u8], version: bool) -> Vec<u8> {
        let version = if version { made(0xa0, &[&[2, 1, 2]]) } else { Vec::new() };
        let (issuer, subject) = (made(SEQUENCE, &[issuer]), made(SEQUENCE, &[subject]));
        let inner = made(SEQUENCE, &[&version, &[2, 1, 7], &[0x30, 0], &issuer, &[0x30, 0], &subject, &[0x30, 0]]);
        made(SEQUENCE, &[&inner, &[0x30, 0], &[3, 1, 0]])
    }

    #[test]
    fn who_names_himself_as_issuer_is_self_issued() {
        for version in [false, true] {
            assert!(is_self_issued(&certificate(b"\x31\x01a", b"\x31\x01a", version)));
            assert!(!is_self_issued(&certificate(b"\x31\x01a", b"\x31\x01b", version)));
        }
    }

    #[test]
    fn what_is_cut_short_says_nothing() {
        let whole = certificate(b"\x31\x01a", b"\x31\x01a", true);
        for end in 0..whole.len() {
            assert!(!is_self_issued(&whole[..end]));
        }
        for length in [0x80, 0x84, 0xff] {
            assert_eq!(value(&[SEQUENCE, length, 1, 1, 1, 1, 1], SEQUENCE), None);
        }
    }
}
