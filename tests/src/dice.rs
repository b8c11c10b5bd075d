//! Chance that can be repeated: a seed, and what follows from it.
//!
//! The rules of this file: the same seed gives the same throws on every machine and in every build; whoever throws has dice of
//! its own ([`Dice::fork`]), so that one more throw here does not change what happens there.

use std::time::Duration;

/// Dice by splitmix64 (Steele, Lea and Flood, 2014), which is more than good enough for choosing what to try.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The dice of this seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Other dice, which depend on these and on nothing else.
    pub fn fork(&mut self) -> Self {
        Self(self.throw())
    }

    /// Any number.
    pub fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`; 0 where that is 0.
    pub fn below(&mut self, limit: usize) -> usize {
        // The remainder is as good as even for limits that are small beside 2^64.
        (self.throw() % (limit.max(1) as u64)) as usize
    }

    /// A number from `least` to `most`, both included.
    pub fn range(&mut self, least: usize, most: usize) -> usize {
        least + self.below(most.saturating_sub(least) + 1)
    }

    /// `true` once in so many throws; never for 0.
    pub fn one_in(&mut self, so_many: usize) -> bool {
        let thrown = self.below(so_many);
        so_many > 0 && thrown == 0
    }

    /// One of these.
    ///
    /// # Panics
    ///
    /// Where there is none.
    pub fn pick<T: Copy>(&mut self, these: &[T]) -> T {
        these[self.below(these.len())]
    }

    /// A time from `least` to `most` milliseconds.
    pub fn millis(&mut self, least: usize, most: usize) -> Duration {
        Duration::from_millis(self.range(least, most) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_throws_of_a_seed() {
        // The test vector that comes with the reference implementation (Vigna, splitmix64.c), for the seed 1234567.
        let mut dice = Dice::new(1_234_567);
        let expected = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ];
        assert_eq!(expected.map(|_| dice.throw()), expected);
    }

    #[test]
    fn throws_stay_in_their_bounds_and_reach_them() {
        let mut dice = Dice::new(1);
        let thrown: Vec<usize> = (0..200).map(|_| dice.range(3, 5)).collect();
        assert!((3..=5).all(|side| thrown.contains(&side)) && thrown.iter().all(|side| (3..=5).contains(side)));
        assert!(!(0..200).any(|_| dice.one_in(0)) && (0..200).all(|_| dice.one_in(1)));
    }
}
