//! The options, as the command's help shows them.
//!
//! The rules of this file: only what can be seen in one option alone is checked here; what options mean together is judged
//! in `settings`.

#![allow(rustdoc::broken_intra_doc_links, rustdoc::bare_urls, reason = "these comments are the help, and show URLs")]

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use smtp_proto::client::Require;
use smtp_proto::dial::Verdict;
use smtp_proto::sasl::MechanismName;
use smtp_proto::tls::Version;

use crate::serve::accounts;
use crate::{duration, url};

/// Sends mail, finds out how a server is to be reached, and serves as a test server.
#[derive(Parser)]
#[command(name = "smtp", version, about, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Send mail; without --server, to a server of its own on this machine, to see how it goes
    Send(Box<SendArgs>),
    /// Find out how a server is to be reached: ports, TLS, certificates, what it offers, and which settings are best
    Probe(Box<ProbeArgs>),
    /// Receive mail and show it: a server for tests
    Serve(Box<ServeArgs>),
}

/// How the session is secured.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SecurityArg {
    /// TLS whenever it can be had; which kind is found out on the connection
    Auto,
    /// TLS from the first octet
    Implicit,
    /// STARTTLS, or no session
    Starttls,
    /// STARTTLS where it is offered
    StarttlsIfOffered,
    /// Clear text
    None,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RuntimeArg {
    Tokio,
    Blocking,
    AsyncStd,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LineEndingsArg {
    /// Bare CR and bare LF become CRLF
    Canonical,
    /// A message with a bare CR or LF, or with a NUL, is refused
    Strict,
    /// All octets stay as they are; this takes a server that offers CHUNKING and BINARYMIME
    Exact,
}

/// When a recipient's fate is to be reported (DSN).
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DsnArg {
    Success,
    Failure,
    Delay,
    Never,
}

/// How much of a message comes back with a report (DSN).
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RetArg {
    Full,
    Hdrs,
}

#[derive(Args)]
#[command(after_help = SEND_STATUS)]
pub(crate) struct SendArgs {
    /// smtp://HOST[:25], submission://HOST[:587], smtps:// or submissions://HOST[:465], lmtp://HOST[:24], or HOST[:PORT];
    /// USER:PASSWORD@ before the host
    #[arg(long, value_name = "URL")]
    pub(crate) server: Option<String>,
    /// Go through a proxy: socks4, socks4a, socks5, socks5h, http or https://[USER:PASSWORD@]HOST[:PORT]; several times for a
    /// chain, the nearest first. By default what ALL_PROXY and NO_PROXY say; "none" goes without. Where the server is the command's own, the host "embedded" is a proxy of its own, too
    #[arg(long, value_name = "URL")]
    pub(crate) proxy: Vec<String>,
    /// Who sends, as the envelope has it; "" is the null path. By default the user, if that is an address
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) from: Option<String>,
    /// Who is to have it; may be given several times
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) to: Vec<String>,
    /// The subject of the message that is built
    #[arg(long, conflicts_with = "message")]
    pub(crate) subject: Option<String>,
    /// The text of the message that is built
    #[arg(long, value_name = "TEXT", conflicts_with = "message")]
    pub(crate) body: Option<String>,
    /// A message to be sent as it is, "-" for standard input; may be given several times
    #[arg(long, value_name = "FILE")]
    pub(crate) message: Vec<PathBuf>,
    /// Send each message so many times, a million at most
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) count: u32,

    /// How the session is secured [default: by the URL]
    #[arg(long, help_heading = "Security")]
    pub(crate) security: Option<SecurityArg>,
    #[command(flatten)]
    pub(crate) tls: TlsArgs,
    /// DANGER: accept any certificate; whoever sits between can read and change everything
    #[arg(long, help_heading = "Security")]
    pub(crate) danger_accept_invalid_certs: bool,

    /// The user name
    #[arg(long, help_heading = "Identity")]
    pub(crate) user: Option<String>,
    /// The environment variable that holds the password
    #[arg(long, value_name = "VAR", help_heading = "Identity")]
    pub(crate) password_env: Option<String>,
    /// The file that holds the password; one newline at its end is not part of it
    #[arg(long, value_name = "FILE", conflicts_with = "password_env", help_heading = "Identity")]
    pub(crate) password_file: Option<PathBuf>,
    /// The environment variable that holds an OAuth 2.0 access token
    #[arg(long, value_name = "VAR", conflicts_with_all = ["password_env", "password_file"], help_heading = "Identity")]
    pub(crate) token_env: Option<String>,
    /// The mechanisms allowed [default: all, those that reveal the secret under TLS only]
    #[arg(long, value_name = "MECH,..", value_delimiter = ',', value_parser = mechanism, help_heading = "Identity")]
    pub(crate) auth: Vec<MechanismName>,
    /// Connect, secure, authenticate and quit, without a message
    #[arg(long, conflicts_with_all = ["message", "body", "subject"], help_heading = "Identity")]
    pub(crate) validate: bool,
    /// DANGER: allow mechanisms that reveal the secret without TLS
    #[arg(long, help_heading = "Identity")]
    pub(crate) danger_allow_clear_text_auth: bool,
    /// The name given in EHLO [default: the own address, as a literal]
    #[arg(long, value_name = "NAME", value_parser = url::ascii, help_heading = "Identity")]
    pub(crate) helo: Option<String>,

    /// How long each operation may take as a whole: connecting, each message [default: each phase has a limit of its own]
    #[arg(long, value_name = "TIME", value_parser = duration::parse, help_heading = "Time")]
    pub(crate) timeout: Option<Duration>,
    /// How long the greeting may take [default: 4s where the kind of TLS is found out, else 10s]
    #[arg(long, value_name = "TIME", value_parser = duration::parse, help_heading = "Time")]
    pub(crate) greeting_timeout: Option<Duration>,
    /// How long one address may take to connect to [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = duration::parse, help_heading = "Time")]
    pub(crate) connect_timeout: Option<Duration>,

    /// What an earlier run has found, as its report says: ADDRESS:PORT/none, /starttls or /implicit
    #[arg(long, value_name = "ADDRESS:PORT/SECURITY", conflicts_with = "security", help_heading = "Time")]
    pub(crate) hint: Option<Verdict>,

    /// How many recipients must be accepted for a message to go out
    #[arg(long, value_name = "any|all|N", value_parser = require, default_value = "any", help_heading = "Sending")]
    pub(crate) require: Require,
    /// When each recipient's fate is to be reported to the sender
    #[arg(long, value_name = "WHEN,..", value_delimiter = ',', help_heading = "Sending")]
    pub(crate) dsn: Vec<DsnArg>,
    /// How much of a message comes back with such a report
    #[arg(long, help_heading = "Sending")]
    pub(crate) ret: Option<RetArg>,
    /// The name of the messages in such reports
    #[arg(long, value_name = "ID", help_heading = "Sending")]
    pub(crate) envid: Option<String>,
    /// The messages may only be passed on under TLS
    #[arg(long, help_heading = "Sending")]
    pub(crate) require_tls: bool,
    /// Speak LMTP, as lmtp:// does
    #[arg(long, help_heading = "Sending")]
    pub(crate) lmtp: bool,
    /// Ignore these extensions though the server offers them
    #[arg(long, value_name = "EXT,..", value_delimiter = ',', help_heading = "Sending")]
    pub(crate) without: Vec<String>,
    /// What becomes of line endings that are not CRLF
    #[arg(long, value_enum, default_value_t = LineEndingsArg::Canonical, help_heading = "Sending")]
    pub(crate) line_endings: LineEndingsArg,

    /// The address to connect from
    #[arg(long, value_name = "ADDRESS", help_heading = "Local")]
    pub(crate) bind: Option<IpAddr>,
    /// The adapter that carries the session
    #[arg(long, value_enum, default_value_t = RuntimeArg::Tokio, help_heading = "Local")]
    pub(crate) runtime: RuntimeArg,

    /// Show the dialogue on standard error, without secrets
    #[arg(long, help_heading = "Output")]
    pub(crate) transcript: bool,
    /// Write the dialogue to a file, without secrets
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) transcript_file: Option<PathBuf>,
    /// Report as one JSON object on standard output, on failure too
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
    /// Say nothing but errors
    #[arg(long, help_heading = "Output")]
    pub(crate) quiet: bool,
}

const SEND_STATUS: &str = "\
Exit status:
  0   every recipient accepted, or validated
  64  the options cannot be meant
  65  refused for good, for at least one recipient
  66  a file is missing, or cannot be read or used
  68  the host name was not found
  69  cannot connect; or a proxy refused, or its credentials are wrong
  74  the outcome is unknown: not safe to send again blindly
  75  try later: 4yz, a time-out, a connection lost before the message was complete
  76  the peer broke the protocol, or there is no TLS that can be accepted
  77  authentication failed, or is not to be had
  130, 143  ended by Ctrl-C, by SIGTERM; what is known by then is told";

/// TLS, as far as it is the same for all who use it.
#[derive(Args)]
pub(crate) struct TlsArgs {
    /// The oldest version of TLS permitted
    #[arg(long, value_name = "1.2|1.3", help_heading = "Security")]
    pub(crate) tls_min: Option<Version>,
    /// The newest version of TLS permitted
    #[arg(long, value_name = "1.2|1.3", help_heading = "Security")]
    pub(crate) tls_max: Option<Version>,
    /// The name that the server's certificate must prove, where it is not the host's
    #[arg(long, value_name = "NAME", value_parser = url::ascii, help_heading = "Security")]
    pub(crate) tls_name: Option<String>,
    /// Trust these authorities (PEM or DER) beside those of the platform; may be given several times
    #[arg(long, value_name = "FILE", help_heading = "Security")]
    pub(crate) ca: Vec<PathBuf>,
    /// The certificate chain (PEM) to show to servers that ask for one
    #[arg(long, value_name = "FILE", requires = "client_key", help_heading = "Security")]
    pub(crate) client_cert: Option<PathBuf>,
    /// The key (PEM) of --client-cert
    #[arg(long, value_name = "FILE", requires = "client_cert", help_heading = "Security")]
    pub(crate) client_key: Option<PathBuf>,
}

#[derive(Args)]
#[command(after_help = PROBE_STATUS)]
pub(crate) struct ProbeArgs {
    /// The server; without a port, 465, 587, 25 and 2525 are looked at, all at once
    #[arg(value_name = "HOST[:PORT]")]
    pub(crate) server: String,
    /// Go through a proxy, as for send; several times for a chain, the nearest first
    #[arg(long, value_name = "URL")]
    pub(crate) proxy: Vec<String>,
    #[command(flatten)]
    pub(crate) tls: TlsArgs,
    /// How long all of it may take
    #[arg(long, value_name = "TIME", value_parser = duration::parse, default_value = "15s")]
    pub(crate) budget: Duration,
    /// Authenticate this user, once, where a secure way was found, and nowhere else
    #[arg(long, requires = "password_env")]
    pub(crate) user: Option<String>,
    /// The environment variable that holds the user's password
    #[arg(long, value_name = "VAR", requires = "user")]
    pub(crate) password_env: Option<String>,
    /// The adapter that carries the sessions
    #[arg(long, value_enum, default_value_t = RuntimeArg::Tokio)]
    pub(crate) runtime: RuntimeArg,
    /// Report as one JSON object on standard output, on failure too
    #[arg(long)]
    pub(crate) json: bool,
}

const PROBE_STATUS: &str = "\
Exit status:
  0   a secure way was found (and the user authenticated, where one was given)
  64  the options cannot be meant
  65  the server refuses all comers (554)
  66  a file of --ca, --client-cert or --client-key cannot be read
  68  the host name was not found
  69  nothing could be connected to, or a proxy refused
  75  time-outs, lost connections, a server that says \"later\": try again
  76  only clear text, or TLS that cannot be accepted, or no SMTP
  77  a secure way was found, but the user was refused there";

/// How the server's connections are secured.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ServeTls {
    None,
    Starttls,
    Implicit,
}

/// What becomes of clients that do not wait for the greeting.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EarlyArg {
    /// 554 in the place of the greeting
    Refuse,
    /// The connection is closed without a word
    Drop,
    /// They are served as if nothing had been
    Serve,
}

#[derive(Args)]
pub(crate) struct ServeArgs {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:2525")]
    pub(crate) listen: String,
    /// Whether there is TLS [default: none; starttls where a certificate is given]
    #[arg(long, value_enum)]
    pub(crate) tls: Option<ServeTls>,
    /// The certificate chain (PEM); without one, a throw-away certificate is made
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) cert: Option<PathBuf>,
    /// The key (PEM) of --cert
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// Offer AUTH to this user, without TLS too
    #[arg(long, requires = "password_env")]
    pub(crate) user: Option<String>,
    /// The environment variable that holds the user's password, which is taken as a token too
    #[arg(long, value_name = "VAR", requires = "user")]
    pub(crate) password_env: Option<String>,
    /// The mechanisms offered, in this order [default: SCRAM, CRAM-MD5, PLAIN, LOGIN and those of OAuth 2.0]
    #[arg(long, value_name = "MECH,..", value_delimiter = ',', value_parser = served, requires = "user")]
    pub(crate) auth: Vec<MechanismName>,
    /// Keep each message as NAME.eml and its envelope as NAME.json
    #[arg(long, value_name = "DIR")]
    pub(crate) store: Option<PathBuf>,
    /// One JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
    /// Speak LMTP
    #[arg(long)]
    pub(crate) lmtp: bool,
    /// Refuse this recipient with 550; may be given several times
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) refuse_rcpt: Vec<String>,
    /// Answer 451 to each message
    #[arg(long)]
    pub(crate) tempfail: bool,
    /// Greet so much later
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub(crate) greet_after: Option<Duration>,
    /// What becomes of clients that speak before the greeting, which RFC 5321 forbids them unless PIPECONNECT is offered
    #[arg(long, value_enum, default_value_t = EarlyArg::Refuse, requires = "greet_after")]
    pub(crate) early_talkers: EarlyArg,
    /// Wait so long before each reply; one to RSET, NOOP or what is malformed waits with the one behind it, where both were asked for
    /// at once
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub(crate) slow: Option<Duration>,
    /// Close each connection after so many octets from the client
    #[arg(long, value_name = "N")]
    pub(crate) drop_after: Option<u64>,
    /// Offer these extensions, too, such as PIPECONNECT, LIMITS or ETRN; a few have words behind them, as in "DELIVERBY 60"
    #[arg(long, value_name = "EXT,..", value_delimiter = ',')]
    pub(crate) with: Vec<String>,
    /// Do not offer these extensions
    #[arg(long, value_name = "EXT,..", value_delimiter = ',')]
    pub(crate) without: Vec<String>,
    /// The most octets that a message may have [default: no limit]
    #[arg(long, value_name = "N")]
    pub(crate) max_size: Option<u64>,
}

fn require(text: &str) -> Result<Require, String> {
    match (text, text.parse()) {
        ("any", _) => Ok(Require::Any),
        ("all", _) => Ok(Require::All),
        (_, Ok(number)) if number > 0 => Ok(Require::AtLeast(number)),
        _ => Err("it is any, all, or a number from 1".into()),
    }
}

fn mechanism(text: &str) -> Result<MechanismName, String> {
    one_of(text, MechanismName::BY_STRENGTH.iter().filter(|name| name.is_available()))
}

fn served(text: &str) -> Result<MechanismName, String> {
    one_of(text, accounts::available())
}

fn one_of(text: &str, known: impl Iterator<Item = &'static MechanismName>) -> Result<MechanismName, String> {
    let known: Vec<_> = known.collect();
    let named = known.iter().find(|name| name.as_str().eq_ignore_ascii_case(text));
    named.map(|name| (*name).clone()).ok_or_else(|| {
        let known: Vec<_> = known.iter().map(|name| name.as_str()).collect();
        format!("the mechanisms are {}", known.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_options_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn old_versions_of_tls_are_refused_for_what_they_are() {
        let refused = |options: &[&str]| Cli::try_parse_from([&["smtp", "send"], options].concat()).err().unwrap();
        for old in ["1.0", "1.1", "ssl3", "TLSv1"] {
            for option in ["--tls-min", "--tls-max"] {
                let text = refused(&[option, old]).to_string();
                assert!(text.contains("RFC 8996") && text.contains("1.2"), "{text}");
            }
        }
        assert!(refused(&["--tls-min", "2.1"]).to_string().contains("1.3"));
    }

    #[test]
    fn names_of_hosts_in_any_script() {
        let options = ["smtp", "send", "--tls-name", "mail.bücher.example", "--helo", "[192.0.2.1]"];
        let Command::Send(args) = Cli::try_parse_from(options).unwrap().command else { unreachable!() };
        assert_eq!(args.tls.tls_name.as_deref(), Some("mail.xn--bcher-kva.example"));
        assert_eq!(args.helo.as_deref(), Some("[192.0.2.1]"));
    }

    #[test]
    fn mechanisms_in_any_case() {
        assert_eq!(mechanism("scram-sha-256"), Ok(MechanismName::ScramSha256));
        assert!(mechanism("GSSAPI").unwrap_err().contains("PLAIN"));
        assert_eq!(served("login"), Ok(MechanismName::Login));
        assert!(mechanism("EXTERNAL").is_ok() && served("EXTERNAL").is_err());
    }
}
