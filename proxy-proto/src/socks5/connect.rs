//! The client's side of SOCKS5.
//!
//! The rules of this file: what is spoken is made when it is asked for and never kept, so no password lies about; nothing
//! is read while it is our turn; all that a refusal leaves unread is left unread.

use alloc::vec::Vec;

use super::address::{self, Extent};
use super::method::Method;
use super::{ANONYMOUS, AUTH_VERSION, CONNECT, NONE_ACCEPTABLE, Refusal, USERNAME_PASSWORD, VERSION};
use crate::error::{Kind, Spoken};
use crate::handshake::{Guarded, Limits, Steps, machine, octet};
use crate::misuse::check_length;
use crate::{Credentials, Deadline, Instant, Misuse, Opened, Phase, Target};

/// How to present oneself to a SOCKS5 proxy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// Offer "no authentication". The default is `true`.
    pub anonymous: bool,
    /// Offer user name and password (RFC 1929): a user of 1 to 255 octets, a password of up to 255. RFC 1929 asks for one
    /// octet at least; proxies take an empty password and so does this crate.
    pub credentials: Option<Credentials>,
    /// Send greeting, credentials and request at once, without waiting for the answers in between: two round trips fewer.
    /// The default is `false`, because some proxies hang when they read more than they expect.
    pub one_flight: bool,
    /// How long the handshake may take.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self { anonymous: true, credentials: None, one_flight: false, limits: Limits::default() }
    }
}

/// Opens a connection through a SOCKS5 proxy. Holds less than 1 KiB, whatever the proxy sends.
pub struct Connect(Guarded<Dialogue>);

impl Connect {
    /// To this target; a name is resolved by the proxy.
    ///
    /// # Errors
    ///
    /// The credentials do not fit their fields, no method is offered, or [`Config::one_flight`] is set and two are.
    pub fn new(target: &Target, config: Config) -> Result<Self, Misuse> {
        Self::with_methods(target, config, Vec::new())
    }

    /// The same, offering methods of the caller's own too, in front of the others: the order is the order of preference.
    ///
    /// # Errors
    ///
    /// As [`Connect::new`]; also if a method's code is reserved, offered twice or one this crate speaks itself, or if
    /// [`Config::one_flight`] is set.
    pub fn with_methods(target: &Target, config: Config, others: Vec<Method>) -> Result<Self, Misuse> {
        if let Some(credentials) = &config.credentials {
            credentials.check()?;
            if credentials.user.is_empty() {
                return Err(Misuse::Empty { what: "user" });
            }
            check_length("user", credentials.user.len(), 255)?;
            check_length("password", credentials.password.expose().len(), 255)?;
        }
        for (place, method) in others.iter().enumerate() {
            let twice = others.iter().take(place).any(|earlier| earlier.code == method.code);
            if twice || matches!(method.code, ANONYMOUS | USERNAME_PASSWORD | NONE_ACCEPTABLE) {
                return Err(Misuse::Method(method.code));
            }
        }
        let offered = others.len() + usize::from(config.anonymous) + usize::from(config.credentials.is_some());
        if offered == 0 {
            return Err(Misuse::NothingOffered);
        }
        if config.one_flight && (offered > 1 || !others.is_empty()) {
            return Err(Misuse::OneFlight);
        }
        let limits = config.limits;
        let steps = Dialogue { target: target.clone(), config, others, state: State::Greeting, held: Vec::new() };
        Ok(Self(Guarded::new(steps, limits)))
    }
}

machine!(Connect, Opened);

struct Dialogue {
    target: Target,
    config: Config,
    others: Vec<Method>,
    state: State,
    held: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Ours to send.
    Greeting,
    Method,
    /// Ours to send.
    Credentials,
    Status,
    /// The place of the caller's own method among the others.
    Other(usize),
    /// Ours to send.
    Request,
    Reply,
    Open,
}

impl Dialogue {
    fn methods(&self) -> impl Iterator<Item = u8> + '_ {
        let (anonymous, password) = (self.config.anonymous, self.config.credentials.is_some());
        let own = anonymous.then_some(ANONYMOUS).into_iter().chain(password.then_some(USERNAME_PASSWORD));
        self.others.iter().map(|method| method.code).chain(own)
    }

    /// Where to go once authentication is settled: in one flight the request is out already.
    fn settled(&self) -> State {
        if self.config.one_flight { State::Reply } else { State::Request }
    }

    fn say_greeting(&self, output: &mut Vec<u8>) {
        // Codes are distinct octets and three are never among them, so 255 is never passed.
        let count = u8::try_from(self.methods().count()).unwrap_or(u8::MAX);
        output.extend([VERSION, count]);
        output.extend(self.methods());
    }

    fn say_credentials(&self, output: &mut Vec<u8>) {
        let Some(Credentials { user, password }) = &self.config.credentials else { return };
        output.push(AUTH_VERSION);
        for field in [user.as_bytes(), password.expose()] {
            // At most 255 octets, as checked in `new`.
            output.push(u8::try_from(field.len()).unwrap_or(u8::MAX));
            output.extend_from_slice(field);
        }
    }

    fn say_request(&self, output: &mut Vec<u8>) {
        output.extend([VERSION, CONNECT, 0]);
        address::write(output, &self.target);
    }

    fn read_method(&mut self) -> Result<(), Kind> {
        let [version, code] = match *self.held {
            [VERSION] | [] => return Ok(()),
            [version] => [version, 0],
            [version, code, ..] => [version, code],
        };
        if version != VERSION {
            return Err(Kind::Speaks(Spoken::by(version)));
        }
        if code == NONE_ACCEPTABLE {
            return Err(Kind::NoCommonMethod);
        }
        if !self.methods().any(|offered| offered == code) {
            return Err(Kind::MethodNotOffered(code));
        }
        self.held.clear();
        self.state = match code {
            ANONYMOUS => self.settled(),
            USERNAME_PASSWORD if self.config.one_flight => State::Status,
            USERNAME_PASSWORD => State::Credentials,
            _ => State::Other(self.others.iter().position(|method| method.code == code).unwrap_or_default()),
        };
        Ok(())
    }

    fn read_status(&mut self) -> Result<(), Kind> {
        match *self.held {
            // The version is RFC 1929's own, but proxies that repeat the 5 of SOCKS5 mean the same.
            [AUTH_VERSION | VERSION] | [] => Ok(()),
            [other] => Err(Kind::Speaks(Spoken::by(other))),
            [_, 0] => {
                self.held.clear();
                self.state = self.settled();
                Ok(())
            }
            _ => Err(Kind::CredentialsRefused),
        }
    }

    fn read_reply(&mut self) -> Result<Option<Opened>, Kind> {
        match *self.held {
            [VERSION] | [_, _, _] | [] => return Ok(None),
            [other] => return Err(Kind::Speaks(Spoken::by(other))),
            // Told at once: some proxies close before the rest of a refusal.
            [_, code] => return Refusal::from_code(code).map_or(Ok(None), |refusal| Err(Kind::Socks5(refusal))),
            _ => {}
        }
        let field = self.held.get(3..).unwrap_or_default();
        match address::extent(field) {
            Extent::NoSuchType(code) => Err(Kind::AddressType(code)),
            Extent::Octets(length) if length == field.len() => {
                // A bound name that is none (an empty one is seen) is no reason to drop a tunnel that stands.
                let bound = address::read(field).ok();
                self.held = Vec::new();
                self.state = State::Open;
                Ok(Some(Opened { bound }))
            }
            _ => Ok(None),
        }
    }

    /// Lets the caller's own method read; `true` when it is through.
    fn negotiate(&mut self, now: Instant, place: usize, input: &mut &[u8]) -> Result<bool, Kind> {
        let Some(method) = self.others.get_mut(place) else { return Ok(false) };
        let through = method.negotiation.receive(now, input).map_err(Kind::Method)?.is_some();
        if through {
            self.state = State::Request;
        }
        Ok(through)
    }
}

impl Steps for Dialogue {
    type Event = Opened;

    fn take(&mut self, now: Instant, input: &mut &[u8]) -> Result<Option<Opened>, Kind> {
        loop {
            match self.state {
                State::Greeting | State::Credentials | State::Request | State::Open => return Ok(None),
                State::Other(place) => {
                    self.negotiate(now, place, input)?;
                    return Ok(None);
                }
                State::Method | State::Status | State::Reply => {}
            }
            let Some(octet) = octet(input) else { return Ok(None) };
            self.held.push(octet);
            match self.state {
                State::Method => self.read_method()?,
                State::Status => self.read_status()?,
                _ => {
                    if let Some(opened) = self.read_reply()? {
                        return Ok(Some(opened));
                    }
                }
            }
        }
    }

    fn speak(&mut self, now: Instant, output: &mut Vec<u8>) -> bool {
        match self.state {
            State::Greeting => {
                self.say_greeting(output);
                if self.config.one_flight {
                    self.say_credentials(output);
                    self.say_request(output);
                }
                self.state = State::Method;
                true
            }
            State::Credentials => {
                self.say_credentials(output);
                self.state = State::Status;
                true
            }
            State::Request => {
                self.say_request(output);
                self.state = State::Reply;
                true
            }
            State::Other(place) => {
                let spoke = self.others.get_mut(place).is_some_and(|method| method.negotiation.transmit(now, output));
                // Where the last word of the method is the client's, no input will come to show that it is through. An
                // error stays in the method and comes back with the next call that can return it.
                let through = matches!(self.negotiate(now, place, &mut &[][..]), Ok(true));
                if through {
                    self.say_request(output);
                    self.state = State::Reply;
                }
                spoke || through
            }
            State::Method | State::Status | State::Reply | State::Open => false,
        }
    }

    fn phase(&self) -> Option<Phase> {
        Some(Phase::named(match self.state {
            State::Greeting | State::Method => "SOCKS5 method",
            State::Credentials | State::Status | State::Other(_) => "SOCKS5 authentication",
            State::Request | State::Reply => "SOCKS5 request",
            State::Open => return None,
        }))
    }

    fn inner_deadline(&self) -> Option<Deadline> {
        let State::Other(place) = self.state else { return None };
        self.others.get(place)?.negotiation.deadline()
    }

    fn inner_expire(&mut self, now: Instant) -> Result<(), Kind> {
        let State::Other(place) = self.state else { return Ok(()) };
        self.others.get_mut(place).map_or(Ok(()), |method| method.negotiation.expire(now)).map_err(Kind::Method)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Error, Machine};
    use alloc::string::String;

    fn target(text: &str) -> Target {
        text.parse().expect("a target")
    }

    fn connect(config: Config) -> Connect {
        Connect::new(&target("mx.example:25"), config).expect("well-formed")
    }

    fn alice() -> Config {
        Config { credentials: Some(Credentials::new("alice", "pw")), ..Config::default() }
    }

    fn said(connect: &mut Connect) -> Vec<u8> {
        let mut output = Vec::new();
        connect.transmit(Instant::EPOCH, &mut output);
        output
    }

    fn heard(connect: &mut Connect, mut input: &[u8]) -> Result<Option<Opened>, Error> {
        let got = connect.receive(Instant::EPOCH, &mut input);
        assert!(got.is_err() || input.is_empty());
        got
    }

    fn kind(got: Result<Option<Opened>, Error>) -> Option<Kind> {
        got.err().map(|error| error.kind().clone())
    }

    #[test]
    fn without_authentication_octet_by_octet() {
        let mut machine = connect(Config::default());
        assert_eq!(said(&mut machine), b"\x05\x01\x00");
        assert_eq!(said(&mut machine), b"", "once");
        assert_eq!(heard(&mut machine, b"\x05\x00"), Ok(None));
        assert_eq!(said(&mut machine), b"\x05\x01\x00\x03\x0amx.example\x00\x19");
        let mut input = &b"\x05\x00\x00\x01\xc6\x33\x64\x07\x12\x34220 mx"[..];
        let opened = machine.receive(Instant::EPOCH, &mut input);
        assert_eq!(opened, Ok(Some(Opened { bound: Some(target("198.51.100.7:4660")) })));
        assert_eq!(input, b"220 mx", "what follows is left");
        assert_eq!(machine.receive(Instant::EPOCH, &mut input), Ok(None));
        assert_eq!((input.len(), machine.finish(), machine.deadline()), (6, Ok(()), None));
    }

    #[test]
    fn with_user_and_password_octet_by_octet() {
        let mut machine = connect(alice());
        assert_eq!(said(&mut machine), b"\x05\x02\x00\x02");
        assert_eq!(heard(&mut machine, b"\x05\x02"), Ok(None));
        assert_eq!(said(&mut machine), b"\x01\x05alice\x02pw");
        assert_eq!(heard(&mut machine, b"\x01\x00"), Ok(None));
        assert_eq!(said(&mut machine), b"\x05\x01\x00\x03\x0amx.example\x00\x19");
    }

    #[test]
    fn in_one_flight_all_goes_out_at_once() {
        let mut machine = connect(Config { one_flight: true, anonymous: false, ..alice() });
        let all = b"\x05\x01\x02\x01\x05alice\x02pw\x05\x01\x00\x03\x0amx.example\x00\x19";
        assert_eq!(said(&mut machine), all);
        let opened = heard(&mut machine, b"\x05\x02\x01\x00\x05\x00\x00\x03\x01b\x00\x01");
        assert_eq!(opened, Ok(Some(Opened { bound: Some(target("b:1")) })));
        assert_eq!(said(&mut machine), b"");
        let mut machine = connect(Config { one_flight: true, ..Config::default() });
        assert_eq!(said(&mut machine), b"\x05\x01\x00\x05\x01\x00\x03\x0amx.example\x00\x19");
        assert!(matches!(heard(&mut machine, b"\x05\x00\x05\x00\x00\x01\0\0\0\0\0\0"), Ok(Some(_))));
    }

    #[test]
    fn every_reply_code_is_typed() {
        for code in 1..=255u8 {
            let mut machine = connect(Config::default());
            said(&mut machine);
            assert_eq!(heard(&mut machine, b"\x05\x00"), Ok(None));
            said(&mut machine);
            let refusal = match code {
                1 => Refusal::GeneralFailure,
                2 => Refusal::NotAllowed,
                3 => Refusal::NetworkUnreachable,
                4 => Refusal::HostUnreachable,
                5 => Refusal::ConnectionRefused,
                6 => Refusal::TtlExpired,
                7 => Refusal::CommandNotSupported,
                8 => Refusal::AddressTypeNotSupported,
                other => Refusal::Other(other),
            };
            assert_eq!(refusal.code(), code);
            assert_eq!(kind(heard(&mut machine, &[5, code])), Some(Kind::Socks5(refusal)));
        }
    }

    #[test]
    fn each_wrong_answer_has_its_own_error() {
        let first = |octets: &[u8]| {
            let mut machine = connect(alice());
            said(&mut machine);
            kind(heard(&mut machine, octets))
        };
        assert_eq!(first(b"HTTP/1.1 400 Bad Request"), Some(Kind::Speaks(Spoken::Http)));
        assert_eq!(first(b"220 mx"), Some(Kind::Speaks(Spoken::Smtp)));
        assert_eq!(first(b"\x00\x5b"), Some(Kind::Speaks(Spoken::Socks4)));
        assert_eq!(first(b"\x15\x03\x01"), Some(Kind::Speaks(Spoken::Tls)));
        assert_eq!(first(b"\x05\xff"), Some(Kind::NoCommonMethod));
        assert_eq!(first(b"\x05\x01"), Some(Kind::MethodNotOffered(1)));
        let mut machine = connect(alice());
        said(&mut machine);
        assert_eq!(heard(&mut machine, b"\x05\x02"), Ok(None));
        said(&mut machine);
        assert_eq!(kind(heard(&mut machine, b"\x01\x01")), Some(Kind::CredentialsRefused));
        let mut machine = connect(Config::default());
        said(&mut machine);
        assert_eq!(heard(&mut machine, b"\x05\x00"), Ok(None));
        said(&mut machine);
        assert_eq!(kind(heard(&mut machine, b"\x05\x00\x00\x02")), Some(Kind::AddressType(2)));
    }

    #[test]
    fn what_does_not_fit_is_misuse() {
        let make = |user: &str, password: &str| {
            let config = Config { credentials: Some(Credentials::new(user, password)), ..Config::default() };
            Connect::new(&target("mx.example:25"), config).map(|_| ())
        };
        let (full, long) = ("u".repeat(255), "u".repeat(256));
        assert_eq!(make(&full, &full), Ok(()));
        assert_eq!(make("u", ""), Ok(()));
        assert_eq!(make("", "p"), Err(Misuse::Empty { what: "user" }));
        assert_eq!(make(&long, "p"), Err(Misuse::TooLong { what: "user", limit: 255, length: 256 }));
        assert_eq!(make("u", &long), Err(Misuse::TooLong { what: "password", limit: 255, length: 256 }));
        assert_eq!(make("u\n", "p"), Err(Misuse::Octet { what: "user", octet: b'\n' }));
        assert_eq!(make("u", "p\r"), Err(Misuse::Octet { what: "password", octet: b'\r' }));
        let offer = |config| Connect::new(&target("mx.example:25"), config).map(|_| ());
        assert_eq!(offer(Config { one_flight: true, ..alice() }), Err(Misuse::OneFlight));
        assert_eq!(offer(Config { anonymous: false, ..Config::default() }), Err(Misuse::NothingOffered));
    }

    /// Says "?", hears "!", says "." and is through.
    struct Asks(u8);

    impl Machine for Asks {
        type Event = ();
        type Error = String;

        fn receive(&mut self, _now: Instant, input: &mut &[u8]) -> Result<Option<()>, String> {
            match self.0 {
                1 => match octet(input) {
                    Some(b'!') => self.0 = 2,
                    Some(_) => return Err("no exclamation".into()),
                    None => {}
                },
                3 => return Ok(Some(())),
                _ => {}
            }
            Ok(None)
        }

        fn transmit(&mut self, _now: Instant, output: &mut Vec<u8>) -> bool {
            let word = match self.0 {
                0 => b'?',
                2 => b'.',
                _ => return false,
            };
            output.push(word);
            self.0 += 1;
            true
        }

        fn finish(&mut self) -> Result<(), String> {
            Ok(())
        }

        fn expire(&mut self, _now: Instant) -> Result<(), String> {
            Ok(())
        }
    }

    #[test]
    fn a_method_of_the_callers_own_speaks_before_the_request() {
        let make = |codes: &[u8], config| {
            let methods = codes.iter().map(|&code| Method::new(code, Asks(0))).collect();
            Connect::with_methods(&target("mx.example:25"), config, methods)
        };
        let mut machine = make(&[0x80], Config::default()).expect("well-formed");
        assert_eq!(said(&mut machine), b"\x05\x02\x80\x00");
        assert_eq!(heard(&mut machine, b"\x05\x80"), Ok(None));
        assert_eq!(said(&mut machine), b"?");
        assert_eq!(heard(&mut machine, b"!"), Ok(None));
        assert_eq!(said(&mut machine), b".\x05\x01\x00\x03\x0amx.example\x00\x19");
        let mut machine = make(&[0x80], Config::default()).expect("well-formed");
        said(&mut machine);
        assert_eq!(heard(&mut machine, b"\x05\x80"), Ok(None));
        said(&mut machine);
        assert_eq!(kind(heard(&mut machine, b"x")), Some(Kind::Method("no exclamation".into())));
        for code in [0, 2, 0xff] {
            assert!(matches!(make(&[code], Config::default()), Err(Misuse::Method(c)) if c == code));
        }
        assert!(matches!(make(&[0x80, 0x80], Config::default()), Err(Misuse::Method(0x80))));
        let hasty = Config { one_flight: true, anonymous: false, ..Config::default() };
        assert!(matches!(make(&[0x80], hasty), Err(Misuse::OneFlight)));
    }

    /// Never hears anything it likes, and is through or fails when its own time is over.
    struct Waits;

    impl Machine for Waits {
        type Event = ();
        type Error = String;

        fn receive(&mut self, _now: Instant, _input: &mut &[u8]) -> Result<Option<()>, String> {
            Ok(None)
        }

        fn transmit(&mut self, _now: Instant, _output: &mut Vec<u8>) -> bool {
            false
        }

        fn finish(&mut self) -> Result<(), String> {
            Ok(())
        }

        fn deadline(&self) -> Option<Deadline> {
            Some(Deadline { at: at(3), watching: Phase::named("ticket") })
        }

        fn expire(&mut self, now: Instant) -> Result<(), String> {
            if now < at(3) { Ok(()) } else { Err("no ticket came".into()) }
        }
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_epoch(core::time::Duration::from_secs(seconds))
    }

    #[test]
    fn a_method_of_the_callers_own_has_a_clock_of_its_own() {
        let method = Method::new(0x80, Waits);
        assert_eq!(alloc::format!("{method:?}"), "Method(0x80)");
        let mut machine = Connect::with_methods(&target("mx.example:25"), Config::default(), alloc::vec![method])
            .expect("well-formed");
        said(&mut machine);
        assert_eq!(machine.deadline().map(|due| due.at), Some(at(60)), "not before the proxy has picked it");
        assert_eq!(heard(&mut machine, b"\x05\x80"), Ok(None));
        assert_eq!(machine.deadline(), Some(Deadline { at: at(3), watching: Phase::named("ticket") }));
        assert_eq!(machine.expire(at(2)), Ok(()));
        let late = machine.expire(at(3)).expect_err("its time is over");
        assert_eq!(late.kind(), &Kind::Method("no ticket came".into()));
        assert_eq!(late.phase(), Phase::named("SOCKS5 authentication"));
        assert_eq!(machine.expire(at(0)), Err(late), "sticky");
    }
}
