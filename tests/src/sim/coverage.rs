//! What was met on the way, counted, so that one sees that every branch is.
//!
//! The rules of this file: names are made where something is met; here they are counted and printed.

use std::collections::BTreeMap;
use std::fmt;

/// How often each thing was met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage(BTreeMap<String, u64>);

impl Coverage {
    /// Something was met: its kind, and what of that kind.
    pub fn met(&mut self, kind: &str, what: impl fmt::Display) {
        *self.0.entry(format!("{kind}: {what}")).or_default() += 1;
    }

    /// How often.
    pub fn count(&self, kind: &str, what: &str) -> u64 {
        self.0.get(&format!("{kind}: {what}")).copied().unwrap_or_default()
    }

    /// Adds what another run has met.
    pub fn add(&mut self, other: &Self) {
        for (name, count) in &other.0 {
            *self.0.entry(name.clone()).or_default() += count;
        }
    }
}

impl fmt::Display for Coverage {
    /// A line each, by kind.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let most = self.0.values().max().copied().unwrap_or(1).max(1);
        for (name, count) in &self.0 {
            let bar = "#".repeat((count * 40).div_ceil(most) as usize);
            writeln!(f, "{count:>9}  {name:<58} {bar}")?;
        }
        Ok(())
    }
}
