//! How eagerly is dialled.

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use crate::Misuse;

/// How eagerly is dialled, and where a port is not known, which are tried.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    /// How long an attempt is silent before the next one begins beside it: RFC 8305's Connection Attempt Delay (section
    /// 5). 250 ms; from [`Policy::SHORTEST`] to [`Policy::LONGEST`] may be set (RFC 8305 section 8).
    pub stagger: Duration,
    /// Whether, with [`Security::Auto`](crate::Security::Auto), a second connection may be opened to the same port to
    /// try the other guess, TLS first or greeting first, while the first one is silent. Set; a server that punishes
    /// whoever speaks before its greeting, as some do that relay mail, is better asked without.
    pub second_guess: bool,
    /// Attempts under way at once, at most; those are counted that are not ready. 8.
    pub at_once: usize,
    /// The ports to try where none is known, the best first. 465, 587 and 25 (RFC 8314 section 3.3): TLS first on 465,
    /// STARTTLS and nothing less on 587, on others what can be had. Leave out 25 where mail is submitted.
    pub ports: Vec<u16>,
}

impl Policy {
    /// The shortest stagger: RFC 8305 section 8 recommends not to go below.
    pub const SHORTEST: Duration = Duration::from_millis(100);
    /// The longest stagger, of RFC 8305 section 8.
    pub const LONGEST: Duration = Duration::from_secs(2);

    /// Another stagger. [`check`](Self::check) refuses what is out of its range.
    #[must_use]
    pub const fn stagger(mut self, stagger: Duration) -> Self {
        self.stagger = stagger;
        self
    }

    /// Whether a second connection may be opened to the same port, for the other guess.
    #[must_use]
    pub const fn second_guess(mut self, may: bool) -> Self {
        self.second_guess = may;
        self
    }

    /// So many attempts under way at once, at most.
    #[must_use]
    pub const fn at_once(mut self, attempts: usize) -> Self {
        self.at_once = attempts;
        self
    }

    /// The ports to try where none is known, the best first.
    #[must_use]
    pub fn ports(mut self, ports: impl IntoIterator<Item = u16>) -> Self {
        self.ports = ports.into_iter().collect();
        self
    }

    /// Refuses what cannot be meant.
    ///
    /// # Errors
    ///
    /// [`Misuse::Range`] for the stagger; [`Misuse::Empty`] where nothing may be tried, or no port is named, or one is 0.
    pub fn check(&self) -> Result<(), Misuse> {
        if !(Self::SHORTEST..=Self::LONGEST).contains(&self.stagger) {
            return Err(Misuse::Range { what: "stagger", least: Self::SHORTEST, most: Self::LONGEST });
        }
        if self.at_once == 0 {
            return Err(Misuse::Empty { what: "number of attempts at once" });
        }
        if self.ports.is_empty() || self.ports.contains(&0) {
            return Err(Misuse::Empty { what: "list of ports, or a port of it," });
        }
        Ok(())
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self { stagger: Duration::from_millis(250), second_guess: true, at_once: 8, ports: vec![465, 587, 25] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_meant_is_refused() {
        assert_eq!(Policy::default().check(), Ok(()));
        for stagger in [Duration::ZERO, Duration::from_millis(99), Duration::from_secs(3), Duration::MAX] {
            let policy = Policy { stagger, ..Policy::default() };
            assert!(matches!(policy.check(), Err(Misuse::Range { what: "stagger", .. })), "{stagger:?}");
        }
        assert!(Policy { at_once: 0, ..Policy::default() }.check().is_err());
        assert!(Policy { ports: vec![], ..Policy::default() }.check().is_err());
        assert!(Policy { ports: vec![587, 0], ..Policy::default() }.check().is_err());
        assert!(Policy::default().stagger(Duration::ZERO).check().is_err());
        assert!(Policy::default().at_once(0).check().is_err());
        let policy = Policy::default().second_guess(false).ports([465]);
        assert_eq!((policy.check(), policy.second_guess, &policy.ports[..]), (Ok(()), false, &[465][..]));
    }
}
