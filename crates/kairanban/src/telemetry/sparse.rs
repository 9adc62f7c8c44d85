//! Thins out log lines that clients can cause.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Log lines of one kind, of which at most one is written in each interval.
#[derive(Debug)]
pub struct Sparse {
    interval: Duration,
    state: Mutex<SinceLine>,
}

#[derive(Debug)]
struct SinceLine {
    written_at: Option<Instant>,
    suppressed: u64,
}

impl Sparse {
    /// Allows at most one line in each `interval`.
    #[must_use]
    pub const fn new(interval: Duration) -> Self {
        Self {
            interval,
            state: Mutex::new(SinceLine {
                written_at: None,
                suppressed: 0,
            }),
        }
    }

    /// Counts a line. If it is due, returns how many were suppressed since the last one that was.
    pub fn line(&self) -> Option<u64> {
        let mut state = self.state.lock();
        if state
            .written_at
            .is_some_and(|at| at.elapsed() < self.interval)
        {
            state.suppressed += 1;
            return None;
        }
        state.written_at = Some(Instant::now());
        Some(std::mem::take(&mut state.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_suppressed_is_counted_in_the_next_line() {
        let lines = Sparse::new(Duration::from_secs(3_600));
        assert_eq!(
            (lines.line(), lines.line(), lines.line()),
            (Some(0), None, None)
        );
        let long_ago = Instant::now().checked_sub(Duration::from_secs(3_601));
        lines.state.lock().written_at = long_ago;
        assert_eq!((lines.line(), lines.line()), (Some(2), None));
    }
}
