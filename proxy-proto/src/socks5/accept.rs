//! The proxy's side of SOCKS5.
//!
//! The rules of this file: it asks its owner who may pass and where to; it checks no password, resolves nothing and connects
//! to nothing. A client may send all at once: what was not asked for yet is left unread until the answer is given.

use alloc::string::String;
use alloc::vec::Vec;
use core::mem;
use core::net::Ipv4Addr;

use zeroize::Zeroizing;

use super::address::{self, Extent};
use super::{ANONYMOUS, AUTH_VERSION, CONNECT, NONE_ACCEPTABLE, Refusal, USERNAME_PASSWORD, VERSION};
use crate::error::{Kind, Spoken};
use crate::handshake::{Guarded, Limits, Steps, machine, octet};
use crate::{Credentials, Host, Instant, Misuse, Phase, Secret, Target};

/// Who may come in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Admission {
    /// Anybody; nothing is asked (method 0).
    #[default]
    Anyone,
    /// Only who shows credentials (method 2, RFC 1929).
    Password,
    /// Both; a client that offers credentials is asked for them.
    Either,
}

/// What the owner of an accepting machine is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Asked {
    /// May this user pass? Answered by [`Accept::admit`] or [`Accept::turn_away`].
    Credentials(Credentials),
    /// A connection to this target, please. Answered by [`Accept::granted`] or [`Accept::refused`].
    Connect(Target),
}

/// Accepts one client of a SOCKS5 proxy. Holds less than 1 KiB, whatever the client sends.
///
/// Once the reply is transmitted it takes nothing more: what follows belongs to the tunnel.
pub struct Accept(Guarded<Dialogue>);

impl Accept {
    /// A machine for a fresh connection.
    pub fn new(admission: Admission, limits: Limits) -> Self {
        let steps = Dialogue { admission, state: State::Greeting, held: Zeroizing::default(), reply: Vec::new() };
        Self(Guarded::new(steps, limits))
    }

    /// The credentials are good.
    ///
    /// # Errors
    ///
    /// No credentials are waiting for an answer.
    pub fn admit(&mut self) -> Result<(), Misuse> {
        self.turn(State::AskedCredentials, State::Request)?;
        self.0.steps.reply.extend([AUTH_VERSION, 0]);
        Ok(())
    }

    /// The credentials are not good; the connection must be closed once this is said (RFC 1929).
    ///
    /// # Errors
    ///
    /// No credentials are waiting for an answer.
    pub fn turn_away(&mut self) -> Result<(), Misuse> {
        self.turn(State::AskedCredentials, State::Over)?;
        self.0.steps.reply.extend([AUTH_VERSION, 1]);
        Ok(())
    }

    /// The connection stands; `bound` is the address the proxy uses for it, 0.0.0.0:0 if it does not say.
    ///
    /// # Errors
    ///
    /// No request is waiting for an answer.
    pub fn granted(&mut self, bound: Option<&Target>) -> Result<(), Misuse> {
        self.turn(State::AskedConnect, State::Over)?;
        self.0.steps.say(0, bound);
        Ok(())
    }

    /// The connection was refused, for this reason.
    ///
    /// # Errors
    ///
    /// No request is waiting for an answer, or the refusal is [`Refusal::Other`] with the code 0, which would grant it.
    pub fn refused(&mut self, refusal: Refusal) -> Result<(), Misuse> {
        if refusal.code() == 0 {
            return Err(Misuse::Status(0));
        }
        self.turn(State::AskedConnect, State::Over)?;
        self.0.steps.say(refusal.code(), None);
        Ok(())
    }

    fn turn(&mut self, from: State, to: State) -> Result<(), Misuse> {
        if self.0.steps.state != from {
            return Err(Misuse::OutOfTurn);
        }
        self.0.steps.state = to;
        self.0.restart();
        Ok(())
    }
}

machine!(Accept, Asked);

struct Dialogue {
    admission: Admission,
    state: State,
    /// Wiped: it may hold a password.
    held: Zeroizing<Vec<u8>>,
    reply: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Greeting,
    Credentials,
    AskedCredentials,
    Request,
    AskedConnect,
    Over,
}

impl Dialogue {
    fn say(&mut self, code: u8, bound: Option<&Target>) {
        let nowhere = Target { host: Host::V4(Ipv4Addr::UNSPECIFIED), port: 0 };
        self.reply.extend([VERSION, code, 0]);
        address::write(&mut self.reply, bound.unwrap_or(&nowhere));
    }

    fn reject(&mut self, refusal: Refusal, kind: Kind) -> Kind {
        self.say(refusal.code(), None);
        kind
    }

    fn read_greeting(&mut self) -> Result<(), Kind> {
        let (count, methods) = match **self.held {
            [VERSION] | [] => return Ok(()),
            [other] => return Err(Kind::Speaks(Spoken::by(other))),
            [_, count, ref methods @ ..] => (count, methods),
        };
        if methods.len() < usize::from(count) {
            return Ok(());
        }
        let offers = |code| methods.contains(&code);
        let (code, next) = match self.admission {
            Admission::Password | Admission::Either if offers(USERNAME_PASSWORD) => {
                (USERNAME_PASSWORD, Some(State::Credentials))
            }
            Admission::Anyone | Admission::Either if offers(ANONYMOUS) => (ANONYMOUS, Some(State::Request)),
            _ => (NONE_ACCEPTABLE, None),
        };
        self.reply.extend([VERSION, code]);
        self.held.clear();
        self.state = next.ok_or(Kind::NoCommonMethod)?;
        Ok(())
    }

    fn read_credentials(&mut self) -> Result<Option<Asked>, Kind> {
        let fields = match **self.held {
            [AUTH_VERSION] | [] => return Ok(None),
            [other] => return Err(Kind::Speaks(Spoken::by(other))),
            [_, ref fields @ ..] => fields,
        };
        let Some((user, rest)) = counted(fields) else { return Ok(None) };
        let Some((password, _)) = counted(rest) else { return Ok(None) };
        let Ok(user) = String::from_utf8(user.into()) else {
            self.reply.extend([AUTH_VERSION, 1]);
            return Err(Kind::MalformedRequest("the user name is not UTF-8"));
        };
        let credentials = Credentials { user, password: Secret::new(password) };
        self.held = Zeroizing::default();
        self.state = State::AskedCredentials;
        Ok(Some(Asked::Credentials(credentials)))
    }

    fn read_request(&mut self) -> Result<Option<Asked>, Kind> {
        match **self.held {
            [VERSION] | [_, CONNECT] | [_, _, _] | [] => return Ok(None),
            [other] => return Err(Kind::Speaks(Spoken::by(other))),
            [_, _] => return Err(self.reject(Refusal::CommandNotSupported, Kind::NotConnect)),
            _ => {}
        }
        let field = self.held.get(3..).unwrap_or_default();
        match address::extent(field) {
            Extent::NoSuchType(code) => Err(self.reject(Refusal::AddressTypeNotSupported, Kind::AddressType(code))),
            Extent::Octets(length) if length == field.len() => match address::read(field) {
                Ok(target) => {
                    self.held = Zeroizing::default();
                    self.state = State::AskedConnect;
                    Ok(Some(Asked::Connect(target)))
                }
                Err(_) => Err(self.reject(Refusal::GeneralFailure, Kind::MalformedRequest("the host name"))),
            },
            _ => Ok(None),
        }
    }
}

/// Splits off a field that begins with its length, if all of it is there.
fn counted(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&length, rest) = octets.split_first()?;
    rest.split_at_checked(usize::from(length))
}

impl Steps for Dialogue {
    type Event = Asked;

    const LAST_WORDS: bool = true;

    fn take(&mut self, _now: Instant, input: &mut &[u8]) -> Result<Option<Asked>, Kind> {
        while self.phase().is_some() {
            let Some(octet) = octet(input) else { break };
            self.held.push(octet);
            let asked = match self.state {
                State::Greeting => self.read_greeting().map(|()| None)?,
                State::Credentials => self.read_credentials()?,
                _ => self.read_request()?,
            };
            if asked.is_some() {
                return Ok(asked);
            }
        }
        Ok(None)
    }

    fn speak(&mut self, _now: Instant, output: &mut Vec<u8>) -> bool {
        output.extend_from_slice(&self.reply);
        !mem::take(&mut self.reply).is_empty()
    }

    fn phase(&self) -> Option<Phase> {
        Some(Phase::named(match self.state {
            State::Greeting => "SOCKS5 greeting",
            State::Credentials => "SOCKS5 authentication",
            State::Request => "SOCKS5 request",
            State::AskedCredentials | State::AskedConnect | State::Over => return None,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Error, Machine};

    fn said(accept: &mut Accept) -> Vec<u8> {
        let mut output = Vec::new();
        accept.transmit(Instant::EPOCH, &mut output);
        output
    }

    fn heard(accept: &mut Accept, mut input: &[u8]) -> Result<Option<Asked>, Error> {
        let got = accept.receive(Instant::EPOCH, &mut input);
        assert!(got.is_err() || input.is_empty());
        got
    }

    fn kind(got: Result<Option<Asked>, Error>) -> Option<Kind> {
        got.err().map(|error| error.kind().clone())
    }

    const CREDENTIALS: &[u8] = b"\x01\x05alice\x02pw";
    const REQUEST: &[u8] = b"\x05\x01\x00\x04\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x19";

    #[test]
    fn the_whole_dialogue_octet_by_octet() {
        let mut accept = Accept::new(Admission::Password, Limits::default());
        assert_eq!(heard(&mut accept, b"\x05\x02\x00\x02"), Ok(None));
        assert_eq!(said(&mut accept), b"\x05\x02");
        let asked = Asked::Credentials(Credentials::new("alice", "pw"));
        assert_eq!(heard(&mut accept, CREDENTIALS), Ok(Some(asked)));
        assert_eq!(accept.granted(None), Err(Misuse::OutOfTurn));
        assert_eq!(accept.admit(), Ok(()));
        assert_eq!(said(&mut accept), b"\x01\x00");
        let target: Target = "[2001:db8::1]:25".parse().expect("a target");
        assert_eq!(heard(&mut accept, REQUEST), Ok(Some(Asked::Connect(target.clone()))));
        assert_eq!(accept.granted(Some(&target)), Ok(()));
        let reply = [&b"\x05\x00"[..], REQUEST.get(2..).expect("long enough")].concat();
        assert_eq!(said(&mut accept), reply);
        assert_eq!(heard(&mut accept, b""), Ok(None));
    }

    #[test]
    fn a_client_in_one_flight_is_read_as_far_as_it_is_answered() {
        let all = [b"\x05\x01\x02", CREDENTIALS, REQUEST, b"EHLO"].concat();
        let (mut accept, mut input) = (Accept::new(Admission::Either, Limits::default()), &all[..]);
        assert!(matches!(accept.receive(Instant::EPOCH, &mut input), Ok(Some(Asked::Credentials(_)))));
        assert_eq!(accept.receive(Instant::EPOCH, &mut input), Ok(None));
        assert_eq!(accept.admit(), Ok(()));
        assert!(matches!(accept.receive(Instant::EPOCH, &mut input), Ok(Some(Asked::Connect(_)))));
        assert_eq!(accept.refused(Refusal::ConnectionRefused), Ok(()));
        assert_eq!(input, b"EHLO");
        assert_eq!(said(&mut accept), b"\x05\x02\x01\x00\x05\x05\x00\x01\0\0\0\0\0\0");
    }

    #[test]
    fn admission_decides_the_method() {
        let picked = |admission, greeting: &[u8]| {
            let mut accept = Accept::new(admission, Limits::default());
            let got = heard(&mut accept, greeting);
            (said(&mut accept).get(1).copied(), kind(got))
        };
        let none = (Some(0xff), Some(Kind::NoCommonMethod));
        assert_eq!(picked(Admission::Anyone, b"\x05\x02\x02\x00"), (Some(0), None));
        assert_eq!(picked(Admission::Anyone, b"\x05\x01\x02"), none);
        assert_eq!(picked(Admission::Password, b"\x05\x01\x00"), none);
        assert_eq!(picked(Admission::Either, b"\x05\x02\x00\x02"), (Some(2), None));
        assert_eq!(picked(Admission::Either, b"\x05\x01\x00"), (Some(0), None));
        assert_eq!(picked(Admission::Either, b"\x05\x00"), none);
    }

    #[test]
    fn refusals_are_said_before_they_are_errors() {
        let after = |request: &[u8]| {
            let mut accept = Accept::new(Admission::Anyone, Limits::default());
            let got = heard(&mut accept, &[b"\x05\x01\x00", request].concat());
            (said(&mut accept).get(3).copied(), kind(got))
        };
        assert_eq!(after(b"\x05\x03"), (Some(7), Some(Kind::NotConnect)));
        assert_eq!(after(b"\x05\x01\x00\x02"), (Some(8), Some(Kind::AddressType(2))));
        let name = Some(Kind::MalformedRequest("the host name"));
        assert_eq!(after(b"\x05\x01\x00\x03\x03a b\x00\x19"), (Some(1), name.clone()));
        assert_eq!(after(b"\x05\x01\x00\x03\x00\x00\x19"), (Some(1), name));
        let mut accept = Accept::new(Admission::Password, Limits::default());
        assert!(matches!(heard(&mut accept, &[b"\x05\x01\x02", CREDENTIALS].concat()), Ok(Some(_))));
        assert_eq!(accept.turn_away(), Ok(()));
        assert_eq!(said(&mut accept), b"\x05\x02\x01\x01");
        assert_eq!(accept.refused(Refusal::Other(0)), Err(Misuse::Status(0)));
    }

    #[test]
    fn a_user_name_that_is_no_text_is_refused_by_rfc_1929() {
        let mut accept = Accept::new(Admission::Password, Limits::default());
        let got = heard(&mut accept, b"\x05\x01\x02\x01\x01\xff\x02pw");
        assert_eq!(kind(got), Some(Kind::MalformedRequest("the user name is not UTF-8")));
        // Section 2: any status but 0 is a failure.
        assert_eq!(said(&mut accept), b"\x05\x02\x01\x01");
        assert_eq!(accept.admit(), Err(Misuse::OutOfTurn));
    }
}
