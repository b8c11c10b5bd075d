//! The report for programs: one JSON object, whose fields docs/PROBE.md describes.

use serde_json::{Value, json};

use super::report::{Authentication, Port, Recommended, Report};
use crate::output::json::error;
use crate::output::put;

/// Prints the report on standard output.
pub(super) fn print(report: &Report) {
    put(format!("{}\n", object(report)).as_bytes());
}

fn object(report: &Report) -> Value {
    json!({
        "exit": report.exit(),
        "error": report.failure.as_ref().map(error),
        "host": report.host,
        "addresses": report.addresses,
        "resolve_seconds": report.looked_up.map(|took| took.as_secs_f64()),
        "route": report.route,
        "ports": report.ports.iter().map(port).collect::<Vec<_>>(),
        "recommended": report.recommended().as_ref().map(recommended),
        "authentication": report.authentication.as_ref().map(authentication),
        "seconds": report.seconds,
    })
}

fn port(port: &Port) -> Value {
    let (talk, heard) = (&port.look.talk, &port.look.talk.heard);
    let certificate = port.chain.first().map(|own| {
        let mut value = json!(own);
        value["trusted"] = json!(port.look.distrust.is_none());
        value["why_not"] = json!(port.look.distrust);
        value["chain"] = json!(port.chain.get(1..).unwrap_or_default());
        value
    });
    json!({
        "port": port.number,
        "connects": talk.has_reached(),
        "address": talk.address.map(|address| address.to_string()),
        "speaks": port.speaks(),
        "mode": port.mode().map(|mode| mode.name()),
        "secure": port.look.is_secure(),
        "greeting": heard.greeting,
        "starttls": heard.starttls(),
        "tls": talk.facts.as_ref().map(|facts| json!({ "version": facts.version, "cipher": facts.cipher })),
        "certificate": certificate,
        "before_tls": heard.before,
        "under_tls": heard.under,
        "times": heard.times,
        "error": talk.failure.as_ref().map(error),
    })
}

fn recommended(one: &Recommended) -> Value {
    json!({
        "port": one.port,
        "mode": one.mode.name(),
        "server": one.server,
        "arguments": one.arguments,
        "line": one.line(),
        "hint": one.hint.as_ref().map(ToString::to_string),
    })
}

fn authentication(login: &Authentication) -> Value {
    json!({
        "port": login.port,
        "mechanism": login.mechanism,
        "error": login.failure.as_ref().map(error),
    })
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::{dead, report, secure};
    use super::*;
    use crate::failure::Failure;
    use smtp_proto::dial::Mode;

    #[test]
    fn all_fields_are_there_whatever_happened() {
        let early = object(&Report { failure: Some(Failure::usage("no")), ..Report::default() });
        let full = object(&report(vec![secure(465, Mode::Implicit, &["PLAIN"]), dead(587)]));
        let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!((keys(&early), &early["exit"]), (keys(&full), &64.into()));
        assert_eq!(keys(&full["ports"][0]), keys(&full["ports"][1]));
        assert_eq!((&full["ports"][0]["mode"], &full["ports"][1]["mode"]), (&"implicit".into(), &Value::Null));
        assert_eq!(full["recommended"]["arguments"][1], "submissions://mail.example.org");
    }
}
