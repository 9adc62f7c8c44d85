//! Reads durations, which the file holds as whole numbers of the unit that ends the key: `ttl_s`,
//! `poll_ms`.

use std::{num::NonZero, time::Duration};

use serde::{Deserialize, Deserializer};

/// Reads a number of seconds.
pub(super) fn seconds<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    u64::deserialize(from).map(Duration::from_secs)
}

/// Reads a number of seconds from 1 on.
pub(super) fn positive_seconds<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    NonZero::deserialize(from).map(|number| Duration::from_secs(number.get()))
}

/// Reads a number of milliseconds.
pub(super) fn millis<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    u64::deserialize(from).map(Duration::from_millis)
}

/// Reads a number of milliseconds from 1 on.
pub(super) fn positive_millis<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    NonZero::deserialize(from).map(|number| Duration::from_millis(number.get()))
}

/// Returns the number that the file has for `duration` at `key`.
pub(super) fn as_written(key: &str, duration: Duration) -> u128 {
    if key.ends_with("_ms") {
        duration.as_millis()
    } else {
        u128::from(duration.as_secs())
    }
}
