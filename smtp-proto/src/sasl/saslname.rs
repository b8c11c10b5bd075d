//! Names inside messages that separate by commas (`saslname` of RFC 5801 section 4): in gs2 headers and in SCRAM.
//!
//! The rules of this file: comma and equals sign are said as `=2C` and `=3D`; nothing else is escaped, and nothing else may
//! follow an equals sign.

use alloc::string::String;

use super::Error;

pub(super) fn escape(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '=' => escaped.push_str("=3D"),
            ',' => escaped.push_str("=2C"),
            c => escaped.push(c),
        }
    }
    escaped
}

pub(super) fn unescape(name: &str) -> Result<String, Error> {
    let mut parts = name.split('=');
    let mut plain = String::from(parts.next().unwrap_or_default());
    for part in parts {
        let (c, rest) = match (part.strip_prefix("3D"), part.strip_prefix("2C")) {
            (Some(rest), _) => ('=', rest),
            (_, Some(rest)) => (',', rest),
            _ => return Err(Error::Syntax("a name says =3D and =2C")),
        };
        plain.push(c);
        plain.push_str(rest);
    }
    Ok(plain)
}

/// The authorization identity of a gs2 header (RFC 5801 section 4): nothing, or `a=` and a name.
pub(super) fn authzid(field: &str) -> Result<Option<String>, Error> {
    match field.strip_prefix("a=") {
        Some(id) if !id.is_empty() => unescape(id).map(Some),
        None if field.is_empty() => Ok(None),
        _ => Err(Error::Syntax("gs2 header")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_and_back() {
        assert_eq!(escape("a=b,c"), "a=3Db=2Cc");
        assert_eq!(unescape("a=3Db=2Cc").as_deref(), Ok("a=b,c"));
        for bad in ["a=", "a=3", "a=41", "=3d"] {
            assert!(unescape(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_authzid_is_absent_or_not_empty() {
        assert_eq!(authzid(""), Ok(None));
        assert_eq!(authzid("a=x=2Cy"), Ok(Some("x,y".into())));
        assert!(authzid("a=").is_err() && authzid("x").is_err());
    }
}
