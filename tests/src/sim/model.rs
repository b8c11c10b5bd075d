//! The reference model: what must hold of what the client was told, given what the server truly did.
//!
//! The rules of this file: it knows RFC 5321 and nothing of how the machines work; it is as simple as can be, so that it can be
//! believed.

use smtp_proto::body::LineEndings;
use smtp_proto::client::{BodyKind, DeliverBy, Envelope, Notify, Outcome, Ret};
use smtp_proto::command::Parameter;
use smtp_proto::reply::Reply;

use super::coverage::Coverage;
use super::near::Sending;
use super::owner::{Delivery, Owner};
use super::plan::{Message, Plan};

/// The envelope of a message for these recipients.
pub(super) fn envelope(message: &Message, to: &[String]) -> Option<Envelope> {
    let mut envelope = Envelope::new(&message.from, to).ok()?.body(message.kind).require(message.require);
    if message.sized {
        envelope = envelope.size(message.content.len() as u64);
    }
    if message.asks.dsn {
        let delay = Notify { delay: true, ..Notify::default() };
        envelope = envelope.envid("an id+=").ok()?.ret(Ret::Headers).notify(0, delay);
        envelope = envelope.orcpt(0, "rfc822", "o+o@example.net").ok()?;
    }
    if message.asks.by {
        envelope = envelope.deliver_by(3600, DeliverBy::Return, false).ok()?;
    }
    if message.asks.priority {
        envelope = envelope.mt_priority(-3).ok()?;
    }
    if message.asks.prdr {
        envelope = envelope.prdr();
    }
    Some(if message.asks.require_tls { envelope.require_tls() } else { envelope })
}

/// What must be said with MAIL where a message is delivered: ENVID and RET by RFC 3461 sections 4.3 and 4.4, BY by RFC 2852
/// section 4, MT-PRIORITY by RFC 6710 section 3, REQUIRETLS by RFC 8689 section 2, PRDR by draft-hall-prdr-00 section 4.2.
fn asked_of_mail(message: &Message) -> Vec<(&'static str, Option<&'static str>)> {
    let asks = message.asks;
    let all = [
        (asks.dsn, "ENVID", Some("an+20id+2B+3D")),
        (asks.dsn, "RET", Some("HDRS")),
        (asks.by, "BY", Some("3600;R")),
        (asks.priority, "MT-PRIORITY", Some("-3")),
        (asks.require_tls, "REQUIRETLS", None),
        (asks.prdr, "PRDR", None),
    ];
    all.into_iter().filter(|(asked, ..)| *asked).map(|(_, keyword, value)| (keyword, value)).collect()
}

/// The same with RCPT (RFC 3461 sections 4.1 and 4.2); the first recipient alone has any.
fn asked_of_rcpt(message: &Message, is_first: bool) -> Vec<(&'static str, Option<&'static str>)> {
    let all = vec![("NOTIFY", Some("DELAY")), ("ORCPT", Some("rfc822;o+2Bo@example.net"))];
    if message.asks.dsn && is_first { all } else { Vec::new() }
}

/// All that was asked for was said, and nothing else.
fn are_said(parameters: &[Parameter], asked: &[(&str, Option<&str>)]) -> bool {
    let said = |(keyword, value): &(&str, Option<&str>)| {
        parameters.iter().any(|one| one.keyword() == *keyword && one.value() == *value)
    };
    parameters.len() == asked.len() && asked.iter().all(said)
}

/// What must arrive: each bare CR and each bare LF is a line's end, and so is the end (RFC 5321 section 2.3.8); but for `Exact`.
pub(super) fn arrives(content: &[u8], endings: LineEndings) -> Vec<u8> {
    if endings == LineEndings::Exact {
        return content.to_vec();
    }
    crate::oracle::canonical(content)
}

/// Holds what one session's client was told against what the server did; what is wrong, if anything.
pub(super) fn check(plan: &Plan, sending: &[Sending], owner: &Owner, coverage: &mut Coverage) -> Vec<String> {
    let mut wrong = Vec::new();
    for delivery in &owner.delivered {
        for parameter in delivery.parameters.iter().chain(delivery.asked_for.values().flatten()) {
            coverage.met("delivered with", parameter.keyword());
        }
        if let Err(why) = check_delivery(plan, sending, delivery) {
            wrong.push(format!("{why}: from {:?} to {:?}", delivery.from, delivery.to));
        }
    }
    for one in sending {
        let Some((report, octets)) = &one.report else {
            wrong.push(format!("message {} is not reported", one.message));
            continue;
        };
        let paths: Vec<&str> = report.recipients.iter().map(|recipient| recipient.path.as_str()).collect();
        if paths != one.to {
            wrong.push(format!("message {} was for {:?}, and its report is of {paths:?}", one.message, one.to));
        }
        if report.misuse.is_some() {
            coverage.met("outcome", "misuse");
        }
        if report.flights > report.commands + 2 + report.octets / 1024 {
            coverage.met("flights", "more than commands");
        }
        for recipient in &report.recipients {
            let to = recipient.path.as_str();
            let taken = owner
                .delivered
                .iter()
                .filter(|delivery| delivery.message == Some(one.message))
                .filter(|delivery| delivery.to.iter().any(|other| other == to))
                .count();
            let verdict = match &recipient.outcome {
                Outcome::Accepted(reply) => {
                    coverage.met("outcome", "accepted");
                    check_reply(owner, one.message, to, reply, true).and(same(
                        taken,
                        1,
                        "accepted, and so often delivered",
                    ))
                }
                Outcome::Refused(reply) => {
                    coverage.met("outcome", "refused");
                    check_reply(owner, one.message, to, reply, false).and(same(
                        taken,
                        0,
                        "refused, and so often delivered",
                    ))
                }
                Outcome::NotSent => {
                    coverage.met("outcome", "not sent");
                    same(taken, 0, "not sent, and so often delivered")
                }
                Outcome::Unknown => {
                    coverage.met("outcome", if taken > 0 { "unknown, delivered" } else { "unknown, not delivered" });
                    // Its end is three octets at least: the dot and its CRLF, or BDAT's command.
                    match one.ends_behind {
                        _ if taken > 1 => Err("unknown, and delivered twice".to_owned()),
                        _ if report.cut_short.is_none() => Err("unknown, and nothing cut it short".into()),
                        Some(behind) if *octets >= behind + 3 => Ok(()),
                        behind => Err(format!("unknown, its end is behind {behind:?}, and {octets} octets were taken")),
                    }
                }
            };
            if let Err(why) = verdict {
                wrong.push(format!("message {} to {to}: {why}", one.message));
            }
        }
        if one.given_up && report.is_accepted() {
            wrong.push(format!("message {} was given up, and accepted", one.message));
        }
    }
    wrong
}

fn same(found: usize, expected: usize, what: &str) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what}: {found}")) }
}

fn check_delivery(plan: &Plan, sending: &[Sending], delivery: &Delivery) -> Result<(), String> {
    let sent = sending.iter().find(|one| Some(one.message) == delivery.message).ok_or("delivered, and never sent")?;
    let message = &plan.messages[sent.message];
    let expected = arrives(&message.content, message.endings);
    if delivery.content != expected {
        let at = delivery.content.iter().zip(&expected).take_while(|(one, other)| one == other).count();
        let (got, all) = (delivery.content.len(), expected.len());
        return Err(format!("message {} arrived otherwise, from octet {at} on ({got} of {all})", sent.message));
    }
    if delivery.from != message.from {
        return Err(format!("message {} is from {:?}", sent.message, message.from));
    }
    let mut rest = sent.to.iter();
    if !delivery.to.iter().all(|to| rest.any(|other| other == to)) {
        return Err(format!("message {} was for {:?}", sent.message, sent.to));
    }
    if sent.given_up {
        return Err(format!("message {} was given up", sent.message));
    }
    let mut others = delivery.parameters.clone();
    others.retain(|parameter| !matches!(parameter.keyword(), "SIZE" | "BODY" | "SMTPUTF8"));
    if !are_said(&others, &asked_of_mail(message)) {
        return Err(format!("message {} has {:?}", sent.message, delivery.parameters));
    }
    for (to, parameters) in &delivery.asked_for {
        if !are_said(parameters, &asked_of_rcpt(message, sent.to.first() == Some(to))) {
            return Err(format!("message {} to {to} has {parameters:?}", sent.message));
        }
    }
    for parameter in &delivery.parameters {
        let expected = match parameter.keyword() {
            "SIZE" => message.sized.then(|| message.content.len().to_string()),
            "BODY" if message.kind == BodyKind::EightBitMime => Some("8BITMIME".into()),
            "BODY" => Some("BINARYMIME".into()),
            _ => continue,
        };
        if parameter.value() != expected.as_deref() {
            return Err(format!("message {} has {parameter:?}", sent.message));
        }
    }
    if let Some((_, right)) = &plan.credentials {
        if delivery.user.is_none() || !(*right || plan.fresh_token) {
            return Err("delivered for nobody who is known".into());
        }
    }
    let must = matches!(plan.security, smtp_proto::Security::Implicit | smtp_proto::Security::StartTls);
    if must && !delivery.secured {
        return Err("delivered in clear".into());
    }
    Ok(())
}

/// A reply that bears a number must be the one that was said about this.
fn check_reply(owner: &Owner, message: usize, to: &str, reply: &Reply, accepted: bool) -> Result<(), String> {
    if reply.code().is_positive() != accepted {
        return Err(format!("by {reply}"));
    }
    let text = reply.text();
    let number = text.rsplit_once('<').and_then(|(_, rest)| rest.strip_suffix('>')?.parse().ok());
    let Some(said) = number.and_then(|number: u64| owner.said.get(&number)) else { return Ok(()) };
    let fits = said.accepted == accepted
        && said.message.is_none_or(|one| one == message)
        && said.recipient.as_deref().is_none_or(|one| one == to)
        && (said.is_last || !accepted);
    if fits { Ok(()) } else { Err(format!("by {reply}, which was said of {said:?}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_arrive() {
        for (content, canonical) in [
            (&b""[..], &b""[..]),
            (b"a", b"a\r\n"),
            (b"a\r\n", b"a\r\n"),
            (b"a\nb\rc\r\n", b"a\r\nb\r\nc\r\n"),
            (b"\r\r\n\n.", b"\r\n\r\n\r\n.\r\n"),
        ] {
            assert_eq!(arrives(content, LineEndings::Canonical), canonical, "{}", content.escape_ascii());
            assert_eq!(arrives(content, LineEndings::Exact), content);
        }
    }
}
