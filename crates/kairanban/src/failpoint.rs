//! Lets tests make the program fail at named places. Release builds contain none of this.
//!
//! `FAILPOINTS=follower=2,archiver=1` lets the follower panic the first two times that it comes by,
//! and the archiver once.

#[cfg(debug_assertions)]
pub use armed::{fires, fires_at, pass};

/// Does nothing in release builds.
#[cfg(not(debug_assertions))]
pub const fn pass(_: &str) {}

/// Returns `false` in release builds.
#[cfg(not(debug_assertions))]
pub const fn fires(_: &str) -> bool {
    false
}

/// Returns `false` in release builds.
#[cfg(not(debug_assertions))]
pub const fn fires_at(_: &str, _: &str, _: u64) -> bool {
    false
}

#[cfg(debug_assertions)]
mod armed {
    use std::{
        collections::HashMap,
        sync::{LazyLock, Mutex, PoisonError},
    };

    static LEFT: LazyLock<Mutex<HashMap<String, u32>>> = LazyLock::new(|| {
        let all = std::env::var("FAILPOINTS").unwrap_or_default();
        Mutex::new(all.split(',').filter_map(parse).collect())
    });

    /// Parses an entry of the form `name=times`.
    fn parse(text: &str) -> Option<(String, u32)> {
        let (name, times) = text.split_once('=')?;
        Some((name.to_owned(), times.parse().ok()?))
    }

    /// Panics if the environment asks for it at this failpoint.
    ///
    /// # Panics
    /// If the environment asks for it.
    pub fn pass(name: &str) {
        assert!(!fires(name), "failpoint {name}");
    }

    /// Returns whether a step fails on purpose here.
    pub fn fires(name: &str) -> bool {
        let mut left = LEFT.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(times) = left.get_mut(name).filter(|times| **times > 0) else {
            return false;
        };
        *times -= 1;
        true
    }

    /// Returns whether a step fails on purpose here for one item at one time, as in
    /// `load-main-7=1`.
    pub fn fires_at(name: &str, what: &str, number: u64) -> bool {
        fires(&format!("{name}-{what}-{number}"))
    }
}
