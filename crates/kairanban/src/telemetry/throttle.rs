//! Throttles log lines that clients can cause.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Throttles log lines of one kind: at most one is written in each interval.
#[derive(Debug)]
pub struct LogThrottle {
    interval: Duration,
    state: Mutex<ThrottleState>,
}

#[derive(Debug)]
struct ThrottleState {
    written_at: Option<Instant>,
    suppressed: u64,
}

impl LogThrottle {
    /// Allows at most one line in each `interval`.
    #[must_use]
    pub const fn new(interval: Duration) -> Self {
        Self {
            interval,
            state: Mutex::new(ThrottleState {
                written_at: None,
                suppressed: 0,
            }),
        }
    }

    /// Counts a line. If it is due, returns how many were suppressed since the last one that was.
    pub fn allow(&self) -> Option<u64> {
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
        let lines = LogThrottle::new(Duration::from_secs(3_600));
        assert_eq!(
            (lines.allow(), lines.allow(), lines.allow()),
            (Some(0), None, None)
        );
        let long_ago = Instant::now().checked_sub(Duration::from_secs(3_601));
        lines.state.lock().written_at = long_ago;
        assert_eq!((lines.allow(), lines.allow()), (Some(2), None));
    }
}
