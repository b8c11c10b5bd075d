//! AUTH: the frame of a SASL exchange (RFC 4954).
//!
//! The rules of this file: mechanisms see octets, never base64; whatever goes wrong ends the exchange and leaves the session
//! where it was; secrets are wiped.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::replies::{self, Fixed};
use super::session::Identity;
use super::{Error, Event, Open, Server, State};
use crate::sasl::{self, MechanismName};

/// An exchange under way.
pub(super) struct Exchange {
    pub(super) name: MechanismName,
    pub(super) mechanism: Box<dyn sasl::server::Mechanism>,
    /// The initial response, until the mechanism is given it.
    pub(super) initial: Option<Initial>,
}

pub(super) type Initial = Zeroizing<Vec<u8>>;

impl Server {
    pub(super) fn auth(&mut self, mechanism: &str, initial: Option<&str>) -> Option<Event> {
        match self.check_auth(mechanism, initial) {
            Ok((name, initial)) => {
                self.state = State::Question(Open::Authenticate { name: name.clone(), initial });
                Some(Event::Authenticate { mechanism: name })
            }
            Err(fixed) => self.fault(fixed),
        }
    }

    fn check_auth(&self, mechanism: &str, initial: Option<&str>) -> Result<(MechanismName, Option<Initial>), Fixed> {
        let configured = !self.config.mechanisms.is_empty() && !self.config.withholds("AUTH");
        match () {
            () if !configured => return Err(replies::NO_AUTH),
            () if !self.session.extended => return Err(self.hello_first()),
            () if self.session.identity.is_some() => return Err(replies::ALREADY_AUTHENTICATED),
            () if self.transaction.is_some() => return Err(replies::IN_TRANSACTION),
            () => {}
        }
        let name = self.config.mechanisms.iter().find(|one| one.as_str().eq_ignore_ascii_case(mechanism));
        let name = name.ok_or(replies::MECHANISM)?;
        if !self.config.permits(name, self.session.secured) {
            return Err(replies::CLEAR_TEXT);
        }
        let initial = match initial {
            None => None,
            Some("=") => Some(Zeroizing::default()),
            Some(text) => Some(decode(text.as_bytes())?),
        };
        Ok((name.clone(), initial))
    }

    /// Whether a mechanism that binds to the channel is offered.
    pub(super) fn offers_plus(&self) -> bool {
        let permitted = |one: &&MechanismName| self.config.permits(one, self.session.secured);
        self.config.mechanisms.iter().filter(permitted).any(MechanismName::binds_channel)
    }

    /// Goes on with a response, or with the initial one.
    pub(super) fn respond(&mut self, line: Option<&[u8]>) -> Option<Event> {
        let State::Auth(exchange) = &mut self.state else { return None };
        let response = match (line, exchange.initial.take()) {
            (None, Some(initial)) => Ok(initial),
            (Some(b"*"), _) => Err(replies::CANCELLED),
            (line, _) => decode(line.unwrap_or_default()),
        };
        match response {
            Ok(response) => {
                let outcome = exchange.mechanism.receive(self.now, &mut &response[..]);
                self.follow(outcome)
            }
            Err(fixed) => {
                self.state = State::Command;
                self.fault(fixed)
            }
        }
    }

    /// Does what the mechanism has found.
    pub(super) fn follow(&mut self, outcome: Result<Option<sasl::server::Event>, sasl::Error>) -> Option<Event> {
        use sasl::server::Event as Found;
        match outcome {
            Ok(None) => self.challenge(),
            Ok(Some(Found::Authenticated { user, authzid })) => self.authenticated(user, authzid),
            Ok(Some(Found::Refused)) => self.fail_authentication(replies::AUTH_REFUSED),
            Ok(Some(question)) => {
                if let State::Auth(exchange) = core::mem::replace(&mut self.state, State::Command) {
                    self.state = State::Question(Open::Credentials(exchange));
                }
                return Some(Event::Credentials(question));
            }
            // The response was well formed; who it came from is what is in doubt (RFC 5802 section 6).
            Err(sasl::Error::ChannelBinding) => self.fail_authentication(replies::CHANNEL_BINDING),
            Err(_) => self.fail_authentication(replies::SASL_SYNTAX),
        }
        None
    }

    pub(super) fn challenge(&mut self) {
        let State::Auth(exchange) = &mut self.state else { return };
        let mut challenge = Zeroizing::new(Vec::new());
        if !exchange.mechanism.transmit(self.now, &mut challenge) {
            // It neither asks nor speaks nor ends: a mechanism brought from outside that does not keep the contract.
            return self.fail_authentication(replies::AUTH_REFUSED);
        }
        let text = Zeroizing::new(STANDARD.encode(&*challenge));
        self.say_line(334, &text);
    }

    fn authenticated(&mut self, user: String, authzid: Option<String>) {
        if let State::Auth(Exchange { name, .. }) = core::mem::replace(&mut self.state, State::Command) {
            self.session.identity = Some(Identity { user, authzid, mechanism: name });
            self.commands = 0;
            self.say(replies::AUTHENTICATED);
        }
    }

    pub(super) fn fail_authentication(&mut self, fixed: Fixed) {
        self.say(fixed);
        self.count_failed_authentication();
    }

    pub(super) fn count_failed_authentication(&mut self) {
        self.state = State::Command;
        self.failures = self.failures.saturating_add(1);
        if self.failures >= self.config.limits.authentications {
            self.fail(Some(replies::TOO_MANY_FAILURES), Error::TooManyAuthentications);
        }
    }
}

fn decode(text: &[u8]) -> Result<Initial, Fixed> {
    STANDARD.decode(text).map(Zeroizing::new).map_err(|_| replies::BASE64)
}
