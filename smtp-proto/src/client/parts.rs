//! One message in several transactions: split before, continued behind, and told as one (RFC 9422, RFC 5321 section 4.5.3.1.10).
//!
//! The rules of this file:
//!
//! - A part has all that the envelope says, and some of its recipients; each recipient is in one part.
//! - A recipient whom the server had no room for is no refusal of the recipient: he goes into a further transaction, as long as
//!   each one takes somebody in.
//! - The reports of parts, merged, are in the order of the envelope.

use alloc::vec::Vec;

use super::envelope::Envelope;
use super::report::{Outcome, Recipient, Report};
use crate::command::ForwardPath;
use crate::extension::Extensions;
use crate::reply::Reply;

impl Envelope {
    /// Splits the envelope where it has more recipients, or recipients in more domains, than the server takes in one
    /// transaction (RCPTMAX and RCPTDOMAINMAX of LIMITS, RFC 9422); as a rule there is one part.
    ///
    /// The message goes with each of them; their reports are [merged](Report::merge). What is
    /// [required](Envelope::require) is required of each part by itself.
    pub fn parts(self, offered: &Extensions) -> Vec<Self> {
        let (most, domains) = (offered.limit("RCPTMAX"), offered.limit("RCPTDOMAINMAX"));
        if most.is_none() && domains.is_none() {
            return alloc::vec![self];
        }
        let (most, domains) = (most.unwrap_or(u64::MAX), domains.unwrap_or(u64::MAX));
        let Self { reverse_path, recipients, declared } = self;
        // With the number of domains in each.
        let mut parts: Vec<(Self, u64)> = Vec::new();
        for recipient in recipients {
            let knows = |part: &Self| part.recipients.iter().any(|one| same_domain(&one.path, &recipient.path));
            let has_room = |(part, count): &&mut (Self, u64)| {
                (part.recipients.len() as u64) < most && (*count < domains || knows(part))
            };
            match parts.iter_mut().find(has_room) {
                Some((part, count)) => {
                    *count += u64::from(!knows(part));
                    part.recipients.push(recipient);
                }
                None => {
                    let (reverse_path, declared) = (reverse_path.clone(), declared.clone());
                    parts.push((Self { reverse_path, recipients: alloc::vec![recipient], declared }, 1));
                }
            }
        }
        parts.into_iter().map(|(part, _)| part).collect()
    }
}

impl Report {
    /// The envelope of a further transaction, for those whom the server had no room for in this one: refused with 452 for being
    /// too many (RFC 5321 section 4.5.3.1.10), or with the 552 of old servers, while the message was accepted for others.
    ///
    /// Where everybody was refused there is nothing to go on with, so this comes to an end. Its report is to be
    /// [merged](Self::merge) into this one.
    pub fn remaining(&self) -> Option<Envelope> {
        if !self.recipients.iter().any(|one| matches!(one.outcome, Outcome::Accepted(_))) {
            return None;
        }
        let crowded_out = |one: &&Recipient| one.rcpt.as_ref().is_some_and(is_too_many);
        let again = |one: &Recipient| Recipient { rcpt: None, outcome: Outcome::NotSent, ..one.clone() };
        let recipients: Vec<_> = self.recipients.iter().filter(crowded_out).map(again).collect();
        (!recipients.is_empty()).then(|| Envelope {
            reverse_path: self.reverse_path.clone(),
            recipients,
            declared: self.declared.clone(),
        })
    }

    /// Takes the report of a further transaction with the same message in: a recipient told of there has what is said there;
    /// octets, flights and commands are added up. What decided about the whole stays what it was, where there was anything.
    pub fn merge(&mut self, later: Self) {
        for recipient in later.recipients {
            let same = |one: &&mut Recipient| one.place == recipient.place && one.path == recipient.path;
            match self.recipients.iter_mut().find(same) {
                Some(known) => *known = recipient,
                None => self.recipients.push(recipient),
            }
        }
        self.recipients.sort_by_key(|one| one.place);
        if self.reply.is_none() {
            (self.reply, self.answered) = (later.reply, later.answered);
        }
        self.cut_short = self.cut_short.take().or(later.cut_short);
        self.misuse = self.misuse.take().or(later.misuse);
        self.octets += later.octets;
        self.flights += later.flights;
        self.commands += later.commands;
    }
}

impl Report {
    /// Takes in those for whom no further transaction was begun: the message was not sent to them.
    pub fn merge_unsent(&mut self, part: Envelope) {
        for recipient in part.recipients {
            let known = |one: &Recipient| one.place == recipient.place && one.path == recipient.path;
            if !self.recipients.iter().any(known) {
                self.recipients.push(recipient);
            }
        }
        self.recipients.sort_by_key(|one| one.place);
    }
}

/// Is this about the number of recipients, and not about this one?
fn is_too_many(reply: &Reply) -> bool {
    let says_so = || reply.message().to_ascii_lowercase().contains("too many recipients");
    match (reply.code().number(), reply.enhanced()) {
        (452 | 552, Some(status)) => (status.subject, status.detail) == (5, 3),
        (452, None) => true,
        (552, None) => says_so(),
        _ => false,
    }
}

fn domain(path: &ForwardPath) -> &str {
    path.as_str().rsplit_once('@').map_or("", |(_, domain)| domain)
}

fn same_domain(one: &ForwardPath, other: &ForwardPath) -> bool {
    domain(one).eq_ignore_ascii_case(domain(other))
}

/// In how many domains these recipients are.
pub(super) fn count_domains(recipients: &[Recipient]) -> u64 {
    let is_first =
        |(at, one): &(usize, &Recipient)| !recipients[..*at].iter().any(|two| same_domain(&one.path, &two.path));
    recipients.iter().enumerate().filter(is_first).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Notify, TransactionId};
    use crate::reply::Code;
    use alloc::string::{String, ToString};
    use alloc::vec;

    fn offers(limits: &str) -> Extensions {
        Extensions::from_reply(&Reply::new(Code::OK, ["mx\nLIMITS ", limits].concat()).unwrap())
    }

    fn envelope(to: &[&str]) -> Envelope {
        Envelope::new("a@example.org", to).unwrap()
    }

    fn names(parts: &[Envelope]) -> Vec<Vec<String>> {
        parts.iter().map(|part| part.recipients().map(ToString::to_string).collect()).collect()
    }

    #[test]
    fn an_envelope_is_split_as_the_limits_say_and_no_further() {
        let five = ["a@x", "b@y", "c@X", "d@z", "e@x"];
        let parts = |limits: &str| names(&envelope(&five).parts(&offers(limits)));
        assert_eq!(parts("MAILMAX=3"), [five.to_vec()]);
        assert_eq!(parts("RCPTMAX=5 RCPTDOMAINMAX=3"), [five.to_vec()]);
        assert_eq!(parts("RCPTMAX=2"), [vec!["a@x", "b@y"], vec!["c@X", "d@z"], vec!["e@x"]]);
        assert_eq!(parts("RCPTDOMAINMAX=1"), [vec!["a@x", "c@X", "e@x"], vec!["b@y"], vec!["d@z"]]);
        assert_eq!(parts("RCPTDOMAINMAX=2 RCPTMAX=3"), [vec!["a@x", "b@y", "c@X"], vec!["d@z", "e@x"]]);
        // Every part keeps to the limits, and says all that the whole said.
        let whole = envelope(&five).size(9).smtputf8().notify(3, Notify::default());
        for limits in ["RCPTMAX=1", "RCPTMAX=2 RCPTDOMAINMAX=1", "RCPTDOMAINMAX=2"] {
            let parts = whole.clone().parts(&offers(limits));
            assert_eq!(parts.iter().map(|part| part.recipients.len()).sum::<usize>(), 5);
            for part in &parts {
                assert_eq!(part.declared, whole.declared);
                assert!(part.recipients.len() as u64 <= offers(limits).limit("RCPTMAX").unwrap_or(5));
                assert!(count_domains(&part.recipients) <= offers(limits).limit("RCPTDOMAINMAX").unwrap_or(5));
            }
            let notified: Vec<_> = parts.iter().flat_map(|part| &part.recipients).collect();
            assert!(notified.iter().all(|one| one.parameters.is_empty() != (one.path.as_str() == "d@z")));
        }
    }

    fn report(envelope: &Envelope, replies: &[&str]) -> Report {
        let mut recipients = envelope.recipients.clone();
        for (one, text) in recipients.iter_mut().zip(replies) {
            let (code, text) = text.split_once(' ').unwrap();
            let reply = Reply::new(Code::new(code.parse().unwrap()).unwrap(), text).unwrap();
            one.outcome = Outcome::by(reply.clone());
            one.rcpt = Some(reply);
        }
        Report {
            transaction: TransactionId(1),
            reverse_path: envelope.reverse_path.clone(),
            recipients,
            reply: None,
            answered: None,
            cut_short: None,
            misuse: None,
            octets: 10,
            flights: 1,
            commands: 3,
            declared: envelope.declared.clone(),
        }
    }

    #[test]
    fn those_for_whom_there_was_no_room_remain() {
        for (reply, remains) in [
            ("452 4.5.3 Error: too many recipients", true),
            ("452 too many recipients", true),
            ("552 5.5.3 Too many recipients", true),
            ("552 Too many recipients", true),
            ("452 4.3.1 Insufficient system storage", false),
            ("452 4.2.2 Mailbox full", false),
            ("552 5.2.2 Mailbox full", false),
            ("552 Mailbox full", false),
            ("451 4.5.3 wait", false),
            ("550 5.1.1 no such user", false),
            ("250 2.1.5 fine", false),
        ] {
            let whole = envelope(&["a@x", "b@x"]).size(7).rrvs(1, "2014-04-03T23:01:00Z").unwrap();
            let remaining = report(&whole, &["250 fine", reply]).remaining();
            assert_eq!(remaining.is_some(), remains, "{reply}");
            if let Some(envelope) = remaining {
                assert_eq!(names(core::slice::from_ref(&envelope)), [["b@x"]]);
                assert_eq!(
                    (envelope.declared, &envelope.recipients[0].parameters),
                    (whole.declared.clone(), &whole.recipients[1].parameters)
                );
            }
            assert!(report(&whole, &[reply, reply]).remaining().is_none(), "nobody was taken in");
        }
    }

    #[test]
    fn merged_reports_are_in_the_order_of_the_envelope() {
        let five = ["a@x", "b@y", "c@x", "d@z", "a@x"];
        let parts = envelope(&five).parts(&offers("RCPTDOMAINMAX=1"));
        let mut whole = report(&parts[0], &["250 one", "452 too many recipients", "452 too many recipients"]);
        whole.merge(report(&parts[1], &["550 two"]));
        whole.merge(report(&parts[2], &["250 three"]));
        let rest = whole.remaining().unwrap();
        assert_eq!(names(core::slice::from_ref(&rest)), [["c@x", "a@x"]]);
        whole.merge(report(&rest, &["250 four", "550 five"]));
        assert_eq!(whole.remaining(), None);
        let told: Vec<_> = whole
            .recipients
            .iter()
            .map(|one| (one.path.as_str(), one.rcpt.as_ref().unwrap().text().into_owned()))
            .collect();
        let expected = ["one", "two", "four", "three", "five"];
        assert_eq!(told, five.into_iter().zip(expected.map(String::from)).collect::<Vec<_>>());
        assert_eq!((whole.octets, whole.flights, whole.commands), (40, 4, 12));
    }

    #[test]
    fn those_who_were_never_asked_are_told_as_not_sent_and_nobody_is_told_twice() {
        let mut parts = envelope(&["a@x", "b@y", "a@x"]).parts(&offers("RCPTMAX=1")).into_iter();
        let [first, second, third] = core::array::from_fn(|_| parts.next().unwrap());
        let mut whole = report(&second, &["250 fine"]);
        whole.merge_unsent(third);
        // One that is told of already keeps what was said of it.
        whole.merge_unsent(second);
        whole.merge_unsent(first);
        let told: Vec<_> = whole.recipients.iter().map(|one| (one.place, one.path.as_str(), &one.outcome)).collect();
        assert!(matches!(
            told[..],
            [(0, "a@x", Outcome::NotSent), (1, "b@y", Outcome::Accepted(_)), (2, "a@x", Outcome::NotSent)]
        ));
    }
}
