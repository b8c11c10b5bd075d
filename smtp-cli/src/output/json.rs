//! The summary for programs: one JSON object, whose fields the manual describes.

use serde_json::{Value, json};
use smtp_proto::reply::Reply;

use super::{Sent, Session, Summary, To, put};
use crate::failure::Failure;

/// Prints the summary on standard output.
pub(crate) fn print(summary: &Summary) {
    put(format!("{}\n", object(summary)).as_bytes());
}

fn object(summary: &Summary) -> Value {
    // Who reads this finds every object, also where there was no session to tell of.
    let session = summary.session.as_ref();
    let tls = session.and_then(|session| session.tls.as_ref());
    json!({
        "outcome": summary.outcome(),
        "exit": summary.exit(),
        "error": summary.failure().map(error),
        "server": summary.server.as_ref().map(|server| json!({
            "host": server.host,
            "port": server.port,
            "address": server.address.map(|address| address.ip().to_string()),
        })),
        "route": summary.route,
        "security": {
            "mode": session.map_or("none", Session::mode),
            "tls": tls.map(|(version, _)| version),
            "cipher": tls.map(|(_, cipher)| cipher),
            "resumed": session.is_some_and(|session| session.resumed),
        },
        "authentication": {
            "mechanism": session.and_then(|session| session.mechanism.as_ref()),
            "supported": session.map_or(&[][..], |session| &session.supported),
            "allowed": session.map_or(&[][..], |session| &session.allowed),
        },
        "messages": summary.messages.iter().map(message).collect::<Vec<_>>(),
        "flights": summary.flights,
        "seconds": summary.seconds,
        "rate": summary.rate().map(|rate| json!({ "messages_per_second": rate })),
        "hint": summary.hint,
    })
}

/// A failure, as every command reports it.
pub(crate) fn error(failure: &Failure) -> Value {
    json!({
        "kind": failure.kind,
        "phase": failure.phase,
        "hop": failure.hop.as_ref().map(smtp_proto::Hop::number),
        "text": failure.text,
    })
}

fn message(sent: &Sent) -> Value {
    json!({
        "from": sent.from,
        "octets": sent.octets,
        "flights": sent.flights,
        "reply": sent.reply.as_ref().map(|reply| json!({
            "code": reply.code().number(),
            "enhanced": enhanced(reply),
            "text": reply.message(),
        })),
        "recipients": sent.recipients.iter().map(recipient).collect::<Vec<_>>(),
    })
}

fn recipient(to: &To) -> Value {
    json!({
        "address": to.address,
        "result": to.result,
        "code": to.reply.as_ref().map(|reply| reply.code().number()),
        "enhanced": to.reply.as_ref().and_then(enhanced),
        "text": to.reply.as_ref().map(Reply::message),
    })
}

fn enhanced(reply: &Reply) -> Option<String> {
    reply.enhanced().map(|status| status.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_before_everything_has_all_fields() {
        let object = object(&Summary::failed(Failure::usage("--to is needed")));
        assert_eq!(object["exit"], 64);
        assert_eq!(object["error"]["kind"], "usage");
        assert_eq!(object["error"]["phase"], Value::Null);
        assert_eq!(object["security"]["mode"], "none");
        assert_eq!(object["authentication"]["supported"], json!([]));
        assert_eq!(object.as_object().unwrap().len(), 12);
    }
}
