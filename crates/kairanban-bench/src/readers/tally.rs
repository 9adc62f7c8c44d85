//! Counts what readers receive while a schedule is published.

use std::time::Instant;

use anyhow::Result;
use hdrhistogram::Histogram;
use memchr::memmem::Finder;

use crate::{
    schedule::{Schedule, number_of_mark},
    statistics::{histogram_us, micros},
};

/// What all readers together received of a schedule.
#[derive(Debug)]
pub struct DeliveryStats {
    /// Microseconds from when an event was due until a reader had it: every reader, every event.
    pub each_us: Histogram<u64>,
    /// Microseconds from when an event was due until the last reader had it: every event.
    pub last_us: Histogram<u64>,
    /// Microseconds between the first and the last reader of an event: every event.
    pub spread_us: Histogram<u64>,
    /// When the last reader had each event.
    pub last_at: Vec<Instant>,
    /// Events that reached readers.
    pub deliveries: u64,
    /// Events that did not reach readers.
    pub lost: u64,
    /// Bytes that the readers received meanwhile.
    pub bytes: u64,
}

/// When an event reached its readers.
#[derive(Clone, Copy)]
struct EventTally {
    first_at: Option<Instant>,
    last_at: Instant,
    readers: u32,
}

/// Counts deliveries while they come in.
pub(super) struct Tally<'a> {
    schedule: &'a Schedule,
    each_us: Histogram<u64>,
    events: Vec<EventTally>,
    pub(super) bytes: u64,
}

impl<'a> Tally<'a> {
    pub(super) fn new(schedule: &'a Schedule) -> Result<Self> {
        let none = EventTally {
            first_at: None,
            last_at: schedule.began,
            readers: 0,
        };
        Ok(Self {
            schedule,
            each_us: histogram_us()?,
            events: vec![none; schedule.events as usize],
            bytes: 0,
        })
    }

    /// Counts the marks in `text`, each only if it is that of the reader's `next` event.
    pub(super) fn scan(&mut self, text: &[u8], prefix: &Finder<'_>, next: &mut u32, now: Instant) {
        for at in prefix.find_iter(text) {
            // A list shows older events, too.
            if let Some(number) = number_of_mark(&text[at..]).filter(|number| number == next) {
                *next += 1;
                self.note(number, now);
            }
        }
    }

    /// Returns whether every event has reached `readers` readers.
    pub(super) fn is_complete(&self, readers: usize) -> bool {
        // The last event is the likeliest one to be missing.
        self.events
            .iter()
            .rev()
            .all(|event| event.readers as usize >= readers)
    }

    fn note(&mut self, number: u32, now: Instant) {
        let index = number.wrapping_sub(self.schedule.first) as usize;
        let Some(event) = self.events.get_mut(index) else {
            return;
        };
        event.first_at.get_or_insert(now);
        event.last_at = now;
        event.readers += 1;
        self.each_us
            .saturating_record(micros(now - self.schedule.due(number)));
    }

    /// Sums up, `readers` being the number of readers that each event should have reached.
    pub(super) fn finish(self, readers: usize) -> Result<DeliveryStats> {
        let (mut last_us, mut spread_us) = (histogram_us()?, histogram_us()?);
        let (mut deliveries, mut lost) = (0, 0);
        for (number, event) in self.schedule.numbers().zip(&self.events) {
            deliveries += u64::from(event.readers);
            lost += readers as u64 - u64::from(event.readers);
            if let Some(first_at) = event.first_at {
                last_us.saturating_record(micros(event.last_at - self.schedule.due(number)));
                spread_us.saturating_record(micros(event.last_at - first_at));
            }
        }
        Ok(DeliveryStats {
            each_us: self.each_us,
            last_us,
            spread_us,
            last_at: self.events.iter().map(|event| event.last_at).collect(),
            deliveries,
            lost,
            bytes: self.bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::schedule::{MARK_PREFIX, mark};

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    fn schedule(first: u32, events: u32) -> Schedule {
        Schedule {
            first,
            began: Instant::now(),
            gap: ms(10),
            events,
        }
    }

    /// Returns the tally of two readers: both received event 5, one received event 6 and none event
    /// 7. Events 4 and 8 are of other schedules.
    fn tally(schedule: &Schedule) -> Tally<'_> {
        let mut tally = Tally::new(schedule).expect("bounds");
        tally.bytes = 9;
        for (number, at) in [(5, 2), (5, 4), (6, 16), (4, 1), (8, 90)] {
            tally.note(number, schedule.began + ms(at));
        }
        tally
    }

    #[test]
    fn events_that_reached_no_reader_are_lost() {
        let schedule = schedule(5, 3);
        let tally = tally(&schedule);
        assert!(!tally.is_complete(2) && tally.is_complete(0));
        let stats = tally.finish(2).expect("bounds");
        assert_eq!((stats.deliveries, stats.lost, stats.bytes), (3, 3, 9));
    }

    #[test]
    fn the_last_delivery_of_each_event_is_noted() {
        let schedule = schedule(5, 3);
        let stats = tally(&schedule).finish(2).expect("bounds");
        let expected = [schedule.began + ms(4), schedule.began + ms(16)];
        assert_eq!(stats.last_at[..2], expected);
    }

    #[test]
    fn times_count_from_when_an_event_was_due() {
        let schedule = schedule(5, 3);
        let stats = tally(&schedule).finish(2).expect("bounds");
        for (histogram, count, percent, micros) in [
            (&stats.each_us, 3, 1.0, 2_000_u64),
            (&stats.each_us, 3, 100.0, 6_000),
            (&stats.last_us, 2, 1.0, 4_000),
            (&stats.last_us, 2, 100.0, 6_000),
            (&stats.spread_us, 2, 100.0, 2_000),
        ] {
            let found = histogram.value_at_percentile(percent);
            assert!(
                found.abs_diff(micros) <= micros / 100,
                "{found} instead of {micros}"
            );
            assert_eq!(histogram.len(), count);
        }
    }

    #[test]
    fn a_reader_counts_each_event_once_and_older_ones_never() {
        let schedule = schedule(10, 3);
        let mut tally = Tally::new(&schedule).expect("bounds");
        let (prefix, mut next) = (Finder::new(MARK_PREFIX), 10);
        for number in [9, 10, 11, 10, 11, 12] {
            let text = format!("data: {}\n\n", mark(number));
            tally.scan(
                text.as_bytes(),
                &prefix,
                &mut next,
                schedule.began + ms(100),
            );
        }
        let stats = tally.finish(1).expect("bounds");
        assert_eq!((stats.deliveries, stats.lost, next), (3, 0, 13));
    }
}
