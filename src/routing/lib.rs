//! The pick of a model for a request, by its key and the agreed share; pure.
//!
//! A key has one place on a line of 10 000 buckets, the same on every node; the canary's share is the beginning of that
//! line. So who is canary at 5 % is canary at 20 %. The pick knows no clock and draws no random numbers: the weight of
//! the moment and the number for a request without a key are arguments.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

mod murmur;

use model::Weight;
use murmur::murmur3_x86_32;

/// As many buckets as a weight has basis points.
const BUCKETS: u64 = 10_000;

/// A place on the line of 10 000 buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bucket(u16);

/// The one of the two models that gets a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The model that gets what the canary does not get.
    Stable,
    /// The model on trial.
    Canary,
}

impl Bucket {
    /// The bucket of `key` under `salt`: murmur3 of the two put together, scaled to the line.
    pub fn of_key(salt: &str, key: &[u8]) -> Self {
        Self::at(murmur3_x86_32(salt.as_bytes(), key))
    }

    /// The bucket of a request that has no key; `random` is drawn evenly from all 32-bit numbers.
    pub const fn at_random(random: u32) -> Self {
        Self::at(random)
    }

    /// The bucket as a number, 0 to 9 999.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The model that gets this bucket's requests when the canary has `weight`.
    pub const fn choice(self, weight: Weight) -> Choice {
        if self.0 < weight.basis_points() { Choice::Canary } else { Choice::Stable }
    }

    #[allow(clippy::cast_possible_truncation, reason = "a 32-bit number times 10 000 and shifted back is below 10 000")]
    const fn at(hash: u32) -> Self {
        Self(((hash as u64 * BUCKETS) >> 32) as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bucket(key: &str) -> u16 {
        Bucket::of_key("rollout-1", key.as_bytes()).number()
    }

    fn weight(points: u16) -> Weight {
        Weight::from_basis_points(points).expect("tests use weights up to 10 000")
    }

    #[test]
    fn keys_land_where_flagd_puts_them() {
        assert_eq!(bucket("alice"), 8249);
        assert_eq!(bucket("bob"), 6910);
        assert_eq!(bucket("user-1"), 9345);
        assert_eq!(bucket("user-42"), 3407);
    }

    #[test]
    fn the_ends_of_the_line_are_exact() {
        assert_eq!(Bucket::at_random(0).number(), 0);
        assert_eq!(Bucket::at_random(u32::MAX).number(), 9_999);
        assert_eq!(Bucket::at_random(0).choice(Weight::ZERO), Choice::Stable);
        assert_eq!(Bucket::at_random(0).choice(weight(1)), Choice::Canary);
        assert_eq!(Bucket::at_random(u32::MAX).choice(weight(9_999)), Choice::Stable);
        assert_eq!(Bucket::at_random(u32::MAX).choice(Weight::FULL), Choice::Canary);
    }

    #[test]
    fn a_weight_gets_its_share_of_the_keys() {
        const KEYS: u32 = 100_000;
        for points in [100, 500, 2_000, 5_000] {
            let canaries = (0..KEYS)
                .filter(|n| {
                    Bucket::of_key("salt", format!("user-{n}").as_bytes()).choice(weight(points)) == Choice::Canary
                })
                .count();
            let expected = f64::from(KEYS) * f64::from(points) / 10_000.0;
            // Five standard deviations: one false alarm in millions, and the keys are fixed anyway.
            let margin = 5.0 * (expected * (1.0 - f64::from(points) / 10_000.0)).sqrt();
            let canaries = f64::from(u32::try_from(canaries).expect("at most all keys"));
            assert!((canaries - expected).abs() < margin, "{canaries} of {KEYS} keys at {points} basis points");
        }
    }

    #[test]
    fn another_salt_makes_others_the_first() {
        let first = |salt: &str| -> Vec<u32> {
            (0..1_000_u32)
                .filter(|n| Bucket::of_key(salt, &n.to_be_bytes()).choice(weight(500)) == Choice::Canary)
                .collect()
        };
        assert_ne!(first("rollout-1"), first("rollout-2"));
    }

    proptest! {
        #[test]
        fn who_is_canary_stays_canary_as_the_weight_grows(
            salt in ".{0,12}", key in proptest::collection::vec(any::<u8>(), 0..64), low in 0_u16..=10_000, high in 0_u16..=10_000,
        ) {
            let (low, high) = (low.min(high), low.max(high));
            let bucket = Bucket::of_key(&salt, &key);
            if bucket.choice(weight(low)) == Choice::Canary {
                prop_assert_eq!(bucket.choice(weight(high)), Choice::Canary);
            }
            prop_assert!(bucket.number() < 10_000);
        }
    }
}
