//! The counter that puts every committed change of a database in one order.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

/// A place in the order of commits, from 0 (nothing committed yet) to below 2^53, so that a
/// JavaScript number holds it exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Revision(u64);

impl Revision {
    /// The revision before the first change.
    pub const ZERO: Self = Self(0);
    /// The first value that is no revision.
    const END: u64 = 1 << 53;

    /// Returns the revision with this number, or `None` at 2^53 and above.
    #[must_use]
    pub const fn new(number: u64) -> Option<Self> {
        if number < Self::END {
            Some(Self(number))
        } else {
            None
        }
    }

    /// Returns the revision as a number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl<'de> Deserialize<'de> for Revision {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u64::deserialize(deserializer)?;
        Self::new(number).ok_or_else(|| D::Error::custom("a revision is below 2^53"))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_below_what_a_javascript_number_holds() {
        assert_eq!(
            Revision::new((1 << 53) - 1).map(Revision::get),
            Some(9_007_199_254_740_991)
        );
        assert_eq!(Revision::new(1 << 53), None);
        let read = serde_json::from_str::<Revision>;
        assert_eq!(read("7").ok(), Revision::new(7));
        read("9007199254740992").expect_err("2^53");
    }
}
