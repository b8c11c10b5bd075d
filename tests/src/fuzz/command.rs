//! The fuzz target `command`: what may be said is understood.

use proxy_proto::Machine;
use smtp_proto::command::{Command, ForwardPath, Parameter, ReversePath, xtext};
use smtp_proto::reply::Reply;
use smtp_proto::server::{self, Server};

use super::control::Control;
use crate::laws::BEGIN;

/// What a client may say of a path or a parameter, a server reads as the same; xtext comes back as it went.
pub fn command(input: &[u8]) {
    let (mut control, data) = Control::split(input);
    assert_eq!(xtext::decode(&xtext::encode(data)).as_deref(), Some(data));
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(octets) = xtext::decode(text) {
        assert_eq!(xtext::decode(&xtext::encode(&octets)), Some(octets));
    }
    let _ = (
        Command::other(text),
        Command::vrfy(text),
        Command::help(Some(text)),
        Reply::new(smtp_proto::reply::Code::OK, text),
    );
    let (word, value) = text.split_once('=').map_or((text, None), |(word, value)| (word, Some(value)));
    let parameter = Parameter::new(word, value).ok();
    let mut config = server::Config::new("mx.example.org").expect("a name");
    if control.flag() {
        config = config.with("DSN").expect("an extension");
    }
    let ask = |line: String| {
        let mut server = Server::new(config.clone());
        let opening = if line.starts_with("RCPT") { "EHLO c\r\nMAIL FROM:<> SMTPUTF8\r\n" } else { "EHLO c\r\n" };
        let wire = [opening, line.as_str(), "\r\n"].concat();
        let mut input = wire.as_bytes();
        let mut asked = None;
        while let Ok(Some(event)) = server.receive(BEGIN, &mut input) {
            asked = Some(event);
            while let Some(decision) = server.decision() {
                decision.accept();
            }
        }
        asked
    };
    if let Ok(path) = ReversePath::new(text) {
        let Some(server::Event::Mail { from, .. }) = ask(format!("MAIL FROM:<{path}> SMTPUTF8")) else {
            panic!("a path that no server takes: {path:?}");
        };
        assert_eq!(from, path);
    }
    if let Ok(path) = ForwardPath::new(text) {
        let Some(server::Event::Recipient { to, .. }) = ask(format!("RCPT TO:<{path}>")) else {
            panic!("a path that no server takes: {path:?}");
        };
        assert_eq!(to, path);
    }
    if let Some(parameter) = parameter {
        let line = match parameter.value() {
            Some(value) => format!("MAIL FROM:<> {}={value}", parameter.keyword()),
            None => format!("MAIL FROM:<> {}", parameter.keyword()),
        };
        // Most are refused; one that is taken is the one that was said.
        if let Some(server::Event::Mail { parameters, .. }) = ask(line) {
            // It means the same, were it written in another way.
            let again = parameters.raw();
            assert_eq!((again.len(), again[0].keyword()), (1, parameter.keyword()));
        }
    }
}
