//! Places where a test may make the program fail. Release builds contain none of this.
//!
//! `FAILPOINTS=follower=2,archiver=1` lets the follower panic the first two times that it comes by, and the
//! archiver once.

#[cfg(debug_assertions)]
pub use armed::{fires, fires_at, pass};

/// Does nothing.
#[cfg(not(debug_assertions))]
pub const fn pass(_: &str) {}

/// Never.
#[cfg(not(debug_assertions))]
pub const fn fires(_: &str) -> bool {
    false
}

/// Never.
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
        let one = |text: &str| {
            text.split_once('=')
                .and_then(|(name, times)| Some((name.to_owned(), times.parse().ok()?)))
        };
        Mutex::new(all.split(',').filter_map(one).collect())
    });

    /// Comes by a failpoint.
    ///
    /// # Panics
    /// If the environment asks for it.
    pub fn pass(name: &str) {
        assert!(!fires(name), "failpoint {name}");
    }

    /// Whether something should go wrong here.
    pub fn fires(name: &str) -> bool {
        let mut left = LEFT.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(times) = left.get_mut(name).filter(|times| **times > 0) else {
            return false;
        };
        *times -= 1;
        true
    }

    /// The same for one thing at one time, as in `load-main-7=1`.
    pub fn fires_at(name: &str, what: &str, number: u64) -> bool {
        fires(&format!("{name}-{what}-{number}"))
    }
}
