//! The checksum of a live list, and how digests are written.

use std::{fmt, sync::Arc};

use crate::Topic;

/// A checksum of a live list, which a client can compute for itself: the sum over the list of
/// `mix(mix(id) + revision)`, modulo 2^64, where `mix` is one step of splitmix64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest(u64);

impl Digest {
    /// Computes the digest of a list of topics.
    pub(crate) fn of(topics: &[Arc<Topic>]) -> Self {
        Self::of_pairs(
            topics
                .iter()
                .map(|topic| (topic.id.get(), topic.revision.get())),
        )
    }

    /// Computes the digest of a list from the ids and revisions of its topics, in any order.
    #[must_use]
    pub fn of_pairs(pairs: impl Iterator<Item = (u64, u64)>) -> Self {
        Self(
            pairs
                .map(|(id, revision)| mix(mix(id).wrapping_add(revision)))
                .fold(0, u64::wrapping_add),
        )
    }
}

/// Sixteen lower-case hex digits.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Writes bytes as lower-case hex digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Mixes a number by one step of splitmix64 (Steele, Lea and Flood 2014): adds the golden gamma,
/// then finalises.
const fn mix(x: u64) -> u64 {
    let z = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_is_the_one_of_the_contract() {
        assert_eq!(
            Digest::of_pairs([(1, 1), (2, 7)].into_iter()).to_string(),
            "8e8e44e4f764f322"
        );
    }
}
