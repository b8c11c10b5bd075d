//! AUTH: a SASL mechanism in SMTP's clothes (RFC 4954).
//!
//! The rules of this file:
//!
//! - The strongest permitted mechanism first; the next one only where the refusal is about the mechanism (504, 534, 538).
//!   A refused password (535) is not tried again in other words: accounts get locked.
//! - The initial response goes along where it fits in a command line; otherwise it waits for the empty challenge.
//! - A challenge that cannot be answered is answered with `*`, so that the dialogue stays in step.
//! - 235 is success only where the mechanism is content with it.
//! - Whatever was sent here is secret, and is blotted out where the server echoes it.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proxy_proto::{Instant, Secret};

use super::config::Config;
use crate::AuthenticationError;
use crate::reply::{Code, Reply, blotted};
use crate::sasl::{self, Channel, Mechanism, MechanismName};

/// Mechanisms tried on one connection at most: all that one kind of credentials can drive, each refused as a mechanism and not
/// for the password.
const ATTEMPTS: usize = 12;

/// RFC 4954 section 4: the AUTH command with its initial response, line end included.
const COMMAND_LIMIT: usize = 512;

/// What comes next.
pub(super) enum Step {
    /// There is more to be said.
    Speak,
    /// Authenticated.
    Done,
    /// The token was refused, and a fresh one may do.
    NeedsToken(Option<Vec<u8>>),
    /// A reply that AUTH does not know.
    Unexpected,
    /// Not to be.
    Failed(AuthenticationError),
}

/// What goes out next.
enum Say {
    Nothing,
    Command,
    Response,
    Cancel,
}

/// One authentication: the mechanisms still to be tried, and the one under way.
pub(super) struct Exchange {
    /// The best last.
    candidates: Vec<MechanismName>,
    attempts: usize,
    name: MechanismName,
    mechanism: Box<dyn Mechanism>,
    say: Say,
    /// A response that is ready to go out.
    response: Option<Secret>,
    /// Why the exchange was cancelled.
    cancelled: Option<AuthenticationError>,
    /// What the server said in a challenge of its own.
    detail: Option<Vec<u8>>,
    /// A fresh token has been asked for; `Some` with the refusal while it is awaited.
    refreshed: bool,
    awaiting: Option<AuthenticationError>,
    /// What was sent since it was last asked for.
    secrets: Vec<Secret>,
}

impl Exchange {
    /// Chooses among what the server offers, and starts the best.
    pub(super) fn begin(
        config: &Config,
        credentials: &sasl::Credentials,
        offered: &[String],
        channel: &Channel,
    ) -> Result<Self, AuthenticationError> {
        let offered: Vec<MechanismName> = offered.iter().filter_map(|name| name.parse().ok()).collect();
        let mut candidates =
            sasl::select(&offered, &config.allowed, credentials, channel).map_err(AuthenticationError::Selection)?;
        candidates.reverse();
        let (name, mechanism) = start(&mut candidates, config, credentials, channel, &offered)?;
        Ok(Self {
            candidates,
            attempts: 1,
            name,
            mechanism,
            say: Say::Command,
            response: None,
            cancelled: None,
            detail: None,
            refreshed: false,
            awaiting: None,
            secrets: forms(credentials),
        })
    }

    /// The mechanism under way.
    pub(super) fn mechanism(&self) -> &MechanismName {
        &self.name
    }

    /// Appends what is to be said; the same line for people, without its secret, where there is one.
    pub(super) fn transmit(&mut self, now: Instant, output: &mut Vec<u8>) -> Option<String> {
        match core::mem::replace(&mut self.say, Say::Nothing) {
            Say::Nothing => None,
            Say::Cancel => {
                output.extend_from_slice(b"*\r\n");
                Some("*".into())
            }
            Say::Response => {
                let response = self.response.take()?;
                output.extend_from_slice(response.expose());
                output.extend_from_slice(b"\r\n");
                self.secrets.push(response);
                Some("***".into())
            }
            Say::Command => {
                let mut shown = String::from("AUTH ");
                shown.push_str(self.name.as_str());
                output.extend_from_slice(shown.as_bytes());
                if let Some(initial) = self.next_response(now) {
                    // An empty one is written as "=", so that it differs from none.
                    let initial = if initial.expose().is_empty() { Secret::from("=") } else { initial };
                    if shown.len() + 1 + initial.expose().len() + 2 <= COMMAND_LIMIT {
                        output.push(b' ');
                        output.extend_from_slice(initial.expose());
                        shown.push_str(if initial.expose() == b"=" { " =" } else { " ***" });
                        self.secrets.push(initial);
                    } else {
                        self.response = Some(initial);
                    }
                }
                output.extend_from_slice(b"\r\n");
                Some(shown)
            }
        }
    }

    /// What the mechanism has to say, in base64.
    fn next_response(&mut self, now: Instant) -> Option<Secret> {
        let mut raw = Vec::new();
        let speaks = self.mechanism.transmit(now, &mut raw);
        let raw = Secret::new(raw);
        speaks.then(|| Secret::new(STANDARD.encode(raw.expose())))
    }

    /// Takes the server's reply to what was said last.
    pub(super) fn receive(
        &mut self,
        now: Instant,
        reply: &Reply,
        config: &Config,
        credentials: &sasl::Credentials,
        channel: &Channel,
    ) -> Step {
        let code = reply.code();
        if let Some(why) = &self.cancelled {
            return Step::Failed(why.clone());
        }
        if code == Code::CHALLENGE {
            self.challenge(now, reply);
            return Step::Speak;
        }
        if code == Code::AUTHENTICATED {
            // Success without having been shown anything is no success.
            if self.response.is_some() {
                let error = sasl::Error::OutOfOrder;
                return Step::Failed(AuthenticationError::Mechanism { mechanism: self.name.clone(), error });
            }
            return match self.mechanism.finish() {
                Ok(()) => Step::Done,
                Err(error) => Step::Failed(AuthenticationError::Mechanism { mechanism: self.name.clone(), error }),
            };
        }
        if code.is_positive() || code.is_intermediate() {
            return Step::Unexpected;
        }
        let about_the_mechanism = matches!(code.number(), 504 | 534 | 538);
        if about_the_mechanism && self.attempts < ATTEMPTS && !self.candidates.is_empty() {
            if let Ok((name, mechanism)) = start(&mut self.candidates, config, credentials, channel, &[]) {
                self.attempts += 1;
                self.name = name;
                self.mechanism = mechanism;
                self.response = None;
                self.detail = None;
                self.say = Say::Command;
                return Step::Speak;
            }
        }
        let detail = self.detail.take();
        let refused =
            AuthenticationError::Refused { mechanism: self.name.clone(), reply: reply.clone(), detail: detail.clone() };
        let by_token = matches!(self.name, MechanismName::OAuthBearer | MechanismName::XOAuth2);
        if by_token && config.refresh_token && !core::mem::replace(&mut self.refreshed, true) {
            self.awaiting = Some(refused);
            return Step::NeedsToken(detail);
        }
        Step::Failed(refused)
    }

    /// The answer to [`Step::NeedsToken`]: the same mechanism with these credentials, or the refusal stands.
    pub(super) fn refresh(
        &mut self,
        fresh: Option<(&sasl::Credentials, &Config, &Channel)>,
    ) -> Result<(), Option<AuthenticationError>> {
        let refused = self.awaiting.take().ok_or(None)?;
        let (credentials, config, channel) = fresh.ok_or(Some(refused))?;
        let mut candidates = alloc::vec![self.name.clone()];
        let (_, mechanism) = start(&mut candidates, config, credentials, channel, &[]).map_err(Some)?;
        self.mechanism = mechanism;
        self.response = None;
        self.secrets.extend(forms(credentials));
        self.say = Say::Command;
        Ok(())
    }

    fn challenge(&mut self, now: Instant, reply: &Reply) {
        let mechanism = self.name.clone();
        let line = reply.lines().next().unwrap_or_default().trim_ascii();
        let Ok(challenge) = STANDARD.decode(line) else {
            return self.cancel(AuthenticationError::NotBase64 { mechanism });
        };
        // An initial response that did not fit waits for an empty challenge; any other is out of order.
        if self.response.is_some() {
            if challenge.is_empty() {
                self.say = Say::Response;
                return;
            }
            let error = sasl::Error::OutOfOrder;
            return self.cancel(AuthenticationError::Mechanism { mechanism, error });
        }
        match self.mechanism.receive(now, &mut &challenge[..]) {
            Err(error) => return self.cancel(AuthenticationError::Mechanism { mechanism, error }),
            Ok(Some(sasl::Event::ServerError(detail))) => self.detail = Some(detail),
            Ok(_) => {}
        }
        match self.next_response(now) {
            Some(response) => {
                self.response = Some(response);
                self.say = Say::Response;
            }
            None => self.cancel(AuthenticationError::Mechanism { mechanism, error: sasl::Error::OutOfOrder }),
        }
    }

    fn cancel(&mut self, why: AuthenticationError) {
        self.cancelled = Some(why);
        self.say = Say::Cancel;
    }

    /// Blots these out of what the server said.
    pub(super) fn redact(&mut self, secrets: &[Secret]) {
        let Some(detail) = &mut self.detail else { return };
        for secret in secrets {
            if let Some(clean) = blotted(detail, secret.expose()) {
                *detail = clean;
            }
        }
    }

    /// What was sent and must not be seen, to be blotted out wherever the server echoes it, for as long as the session lasts.
    pub(super) fn take_secrets(&mut self) -> Vec<Secret> {
        core::mem::take(&mut self.secrets)
    }
}

fn start(
    candidates: &mut Vec<MechanismName>,
    config: &Config,
    credentials: &sasl::Credentials,
    channel: &Channel,
    offered: &[MechanismName],
) -> Result<(MechanismName, Box<dyn Mechanism>), AuthenticationError> {
    let mut misfit = None;
    while let Some(name) = candidates.pop() {
        let mut nonce = sasl::Nonce::default();
        match &config.entropy {
            Some(fill) => fill(&mut nonce),
            // A nonce that can be guessed is worse than a weaker mechanism that needs none.
            None if needs_nonce(&name) => continue,
            None => {}
        }
        match sasl::start(&name, credentials, channel, &config.host, nonce) {
            Ok(mechanism) => return Ok((name, mechanism)),
            Err(misuse) => misfit = Some(AuthenticationError::Credentials { mechanism: name, misuse }),
        }
    }
    Err(misfit.unwrap_or(AuthenticationError::Selection(sasl::SelectionError::NothingInCommon {
        offered: offered.to_vec(),
        usable: Vec::new(),
    })))
}

/// The secret as it is, and as it looks where it is sent alone.
fn forms(credentials: &sasl::Credentials) -> Vec<Secret> {
    let Some(secret) = credentials.secret() else { return Vec::new() };
    let encoded = STANDARD.encode(secret.expose());
    // Padding changes with what stands behind it.
    let bare = Secret::from(encoded.trim_end_matches('='));
    alloc::vec![secret.clone(), bare]
}

fn needs_nonce(name: &MechanismName) -> bool {
    let name = name.as_str();
    name.starts_with("SCRAM-") || name == "DIGEST-MD5" || name == "NTLM"
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::sync::Arc;
    use alloc::vec;

    use crate::sasl::{Credentials, SelectionError};

    const NOW: Instant = Instant::EPOCH;

    fn config(random: bool) -> Config {
        let mut config = Config::new("mx.example.org");
        config.entropy = random.then(|| Arc::new(|octets: &mut [u8]| octets.fill(7)) as super::super::Entropy);
        config
    }

    fn begin(random: bool, credentials: &Credentials, offer: &str) -> Result<Exchange, AuthenticationError> {
        let offered: Vec<String> = offer.split(' ').map(Into::into).collect();
        Exchange::begin(&config(random), credentials, &offered, &Channel::secured())
    }

    /// Those that are built in.
    fn available(names: &[&'static str]) -> Vec<&'static str> {
        let is = |name: &&str| name.parse().is_ok_and(|name: MechanismName| name.is_available());
        names.iter().copied().filter(is).collect()
    }

    #[test]
    fn a_nonce_is_random_or_its_mechanism_is_not_begun() {
        let tim = Credentials::password("tim", "tanstaaftanstaaf");
        // SCRAM (RFC 5802 section 5.1), DIGEST-MD5 (RFC 2831 section 2.1.2) and NTLMv2 send a nonce of the client's.
        for name in available(&["SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1", "DIGEST-MD5", "NTLM"]) {
            assert_eq!(begin(true, &tim, name).map(|exchange| exchange.name.as_str() == name).ok(), Some(true));
            assert!(
                matches!(
                    begin(false, &tim, name).map(|_| ()),
                    Err(AuthenticationError::Selection(SelectionError::NothingInCommon { .. }))
                ),
                "{name}"
            );
            let next = begin(false, &tim, &alloc::format!("{name} PLAIN")).map(|exchange| exchange.name);
            assert_eq!(next.ok(), Some(MechanismName::Plain));
        }
        for name in available(&["CRAM-MD5", "PLAIN", "LOGIN"]) {
            assert_eq!(begin(false, &tim, name).map(|exchange| exchange.name.as_str() == name).ok(), Some(true));
        }
    }

    #[test]
    fn an_initial_response_goes_along_where_the_line_has_at_most_512_octets() {
        // RFC 4954 section 4: the command line's limit of RFC 5321 section 4.5.3.1.4, its end included. Three octets are
        // four in base64: 372 of them fill "AUTH EXTERNAL " and CRLF up to just that.
        for (octets, length) in [(1, 14 + 4 + 2), (372, 512), (373, 15)] {
            let somebody = Credentials::external("x".repeat(octets));
            let mut exchange = begin(false, &somebody, "EXTERNAL").ok().unwrap();
            let mut line = Vec::new();
            exchange.transmit(NOW, &mut line).unwrap();
            assert_eq!(line.len(), length, "{octets}");
            // What did not go along is said to the empty challenge, as a whole.
            if octets == 373 {
                assert_eq!(line, b"AUTH EXTERNAL\r\n");
                exchange.challenge(NOW, &Reply::bare(Code::CHALLENGE));
                let mut response = Vec::new();
                exchange.transmit(NOW, &mut response).unwrap();
                assert_eq!(response, [STANDARD.encode("x".repeat(373)).as_bytes(), b"\r\n"].concat());
            }
        }
    }

    #[test]
    fn an_octet_more_than_the_line_may_have_is_too_many() {
        // NUL, "tim", NUL and the password (RFC 4616 section 2), in base64, behind "AUTH PLAIN " and before CRLF.
        for (octets, length) in [(365, 509), (367, 509), (368, 513), (370, 513)] {
            let tim = Credentials::password("tim", "x".repeat(octets).as_str());
            assert_eq!(11 + (5 + octets).div_ceil(3) * 4 + 2, length);
            let mut line = Vec::new();
            begin(false, &tim, "PLAIN").ok().unwrap().transmit(NOW, &mut line).unwrap();
            assert_eq!(line.len(), if length <= 512 { length } else { "AUTH PLAIN\r\n".len() }, "{octets}");
        }
    }

    #[test]
    fn what_was_sent_is_handed_out_once_to_be_blotted_out() {
        let mut exchange = begin(false, &Credentials::password("tim", "tanstaaf"), "PLAIN").ok().unwrap();
        let mut line = Vec::new();
        let shown = exchange.transmit(NOW, &mut line).unwrap();
        assert_eq!(shown, "AUTH PLAIN ***");
        let sent = line.trim_ascii_end().strip_prefix(b"AUTH PLAIN ").unwrap();
        let secrets = exchange.take_secrets();
        for form in [&b"tanstaaf"[..], b"dGFuc3RhYWY", sent] {
            assert!(secrets.iter().any(|secret| secret.expose() == form), "{}", form.escape_ascii());
        }
        assert_eq!(exchange.take_secrets().len(), 0);
        assert_eq!(forms(&Credentials::external("tim")).len(), 0, "there is no secret in it");
    }

    #[test]
    fn only_a_refusal_of_the_mechanism_leads_to_the_next() {
        let tim = Credentials::password("tim", "tanstaaf");
        // RFC 4954 section 4 (504) and 6 (534, 538); anything else may be about the password, and accounts get locked.
        for number in [421, 432, 454, 500, 501, 503, 504, 530, 534, 535, 538, 550] {
            let mut exchange = begin(false, &tim, "LOGIN PLAIN").ok().unwrap();
            assert!(exchange.transmit(NOW, &mut vec![]).is_some());
            let refusal = Reply::bare(Code::new(number).unwrap());
            let receive =
                |exchange: &mut Exchange| exchange.receive(NOW, &refusal, &config(false), &tim, &Channel::secured());
            let goes_on = matches!(receive(&mut exchange), Step::Speak);
            assert_eq!(goes_on, [504, 534, 538].contains(&number), "{number}");
            if goes_on {
                assert_eq!(exchange.transmit(NOW, &mut vec![]).as_deref(), Some("AUTH LOGIN"));
                assert!(matches!(receive(&mut exchange), Step::Failed(AuthenticationError::Refused { .. })));
            }
        }
    }

    #[test]
    fn each_mechanism_that_is_refused_as_such_is_tried_once_the_strongest_first() {
        let tim = Credentials::password("tim", "tanstaaf");
        let names = available(&[
            "SCRAM-SHA-512",
            "SCRAM-SHA-256",
            "SCRAM-SHA-1",
            "DIGEST-MD5",
            "CRAM-MD5",
            "NTLM",
            "PLAIN",
            "LOGIN",
        ]);
        let mut exchange = begin(true, &tim, &names.join(" ")).ok().unwrap();
        let refusal = Reply::bare(Code::new(504).unwrap());
        for (at, name) in names.iter().enumerate() {
            let shown = exchange.transmit(NOW, &mut vec![]).unwrap();
            assert_eq!(shown.split(' ').nth(1), Some(*name));
            let step = exchange.receive(NOW, &refusal, &config(true), &tim, &Channel::secured());
            assert_eq!(matches!(step, Step::Speak), at + 1 < names.len(), "behind {name}");
        }
    }

    #[test]
    fn neither_done_nor_refused_is_no_answer_to_auth() {
        // RFC 4954 section 6: 235 alone is success, and 334 alone goes on.
        let tim = Credentials::password("tim", "tanstaaf");
        for number in [200, 220, 234, 236, 250, 299, 300, 333, 335, 354, 399] {
            let mut exchange = begin(false, &tim, "PLAIN").ok().unwrap();
            exchange.transmit(NOW, &mut vec![]);
            let reply = Reply::bare(Code::new(number).unwrap());
            let step = exchange.receive(NOW, &reply, &config(false), &tim, &Channel::secured());
            assert!(matches!(step, Step::Unexpected), "{number}");
        }
        let mut exchange = begin(false, &tim, "PLAIN").ok().unwrap();
        exchange.transmit(NOW, &mut vec![]);
        let reply = Reply::bare(Code::AUTHENTICATED);
        assert!(matches!(exchange.receive(NOW, &reply, &config(false), &tim, &Channel::secured()), Step::Done));
    }

    #[test]
    fn a_fresh_token_is_asked_for_once_and_a_password_never() {
        let refusal = Reply::bare(Code::new(535).unwrap());
        let (token, password) = (Credentials::token("tim", "stale"), Credentials::password("tim", "tanstaaf"));
        for (credentials, name, may, asks) in [
            (&token, "OAUTHBEARER", true, true),
            (&token, "XOAUTH2", true, true),
            (&token, "OAUTHBEARER", false, false),
            (&password, "PLAIN", true, false),
            (&password, "PLAIN", false, false),
        ] {
            let config = Config { refresh_token: may, ..config(false) };
            let mut exchange = begin(false, credentials, name).ok().unwrap();
            exchange.transmit(NOW, &mut vec![]);
            let step = exchange.receive(NOW, &refusal, &config, credentials, &Channel::secured());
            assert_eq!(matches!(step, Step::NeedsToken(None)), asks, "{name}");
            assert_eq!(matches!(step, Step::Failed(AuthenticationError::Refused { .. })), !asks, "{name}");
            if asks {
                let fresh = Credentials::token("tim", "fresh");
                assert_eq!(exchange.refresh(Some((&fresh, &config, &Channel::secured()))), Ok(()));
                assert!(exchange.transmit(NOW, &mut vec![]).is_some());
                let step = exchange.receive(NOW, &refusal, &config, &fresh, &Channel::secured());
                assert!(matches!(step, Step::Failed(AuthenticationError::Refused { .. })), "{name} once more");
            }
        }
    }

    fn hear(exchange: &mut Exchange, credentials: &Credentials, number: u16, text: &str) -> Step {
        let reply = Reply::new(Code::new(number).unwrap(), text).unwrap();
        exchange.receive(NOW, &reply, &config(true), credentials, &Channel::secured())
    }

    fn fault(step: Step) -> Option<sasl::Error> {
        match step {
            Step::Failed(AuthenticationError::Mechanism { error, .. }) => Some(error),
            _ => None,
        }
    }

    #[test]
    #[cfg(feature = "scram")]
    fn success_is_none_where_the_server_did_not_prove_itself() {
        // RFC 5802 section 5: the client must see the server's signature before it believes.
        let tim = Credentials::password("tim", "tanstaaf");
        let mut exchange = begin(true, &tim, "SCRAM-SHA-256").ok().unwrap();
        exchange.transmit(NOW, &mut vec![]);
        assert_eq!(fault(hear(&mut exchange, &tim, 235, "welcome")), Some(sasl::Error::OutOfOrder));

        let mut exchange = begin(true, &tim, "SCRAM-SHA-256").ok().unwrap();
        exchange.transmit(NOW, &mut vec![]);
        let nonce = STANDARD.encode([7; 24]);
        let first = STANDARD.encode(alloc::format!("r={nonce}x,s=QQ==,i=4096"));
        assert!(matches!(hear(&mut exchange, &tim, 334, &first), Step::Speak));
        assert!(exchange.transmit(NOW, &mut vec![]).is_some());
        assert_eq!(fault(hear(&mut exchange, &tim, 235, "welcome")), Some(sasl::Error::ServerUnproven));
    }

    #[test]
    #[cfg(feature = "scram")]
    fn a_challenge_that_the_mechanism_refuses_is_cancelled_whatever_comes_then() {
        // RFC 4954 section 4: a client that wishes to cancel says "*", and the server refuses; success is none any more.
        for answer in [235, 501, 535] {
            let tim = Credentials::password("tim", "tanstaaf");
            let mut exchange = begin(true, &tim, "SCRAM-SHA-256 PLAIN").ok().unwrap();
            exchange.transmit(NOW, &mut vec![]);
            let forged = STANDARD.encode("r=another,s=QQ==,i=4096");
            assert!(matches!(hear(&mut exchange, &tim, 334, &forged), Step::Speak));
            let mut line = Vec::new();
            assert_eq!(exchange.transmit(NOW, &mut line).as_deref(), Some("*"));
            assert_eq!(line, b"*\r\n");
            assert_eq!(exchange.transmit(NOW, &mut line), None, "once");
            assert_eq!(fault(hear(&mut exchange, &tim, answer, "whatever")), Some(sasl::Error::NonceMismatch));
        }
    }

    #[test]
    fn what_waits_for_the_empty_challenge_is_given_to_no_other_and_counts_as_not_shown() {
        let somebody = Credentials::external("x".repeat(373));
        let waiting = || {
            let mut exchange = begin(false, &somebody, "EXTERNAL").ok().unwrap();
            exchange.transmit(NOW, &mut vec![]);
            exchange
        };
        assert_eq!(fault(hear(&mut waiting(), &somebody, 235, "welcome")), Some(sasl::Error::OutOfOrder));
        let mut exchange = waiting();
        assert!(matches!(hear(&mut exchange, &somebody, 334, "aGVsbG8="), Step::Speak));
        let mut line = Vec::new();
        assert_eq!(exchange.transmit(NOW, &mut line).as_deref(), Some("*"));
        assert_eq!(line, b"*\r\n");
        assert_eq!(fault(hear(&mut exchange, &somebody, 501, "as you wish")), Some(sasl::Error::OutOfOrder));
    }

    /// Hears everything and has nothing to say.
    struct Mute;

    impl proxy_proto::Machine for Mute {
        type Event = sasl::Event;
        type Error = sasl::Error;

        fn receive(&mut self, _: Instant, input: &mut &[u8]) -> Result<Option<sasl::Event>, sasl::Error> {
            *input = &[];
            Ok(None)
        }

        fn transmit(&mut self, _: Instant, _: &mut Vec<u8>) -> bool {
            false
        }

        fn finish(&mut self) -> Result<(), sasl::Error> {
            Ok(())
        }

        fn expire(&mut self, _: Instant) -> Result<(), sasl::Error> {
            Ok(())
        }
    }

    impl Mechanism for Mute {
        fn name(&self) -> &str {
            "X-MUTE"
        }
    }

    #[test]
    fn a_mechanism_that_breaks_its_contract_leaves_no_challenge_unanswered() {
        let tim = Credentials::password("tim", "tanstaaf");
        let mut exchange = begin(false, &tim, "PLAIN").ok().unwrap();
        exchange.transmit(NOW, &mut vec![]);
        exchange.mechanism = Box::new(Mute);
        assert!(matches!(hear(&mut exchange, &tim, 334, "aGVsbG8="), Step::Speak));
        assert_eq!(exchange.transmit(NOW, &mut vec![]).as_deref(), Some("*"));
        assert_eq!(fault(hear(&mut exchange, &tim, 501, "as you wish")), Some(sasl::Error::OutOfOrder));
    }

    #[test]
    #[cfg(feature = "scram")]
    fn credentials_that_do_not_suit_a_mechanism_are_tried_with_the_next() {
        // RFC 4013 section 2.3: SASLprep prohibits controls; PLAIN (RFC 4616 section 2) only NUL.
        let tim = Credentials::password("tim", "a\u{7}b");
        assert_eq!(begin(true, &tim, "SCRAM-SHA-256 PLAIN").map(|one| one.name).ok(), Some(MechanismName::Plain));
        let error = begin(true, &tim, "SCRAM-SHA-256").map(|_| ()).unwrap_err();
        let misuse = sasl::Misuse::Prohibited("password");
        assert_eq!(error, AuthenticationError::Credentials { mechanism: MechanismName::ScramSha256, misuse });
    }
}
