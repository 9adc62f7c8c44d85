//! A crowd of readers: tens of thousands of streams held open by one thread.
//!
//! Each event that is published carries a mark with its number. A reader looks for marks in what it is
//! sent and notes when it first saw each number. Times are taken from the moment when the event was to be
//! published, not from when the load generator came to it: a server that holds up the publisher does not
//! look better for it.

use std::{
    io::{self, Read as _, Write as _},
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use hdrhistogram::Histogram;
use memchr::memmem::Finder;
use mio::{Events, Interest, Poll, Token, net::TcpStream};

use crate::{contender::Greet, wire};

const BUFFER: usize = 256 * 1_024;
const EVENTS: usize = 1_024;
/// Connections that are begun before answers are looked at.
const WAVE: usize = 512;
/// For the last reader to be there, and for the last event to arrive.
const PATIENCE: Duration = Duration::from_secs(120);
const LATE: Duration = Duration::from_secs(15);

/// What a mark begins with; its number follows.
const SIGN: &str = "~k";
const DIGITS: usize = 6;
const MARK: usize = SIGN.len() + DIGITS;

/// The mark of the `n`th event.
#[must_use]
pub fn mark(n: u32) -> String {
    format!("{SIGN}{n:0DIGITS$}")
}

/// When events are published.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// The number of the first; those of an earlier schedule before the same crowd come before it.
    pub first: u32,
    /// When that is due.
    pub began: Instant,
    /// Between two.
    pub gap: Duration,
    /// How many.
    pub events: u32,
}

impl Schedule {
    /// `seconds` of events, `rate` of them in each, beginning in a moment.
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

    /// The numbers of its events.
    pub fn numbers(&self) -> std::ops::Range<u32> {
        self.first..self.first + self.events
    }

    /// When an event is due.
    #[must_use]
    pub fn due(&self, number: u32) -> Instant {
        self.began + self.gap * number.saturating_sub(self.first)
    }
}

/// What the readers saw.
#[derive(Debug)]
pub struct Seen {
    /// Microseconds from when an event was due until a reader had it: every reader, every event.
    pub each: Histogram<u64>,
    /// The same until the last reader had it: every event.
    pub last: Histogram<u64>,
    /// From the first reader to the last one, of every event.
    pub spread: Histogram<u64>,
    /// When the last reader had each event.
    pub ended: Vec<Instant>,
    /// Events that reached readers.
    pub deliveries: u64,
    /// Events that did not.
    pub lost: u64,
    /// Bytes that came in meanwhile.
    pub bytes: u64,
}

/// The readers.
pub struct Crowd {
    poll: Poll,
    readers: Vec<Reader>,
    /// From the first connection until the last reader had its first bytes.
    pub connected_in: Duration,
    sign: Finder<'static>,
    buffer: Vec<u8>,
    address: SocketAddr,
    greet: Greet,
}

struct Reader {
    socket: TcpStream,
    /// What is still to be written.
    request: Vec<u8>,
    /// The end of what was read, in which a mark may have begun.
    carry: Vec<u8>,
    /// What it was sent, until that was enough to begin.
    greeted: Option<Vec<u8>>,
    /// The number after the last mark that was seen.
    next: u32,
    is_stalled: bool,
}

struct Tally<'a> {
    schedule: &'a Schedule,
    each: Histogram<u64>,
    /// When the first and the last reader had an event, and how many have.
    events: Vec<(Option<Instant>, Instant, u32)>,
    bytes: u64,
}

impl Crowd {
    /// Connects `count` readers that ask for what `request` gives, and waits until each was sent something.
    ///
    /// # Errors
    /// If one is refused.
    pub fn gather(
        address: SocketAddr,
        count: usize,
        request: impl Fn(usize) -> Vec<u8>,
        greet: Greet,
    ) -> Result<Self> {
        let began = Instant::now();
        let mut crowd = Self {
            poll: Poll::new()?,
            readers: Vec::with_capacity(count),
            connected_in: Duration::ZERO,
            sign: Finder::new(SIGN),
            buffer: vec![0; BUFFER],
            address,
            greet,
        };
        let mut there = 0;
        while there < count {
            for n in crowd.readers.len()..count.min(crowd.readers.len() + WAVE) {
                let mut socket = wire::connect(address, n)?;
                crowd.poll.registry().register(
                    &mut socket,
                    Token(n),
                    Interest::READABLE | Interest::WRITABLE,
                )?;
                let reader = Reader {
                    socket,
                    request: request(n),
                    carry: Vec::new(),
                    greeted: Some(Vec::new()),
                    next: 0,
                    is_stalled: false,
                };
                crowd.readers.push(reader);
            }
            // Whoever has not all of its own yet waits for those.
            while there < crowd.readers.len() {
                if began.elapsed() > PATIENCE {
                    bail!("{} of {count} readers were let in", there);
                }
                there += crowd.turn(None)?;
            }
        }
        crowd.connected_in = began.elapsed();
        Ok(crowd)
    }

    /// Has the first `count` readers take nothing any more.
    pub fn stall(&mut self, count: usize) {
        self.readers
            .iter_mut()
            .take(count)
            .for_each(|reader| reader.is_stalled = true);
    }

    /// Reads until each reader that is not stalled has seen the last event, or long after it was due.
    ///
    /// # Errors
    /// If the system refuses to wait.
    pub fn watch(&mut self, schedule: &Schedule) -> Result<Seen> {
        let mut tally = Tally {
            schedule,
            each: histogram()?,
            events: vec![(None, schedule.began, 0); schedule.events as usize],
            bytes: 0,
        };
        let until = schedule.due(schedule.numbers().end) + LATE;
        let awake = self
            .readers
            .iter()
            .filter(|reader| !reader.is_stalled)
            .count();
        while Instant::now() < until {
            self.turn(Some(&mut tally))?;
            // Those that were published last may overtake no other.
            if tally
                .events
                .iter()
                .rev()
                .all(|(_, _, readers)| *readers as usize >= awake)
            {
                break;
            }
        }
        tally.close(awake)
    }

    /// Reads whatever there is for a while, and counts the bytes.
    ///
    /// # Errors
    /// If the system refuses to wait.
    pub fn idle(&mut self, duration: Duration) -> Result<()> {
        let until = Instant::now() + duration;
        while Instant::now() < until {
            self.turn(None)?;
        }
        Ok(())
    }

    /// The same; gives how many bytes there were for all readers together.
    ///
    /// # Errors
    /// If the system refuses to wait.
    pub fn count(&mut self, duration: Duration) -> Result<u64> {
        let schedule = Schedule {
            first: u32::MAX,
            began: Instant::now(),
            gap: Duration::ZERO,
            events: 0,
        };
        let mut tally = Tally {
            schedule: &schedule,
            each: histogram()?,
            events: Vec::new(),
            bytes: 0,
        };
        let until = Instant::now() + duration;
        while Instant::now() < until {
            self.turn(Some(&mut tally))?;
        }
        Ok(tally.bytes)
    }

    /// Waits once and serves whom it concerns. Tells how many readers were sent their first bytes.
    fn turn(&mut self, mut tally: Option<&mut Tally<'_>>) -> Result<usize> {
        let mut events = Events::with_capacity(EVENTS);
        match self.poll.poll(&mut events, Some(Duration::from_millis(50))) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(0),
            polled => polled?,
        }
        let mut began = 0;
        for event in &events {
            let reader = &mut self.readers[event.token().0];
            if event.is_writable() && !reader.request.is_empty() {
                reader.ask()?;
            }
            if event.is_readable() && !reader.is_stalled {
                let had_begun = reader.greeted.is_none();
                reader.read(&mut self.buffer, &self.sign, tally.as_deref_mut(), |said| {
                    (self.greet)(self.address, said)
                })?;
                began += usize::from(reader.greeted.is_none() && !had_begun);
            }
        }
        Ok(began)
    }
}

impl Reader {
    fn ask(&mut self) -> Result<()> {
        match self.socket.write(&self.request) {
            Ok(written) => drop(self.request.drain(..written)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn read(
        &mut self,
        buffer: &mut [u8],
        sign: &Finder<'_>,
        mut tally: Option<&mut Tally<'_>>,
        greet: impl Fn(&[u8]) -> Result<bool>,
    ) -> Result<()> {
        loop {
            let kept = self.carry.len();
            buffer[..kept].copy_from_slice(&self.carry);
            let length = match self.socket.read(&mut buffer[kept..]) {
                Ok(0) => bail!("a stream ended"),
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let text = &buffer[..kept + length];
            if let Some(said) = &mut self.greeted {
                said.extend(&text[kept..]);
                if !said.starts_with(b"HTTP/1.1 200") {
                    bail!("refused: {}", String::from_utf8_lossy(said));
                }
                if greet(said)? {
                    self.greeted = None;
                }
            }
            if let Some(tally) = tally.as_deref_mut() {
                tally.bytes += length as u64;
                self.look(text, sign, tally);
            }
            self.carry.clear();
            self.carry
                .extend(&text[text.len().saturating_sub(MARK - 1)..]);
        }
    }

    /// Notes each event that is seen for the first time.
    fn look(&mut self, text: &[u8], sign: &Finder<'_>, tally: &mut Tally<'_>) {
        let now = Instant::now();
        for at in sign.find_iter(text) {
            let number = text
                .get(at + SIGN.len()..at + MARK)
                .and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
            // A list shows older ones, too.
            if let Some(number) = number.filter(|number| *number == self.next) {
                self.next += 1;
                tally.note(number, now);
            }
        }
    }
}

impl Tally<'_> {
    fn note(&mut self, number: u32, now: Instant) {
        let Some((first, last, readers)) = self
            .events
            .get_mut(number.wrapping_sub(self.schedule.first) as usize)
        else {
            return;
        };
        first.get_or_insert(now);
        *last = now;
        *readers += 1;
        self.each
            .saturating_record(micros(now - self.schedule.due(number)));
    }

    fn close(self, awake: usize) -> Result<Seen> {
        let (mut last, mut spread) = (histogram()?, histogram()?);
        let (mut deliveries, mut lost) = (0, 0);
        for (number, (first_at, last_at, readers)) in self.schedule.numbers().zip(&self.events) {
            deliveries += u64::from(*readers);
            lost += awake as u64 - u64::from(*readers);
            if let Some(first_at) = first_at {
                last.saturating_record(micros(*last_at - self.schedule.due(number)));
                spread.saturating_record(micros(*last_at - *first_at));
            }
        }
        let ended = self.events.iter().map(|(_, last_at, _)| *last_at).collect();
        Ok(Seen {
            each: self.each,
            last,
            spread,
            ended,
            deliveries,
            lost,
            bytes: self.bytes,
        })
    }
}

/// For microseconds up to two minutes. One that grows by itself would not do: saturating means that it does not.
fn histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 120_000_000, 3)?)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros())
        .unwrap_or(u64::MAX)
        .max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn times_count_from_when_an_event_was_due() {
        let schedule = Schedule {
            first: 5,
            began: Instant::now(),
            gap: ms(10),
            events: 3,
        };
        let mut tally = Tally {
            schedule: &schedule,
            each: histogram().expect("bounds"),
            events: vec![(None, schedule.began, 0); 3],
            bytes: 9,
        };
        // Event 5 reaches both readers, event 6 one of two, event 7 none; 4 and 8 are of other schedules.
        for (number, at) in [(5, 2), (5, 4), (6, 16), (4, 1), (8, 90)] {
            tally.note(number, schedule.began + ms(at));
        }
        let seen = tally.close(2).expect("bounds");
        assert_eq!((seen.deliveries, seen.lost, seen.bytes), (3, 3, 9));
        let near = |histogram: &Histogram<u64>, percent, micros: u64| {
            let found = histogram.value_at_percentile(percent);
            assert!(
                found.abs_diff(micros) <= micros / 100,
                "{found} instead of {micros}"
            );
        };
        near(&seen.each, 1.0, 2_000);
        near(&seen.each, 100.0, 6_000);
        near(&seen.last, 1.0, 4_000);
        near(&seen.last, 100.0, 6_000);
        near(&seen.spread, 100.0, 2_000);
        assert_eq!(
            (seen.each.len(), seen.last.len(), seen.spread.len()),
            (3, 2, 2)
        );
        assert_eq!(
            seen.ended[..2],
            [schedule.began + ms(4), schedule.began + ms(16)]
        );
    }

    #[test]
    fn a_schedule_has_its_rate_and_its_numbers() {
        let schedule = Schedule::new(100, 50.0, 4.0);
        assert_eq!(
            (schedule.events, schedule.gap, schedule.numbers()),
            (200, ms(20), 100..300)
        );
        assert_eq!(schedule.due(103), schedule.began + ms(60));
        assert_eq!(Schedule::new(0, 0.1, 1.0).events, 1, "at least one");
    }

    #[test]
    fn a_mark_has_its_length_whatever_its_number() {
        assert_eq!(
            [mark(0), mark(42), mark(999_999)],
            ["~k000000", "~k000042", "~k999999"]
        );
        assert!([0, 42, 999_999].into_iter().all(|n| mark(n).len() == MARK));
    }
}
