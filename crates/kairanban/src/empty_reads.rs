//! Paces reads of the database that any client can cause and that may find nothing.

use std::{
    num::NonZero,
    time::{Duration, Instant},
};

/// Counts reads that found nothing, and decides when the next one may begin. Reads that found
/// something are free: there are as many as there are changes.
#[derive(Debug)]
pub struct EmptyReads {
    interval: Duration,
    burst: u32,
    /// When all that was counted is paid for.
    paid_at: Instant,
}

impl EmptyReads {
    /// Creates the count of at most `per_s` reads in a second, and as many at once.
    #[must_use]
    pub fn new(per_s: NonZero<u32>, now: Instant) -> Self {
        Self {
            interval: Duration::from_secs(1) / per_s.get(),
            burst: per_s.get(),
            paid_at: now,
        }
    }

    /// Returns when the next read may begin.
    #[must_use]
    pub fn next_at(&self) -> Instant {
        let credit = self.interval * (self.burst - 1);
        self.paid_at.checked_sub(credit).unwrap_or(self.paid_at)
    }

    /// Records a read that found something. It makes up for an empty one: of two commits that
    /// are read together, each was announced.
    pub fn found(&mut self) {
        self.paid_at = self
            .paid_at
            .checked_sub(self.interval)
            .unwrap_or(self.paid_at);
    }

    /// Counts a read that found nothing.
    pub fn count(&mut self, now: Instant) {
        self.paid_at = self.paid_at.max(now) + self.interval;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_free_and_then_it_is_a_rate() {
        let (per_s, start) = (NonZero::new(10).expect("not zero"), Instant::now());
        let mut reads = EmptyReads::new(per_s, start);
        let mut now = start;
        for _ in 0..110 {
            now = now.max(reads.next_at());
            reads.count(now);
        }
        let took = now - start;
        assert!(
            (Duration::from_millis(9_900)..=Duration::from_secs(10)).contains(&took),
            "{took:?}"
        );
        assert!(reads.next_at() > now, "the next one waits");
        let later = now + Duration::from_secs(1);
        for _ in 0..10 {
            assert!(reads.next_at() <= later, "what was saved is spent at once");
            reads.count(later);
        }
        assert!(reads.next_at() > later);
    }

    #[test]
    fn a_read_that_found_something_makes_up_for_an_empty_one() {
        let (per_s, now) = (NonZero::new(1).expect("not zero"), Instant::now());
        let mut reads = EmptyReads::new(per_s, now);
        for _ in 0..9 {
            reads.count(now);
            assert!(reads.next_at() > now);
            reads.found();
            assert!(reads.next_at() <= now);
        }
        for _ in 0..9 {
            reads.found();
        }
        reads.count(now);
        assert!(reads.next_at() > now, "nothing is saved up");
    }
}
