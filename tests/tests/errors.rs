//! Errors as other people's code meets them: each public one is a `std::error::Error` and says all it knows, once.

use std::error::Error;
use std::io;
use std::time::Duration;

use proxy_proto::Machine;
use smtp_proto::client::{Envelope, Event, Outcome};
use smtp_proto::dial::{Attempt, Failure, Why};
use smtp_proto::reply::{Code, Reply};
use smtp_proto::sasl::MechanismName;
use smtp_proto::tls::CertificateError;
use smtp_proto::{
    AcceptedError, AuthenticationError, Cause, Config, Misuse, Security, body, phase, reply, sasl, server, session, tls,
};
use tests::wire::Wire;

fn is_error<T: Error + Send + Sync + 'static>() {}

/// This is checked when it compiles.
#[test]
fn every_error_is_one() {
    is_error::<proxy_proto::Error>();
    is_error::<proxy_proto::Misuse>();
    is_error::<smtp_proto::Error>();
    is_error::<Misuse>();
    is_error::<AuthenticationError>();
    is_error::<AcceptedError>();
    is_error::<server::Error>();
    is_error::<sasl::Error>();
    is_error::<sasl::Misuse>();
    is_error::<sasl::SelectionError>();
    is_error::<sasl::InvalidName>();
    is_error::<tls::Error>();
    is_error::<tls::VersionError>();
    is_error::<CertificateError>();
    is_error::<reply::MalformedReply>();
    is_error::<body::UnstuffingError>();
    is_error::<Failure<io::Error>>();
    is_error::<smtp_proto::dial::NotOffered>();
    is_error::<smtp_proto::client::NotARecording>();
    is_error::<session::Error<io::Error>>();
    is_error::<smtp_tokio::Error>();
    is_error::<smtp_tokio::pool::Error>();
    is_error::<smtp_tokio::serve::Error>();
    is_error::<smtp_blocking::Error>();
    is_error::<smtp_blocking::pool::Error>();
    is_error::<smtp_async_std::Error>();
    is_error::<smtp_async_std::serve::Error>();
}

/// The error and all its sources, as texts: what a program prints that follows the chain.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> Vec<String> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| (*error).source())
        .map(|error| error.to_string())
        .collect()
}

fn cause(cause: Cause) -> smtp_proto::Error {
    smtp_proto::Error { phase: phase::AUTH, hop: None, cause }
}

fn failed(error: smtp_proto::Error) -> session::Error<io::Error> {
    session::Error::Session { error, source: None }
}

fn dialled(why: Why<io::Error>) -> session::Error<io::Error> {
    let (host, took) = ("mx.example.org".to_owned(), Duration::from_millis(40));
    let to = Some(([192, 0, 2, 1], 25).into());
    session::Error::Dial(Failure {
        attempts: vec![Attempt { id: None, host, port: 25, to, tls_first: false, took, why }],
    })
}

fn scram() -> MechanismName {
    "SCRAM-SHA-256".parse().unwrap()
}

fn lost() -> io::Error {
    io::Error::from(io::ErrorKind::ConnectionRefused)
}

/// What a proxy may do wrong.
fn tunnel() -> proxy_proto::Error {
    let proxy: proxy_proto::ProxyUrl = "socks5://proxy.example".parse().unwrap();
    let target = "192.0.2.1:25".parse().unwrap();
    let tunnel = proxy.tunnel(&target, &proxy_proto::Options::default()).unwrap();
    tunnel.at(proxy_proto::Hop::new(1, &proxy)).finish().unwrap_err()
}

/// Errors with others inside, as deep as they get, and the texts of all that is inside.
fn nested() -> Vec<(Box<dyn Error>, Vec<String>)> {
    let misuse = Misuse::NoRecipients;
    let mechanism = AuthenticationError::Mechanism { mechanism: scram(), error: sasl::Error::ServerNotAuthentic };
    let selection = AuthenticationError::Selection(sasl::SelectionError::NotOffered);
    let unfit = sasl::Misuse::WrongCredentials(scram());
    let credentials = AuthenticationError::Credentials { mechanism: scram(), misuse: unfit.clone() };
    let certificate = tls::Error::Certificate(CertificateError::SelfSigned);
    let malformed = reply::MalformedReply::CodeOutOfRange(600);
    let session = |inside: Cause| failed(cause(inside));
    let why = |inside: Cause| Why::Session { error: cause(inside), source: Some(lost()) };
    let accepted = || AcceptedError::Smtp(server::Error::ChunkSize);
    let texts = |inside: &[&dyn ToString]| inside.iter().map(|one| one.to_string()).collect::<Vec<_>>();
    vec![
        (
            Box::new(session(Cause::Authentication(mechanism.clone()))),
            texts(&[&mechanism, &scram(), &sasl::Error::ServerNotAuthentic]),
        ),
        (
            Box::new(session(Cause::Authentication(selection.clone()))),
            texts(&[&selection, &sasl::SelectionError::NotOffered]),
        ),
        (Box::new(session(Cause::Authentication(credentials.clone()))), texts(&[&credentials, &unfit])),
        (Box::new(session(Cause::Tls(certificate.clone()))), texts(&[&certificate, &CertificateError::SelfSigned])),
        (Box::new(session(Cause::Malformed(malformed.clone()))), texts(&[&malformed])),
        (Box::new(session(Cause::Tunnel(tunnel()))), texts(&[&tunnel(), &tunnel().kind(), &"hop 1"])),
        (
            Box::new(dialled(why(Cause::Tls(certificate)))),
            texts(&[&CertificateError::SelfSigned, &lost(), &"192.0.2.1:25"]),
        ),
        (Box::new(dialled(Why::Connect(lost()))), texts(&[&lost(), &"192.0.2.1:25"])),
        (Box::new(dialled(Why::Unresolved(lost()))), texts(&[&lost()])),
        (Box::new(dialled(Why::Misuse(misuse.clone()))), texts(&[&misuse])),
        (Box::new(session(Cause::Tls(tls::Error::Settings(misuse.clone())))), texts(&[&misuse])),
        (
            Box::new(session::Error::Session { error: cause(Cause::Closed { last: None }), source: Some(lost()) }),
            texts(&[&cause(Cause::Closed { last: None }), &lost()]),
        ),
        (Box::new(session::Error::Message(lost())), texts(&[&lost()])),
        (Box::new(session::Error::<io::Error>::Misuse(misuse.clone())), texts(&[&misuse])),
        (Box::new(smtp_tokio::pool::Error::from(misuse.clone())), texts(&[&misuse])),
        (Box::new(smtp_blocking::pool::Error::from(misuse.clone())), texts(&[&misuse])),
        (Box::new(accepted()), texts(&[&server::Error::ChunkSize])),
        (Box::new(AcceptedError::Tls(tls::Error::NotTls(b'E'))), texts(&[&tls::Error::NotTls(b'E')])),
        (
            Box::new(smtp_tokio::serve::Error { error: accepted(), source: Some(lost()) }),
            texts(&[&server::Error::ChunkSize, &lost()]),
        ),
        (
            Box::new(smtp_blocking::serve::Error { error: accepted(), source: Some(lost()) }),
            texts(&[&server::Error::ChunkSize, &lost()]),
        ),
        (
            Box::new(smtp_async_std::serve::Error { error: accepted(), source: Some(lost()) }),
            texts(&[&server::Error::ChunkSize, &lost()]),
        ),
    ]
}

#[test]
fn an_error_says_all_that_is_inside_in_one_line_and_its_chain_says_nothing_twice() {
    for (error, inside) in nested() {
        let texts = chain(&*error);
        let whole = &texts[0];
        assert!(!whole.is_empty() && !whole.contains('\n'), "{whole:?}");
        for text in &inside {
            assert_eq!(whole.matches(text.as_str()).count(), 1, "{text:?} in {whole:?}");
            // Whatever the chain holds: nobody reads the same again.
            let times: usize = texts.iter().map(|one| one.matches(text.as_str()).count()).sum();
            assert_eq!(times, 1, "{text:?} in {texts:?}");
        }
        for (at, later) in texts.iter().enumerate().skip(1) {
            assert!(texts[..at].iter().all(|earlier| !earlier.contains(later)), "{later:?} is said twice: {texts:?}");
        }
    }
}

#[test]
fn what_the_system_says_is_at_hand() {
    let closed = || cause(Cause::Closed { last: None });
    let beside = || Why::Session { error: closed(), source: Some(lost()) };
    let session = session::Error::Session { error: closed(), source: Some(lost()) };
    for error in [dialled(Why::Connect(lost())), dialled(Why::Unresolved(lost())), dialled(beside()), session] {
        assert_eq!(error.transport().map(io::Error::kind), Some(io::ErrorKind::ConnectionRefused), "{error}");
    }
    for error in [failed(closed()), dialled(Why::NoAddress), session::Error::Message(lost())] {
        assert!(error.transport().is_none(), "{error}");
    }
    let told = [dialled(beside()), failed(closed())].map(|error| error.session().cloned());
    assert_eq!(told, [Some(closed()), Some(closed())]);
}

/// A report of a real dialogue, in print and by serde, says the same.
#[test]
fn a_report_is_written_as_it_is_printed() {
    let config = Config::new("localhost", 2525).security(Security::None).helo("client.example.org");
    let mut wire = Wire::new(config, server::Config::new("mx.example.org").unwrap(), None, false, 1000);
    wire.manners.refuse = vec!["carol@example.net".into()];
    assert!(wire.run_until(|event| *event == Event::Ready));
    let envelope = Envelope::new("alice@example.org", ["bob@example.net", "carol@example.net"]).unwrap();
    let report = wire.send(&envelope, b"Subject: hello\r\n\r\nHello.\r\n");

    let printed = report.to_string();
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines.len(), 2, "{printed}");
    assert!(lines[0].starts_with("bob@example.net: accepted (250 "), "{printed}");
    assert!(lines[1].starts_with("carol@example.net: refused (550 "), "{printed}");

    let written = serde_json::to_value(&report).unwrap();
    assert_eq!(written["from"], "alice@example.org");
    assert_eq!(written["octets"], 26);
    assert_eq!(written["reply"]["code"], 250);
    assert!(written["cut_short"].is_null() && written["misuse"].is_null());
    let results: Vec<_> =
        written["recipients"].as_array().unwrap().iter().map(|one| (&one["result"], &one["code"])).collect();
    assert_eq!(results, [(&"accepted".into(), &250.into()), (&"refused".into(), &550.into())]);
    assert_eq!(written["recipients"][1]["address"], "carol@example.net");
    assert!(written["flights"].as_u64() >= Some(1));

    // The word and the reply of an outcome are to be had one by one.
    assert_eq!(report.recipients[1].outcome.name(), "refused");
    assert_eq!(report.recipients[1].outcome.reply().map(|reply| reply.code().number()), Some(550));
    assert_eq!((Outcome::Unknown.reply(), Outcome::NotSent.reply()), (None, None));

    // What cut a transaction short is an object of its own.
    let last = Some(Reply::new(Code::OK, "2.1.5 ok").unwrap());
    let written = serde_json::to_value(cause(Cause::Closed { last })).unwrap();
    assert_eq!((&written["phase"], &written["transient"]), (&"AUTH".into(), &true.into()));
    assert!(written["hop"].is_null());
    assert!(written["text"].as_str().unwrap().contains("250 2.1.5 ok"), "{written}");
}

#[test]
fn what_an_adapter_says_names_what_was_under_way() {
    let reset = || io::Error::other("reset by peer");
    let session = session::Error::Session { error: cause(Cause::Abandoned), source: Some(reset()) };
    for (error, parts) in [
        (session, &["AUTH", "given up", "reset by peer"][..]),
        (session::Error::Message(reset()), &["message cannot be read", "reset by peer"]),
        (session::Error::Unfinished, &["left in the middle of a message"]),
        (Misuse::NoRecipients.into(), &["at least one recipient"]),
        (dialled(Why::TimedOut(phase::CONNECT)), &["192.0.2.1:25", "connect", "timed out"]),
    ] {
        let text = error.to_string();
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        // Only what failed in a session leads to its error.
        assert_eq!(error.session().is_some(), text.contains("AUTH"), "{text}");
    }
    // Nothing lies below these.
    for error in [session::Error::Unfinished, dialled(Why::NoAddress), dialled(Why::GivenUp)] {
        assert_eq!(chain(&error).len(), 1, "{error}");
        assert!(error.session().is_none());
    }
    let refused = dialled(Why::Session { error: cause(Cause::Abandoned), source: None });
    assert!(matches!(refused.session(), Some(error) if error.cause == Cause::Abandoned));
}

#[test]
fn what_the_servers_end_says_names_what_the_client_did() {
    for (error, parts) in [
        (server::Error::Timeout(phase::GREETING), &["timeout", "greeting"][..]),
        (server::Error::TooManyErrors, &["too many", "commands"]),
        (server::Error::TooManyCommands, &["too many commands", "without a message"]),
        (server::Error::TooManyAuthentications, &["too many", "authentications"]),
        (server::Error::ChunkSize, &["BDAT", "size"]),
        (server::Error::ClearTextBehindStartTls, &["in clear", "STARTTLS"]),
        (server::Error::Lost(phase::DATA), &["ended", "DATA"]),
    ] {
        let text = AcceptedError::Smtp(error).to_string();
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    }
    let text = AcceptedError::Tls(tls::Error::Failed("no cipher in common".into())).to_string();
    assert!(text.contains("no cipher in common"), "{text}");
}
