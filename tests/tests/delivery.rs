//! What arrives is what was sent: any envelope with any parameters, any body, any cut, any subset of extensions, any way to
//! secure and to authenticate, between a client and a server of ours.

use std::sync::Arc;

use proptest::array::{uniform6, uniform7};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use smtp_proto::body::LineEndings;
use smtp_proto::client::{BodyKind, DeliverBy, Envelope, Event, Notify, Outcome, Report, Ret};
use smtp_proto::command::{Command, Origin};
use smtp_proto::parameter::{
    By, EnvelopeId, Hold, MailParameters, Moment, OriginalRecipient, Priority, Rrvs, Submitter,
};
use smtp_proto::sasl::{Allowed, Credentials, MechanismName};
use smtp_proto::server::{self, Attribute};
use smtp_proto::{Config, Grouping, Misuse, Security, tls};
use tests::oracle::canonical;
use tests::transparent::Transparent;
use tests::wire::Wire;

const BASIC: [&str; 6] = ["PIPELINING", "SIZE", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "CHUNKING"];
const OPTIONAL: [&str; 7] = [
    "BINARYMIME",
    "DSN",
    "REQUIRETLS",
    "DELIVERBY",
    "MT-PRIORITY",
    "FUTURERELEASE 999999999 2099-01-01T00:00:00Z",
    "RRVS",
];
/// Those that bind to the channel need a real one, and SCRAM costs much, so most have none of it.
const MECHANISMS: [&str; 5] = ["PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2", "SCRAM-SHA-256"];
const TO: [&str; 3] = ["bob@example.net", "\"carol c\"@example.net", "dan@[IPv6:2001:db8::1]"];
const INTERNATIONAL: &str = "d\u{f6}rte@s\u{f6}rensen.example";

#[derive(Clone, Debug)]
struct Ways {
    without: [bool; 6],
    with: [bool; 7],
    grouping: Grouping,
    security: Security,
    lmtp: bool,
    mechanism: Option<&'static str>,
    piece: usize,
}

#[derive(Clone, Debug)]
struct Given {
    international: bool,
    size: bool,
    eight_bit: bool,
    require_tls: bool,
    ret: Option<bool>,
    envid: Option<String>,
    by: Option<(i64, bool)>,
    priority: Option<i8>,
    hold: Option<u32>,
    submitter: Option<bool>,
    notify: Option<(bool, bool, bool)>,
    orcpt: Option<String>,
    rrvs: Option<u8>,
    refused: [bool; 3],
}

fn ways() -> impl Strategy<Value = Ways> {
    let grouping = prop_oneof![Just(Grouping::OneByOne), Just(Grouping::Groups), Just(Grouping::Flights)];
    let security =
        prop_oneof![Just(Security::None), Just(Security::StartTls), Just(Security::Implicit), Just(Security::Auto)];
    let mechanism = prop_oneof![
        6 => Just(None),
        2 => Just(Some(0)), 2 => Just(Some(1)), 2 => Just(Some(2)), 2 => Just(Some(3)), 1 => Just(Some(4)),
    ];
    let piece = prop_oneof![Just(1), 2_usize..9, 9_usize..200, Just(usize::MAX)];
    // Most are there, or most messages could not be sent.
    let sets = (uniform6(prop::bool::weighted(0.2)), uniform7(prop::bool::weighted(0.85)));
    (sets, grouping, security, any::<bool>(), mechanism, piece).prop_map(
        |((without, with), grouping, security, lmtp, mechanism, piece)| {
            let mechanism = mechanism.map(|at: usize| MECHANISMS[at]);
            Ways { without, with, grouping, security, lmtp, mechanism, piece }
        },
    )
}

fn given() -> impl Strategy<Value = Given> {
    // Rarely many at once, or some extension would always be missing.
    let rare = |chance| prop::bool::weighted(chance);
    let flags = (rare(0.3), any::<bool>(), rare(0.3), rare(0.1));
    let dsn = (of(any::<bool>()), of("[ -~]{1,30}"), of(any::<(bool, bool, bool)>()), of("[ -~\u{e0}-\u{fc}]{1,30}"));
    let dsn = (rare(0.5), dsn);
    let late = (of((-9_999_999_i64..9_999_999, any::<bool>())), of(-9_i8..=9), of(1_u32..999_999_999), of(0_u8..3));
    let late = (rare(0.3), late);
    (flags, dsn, late, (rare(0.2), any::<bool>()), any::<[bool; 3]>(), rare(0.3)).prop_map(
        |((international, size, eight_bit, require_tls), dsn, late, submitter, refused, some_refused)| {
            let (ret, envid, notify, orcpt) = if dsn.0 { dsn.1 } else { Default::default() };
            let (by, priority, hold, rrvs) = if late.0 { late.1 } else { Default::default() };
            let submitter = submitter.0.then_some(submitter.1);
            let refused = if some_refused { refused } else { [false; 3] };
            Given {
                international,
                size,
                eight_bit,
                require_tls,
                ret,
                envid,
                by,
                priority,
                hold,
                submitter,
                notify,
                orcpt,
                rrvs,
                refused,
            }
        },
    )
}

/// Line ends, dots and what lies between them, most often at the places where it matters.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        Just(b"\r\n".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"\r".to_vec()),
        Just(b".".to_vec()),
        Just(b"\r\n.\r\n".to_vec()),
        Just(b"Subject: x".to_vec()),
        Just(vec![b'x'; 1200]),
        vec(any::<u8>(), 0..40),
    ];
    vec(part, 0..12).prop_map(|parts| parts.concat())
}

fn wire(ways: &Ways) -> Wire {
    let mut host = server::Config::new("mx.example.org").unwrap().lmtp(ways.lmtp);
    for (keyword, _) in BASIC.into_iter().zip(ways.without).filter(|(_, without)| *without) {
        host = host.without(keyword);
    }
    for (line, _) in OPTIONAL.into_iter().zip(ways.with).filter(|(_, with)| *with) {
        host = host.with(line).unwrap();
    }
    let mut config = Config::new("localhost", 25).security(ways.security).tls(Transparent).lmtp(ways.lmtp);
    config = config.grouping(ways.grouping).entropy(|octets| octets.fill(7));
    if let Some(name) = ways.mechanism {
        let name: MechanismName = name.parse().unwrap();
        host = host.mechanisms([name.clone()]).danger_allow_clear_text_auth(true);
        let login = match name {
            MechanismName::XOAuth2 => Credentials::token("alice", "correct-horse"),
            _ => Credentials::password("alice", "correct-horse"),
        };
        config = config.credentials(login).allowed(Allowed::only([name]).danger_allow_clear_text());
    }
    let acceptor: Option<Arc<dyn tls::Acceptor>> =
        if ways.security == Security::None { None } else { Some(Arc::new(Transparent)) };
    let mut wire = Wire::new(config, host, acceptor, ways.security == Security::Implicit, ways.piece);
    wire.manners.password = Some("correct-horse".into());
    wire
}

fn moment(at: u8) -> &'static str {
    ["2014-04-03T23:01:00Z", "1985-04-12T23:20:50.52Z", "1996-12-19T16:39:57-08:00"][usize::from(at)]
}

/// The envelope, and what its MAIL is to be read as.
fn envelope(given: &Given, octets: usize) -> (Envelope, MailParameters) {
    let from = if given.international { INTERNATIONAL } else { "alice@example.org" };
    let mut envelope = Envelope::new(from, TO).unwrap();
    let mut expected = MailParameters::default();
    expected.smtputf8 = given.international;
    if given.size {
        envelope = envelope.size(octets as u64);
        expected.size = Some(octets as u64);
    }
    if given.eight_bit {
        envelope = envelope.body(BodyKind::EightBitMime);
        expected.body = Some(BodyKind::EightBitMime);
    }
    if given.require_tls {
        envelope = envelope.require_tls();
        expected.require_tls = true;
    }
    if let Some(full) = given.ret {
        let ret = if full { Ret::Full } else { Ret::Headers };
        envelope = envelope.ret(ret);
        expected.ret = Some(ret);
    }
    if let Some(id) = &given.envid {
        envelope = envelope.envid(id).unwrap();
        expected.envid = Some(EnvelopeId::new(id).unwrap());
    }
    if let Some((seconds, trace)) = given.by {
        let or = if seconds > 0 { DeliverBy::Return } else { DeliverBy::Notify };
        envelope = envelope.deliver_by(seconds, or, trace).unwrap();
        expected.by = Some(By::new(seconds, or, trace).unwrap());
    }
    if let Some(priority) = given.priority {
        envelope = envelope.mt_priority(priority).unwrap();
        expected.priority = Some(Priority::new(priority).unwrap());
    }
    if let Some(seconds) = given.hold {
        // Odd ones are said as a moment.
        if seconds % 2 == 0 {
            envelope = envelope.hold_for(seconds).unwrap();
            expected.hold = Some(Hold::For(seconds));
        } else {
            envelope = envelope.hold_until(moment(0)).unwrap();
            expected.hold = Some(Hold::Until(Moment::new(moment(0)).unwrap()));
        }
    }
    if let Some(known) = given.submitter {
        let mailbox = known.then_some("a+b=c@example.org");
        envelope = envelope.auth(mailbox).unwrap();
        expected.auth = Some(mailbox.map_or(Submitter::Unknown, |one| Submitter::Mailbox(one.parse().unwrap())));
    }
    if let Some((success, failure, delay)) = given.notify {
        envelope = envelope.notify(0, Notify { success, failure, delay });
    }
    if let Some(address) = &given.orcpt {
        envelope = envelope.orcpt(0, kind(address), address).unwrap();
    }
    if let Some(at) = given.rrvs {
        envelope = envelope.rrvs(0, moment(at)).unwrap();
    }
    (envelope, expected)
}

fn kind(address: &str) -> &'static str {
    if address.is_ascii() { "rfc822" } else { "utf-8" }
}

/// The extensions that an envelope takes.
fn needed(given: &Given, binary: bool) -> Vec<&'static str> {
    let dsn = given.ret.is_some() || given.envid.is_some() || given.notify.is_some() || given.orcpt.is_some();
    let all = [
        (given.international, "SMTPUTF8"),
        (given.eight_bit && !binary, "8BITMIME"),
        (binary, "BINARYMIME"),
        (binary, "CHUNKING"),
        (given.require_tls, "REQUIRETLS"),
        (dsn, "DSN"),
        (given.by.is_some(), "DELIVERBY"),
        (given.priority.is_some(), "MT-PRIORITY"),
        (given.hold.is_some(), "FUTURERELEASE"),
        (given.submitter.is_some(), "AUTH"),
        (given.rrvs.is_some(), "RRVS"),
    ];
    all.into_iter().filter_map(|(is, extension)| is.then_some(extension)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(600) })]

    #[test]
    fn what_arrives_is_what_was_sent(
        ways in ways(),
        messages in vec((given(), body(), 0_usize..3), 1..4),
        one_by_one in any::<bool>(),
    ) {
        let mut wire = wire(&ways);
        prop_assert!(wire.run_until(|event| *event == Event::Ready), "{:?} {:?}", wire.failure, wire.server_failure);
        prop_assert_eq!(wire.client.authenticated().map(MechanismName::as_str), ways.mechanism);
        let offered = wire.client.extensions().clone();
        let without = |keyword| BASIC.into_iter().zip(ways.without).any(|(one, without)| one == keyword && without);
        for keyword in BASIC {
            // RFC 6531 section 3.1: not without 8BITMIME.
            let lacks = keyword == "SMTPUTF8" && without("8BITMIME");
            prop_assert_eq!(offered.offers(keyword), !without(keyword) && !lacks);
        }
        // One set of manners serves all messages of a session.
        let refused = messages[0].0.refused;
        wire.manners.refuse = TO.iter().zip(refused).filter(|(_, no)| *no).map(|(to, _)| to.to_string()).collect();
        let mut sent = Vec::new();
        for (given, message, endings) in &messages {
            let whole = canonical(message);
            let endings = match endings {
                1 if whole == *message && !message.contains(&0) => LineEndings::Strict,
                2 => LineEndings::Exact,
                _ => LineEndings::Canonical,
            };
            let exact = endings == LineEndings::Exact;
            let (envelope, mut expected) = envelope(given, message.len());
            let missing: Vec<_> =
                needed(given, exact).into_iter().filter(|extension| !offered.offers(extension)).collect();
            match wire.client.send(envelope, endings) {
                Err(Misuse::NotOffered { extension }) => {
                    prop_assert!(missing.contains(&extension), "{} is there", extension);
                    continue;
                }
                queued => {
                    prop_assert!(missing.is_empty(), "{:?} is not there", missing);
                    if exact {
                        expected.body = Some(BodyKind::BinaryMime);
                    }
                    expected.size = expected.size.filter(|_| offered.offers("SIZE"));
                    let content = if exact { message.clone() } else { whole };
                    sent.push((queued.unwrap(), given, message, expected, content));
                    if one_by_one {
                        let id = sent[sent.len() - 1].0;
                        wire.run_out_to(&[(id, message)], |event| matches!(event, Event::Sent(_)));
                    }
                }
            }
        }
        if !one_by_one {
            let all: Vec<_> = sent.iter().map(|(id, _, message, ..)| (*id, &message[..])).collect();
            let left = std::cell::Cell::new(all.len());
            if !all.is_empty() {
                wire.run_out_to(&all, |event| {
                    left.set(left.get() - usize::from(matches!(event, Event::Sent(_))));
                    left.get() == 0
                });
            }
        }
        wire.client.quit().unwrap();
        prop_assert!(wire.run_until(|event| matches!(event, Event::Closed(Some(_)))), "{:?} {:?}", wire.failure, wire.server_failure);

        let reports: Vec<&Report> =
            wire.events.iter().filter_map(|event| if let Event::Sent(one) = event { Some(one) } else { None }).collect();
        prop_assert_eq!(reports.len(), sent.len());
        let mut arrived = wire.arrived.iter();
        for (report, (id, given, _, expected, content)) in reports.into_iter().zip(&sent) {
            prop_assert_eq!(report.transaction, *id);
            let accepted: Vec<_> = TO.into_iter().zip(refused).filter(|(_, no)| !no).map(|(to, _)| to).collect();
            for (recipient, no) in report.recipients.iter().zip(refused) {
                let fits = match recipient.outcome {
                    Outcome::Accepted(_) => !no,
                    Outcome::Refused(_) => no,
                    _ => false,
                };
                prop_assert!(fits, "{:?}", recipient);
            }
            if accepted.is_empty() {
                continue;
            }
            let one = arrived.next().unwrap();
            prop_assert_eq!(one.content.escape_ascii().to_string(), content.escape_ascii().to_string());
            prop_assert_eq!(&one.from, if given.international { INTERNATIONAL } else { "alice@example.org" });
            prop_assert_eq!(&one.to, &accepted);
            prop_assert_eq!(&one.mail, expected);
            if accepted[0] == TO[0] {
                let first = &one.rcpt[0];
                let notify = given.notify.map(|(success, failure, delay)| Notify { success, failure, delay });
                let orcpt = given.orcpt.as_ref().map(|one| OriginalRecipient::new(kind(one), one).unwrap());
                let since = given.rrvs.map(|at| Rrvs { since: Moment::new(moment(at)).unwrap(), or_continue: None });
                prop_assert_eq!((first.notify, &first.orcpt, &first.rrvs), (notify, &orcpt, &since));
            }
        }
        prop_assert!(arrived.next().is_none(), "more than was sent");
        prop_assert_eq!((&wire.failure, &wire.server_failure), (&None, &None));
    }
}

#[test]
fn who_a_proxy_speaks_for_arrives() {
    let host = server::Config::new("mx.example.org").unwrap().permit_xclient(true);
    let config = Config::new("localhost", 25).security(Security::None).entropy(|octets| octets.fill(7));
    for piece in [1, 7, usize::MAX] {
        let mut wire = Wire::new(config.clone(), host.clone(), None, false, piece);
        assert!(wire.run_until(|event| *event == Event::Ready));
        let origin = Origin::new()
            .name("spike.example")
            .addr("2001:db8::1".parse().unwrap())
            .port(54321)
            .proto(true)
            .helo("a b=c+")
            .login("tim@example.org")
            .dest_addr("192.0.2.7".parse().unwrap())
            .dest_port(25);
        wire.client.command(Command::xclient(&origin).unwrap()).unwrap();
        assert!(wire.run_until(|event| *event == Event::Ready), "{:?} {:?}", wire.failure, wire.server_failure);
        let known = wire.server.session().xclient().unwrap();
        assert_eq!(known.name, Some(Attribute::Is("spike.example".into())));
        assert_eq!(known.address, Some(Attribute::Is("2001:db8::1".parse().unwrap())));
        assert_eq!((&known.port, &known.extended), (&Some(Attribute::Is(54321)), &Some(Attribute::Is(true))));
        assert_eq!(known.helo, Some(Attribute::Is("a b=c+".into())));
        assert_eq!(known.login, Some(Attribute::Is("tim@example.org".into())));
        assert_eq!(known.destination, Some(Attribute::Is("192.0.2.7".parse().unwrap())));
        assert_eq!(known.destination_port, Some(Attribute::Is(25)));
    }
}
