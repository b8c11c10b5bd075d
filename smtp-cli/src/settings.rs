//! What the options mean together: whom to connect to, how, and what to send.
//!
//! The rules of this file: everything that can be refused without a connection is refused here; secrets go from where they
//! are kept straight into their type.

use std::env;
use std::fs;
use std::path::Path;
use std::time::Duration;

use proxy_proto::ProxyUrl;
use smtp_proto::body::LineEndings;
use smtp_proto::client::{Envelope, Notify, Require, Ret, Transcript};
use smtp_proto::command::ForwardPath;
use smtp_proto::dial::Mode;
use smtp_proto::sasl::{Allowed, Credentials, MechanismName};
use smtp_proto::tls::{Connector, Roots, Settings as Tls, Version};
use smtp_proto::{Config, Connection, Limits, Misuse, Secret, Security};

use crate::args::{DsnArg, LineEndingsArg, RetArg, SecurityArg, SendArgs, TlsArgs};
use crate::failure::Failure;
use crate::message::Message;
use crate::output::{Sent, Session};
use crate::proxy;
use crate::url::ServerUrl;

/// A server of the command's own, which brings what the options leave open.
pub(crate) struct Own {
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) password: Secret,
    /// The authority that signed its certificate, PEM.
    pub(crate) ca: String,
}

/// What is to be done.
pub(crate) struct Plan {
    pub(crate) config: Config,
    pub(crate) host: String,
    /// `None` where it is to be found out.
    pub(crate) port: Option<u16>,
    pub(crate) allowed: Allowed,
    pub(crate) credentials: Option<Credentials>,
    /// `None` where there is nothing to send.
    pub(crate) mail: Option<Mail>,
}

/// What is to be sent.
pub(crate) struct Mail {
    pub(crate) envelope: Envelope,
    pub(crate) messages: Vec<Message>,
    pub(crate) rounds: u32,
}

impl Mail {
    /// How many messages that makes.
    pub(crate) fn count(&self) -> usize {
        self.messages.len() * self.rounds as usize
    }

    /// A message that did not go out, and why.
    pub(crate) fn not_sent(&self, failure: Option<Failure>) -> Sent {
        let envelope = &self.envelope;
        Sent::not_sent(envelope.reverse_path().as_str(), envelope.recipients().map(ForwardPath::as_str), failure)
    }

    /// Each message with its envelope, in order, from this one on.
    pub(crate) fn from(&self, first: usize) -> impl Iterator<Item = (Envelope, &Message)> {
        let each = (0..self.rounds).flat_map(|_| &self.messages).skip(first);
        each.map(|message| (message.declare(self.envelope.clone()), message))
    }
}

/// The server's URL, which is needed first: failures name the server.
pub(crate) fn server(args: &SendArgs, own: Option<&Own>) -> Result<ServerUrl, Failure> {
    let mut url = match (&args.server, own) {
        (Some(text), _) => text.parse::<ServerUrl>().map_err(|why| Failure::usage(format_args!("--server: {why}")))?,
        (None, Some(own)) => ServerUrl {
            host: "127.0.0.1".into(),
            port: Some(own.port),
            security: Security::Auto,
            lmtp: false,
            user: Some(own.user.clone()),
            password: Some(own.password.clone()),
        },
        (None, None) => return Err(Failure::usage("--server is needed")),
    };
    if let Some(hint) = &args.hint {
        url.port = Some(hint.port);
        // What was found to be secure was secure in the way that was found.
        if hint.mode != Mode::None {
            url.security = Security::Auto;
        }
    }
    if let Some(security) = args.security {
        url.security = match security {
            SecurityArg::Auto => Security::Auto,
            SecurityArg::Implicit => Security::Implicit,
            SecurityArg::Starttls => Security::StartTls,
            SecurityArg::StarttlsIfOffered => Security::StartTlsIfOffered,
            SecurityArg::None => Security::None,
        };
    }
    Ok(url)
}

impl Plan {
    /// What can be seen of a session.
    pub(crate) fn look(&self, connection: &Connection) -> Session {
        Session::of(connection, &self.allowed, self.credentials.as_ref())
    }

    /// The same, for somebody who outlives the plan.
    pub(crate) fn looker(&self) -> impl Fn(&Connection) -> Session + Send + use<> {
        let (allowed, credentials) = (self.allowed.clone(), self.credentials.clone());
        move |connection| Session::of(connection, &allowed, credentials.as_ref())
    }

    /// Puts the options together.
    pub(crate) fn new(
        args: &SendArgs,
        url: ServerUrl,
        own: Option<&Own>,
        transcript: Option<Transcript>,
    ) -> Result<Self, Failure> {
        let misuse = |misuse| Failure::misuse(&misuse);
        check_words(args, &url)?;
        let limits = limits(args, url.security);
        let (credentials, user) = credentials(args, &url)?;
        let mut allowed = if args.auth.is_empty() { Allowed::all() } else { Allowed::only(args.auth.iter().cloned()) };
        if args.danger_allow_clear_text_auth {
            allowed = allowed.danger_allow_clear_text();
        }
        let mut config = url
            .port
            .map_or_else(|| Config::any_port(&url.host), |port| Config::new(&url.host, port))
            .security(url.security)
            .allowed(allowed.clone())
            .limits(limits)
            .lmtp(args.lmtp || url.lmtp)
            .line_endings(match args.line_endings {
                LineEndingsArg::Canonical => LineEndings::Canonical,
                LineEndingsArg::Strict => LineEndings::Strict,
                LineEndingsArg::Exact => LineEndings::Exact,
            });
        if let Some(hint) = &args.hint {
            config = config.hint(hint);
        }
        if let Some(address) = args.bind {
            config = config.bind(address);
        }
        for keyword in &args.without {
            config = config.without(keyword);
        }
        if let Some(credentials) = &credentials {
            config = config.credentials(credentials.clone());
        }
        if let Some(transcript) = transcript {
            config = config.transcript(transcript);
        }
        if let Some(helo) = &args.helo {
            config = config.helo(helo);
        }
        config = proxy::through(config, &args.proxy, own.is_some())?;
        if url.security != Security::None || config.proxies().any(ProxyUrl::needs_tls) {
            config = config.tls(connector(args, &url, own)?);
        }
        if let Some(name) = &args.tls.tls_name {
            config = config.tls_name(name);
        }
        let config = config.on_platform();
        config.check().map_err(misuse)?;
        let mail = if args.validate { None } else { Some(mail(args, user, own.is_some())?) };
        Ok(Self { config, host: url.host, port: url.port, allowed, credentials, mail })
    }
}

/// Words that end up in a line: what ends it has no place in them, whatever that would have done.
fn check_words(args: &SendArgs, url: &ServerUrl) -> Result<(), Failure> {
    let words = [
        ("--subject", args.subject.as_deref()),
        ("--user", args.user.as_deref()),
        ("--tls-name", args.tls.tls_name.as_deref()),
        ("the URL's user", url.user.as_deref()),
    ];
    let named = words.into_iter().filter_map(|(name, word)| Some((name, word?.as_bytes())));
    let without = args.without.iter().map(|word| ("--without", word.as_bytes()));
    let secret = url.password.iter().map(|secret| ("the URL's password", secret.expose()));
    let bad = named.chain(without).chain(secret).find(|(_, word)| word.iter().any(u8::is_ascii_control));
    match bad {
        Some((name, _)) => Err(Failure::usage(format_args!("{name} must not contain control characters"))),
        None if args.body.as_ref().is_some_and(|body| body.contains('\0')) => {
            Err(Failure::usage("--body must not contain NUL"))
        }
        None => Ok(()),
    }
}

fn limits(args: &SendArgs, security: Security) -> Limits {
    let mut limits = Limits::interactive();
    if security == Security::Auto {
        // Silence is how implicit TLS shows itself: it is waited for no longer than the rest can bear.
        // A whole of zero is refused for what it is.
        let half = args.timeout.filter(|whole| !whole.is_zero()).map_or(Duration::MAX, |whole| whole / 2);
        limits.greeting = Duration::from_secs(4).min(half);
    }
    if let Some(greeting) = args.greeting_timeout {
        limits.greeting = greeting;
    }
    if let Some(connect) = args.connect_timeout {
        limits.connect = connect;
    }
    if let Some(whole) = args.timeout {
        limits = limits.operation(whole);
    }
    limits
}

/// Who is to be authenticated, and the user name.
fn credentials(args: &SendArgs, url: &ServerUrl) -> Result<(Option<Credentials>, Option<String>), Failure> {
    let user = args.user.clone().or_else(|| url.user.clone());
    let given = secret(args)?;
    let alone = |name: MechanismName| args.auth == [name];
    let credentials = if let (Some(_), Some(token)) = (&args.token_env, &given) {
        let user = user.clone().ok_or_else(|| Failure::usage("--token-env needs --user"))?;
        let token = Credentials::token(user, token.clone());
        Some(url.port.map_or(token.clone(), |port| token.port(port)))
    } else if alone(MechanismName::External) {
        Some(Credentials::external(user.clone().unwrap_or_default()))
    } else if alone(MechanismName::Anonymous) {
        Some(Credentials::anonymous(user.clone().unwrap_or_default()))
    } else {
        // A user of the options' own does not go with the URL's password, unless it is the same.
        let of_url = url.password.clone().filter(|_| user == url.user);
        match (&user, given.or(of_url)) {
            (Some(user), Some(_)) if user.is_empty() => return Err(Failure::usage("the user name is empty")),
            (Some(user), Some(password)) => Some(Credentials::password(user, password)),
            (Some(_), None) => {
                return Err(Failure::usage(
                    "a user needs a secret: --password-env, --password-file, --token-env or in the URL",
                ));
            }
            (None, Some(_)) => return Err(Failure::usage("a password needs --user")),
            (None, None) if args.auth.contains(&MechanismName::External) => Some(Credentials::external("")),
            (None, None) if !args.auth.is_empty() => {
                return Err(Failure::usage(
                    "--auth needs --user and a secret: mail is not sent unauthenticated by accident",
                ));
            }
            (None, None) => None,
        }
    };
    Ok((credentials, user))
}

/// The password or the token, where one is given.
pub(crate) fn secret(args: &SendArgs) -> Result<Option<Secret>, Failure> {
    let given = match &args.token_env {
        Some(variable) => Some(Secret::from(variable_of(variable)?)),
        None => password(args)?,
    };
    // A variable that a script forgot to fill, most likely.
    match &given {
        Some(secret) if secret.expose().is_empty() => Err(Failure::usage("the password or token is empty")),
        _ => Ok(given),
    }
}

fn password(args: &SendArgs) -> Result<Option<Secret>, Failure> {
    if let Some(variable) = &args.password_env {
        return Ok(Some(Secret::from(variable_of(variable)?)));
    }
    let Some(path) = &args.password_file else { return Ok(None) };
    let mut octets = read(path)?;
    if octets.last() == Some(&b'\n') {
        octets.pop();
        if octets.last() == Some(&b'\r') {
            octets.pop();
        }
    }
    Ok(Some(Secret::new(octets)))
}

/// What an environment variable holds; no error repeats it.
pub(crate) fn variable_of(name: &str) -> Result<String, Failure> {
    env::var(name).map_err(|error| {
        Failure::usage(match error {
            env::VarError::NotPresent => format!("the environment variable {name} is not set"),
            env::VarError::NotUnicode(_) => format!("the environment variable {name} is not UTF-8"),
        })
    })
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| Failure::input(format_args!("{}: {error}", path.display())))
}

fn broken(path: &Path, why: Misuse) -> Failure {
    Failure::input(format_args!("{}: {why}", path.display()))
}

/// TLS as these options want it, for everything but the server's name.
pub(crate) fn tls(args: &TlsArgs) -> Result<Tls, Failure> {
    let (min, max) = (args.tls_min.unwrap_or(Version::Tls12), args.tls_max.unwrap_or(Version::Tls13));
    if min > max {
        return Err(Failure::usage("--tls-min is newer than --tls-max"));
    }
    let mut settings = Tls::default().min(min).max(max);
    for path in &args.ca {
        let octets = read(path)?;
        // DER begins with a SEQUENCE of more than 127 octets, PEM is text.
        let der = matches!(octets[..], [0x30, 0x81..=0x84, ..]);
        let trusted = if der { settings.trust_der(&octets) } else { settings.trust_pem(&octets) };
        settings = trusted.map_err(|why| broken(path, why))?;
    }
    if let (Some(chain), Some(key)) = (&args.client_cert, &args.client_key) {
        settings = settings.client_certificate(&read(chain)?, &read(key)?).map_err(|why| broken(chain, why))?;
    }
    Ok(settings)
}

fn connector(args: &SendArgs, url: &ServerUrl, own: Option<&Own>) -> Result<impl Connector + use<>, Failure> {
    let mut settings = tls(&args.tls)?;
    if let Some(own) = own {
        // It must run on a machine without any authorities, too.
        settings =
            settings.roots(Roots::OnlyGiven).trust_pem(own.ca.as_bytes()).map_err(|why| Failure::misuse(&why))?;
    }
    if args.danger_accept_invalid_certs {
        settings = settings.danger_accept_invalid_certs();
    }
    let connector = settings.connector();
    if args.tls.client_cert.is_some() || args.tls.tls_name.is_some() {
        // A key of another certificate, or what is no name: better known before anything is connected to.
        let name = args.tls.tls_name.as_ref().unwrap_or(&url.host);
        connector.connect(name).map_err(|why| Failure::misuse(&why))?;
    }
    Ok(connector)
}

fn mail(args: &SendArgs, user: Option<String>, own: bool) -> Result<Mail, Failure> {
    let from = match (&args.from, user) {
        (Some(from), _) => from.clone(),
        (None, Some(user)) if user.contains('@') => user,
        (None, _) if own => "alice@example.org".into(),
        _ => return Err(Failure::usage("--from is needed (\"\" is the null path)")),
    };
    let to = match &args.to[..] {
        [] if own => vec!["bob@example.net".into()],
        [] => return Err(Failure::usage("--to is needed")),
        to => to.to_vec(),
    };
    let envelope = envelope(args, &from, &to)?;
    if args.message.iter().filter(|path| path.as_os_str() == "-").count() > 1 {
        return Err(Failure::usage("standard input can be one message only"));
    }
    let mut messages = Vec::new();
    for path in &args.message {
        messages.push(Message::open(path)?);
    }
    if messages.is_empty() {
        let subject = args.subject.as_deref().unwrap_or("Hello from smtp");
        let body = args.body.as_deref().unwrap_or("This message was sent by the smtp command.\n");
        let shown = if from.is_empty() { "MAILER-DAEMON@localhost" } else { &from };
        messages.push(Message::build(shown, &to, subject, body)?);
    }
    Ok(Mail { envelope, messages, rounds: args.count })
}

/// Who sends to whom, and what the server is asked to do about it.
fn envelope(args: &SendArgs, from: &str, to: &[String]) -> Result<Envelope, Failure> {
    let misuse = |misuse| Failure::misuse(&misuse);
    if let Require::AtLeast(most) = args.require {
        if most > to.len() {
            return Err(Failure::usage(format_args!("--require {most}: there are not so many recipients")));
        }
    }
    let mut envelope = Envelope::new(from, to).map_err(misuse)?.require(args.require);
    let wants = |when| args.dsn.contains(&when);
    if wants(DsnArg::Never) && args.dsn.iter().any(|when| *when != DsnArg::Never) {
        return Err(Failure::usage("--dsn never stands alone"));
    }
    let (success, failure, delay) = (wants(DsnArg::Success), wants(DsnArg::Failure), wants(DsnArg::Delay));
    for recipient in 0..if args.dsn.is_empty() { 0 } else { to.len() } {
        envelope = envelope.notify(recipient, Notify { success, failure, delay });
    }
    if let Some(ret) = args.ret {
        envelope = envelope.ret(if ret == RetArg::Full { Ret::Full } else { Ret::Headers });
    }
    if let Some(id) = &args.envid {
        envelope = envelope.envid(id).map_err(misuse)?;
    }
    if args.require_tls {
        envelope = envelope.require_tls();
    }
    Ok(envelope)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command};
    use crate::failure::status;
    use clap::Parser;

    fn args(options: &[&str]) -> SendArgs {
        match Cli::try_parse_from([&["smtp", "send"], options].concat()).unwrap().command {
            Command::Send(args) => *args,
            _ => unreachable!(),
        }
    }

    fn plan(options: &[&str]) -> Result<Plan, Failure> {
        let args = args(options);
        let url = server(&args, None)?;
        Plan::new(&args, url, None, None)
    }

    fn refused(options: &[&str]) -> Failure {
        plan(options).err().unwrap()
    }

    const SERVER: &[&str] = &["--server", "smtp://a.example", "--security", "none"];

    fn with<'a>(options: &[&'a str]) -> Vec<&'a str> {
        [SERVER, options].concat()
    }

    #[test]
    fn a_sender_and_a_recipient_are_needed() {
        assert_eq!(refused(&with(&["--to", "b@c"])).status, status::USAGE);
        assert_eq!(refused(&with(&["--from", "b@c"])).status, status::USAGE);
        assert!(plan(&with(&["--from", "", "--to", "b@c"])).is_ok());
        assert!(plan(&with(&["--validate"])).unwrap().mail.is_none());
    }

    #[test]
    fn the_user_is_the_sender_where_it_is_an_address() {
        let plan = plan(&["--server", "smtp://b%40c:pw@a.example", "--security", "none", "--to", "d@e"]).unwrap();
        assert_eq!(plan.mail.unwrap().envelope.reverse_path().as_str(), "b@c");
    }

    #[test]
    fn line_ends_in_addresses_are_refused() {
        for bad in ["a@b\r\nDATA", "a@b\n", "a@b\0"] {
            let failure = refused(&with(&["--from", "a@b", "--to", bad]));
            assert_eq!((failure.status, failure.kind), (status::USAGE, crate::failure::Kind::Usage));
        }
    }

    #[test]
    fn a_user_needs_a_secret_and_a_secret_a_user() {
        assert_eq!(refused(&with(&["--user", "a", "--validate"])).status, status::USAGE);
        assert_eq!(refused(&with(&["--password-env", "PATH", "--validate"])).status, status::USAGE);
        let unset = ["--user", "a", "--password-env", "NO_SUCH_VARIABLE", "--validate"];
        assert!(refused(&with(&unset)).text.contains("not set"));
    }

    #[test]
    fn what_cannot_come_about_is_refused() {
        let mail = ["--from", "a@b", "--to", "c@d", "--require"];
        assert!(plan(&with(&[&mail[..], &["1"]].concat())).is_ok());
        assert_eq!(refused(&with(&[&mail[..], &["2"]].concat())).status, status::USAGE);
        assert_eq!(refused(&with(&["--user", "", "--password-env", "PATH", "--validate"])).status, status::USAGE);
    }

    fn secret_of(options: &[&str]) -> Result<Option<Secret>, Failure> {
        secret(&args(&with(options)))
    }

    #[test]
    fn one_newline_at_the_end_of_a_password_file_is_no_part_of_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (content, secret) in [("a b\n\n", "a b\n"), ("x\r\n", "x"), ("y", "y")] {
            fs::write(file.path(), content).unwrap();
            let path = file.path().to_str().unwrap();
            assert_eq!(secret_of(&["--password-file", path]).unwrap(), Some(secret.into()));
        }
        for content in ["", "\n"] {
            fs::write(file.path(), content).unwrap();
            assert_eq!(
                secret_of(&["--password-file", file.path().to_str().unwrap()]).unwrap_err().status,
                status::USAGE
            );
        }
    }

    #[test]
    fn versions_of_tls_in_order() {
        let options = ["--server", "a", "--validate", "--tls-min", "1.3", "--tls-max", "1.2"];
        assert_eq!(refused(&options).status, status::USAGE);
    }

    #[test]
    fn every_message_in_every_round() {
        let mail = plan(&with(&["--from", "a@b", "--to", "c@d", "--count", "3"])).unwrap().mail.unwrap();
        assert_eq!((mail.count(), mail.from(0).count()), (3, 3));
    }

    #[test]
    fn line_ends_in_words_are_refused() {
        for bad in ["a\r\nBcc: b@c", "a\nb", "a\0", "a\x1b[1m"] {
            let mail = ["--from", "a@b", "--to", "c@d"];
            for options in [["--subject", bad], ["--without", bad], ["--tls-name", bad]] {
                assert_eq!(refused(&with(&[&mail[..], &options[..]].concat())).status, status::USAGE, "{options:?}");
            }
            assert_eq!(refused(&with(&["--validate", "--user", bad, "--password-env", "PATH"])).status, status::USAGE);
        }
        assert_eq!(refused(&["--server", "smtp://a%0ab:c@d", "--validate"]).status, status::USAGE);
        assert_eq!(refused(&["--server", "smtp://a:b%0ac@d", "--validate"]).status, status::USAGE);
    }

    #[test]
    fn a_mechanism_alone_is_nobody() {
        assert_eq!(refused(&with(&["--auth", "PLAIN", "--validate"])).status, status::USAGE);
        assert!(plan(&with(&["--auth", "EXTERNAL,PLAIN", "--validate"])).unwrap().credentials.is_some());
    }
}
