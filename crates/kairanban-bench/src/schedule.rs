//! When events are published, and the mark by which readers recognize each.

use std::{
    ops::Range,
    time::{Duration, Instant},
};

/// What a mark begins with; the number of its event follows.
pub const MARK_PREFIX: &str = "~k";
const MARK_DIGITS: usize = 6;
/// Bytes of a mark.
pub const MARK_BYTES: usize = MARK_PREFIX.len() + MARK_DIGITS;

/// Returns the mark of the `n`th event: [`MARK_BYTES`] long for every `n` below a million.
#[must_use]
pub fn mark(n: u32) -> String {
    format!("{MARK_PREFIX}{n:0MARK_DIGITS$}")
}

/// Reads the number of a mark at the beginning of `text`; `None` if the mark is incomplete or has
/// no number.
#[must_use]
pub fn number_of_mark(text: &[u8]) -> Option<u32> {
    let digits = text.get(MARK_PREFIX.len()..MARK_BYTES)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// When events are published.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// The number of the first event. Later schedules for the same readers continue the numbers.
    pub first: u32,
    /// When the first event is due.
    pub began: Instant,
    /// Time between two events.
    pub gap: Duration,
    /// The number of events.
    pub events: u32,
}

impl Schedule {
    /// Plans `seconds` of events, `rate` of them in each second, that begin in 100 ms. There is at
    /// least one.
    #[must_use]
    pub fn new(first: u32, rate: f64, seconds: f64) -> Self {
        let began = Instant::now() + Duration::from_millis(100);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a small positive number"
        )]
        Self {
            first,
            began,
            gap: Duration::from_secs_f64(1.0 / rate),
            events: (rate * seconds).round().max(1.0) as u32,
        }
    }

    /// Returns the numbers of its events.
    pub fn numbers(&self) -> Range<u32> {
        self.first..self.first + self.events
    }

    /// Returns when an event is due.
    #[must_use]
    pub fn due(&self, number: u32) -> Instant {
        self.began + self.gap * number.saturating_sub(self.first)
    }
}

/// Blocks the thread for a while, to keep the pace of a schedule.
#[expect(
    clippy::disallowed_methods,
    reason = "this keeps a pace, and the thread has nothing else to do"
)]
pub fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_has_its_rate_and_its_numbers() {
        let schedule = Schedule::new(100, 50.0, 4.0);
        assert_eq!(
            (schedule.events, schedule.gap, schedule.numbers()),
            (200, Duration::from_millis(20), 100..300)
        );
        assert_eq!(
            schedule.due(103),
            schedule.began + Duration::from_millis(60)
        );
        assert_eq!(Schedule::new(0, 0.1, 1.0).events, 1, "at least one");
    }

    #[test]
    fn a_mark_has_its_length_whatever_its_number() {
        assert_eq!(
            [mark(0), mark(42), mark(999_999)],
            ["~k000000", "~k000042", "~k999999"]
        );
        for n in [0, 42, 999_999] {
            assert_eq!(mark(n).len(), MARK_BYTES);
            assert_eq!(number_of_mark(mark(n).as_bytes()), Some(n));
        }
        assert_eq!(number_of_mark(b"~k00004"), None, "incomplete");
        assert_eq!(number_of_mark(b"~known!!"), None, "no number");
    }
}
