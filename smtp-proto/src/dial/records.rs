//! What the DNS says of a domain: its mail exchangers (MX) and its submission services (SRV), in the order they are
//! tried.
//!
//! The rules of this file: the caller brings the records and the randomness; a record that cannot be meant is passed
//! over; "there is none" is not the same as "nothing is said".

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use proxy_proto::Name;

use crate::{Config, Security};

/// Records of one answer that are looked at.
const MOST: usize = 64;

/// The domain says that it does not have what was looked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum NotOffered {
    /// It takes no mail (null MX, RFC 7505): a permanent failure, 556 5.1.10 where it is passed on (RFC 7504).
    Mail,
    /// It has no submission service (the target ".", RFC 6186 section 3.4).
    Submission,
}

impl fmt::Display for NotOffered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mail => "the domain takes no mail (null MX)",
            Self::Submission => "the domain has no submission service (its SRV records say so)",
        })
    }
}

impl core::error::Error for NotOffered {}

/// An MX record (RFC 1035 section 3.3.9).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MailExchange {
    /// The lower, the better.
    pub preference: u16,
    /// The host; with or without a dot at its end.
    pub host: String,
}

/// The hosts that take mail for a domain, the best first (RFC 5321 section 5.1).
///
/// Without records it is the domain itself. Those of the same preference are shuffled: `random(n)` gives a number below
/// `n`, or always 0 for an order that is the same each time. Each is a place of its own for
/// [`Dialer::among`](super::Dialer::among).
///
/// # Errors
///
/// [`NotOffered::Mail`] for a null MX.
pub fn mail_exchangers(
    domain: &str,
    records: &[MailExchange],
    mut random: impl FnMut(usize) -> usize,
) -> Result<Vec<String>, NotOffered> {
    if records.is_empty() {
        return Ok(Vec::from([String::from(domain)]));
    }
    let records = records.get(..MOST).unwrap_or(records);
    // A null MX beside others must not be (RFC 7505 section 3): the others count.
    let mut left: Vec<(u16, &str)> =
        records.iter().filter_map(|record| Some((record.preference, host(&record.host)?))).collect();
    if left.is_empty() {
        return Err(NotOffered::Mail);
    }
    let mut hosts: Vec<String> = Vec::with_capacity(left.len());
    while let Some(best) = left.iter().map(|(preference, _)| *preference).min() {
        let equal: Vec<usize> = (0..left.len()).filter(|at| left.get(*at).is_some_and(|one| one.0 == best)).collect();
        let picked = equal.get(random(equal.len()) % equal.len().max(1)).copied().unwrap_or_default();
        let (_, host) = left.remove(picked);
        if !hosts.iter().any(|known| known.eq_ignore_ascii_case(host)) {
            hosts.push(host.into());
        }
    }
    Ok(hosts)
}

/// An SRV record (RFC 2782) of a submission service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Service {
    /// Found under `_submissions._tcp` (implicit TLS, RFC 8314 section 5.1); else under `_submission._tcp` (RFC 6186
    /// section 3.1).
    pub implicit: bool,
    /// The lower, the sooner.
    pub priority: u16,
    /// The greater, the more often first among those of one priority.
    pub weight: u16,
    /// The port.
    pub port: u16,
    /// The host; "." where the service is not offered.
    pub target: String,
}

impl Service {
    /// What `config` says of another server, for this one: its name, its port and its security, which is not guessed.
    ///
    /// Who is in control of the DNS is in control of the name whose certificate is asked for: RFC 6186 section 6 has
    /// the user asked, once, where the target is not within the domain.
    #[must_use]
    pub fn config(&self, config: &Config) -> Config {
        let security = if self.implicit { Security::Implicit } else { Security::StartTls };
        let host = host(&self.target).unwrap_or_default();
        config.clone().to(host, self.port).security(security)
    }
}

/// The services in the order they are tried: by priority; implicit TLS before STARTTLS where that is the same (RFC
/// 8314); by weight as RFC 2782 has it: `random(n)` gives a number below `n`, or always 0 for an order that is the same
/// each time.
///
/// Empty where there are no records: the caller tries the domain's usual names then.
///
/// # Errors
///
/// [`NotOffered::Submission`] where all there is says that there is none.
pub fn services(records: &[Service], mut random: impl FnMut(usize) -> usize) -> Result<Vec<Service>, NotOffered> {
    let records = records.get(..MOST).unwrap_or(records);
    let offered = |record: &&Service| record.port > 0 && host(&record.target).is_some();
    let mut left: Vec<Service> = records.iter().filter(offered).cloned().collect();
    if left.is_empty() && !records.is_empty() {
        return Err(NotOffered::Submission);
    }
    // RFC 2782: those of weight 0 stand first, so that they are seldom picked where others have some.
    left.sort_by_key(|one| (one.priority, !one.implicit, one.weight));
    let mut ordered = Vec::with_capacity(left.len());
    while let Some(first) = left.first() {
        let group = (first.priority, first.implicit);
        let equal = left.iter().take_while(|one| (one.priority, one.implicit) == group);
        let sum: usize = equal.map(|one| usize::from(one.weight)).sum();
        let mut mark = random(sum + 1) % (sum + 1);
        let picked = left.iter().position(|one| {
            let weight = usize::from(one.weight);
            let here = mark <= weight;
            mark = mark.saturating_sub(weight);
            here
        });
        ordered.push(left.remove(picked.unwrap_or_default()));
    }
    Ok(ordered)
}

/// A host that can be asked for; the root, and what is no name, is none.
fn host(name: &str) -> Option<&str> {
    let name = name.strip_suffix('.').unwrap_or(name);
    Name::new(name).is_ok().then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;

    fn exchange(preference: u16, host: &str) -> MailExchange {
        MailExchange { preference, host: host.to_string() }
    }

    fn service(implicit: bool, priority: u16, weight: u16, target: &str) -> Service {
        let port = if implicit { 465 } else { 587 };
        Service { implicit, priority, weight, port, target: target.to_string() }
    }

    #[test]
    fn exchangers_come_by_preference_and_the_equal_ones_at_random() {
        let records =
            [exchange(20, "c."), exchange(10, "a"), exchange(10, "b"), exchange(30, "A."), exchange(10, "x y")];
        assert_eq!(mail_exchangers("d", &records, |_| 0), Ok(vec!["a".into(), "b".into(), "c".into()]));
        assert_eq!(mail_exchangers("d", &records, |n| n - 1), Ok(vec!["b".into(), "a".into(), "c".into()]));
        assert_eq!(mail_exchangers("d", &records, |_| usize::MAX).map(|hosts| hosts.len()), Ok(3), "a bad die");
    }

    #[test]
    fn no_record_is_the_domain_itself_and_the_root_is_nobody() {
        assert_eq!(mail_exchangers("example.org", &[], |_| 0), Ok(vec!["example.org".into()]));
        assert_eq!(mail_exchangers("example.org", &[exchange(0, ".")], |_| 0), Err(NotOffered::Mail));
        assert_eq!(mail_exchangers("d", &[exchange(0, "."), exchange(9, "a")], |_| 0), Ok(vec!["a".into()]));
    }

    #[test]
    fn services_come_by_priority_then_implicit_tls_then_weight() {
        let records = [
            service(false, 0, 0, "starttls"),
            service(true, 1, 5, "later"),
            service(true, 0, 0, "light"),
            service(true, 0, 10, "heavy"),
        ];
        let order = |random: fn(usize) -> usize| -> Vec<String> {
            services(&records, random).unwrap().into_iter().map(|one| one.target).collect()
        };
        assert_eq!(order(|_| 0), ["light", "heavy", "starttls", "later"]);
        assert_eq!(order(|n| n - 1), ["heavy", "light", "starttls", "later"]);
    }

    #[test]
    fn weights_are_chances() {
        // RFC 2782: three quarters, one quarter.
        let records = [service(true, 0, 3, "a"), service(true, 0, 1, "b")];
        let first = |die: usize| services(&records, |_| die).unwrap()[0].target.clone();
        // Weight 1 stands first; the running sums are 1 and 4, the die has 0..=4.
        assert_eq!((0..=4).map(first).collect::<Vec<_>>(), ["b", "b", "a", "a", "a"]);
    }

    #[test]
    fn the_root_says_that_there_is_none() {
        assert_eq!(services(&[], |_| 0), Ok(vec![]));
        assert_eq!(services(&[service(true, 0, 0, ".")], |_| 0), Err(NotOffered::Submission));
        let both = [service(true, 0, 0, "."), service(false, 0, 0, "mx.")];
        let offered = services(&both, |_| 0).unwrap();
        let config = offered[0].config(&Config::new("example.org", 1));
        assert_eq!((config.host(), config.port(), config.get_security()), ("mx", 587, Security::StartTls));
    }

    #[test]
    fn a_domain_that_does_not_want_any_is_told_by_its_records() {
        assert!(NotOffered::Mail.to_string().contains("null MX"));
        assert!(NotOffered::Submission.to_string().contains("SRV"));
    }
}
