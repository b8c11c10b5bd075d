//! Which mechanism to use: what is offered, allowed, driven by the credentials, and safe on this channel.
//!
//! The rules of this file: it decides and tells why not; it starts nothing. Strength comes from
//! [`MechanismName::BY_STRENGTH`] alone. A refusal lists both sides, so that a message to a person can be exact.

use alloc::vec::Vec;
use core::fmt;

use super::{Channel, Credentials, MechanismName};

/// The mechanisms that the user permits.
///
/// By default all of them; those that reveal the secret ([`MechanismName::reveals_secret`]) on a secure channel only.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Allowed {
    only: Option<Vec<MechanismName>>,
    without: Vec<MechanismName>,
    clear_text: bool,
}

impl Allowed {
    /// The default: every mechanism, those that reveal the secret on a secure channel only.
    pub fn all() -> Self {
        Self::default()
    }

    /// These mechanisms and no others; those that reveal the secret still on a secure channel only.
    pub fn only(names: impl IntoIterator<Item = MechanismName>) -> Self {
        Self { only: Some(names.into_iter().collect()), ..Self::default() }
    }

    /// All that were permitted, but this one.
    #[must_use]
    pub fn without(mut self, name: MechanismName) -> Self {
        self.without.push(name);
        self
    }

    /// DANGER: permits sending passwords and tokens where anybody between can read them.
    ///
    /// It lifts just that rule; which mechanisms are permitted stays as it was.
    #[must_use]
    pub const fn danger_allow_clear_text(mut self) -> Self {
        self.clear_text = true;
        self
    }

    /// Whether a mechanism is permitted at all, on a secure channel.
    pub fn permits(&self, name: &MechanismName) -> bool {
        !self.without.contains(name) && self.only.as_ref().is_none_or(|only| only.contains(name))
    }

    /// Whether a mechanism is permitted on this channel.
    pub fn permits_on(&self, name: &MechanismName, channel: &Channel) -> bool {
        self.permits(name) && (channel.secure || self.clear_text || !name.reveals_secret())
    }
}

/// Why there is no mechanism to use. Each of these means: do not send mail, since it would go unauthenticated.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SelectionError {
    /// The server offers no mechanism at all: no AUTH, or an empty list.
    NotOffered,
    /// What the server offers and what could be used here have nothing in common.
    NothingInCommon {
        /// What the server offers.
        offered: Vec<MechanismName>,
        /// What is permitted, built in, fit for these credentials and this channel, the strongest first.
        usable: Vec<MechanismName>,
    },
    /// Some would do, but each of them reveals the secret and the channel is not secure.
    OnlyClearText {
        /// Those that would do on a secure channel.
        names: Vec<MechanismName>,
    },
}

struct List<'a>(&'a [MechanismName]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, name) in self.0.iter().enumerate() {
            write!(f, "{}{name}", if at == 0 { "" } else { ", " })?;
        }
        if self.0.is_empty() { f.write_str("none") } else { Ok(()) }
    }
}

impl fmt::Display for SelectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOffered => f.write_str("the server offers no authentication"),
            Self::NothingInCommon { offered, usable } => write!(
                f,
                "no authentication mechanism in common: the server offers {}; usable here are {}",
                List(offered),
                List(usable)
            ),
            Self::OnlyClearText { names } => write!(
                f,
                "the connection is not secured, and the mechanisms in common ({}) would reveal the secret",
                List(names)
            ),
        }
    }
}

impl core::error::Error for SelectionError {}

/// The mechanisms to try, best first: offered, allowed, built in, driven by the credentials, safe on this channel.
///
/// The order is [`MechanismName::BY_STRENGTH`], whatever the order of the offer. Mechanisms of other names are never
/// selected: who brings one knows when to use it.
///
/// # Errors
///
/// There is none; see [`SelectionError`] for the three reasons.
pub fn select(
    offered: &[MechanismName],
    allowed: &Allowed,
    credentials: &Credentials,
    channel: &Channel,
) -> Result<Vec<MechanismName>, SelectionError> {
    if offered.is_empty() {
        return Err(SelectionError::NotOffered);
    }
    let fit = |name: &&MechanismName| {
        name.is_available()
            && allowed.permits(name)
            && credentials.drives(name)
            && !(name.binds_channel() && channel.bindings.is_empty())
    };
    let usable: Vec<_> = MechanismName::BY_STRENGTH.iter().filter(fit).cloned().collect();
    let common: Vec<_> = usable.iter().filter(|name| offered.contains(name)).cloned().collect();
    if common.is_empty() {
        return Err(SelectionError::NothingInCommon { offered: offered.to_vec(), usable });
    }
    let safe: Vec<_> = common.iter().filter(|name| allowed.permits_on(name, channel)).cloned().collect();
    if safe.is_empty() { Err(SelectionError::OnlyClearText { names: common }) } else { Ok(safe) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;

    use MechanismName::{Login, Plain};

    fn tim() -> Credentials {
        Credentials::password("tim", "secret")
    }

    #[test]
    fn the_strongest_comes_first_whatever_the_order_of_the_offer() {
        let got = select(&[Login, Plain], &Allowed::all(), &tim(), &Channel::secured());
        assert_eq!(got, Ok(vec![Plain, Login]));
    }

    #[test]
    fn no_offer_is_told_apart() {
        assert_eq!(select(&[], &Allowed::all(), &tim(), &Channel::secured()), Err(SelectionError::NotOffered));
    }

    #[test]
    fn nothing_in_common_lists_both_sides() {
        let gssapi = MechanismName::Other("GSSAPI".into());
        let error =
            select(core::slice::from_ref(&gssapi), &Allowed::only([Plain]), &tim(), &Channel::secured()).unwrap_err();
        assert_eq!(error, SelectionError::NothingInCommon { offered: vec![gssapi], usable: vec![Plain] });
        assert!(error.to_string().contains("GSSAPI") && error.to_string().contains("PLAIN"));
    }

    #[test]
    fn clear_text_is_refused_until_the_loud_opt_in() {
        let offered = [Plain, Login];
        assert_eq!(
            select(&offered, &Allowed::all(), &tim(), &Channel::clear()),
            Err(SelectionError::OnlyClearText { names: vec![Plain, Login] })
        );
        let loud = Allowed::only([Login]).danger_allow_clear_text();
        assert_eq!(select(&offered, &loud, &tim(), &Channel::clear()), Ok(vec![Login]));
    }

    #[test]
    fn what_is_forbidden_is_not_selected() {
        let got = select(&[Plain, Login], &Allowed::all().without(Plain), &tim(), &Channel::secured());
        assert_eq!(got, Ok(vec![Login]));
    }

    #[test]
    fn the_documented_order_holds_of_all_that_are_built_in() {
        use super::super::BindingKind;
        use MechanismName as M;
        let offered: Vec<_> = M::BY_STRENGTH.iter().rev().cloned().collect();
        let chosen = |credentials: &Credentials, channel: &Channel| {
            select(&offered, &Allowed::all(), credentials, channel).unwrap()
        };
        let available = |names: &[M]| names.iter().filter(|name| name.is_available()).cloned().collect::<Vec<_>>();
        let hidden = available(&[M::ScramSha512, M::ScramSha256, M::ScramSha1, M::DigestMd5, M::CramMd5, M::Ntlm]);
        let unbound = [&hidden[..], &[Plain, Login]].concat();
        assert_eq!(chosen(&tim(), &Channel::secured()), unbound);
        let clear = select(&offered, &Allowed::all(), &tim(), &Channel::clear());
        assert_eq!(clear.unwrap_or_default(), hidden);
        let bound = Channel::secured().binding(BindingKind::TlsExporter, [1; 32]);
        let plus = available(&[M::ScramSha512Plus, M::ScramSha256Plus, M::ScramSha1Plus]);
        assert_eq!(chosen(&tim(), &bound), [&plus[..], &unbound].concat());
        assert_eq!(chosen(&Credentials::token("tim", "t"), &bound), [M::OAuthBearer, M::XOAuth2]);
        assert_eq!(chosen(&Credentials::external(""), &Channel::clear()), [M::External]);
        assert_eq!(chosen(&Credentials::anonymous(""), &Channel::clear()), [M::Anonymous]);
    }

    #[test]
    fn a_token_stays_at_home_on_a_clear_channel() {
        let names = vec![MechanismName::OAuthBearer];
        let got = select(&names, &Allowed::all(), &Credentials::token("tim", "t"), &Channel::clear());
        assert_eq!(got, Err(SelectionError::OnlyClearText { names }));
    }

    #[cfg(feature = "cram-md5")]
    #[test]
    fn on_a_clear_channel_only_those_that_keep_the_secret_remain() {
        let offered = [Plain, MechanismName::CramMd5];
        assert_eq!(select(&offered, &Allowed::all(), &tim(), &Channel::clear()), Ok(vec![MechanismName::CramMd5]));
    }

    #[test]
    fn each_reason_names_what_is_offered_and_what_would_do() {
        use alloc::string::ToString;
        assert!(SelectionError::NotOffered.to_string().contains("offers no authentication"));
        let (offered, usable) = (vec![MechanismName::Ntlm, Login], vec![Plain]);
        let text = SelectionError::NothingInCommon { offered: offered.clone(), usable }.to_string();
        assert!(text.contains("offers NTLM, LOGIN") && text.contains("PLAIN"), "{text}");
        let text = SelectionError::NothingInCommon { offered, usable: vec![] }.to_string();
        assert!(text.ends_with("none"), "{text}");
        let text = SelectionError::OnlyClearText { names: vec![Plain, Login] }.to_string();
        assert!(text.contains("not secured") && text.contains("(PLAIN, LOGIN)"), "{text}");
    }
}
