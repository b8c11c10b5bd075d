//! NTLM (MS-NLMP), version 2 only, without signing or sealing: TLS does that.
//!
//! The rules of this file: version 1 is never spoken, whatever the server offers, since its keys are found in hours; every
//! offset of the peer is checked against its message; no clock is read, the time is the server's or the caller's.

use alloc::string::String;
use alloc::vec::Vec;

use hmac::{Hmac, Mac};
use md4::Md4;
use md5::{Digest, Md5};
use proxy_proto::Secret;

use super::credentials::{Credentials, Proof};
use super::exchange::{Answer, Exchange, Steps};
use super::{BindingKind, Channel, Error, MechanismName, Misuse};

/// The head of every message (MS-NLMP section 2.2.1).
const SIGNATURE: &[u8; 8] = b"NTLMSSP\0";
/// NTLMSSP_NEGOTIATE_UNICODE.
const UNICODE: u32 = 0x0000_0001;
/// NTLMSSP_NEGOTIATE_TARGET_INFO.
const TARGET_INFO: u32 = 0x0080_0000;
/// What we offer: UNICODE, OEM, REQUEST_TARGET, NTLM, ALWAYS_SIGN, EXTENDED_SESSIONSECURITY.
const OFFERED: u32 = UNICODE | 0x0008_8206;
/// The most characters in a name; Windows itself has less.
const MAX_FIELD: usize = 255;

/// Identifiers of AV_PAIR (MS-NLMP section 2.2.2.1).
mod av {
    pub(super) const EOL: u16 = 0;
    pub(super) const FLAGS: u16 = 6;
    pub(super) const TIMESTAMP: u16 = 7;
    pub(super) const TARGET_NAME: u16 = 9;
    pub(super) const CHANNEL_BINDINGS: u16 = 10;
    /// In FLAGS: the message has a MIC.
    pub(super) const HAS_MIC: u32 = 2;
}

pub(super) struct Ntlm {
    identity: Identity,
    client_challenge: [u8; 8],
    /// For servers that do not tell theirs, in units of 100 ns since 1601.
    file_time: u64,
    answered: bool,
}

struct Identity {
    user: String,
    domain: String,
    workstation: String,
    /// NTOWFv2, all that is kept of the password.
    key: Secret,
    /// The digest of the channel's name, or zeros.
    bindings: [u8; 16],
    /// Service and host: `SMTPSVC/mail.example`.
    target: String,
}

/// A user of the form `DOMAIN\user` names its domain, where the credentials do not.
pub(super) fn start(
    credentials: &Credentials,
    channel: &Channel,
    host: &str,
    client_challenge: [u8; 8],
) -> Result<Exchange<Ntlm>, Misuse> {
    let Proof::Password { user, password } = &credentials.proof else {
        return Err(Misuse::WrongCredentials(MechanismName::Ntlm));
    };
    let (domain, user) = match (&credentials.domain, user.split_once('\\')) {
        (None, Some((domain, user))) => (domain, user),
        (domain, _) => (domain.as_deref().unwrap_or_default(), &**user),
    };
    let workstation = credentials.workstation.as_deref().unwrap_or_default();
    if user.is_empty() {
        return Err(Misuse::Empty("user name"));
    }
    for (field, text) in [("user name", user), ("domain", domain), ("workstation", workstation), ("host", host)] {
        if text.chars().count() > MAX_FIELD {
            return Err(Misuse::TooLong(field));
        }
        if text.chars().any(char::is_control) {
            return Err(Misuse::Prohibited(field));
        }
    }
    let text = core::str::from_utf8(password.expose()).map_err(|_| Misuse::NotUtf8("password"))?;
    let end_point = channel.bindings.iter().find(|binding| binding.kind == BindingKind::TlsServerEndPoint);
    let identity = Identity {
        user: user.into(),
        domain: domain.into(),
        workstation: workstation.into(),
        key: ntowf_v2(user, domain, text),
        bindings: end_point.map_or([0; 16], |binding| binding_digest(&binding.data)),
        target: alloc::format!("SMTPSVC/{host}"),
    };
    let ntlm = Ntlm { identity, client_challenge, file_time: credentials.file_time, answered: false };
    Ok(Exchange::client_first(ntlm, Secret::new(negotiate())))
}

fn utf16(text: &str) -> Vec<u8> {
    let mut octets = Vec::with_capacity(text.len() * 2);
    octets.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
    octets
}

/// As Windows does it, one character for one.
fn upper_case(text: &str) -> String {
    let upper = |c: char| {
        let mut mapped = c.to_uppercase();
        mapped.next().filter(|_| mapped.next().is_none()).unwrap_or(c)
    };
    text.chars().map(upper).collect()
}

fn hmac_md5(key: &[u8], parts: &[&[u8]]) -> [u8; 16] {
    let mut mac = Hmac::<Md5>::new_from_slice(key).expect("HMAC takes a key of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// NTOWFv2 of MS-NLMP section 3.3.2.
fn ntowf_v2(user: &str, domain: &str, password: &str) -> Secret {
    let password = Secret::new(utf16(password));
    let hash = Secret::new(Md4::digest(password.expose()).to_vec());
    let mut name = utf16(&upper_case(user));
    name.extend(utf16(domain));
    Secret::new(hmac_md5(hash.expose(), &[&name]))
}

/// The MD5 of gss_channel_bindings_struct (RFC 2744 section 3.11) without addresses, for MsvAvChannelBindings.
fn binding_digest(certificate: &[u8]) -> [u8; 16] {
    let prefix = BindingKind::TlsServerEndPoint.as_str().as_bytes();
    let mut digest = Md5::new();
    digest.update([0; 16]);
    // A digest of a certificate is 64 octets at most; more is cut as the field has it.
    digest.update(((prefix.len() + 1 + certificate.len()) as u32).to_le_bytes());
    digest.update(prefix);
    digest.update(b":");
    digest.update(certificate);
    digest.finalize().into()
}

/// NEGOTIATE_MESSAGE of MS-NLMP section 2.2.1.1, naming neither domain nor workstation.
fn negotiate() -> Vec<u8> {
    let mut message = Vec::with_capacity(32);
    message.extend_from_slice(SIGNATURE);
    message.extend_from_slice(&1_u32.to_le_bytes());
    message.extend_from_slice(&OFFERED.to_le_bytes());
    for _ in 0..2 {
        message.extend_from_slice(&[0, 0, 0, 0, 32, 0, 0, 0]);
    }
    message
}

fn array<const N: usize>(message: &[u8], at: usize) -> Result<[u8; N], Error> {
    let octets = message.get(at..).and_then(|rest| rest.get(..N));
    octets.and_then(|octets| octets.try_into().ok()).ok_or(Error::Syntax("NTLM message too short"))
}

/// What matters of CHALLENGE_MESSAGE (MS-NLMP section 2.2.1.2).
#[derive(Debug, PartialEq, Eq)]
struct Challenge<'a> {
    flags: u32,
    server_challenge: [u8; 8],
    target_info: &'a [u8],
    timestamp: Option<u64>,
}

impl<'a> Challenge<'a> {
    fn parse(message: &'a [u8]) -> Result<Self, Error> {
        if array(message, 0)? != *SIGNATURE || u32::from_le_bytes(array(message, 8)?) != 2 {
            return Err(Error::Syntax("not an NTLM challenge"));
        }
        let flags = u32::from_le_bytes(array(message, 20)?);
        if flags & UNICODE == 0 {
            return Err(Error::NotSupported("NTLM without Unicode"));
        }
        let server_challenge = array(message, 24)?;
        let mut target_info = &[][..];
        if flags & TARGET_INFO != 0 {
            let length = usize::from(u16::from_le_bytes(array(message, 40)?));
            let offset = usize::try_from(u32::from_le_bytes(array(message, 44)?)).unwrap_or(usize::MAX);
            let rest = message.get(offset..).and_then(|rest| rest.get(..length));
            target_info = rest.ok_or(Error::Syntax("NTLM field out of the message"))?;
        }
        let mut timestamp = None;
        for pair in Pairs(target_info) {
            match pair? {
                (av::TIMESTAMP, value) => {
                    timestamp = Some(u64::from_le_bytes(
                        value.try_into().map_err(|_| Error::Syntax("NTLM timestamp is of 8 octets"))?,
                    ));
                }
                (av::FLAGS, value) if value.len() != 4 => return Err(Error::Syntax("NTLM flags are of 4 octets")),
                _ => {}
            }
        }
        Ok(Self { flags, server_challenge, target_info, timestamp })
    }
}

/// The pairs of a TargetInfo, up to its end mark.
struct Pairs<'a>(&'a [u8]);

impl<'a> Iterator for Pairs<'a> {
    type Item = Result<(u16, &'a [u8]), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let rest = core::mem::take(&mut self.0);
        let [id0, id1, len0, len1, tail @ ..] = rest else { return Some(Err(Error::Syntax("NTLM target info"))) };
        let (id, length) = (u16::from_le_bytes([*id0, *id1]), usize::from(u16::from_le_bytes([*len0, *len1])));
        if id == av::EOL {
            return None;
        }
        let Some((value, tail)) = tail.split_at_checked(length) else {
            return Some(Err(Error::Syntax("NTLM target info")));
        };
        self.0 = tail;
        Some(Ok((id, value)))
    }
}

/// NTProofStr with `temp` behind it, and the session key (MS-NLMP section 3.3.2).
fn nt_response(
    key: &Secret,
    server_challenge: [u8; 8],
    client_challenge: [u8; 8],
    time: u64,
    target_info: &[u8],
) -> (Vec<u8>, Secret) {
    let mut temp = Vec::from([1, 1, 0, 0, 0, 0, 0, 0]);
    temp.extend_from_slice(&time.to_le_bytes());
    temp.extend_from_slice(&client_challenge);
    temp.extend_from_slice(&[0; 4]);
    temp.extend_from_slice(target_info);
    temp.extend_from_slice(&[0; 4]);
    let proof = hmac_md5(key.expose(), &[&server_challenge, &temp]);
    let session_key = Secret::new(hmac_md5(key.expose(), &[&proof]));
    ([&proof[..], &temp].concat(), session_key)
}

/// LMv2 of MS-NLMP section 3.3.2.
fn lm_response(key: &Secret, server_challenge: [u8; 8], client_challenge: [u8; 8]) -> Vec<u8> {
    let proof = hmac_md5(key.expose(), &[&server_challenge, &client_challenge]);
    [&proof[..], &client_challenge].concat()
}

impl Identity {
    /// The server's pairs with ours: that there is a MIC, which channel, which service (MS-NLMP section 3.1.5.1.2).
    fn target_info(&self, theirs: &[u8]) -> Result<Vec<u8>, Error> {
        let mut info = Vec::new();
        let mut push = |id: u16, value: &[u8]| {
            // Values come from 16-bit lengths or from bounded fields.
            info.extend_from_slice(&id.to_le_bytes());
            info.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_le_bytes());
            info.extend_from_slice(value);
        };
        let mut flags = av::HAS_MIC;
        for pair in Pairs(theirs) {
            match pair? {
                (av::FLAGS, value) => flags |= u32::from_le_bytes(array(value, 0)?),
                (av::CHANNEL_BINDINGS | av::TARGET_NAME, _) => {}
                (id, value) => push(id, value),
            }
        }
        push(av::FLAGS, &flags.to_le_bytes());
        push(av::CHANNEL_BINDINGS, &self.bindings);
        push(av::TARGET_NAME, &utf16(&self.target));
        push(av::EOL, &[]);
        Ok(info)
    }

    /// AUTHENTICATE_MESSAGE of MS-NLMP section 2.2.1.3.
    ///
    /// `mic` protects the whole exchange, and is understood by servers that tell their time.
    fn authenticate(
        &self,
        challenge: &Challenge<'_>,
        challenge_message: &[u8],
        client_challenge: [u8; 8],
        time: u64,
        mic: bool,
    ) -> Result<Vec<u8>, Error> {
        const MIC: core::ops::Range<usize> = 72..88;
        let target_info = match challenge.target_info {
            theirs if mic => self.target_info(theirs)?,
            [] => [0; 4].into(),
            theirs => theirs.into(),
        };
        let server_challenge = challenge.server_challenge;
        let (nt, session_key) = nt_response(&self.key, server_challenge, client_challenge, time, &target_info);
        let lm = if mic { [0; 24].into() } else { lm_response(&self.key, server_challenge, client_challenge) };
        let payloads = [lm, nt, utf16(&self.domain), utf16(&self.user), utf16(&self.workstation), Vec::new()];

        let mut message = Vec::from(*SIGNATURE);
        message.extend_from_slice(&3_u32.to_le_bytes());
        let mut offset = MIC.end;
        for payload in &payloads {
            let length = u16::try_from(payload.len()).map_err(|_| Error::Syntax("NTLM target info too long"))?;
            // Where an empty field would be does not matter, as long as it is inside the message.
            let at = if payload.is_empty() { MIC.end } else { offset };
            message.extend_from_slice(&length.to_le_bytes());
            message.extend_from_slice(&length.to_le_bytes());
            // The sum of 16-bit lengths.
            message.extend_from_slice(&(at as u32).to_le_bytes());
            offset += payload.len();
        }
        message.extend_from_slice(&(OFFERED & challenge.flags).to_le_bytes());
        // No version, and room for the MIC, zero while it is computed.
        message.resize(MIC.end, 0);
        for payload in &payloads {
            message.extend_from_slice(payload);
        }
        if mic {
            let mic = hmac_md5(session_key.expose(), &[&negotiate(), challenge_message, &message]);
            message[MIC].copy_from_slice(&mic);
        }
        Ok(message)
    }
}

impl Steps for Ntlm {
    fn name(&self) -> &MechanismName {
        &MechanismName::Ntlm
    }

    fn challenge(&mut self, message: &[u8]) -> Result<Answer, Error> {
        if self.answered {
            return Err(Error::OutOfOrder);
        }
        let challenge = Challenge::parse(message)?;
        let (time, mic) = (challenge.timestamp.unwrap_or(self.file_time), challenge.timestamp.is_some());
        let response = self.identity.authenticate(&challenge, message, self.client_challenge, time, mic)?;
        self.answered = true;
        Ok(Secret::new(response).into())
    }

    fn finish(&self) -> Result<(), Error> {
        if self.answered { Ok(()) } else { Err(Error::OutOfOrder) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proxy_proto::{Instant, Machine};

    const NOW: Instant = Instant::EPOCH;
    const SERVER_CHALLENGE: [u8; 8] = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef];
    const CLIENT_CHALLENGE: [u8; 8] = [0xaa; 8];

    fn unhex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits.chunks(2).map(|two| u8::from_str_radix(core::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
    }

    /// CHALLENGE_MESSAGE of MS-NLMP section 4.2.4.3.
    fn challenge() -> Vec<u8> {
        unhex(
            "4e544c4d53535000020000000c000c003800000033828ae20123456789abcdef00000000000000002400240044000000
             06007017 0000000f 530065007200760065007200
             02000c0044006f006d00610069006e00 01000c0053006500720076006500720000000000",
        )
    }

    /// The values of MS-NLMP section 4.2.1.
    fn identity() -> Identity {
        Identity {
            user: "User".into(),
            domain: "Domain".into(),
            workstation: "COMPUTER".into(),
            key: ntowf_v2("User", "Domain", "Password"),
            bindings: [0; 16],
            target: "SMTPSVC/mail.example".into(),
        }
    }

    #[test]
    fn the_values_of_ms_nlmp_section_4_2_4() {
        let key = identity().key;
        // 4.2.4.1.1, NTOWFv2.
        assert_eq!(key.expose(), unhex("0c868a403bfd7a93a3001ef22ef02e3f"));
        // 4.2.4.2.1, LMv2 response.
        let lm = lm_response(&key, SERVER_CHALLENGE, CLIENT_CHALLENGE);
        assert_eq!(lm, unhex("86c35097ac9cec102554764a57cccc19aaaaaaaaaaaaaaaa"));
        let message = challenge();
        let parsed = Challenge::parse(&message).unwrap();
        assert_eq!((parsed.server_challenge, parsed.timestamp), (SERVER_CHALLENGE, None));
        let (nt, session_key) = nt_response(&key, SERVER_CHALLENGE, CLIENT_CHALLENGE, 0, parsed.target_info);
        // 4.2.4.1.3, temp, behind NTProofStr of 4.2.4.2.2.
        let expected = "68cd0ab851e51c96aabc927bebef6a1c
            01010000000000000000000000000000aaaaaaaaaaaaaaaa00000000
            02000c0044006f006d00610069006e0001000c005300650072007600650072000000000000000000";
        assert_eq!(nt, unhex(expected));
        // 4.2.4.1.2, session base key.
        assert_eq!(session_key.expose(), unhex("8de40ccadbc14a82f15cb0ad0de95ca3"));
    }

    #[test]
    fn the_name_of_the_user_is_upper_case_in_the_key_and_the_domain_is_not() {
        assert_eq!(ntowf_v2("uSER", "Domain", "Password"), identity().key);
        assert_ne!(ntowf_v2("User", "DOMAIN", "Password"), identity().key);
        assert_eq!(upper_case("aéß"), "AÉß");
    }

    /// The digest in the article of Microsoft on extended protection ("NTLM and Channel Binding Hash").
    #[test]
    fn the_channel_is_named_by_its_certificate() {
        let certificate = unhex("ea05fefecc6b0bd571dbbc5baa3ed45386d0446835f7b74c85621b9983475f95");
        assert_eq!(binding_digest(&certificate).as_slice(), unhex("6586e99d81c2fc984e47172fd4dd0310"));
    }

    /// The exchange over the values of MS-NLMP section 4.2 in Chromium's net/ntlm/ntlm_test_data.h, MIC and all.
    #[test]
    fn the_whole_exchange_that_chromium_publishes() {
        assert_eq!(negotiate(), unhex("4e544c4d53535000010000000782080000000000200000000000000020000000"));
        let bindings = unhex("6586e99d81c2fc984e47172fd4dd0310").try_into().unwrap();
        let identity = Identity { bindings, target: "HTTP/Server".into(), ..identity() };
        let message = challenge();
        let parsed = Challenge::parse(&message).unwrap();
        let time = 0x01d2_d400_fdc8_0b80;
        let response = identity.authenticate(&parsed, &message, CLIENT_CHALLENGE, time, true).unwrap();
        let expected = "4e544c4d535350000300000018001800580000008a008a00700000000c000c00fa000000080008000601000010001000
            0e0100000000000058000000038208000000000000000000f7361633f0ad9bdf4a7c421bc6b824a3
            000000000000000000000000000000000000000000000000
            8c0260dbef690662af9c42d50782d2ed0101000000000000800bc8fd00d4d201aaaaaaaaaaaaaaaa00000000
            02000c0044006f006d00610069006e0001000c005300650072007600650072000600040002000000
            0a0010006586e99d81c2fc984e47172fd4dd03100900160048005400540050002f0053006500720076006500720000000000 00000000
            44006f006d00610069006e005500730065007200 43004f004d0050005500540045005200";
        assert_eq!(response, unhex(expected));
    }

    fn begin(user: &str, domain: Option<&str>) -> Result<Exchange<Ntlm>, Misuse> {
        let mut credentials = Credentials::password(user, "Password").workstation("COMPUTER");
        credentials.domain = domain.map(String::from);
        start(&credentials, &Channel::secured(), "mail.example", CLIENT_CHALLENGE)
    }

    fn said(machine: &mut impl Machine) -> Vec<u8> {
        let mut out = Vec::new();
        assert!(machine.transmit(NOW, &mut out));
        out
    }

    #[test]
    fn a_server_without_time_gets_both_responses_and_no_mic() {
        for (user, domain) in [("User", Some("Domain")), ("Domain\\User", None)] {
            let mut ntlm = begin(user, domain).unwrap();
            assert_eq!(said(&mut ntlm), negotiate());
            assert_eq!(ntlm.receive(NOW, &mut &challenge()[..]), Ok(None));
            let response = said(&mut ntlm);
            assert_eq!(response[72..88], [0; 16]);
            assert_eq!(response[88..112], unhex("86c35097ac9cec102554764a57cccc19aaaaaaaaaaaaaaaa"));
            assert_eq!(response[112..128], unhex("68cd0ab851e51c96aabc927bebef6a1c"));
            assert_eq!(ntlm.finish(), Ok(()));
        }
    }

    /// Puts a target info into the challenge.
    fn with_info(info: &[u8]) -> Vec<u8> {
        let mut message = challenge();
        message.truncate(0x44);
        message[40..44].copy_from_slice(&[info.len() as u8, 0, info.len() as u8, 0]);
        message.extend_from_slice(info);
        message
    }

    #[test]
    fn a_server_with_time_gets_a_mic() {
        let message = with_info(&unhex("07000800 0102030405060708 00000000"));
        let mut ntlm = begin("User", Some("Domain")).unwrap();
        said(&mut ntlm);
        assert_eq!(ntlm.receive(NOW, &mut &message[..]), Ok(None));
        let response = said(&mut ntlm);
        assert_ne!(response[72..88], [0; 16]);
        assert_eq!(response[88..112], [0; 24]);
        assert_eq!(response[136..144], [1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn malformed_challenges_are_errors_that_stick() {
        let whole = challenge();
        let mut bad: Vec<Vec<u8>> = (0..whole.len()).map(|cut| whole[..cut].to_vec()).collect();
        let mut change = |at: usize, octet: u8| {
            let mut message = whole.clone();
            message[at] = octet;
            bad.push(message);
        };
        change(0, 0);
        change(8, 1);
        change(20, 2);
        change(47, 0xff);
        for info in ["070002000000", "06000100ff", "0100ffff00", "010000"] {
            bad.push(with_info(&unhex(info)));
        }
        for message in bad {
            let mut ntlm = begin("User", None).unwrap();
            said(&mut ntlm);
            let error = ntlm.receive(NOW, &mut &message[..]).unwrap_err();
            assert_eq!(ntlm.receive(NOW, &mut &whole[..]), Err(error), "{message:?}");
        }
    }

    #[test]
    fn success_before_the_response_and_a_second_challenge_are_errors() {
        let mut ntlm = begin("User", None).unwrap();
        said(&mut ntlm);
        assert_eq!(ntlm.finish(), Err(Error::OutOfOrder));
        let mut ntlm = begin("User", None).unwrap();
        said(&mut ntlm);
        assert_eq!(ntlm.receive(NOW, &mut &challenge()[..]), Ok(None));
        said(&mut ntlm);
        assert_eq!(ntlm.receive(NOW, &mut &challenge()[..]), Err(Error::OutOfOrder));
    }

    #[test]
    fn what_cannot_be_said_is_the_callers_slip() {
        assert_eq!(begin("", None).err(), Some(Misuse::Empty("user name")));
        assert_eq!(begin("D\\", None).err(), Some(Misuse::Empty("user name")));
        assert_eq!(begin(&"a".repeat(256), None).err(), Some(Misuse::TooLong("user name")));
        let credentials = Credentials::password("a", Secret::new([0xff]));
        let slip = start(&credentials, &Channel::clear(), "h", CLIENT_CHALLENGE);
        assert_eq!(slip.err(), Some(Misuse::NotUtf8("password")));
    }

    #[test]
    fn the_servers_pairs_are_kept_but_for_those_that_are_ours_to_say() {
        // MS-NLMP section 3.1.5.1.2; the end mark of section 2.2.2.1 is missing, as the field's length tells the end, too.
        let theirs = "02000200 4400  06000400 01000000  0a001000 ffffffffffffffffffffffffffffffff  09000200 5800
            07000800 0102030405060708";
        let ours = "02000200 4400  07000800 0102030405060708  06000400 03000000
            0a001000 00000000000000000000000000000000  09002800";
        let mut ntlm = begin("User", Some("Domain")).unwrap();
        said(&mut ntlm);
        assert_eq!(ntlm.receive(NOW, &mut &with_info(&unhex(theirs))[..]), Ok(None));
        let (response, ours) = (said(&mut ntlm), unhex(ours));
        let expected = [&ours[..], &utf16("SMTPSVC/mail.example")[..], &[0; 4]].concat();
        assert!(response.windows(expected.len()).any(|part| part == expected));
    }

    #[test]
    fn what_is_no_password_or_no_text_is_the_callers_slip() {
        let slip = |credentials: Credentials| start(&credentials, &Channel::clear(), "h", CLIENT_CHALLENGE).err();
        assert_eq!(slip(Credentials::token("a", "b")), Some(Misuse::WrongCredentials(MechanismName::Ntlm)));
        assert_eq!(slip(Credentials::password("a\u{7}", "b")), Some(Misuse::Prohibited("user name")));
        let tim = || Credentials::password("tim", "b");
        assert_eq!(slip(tim().domain("D\n")), Some(Misuse::Prohibited("domain")));
        assert_eq!(slip(tim().workstation("W\0")), Some(Misuse::Prohibited("workstation")));
    }

    #[test]
    fn the_callers_time_stands_where_the_server_tells_none() {
        // MS-NLMP section 2.2.2.7: the time, in eight octets, little-endian, behind the proof and eight fixed octets.
        for (named, time) in [(None, 0), (Some(0x0102_0304_0506_0708_u64), 0x0102_0304_0506_0708)] {
            let credentials = Credentials::password("User", "Password").domain("Domain");
            let credentials = named.map_or(credentials.clone(), |time| credentials.file_time(time));
            let mut ntlm = start(&credentials, &Channel::secured(), "mail.example", CLIENT_CHALLENGE).unwrap();
            said(&mut ntlm);
            assert_eq!(ntlm.receive(NOW, &mut &challenge()[..]), Ok(None));
            let expected = [&[1, 1, 0, 0, 0, 0, 0, 0][..], &u64::to_le_bytes(time), &CLIENT_CHALLENGE].concat();
            assert!(said(&mut ntlm).windows(expected.len()).any(|part| part == expected));
        }
    }
}
