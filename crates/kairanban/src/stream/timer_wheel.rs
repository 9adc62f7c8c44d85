//! Wakes streams at which nothing happens, with one timer for all of them (ADR 16).
//!
//! Time passes in ticks. A stream names the tick at which it wants to be woken and waits in that
//! tick's slot; the wheel turns and wakes slot after slot. Sending costs no timer: a stream only
//! notes that its next heartbeat is due later, and finds that out when its slot comes. What
//! concerns all streams, and is rare, wakes all of them.

use std::{
    ops::Add,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use chrono::{DateTime, Utc};
use tokio::{
    sync::{Notify, futures::OwnedNotified, watch},
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use crate::{failpoint, shutdown::Drain};

/// The length of a tick, which is the precision of heartbeats and ends.
pub(super) const TICK: Duration = Duration::from_millis(250);
/// More than the ticks of a default heartbeat. A stream that waits for longer is woken in between.
const SLOTS: u32 = 128;

/// A point in time, in ticks since the wheel began to turn; a process has 34 years of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(u32);

impl Tick {
    /// Later than any other tick.
    pub const NEVER: Self = Self(u32::MAX);
}

/// A number of ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticks(pub u32);

impl From<Duration> for Ticks {
    /// Rounds down to whole ticks.
    fn from(duration: Duration) -> Self {
        Self(u32::try_from(duration.as_millis() / TICK.as_millis()).unwrap_or(u32::MAX))
    }
}

impl<T: Into<Ticks>> Add<T> for Tick {
    type Output = Self;

    fn add(self, ticks: T) -> Self {
        Self(self.0.saturating_add(ticks.into().0))
    }
}

/// Wakes streams at their ticks. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TimerWheel(Arc<WheelInner>);

#[derive(Debug)]
struct WheelInner {
    began: Instant,
    slots: Box<[Arc<Notify>]>,
    /// The tick that was woken last.
    now: AtomicU32,
    /// Twice the number of times that all streams were woken, and one less while that goes on: it
    /// takes a while, and a stream that takes an entry meanwhile may be woken once more by the same
    /// `wake_all`.
    wake_count: AtomicU32,
}

/// The count of wake-ups of all streams at one moment, see [`WheelInner::wake_count`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct WakeAllCount(u32);

impl WakeAllCount {
    const fn is_waking(self) -> bool {
        self.0 % 2 == 1
    }
}

impl TimerWheel {
    /// Creates a wheel that stands still until [`run`](Self::run).
    #[must_use]
    pub fn new() -> Self {
        let slots = (0..SLOTS).map(|_| Arc::default()).collect();
        Self(Arc::new(WheelInner {
            began: Instant::now(),
            slots,
            now: AtomicU32::new(0),
            wake_count: AtomicU32::new(0),
        }))
    }

    /// Returns the current tick.
    #[must_use]
    pub fn now(&self) -> Tick {
        Tick(self.0.now.load(Ordering::SeqCst))
    }

    /// Returns how often all streams were woken, including a time that has only begun.
    #[must_use]
    pub fn wake_count(&self) -> u32 {
        self.wake_all_count().0.div_ceil(2)
    }

    fn wake_all_count(&self) -> WakeAllCount {
        WakeAllCount(self.0.wake_count.load(Ordering::SeqCst))
    }

    /// Returns an entry that is woken when it is `due` or when all streams are woken, or earlier if
    /// `due` is far ahead. A change that is checked for after this call cannot be missed.
    #[must_use]
    pub fn entry(&self, due: Tick) -> TimerEntry {
        let wake_count = self.wake_all_count();
        let next = self.now().0.saturating_add(1);
        let tick = due.0.clamp(next, next.saturating_add(SLOTS - 2));
        let slot = Arc::clone(&self.0.slots[(tick % SLOTS) as usize]);
        TimerEntry {
            tick: Tick(tick),
            wake_count,
            woken: Box::pin(slot.notified_owned()),
            waiter: None,
        }
    }

    /// Turns the wheel until `stop`. Wakes all streams when the server begins to end, and when the
    /// database goes away or comes back.
    pub async fn run(
        &self,
        drain: &Drain,
        staleness: &mut watch::Receiver<Option<DateTime<Utc>>>,
        stop: &CancellationToken,
    ) {
        if self.wake_all_count().is_waking() {
            // Waking all streams was interrupted: it is unknown which of them were woken.
            self.0.wake_count.fetch_sub(1, Ordering::SeqCst);
            self.wake_all();
        }
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut ending = false;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = drain.begun(), if !ending => {
                    ending = true;
                    self.wake_all();
                }
                Ok(()) = staleness.changed() => self.wake_all(),
                _ = ticks.tick() => {
                    failpoint::pass("wheel");
                    self.turn_to(Tick::default() + self.0.began.elapsed());
                }
            }
        }
    }

    fn turn_to(&self, tick: Tick) {
        for now in self.now().0 + 1..=tick.0 {
            // Sets the time before it wakes: a stream that comes too late to be woken sees the
            // time.
            self.0.now.store(now, Ordering::SeqCst);
            self.0.slots[(now % SLOTS) as usize].notify_waiters();
        }
    }

    fn wake_all(&self) {
        self.0.wake_count.fetch_add(1, Ordering::SeqCst);
        self.0.slots.iter().for_each(|slot| slot.notify_waiters());
        self.0.wake_count.fetch_add(1, Ordering::SeqCst);
    }
}

/// A wait of one stream, which is woken once.
#[derive(Debug)]
pub struct TimerEntry {
    /// The tick at which it is woken at the latest.
    pub tick: Tick,
    /// The count of wake-ups of all streams when it was made, or polled last.
    wake_count: WakeAllCount,
    woken: Pin<Box<OwnedNotified>>,
    /// Wakes the stream that waits.
    waiter: Option<Waker>,
}

impl TimerEntry {
    /// Waits until the entry is woken.
    pub fn poll(&mut self, wheel: &TimerWheel, cx: &mut Context<'_>) -> Poll<()> {
        // Streams are woken by events far more often than by the wheel; one that waits already need
        // not queue again.
        let waits = self
            .waiter
            .as_ref()
            .is_some_and(|waiter| waiter.will_wake(cx.waker()));
        let wake_count = wheel.wake_all_count();
        if waits
            && wheel.now() < self.tick
            && wake_count == self.wake_count
            && !wake_count.is_waking()
        {
            return Poll::Pending;
        }
        self.waiter = Some(cx.waker().clone());
        let woken = self.woken.as_mut().poll(cx);
        // Wake-ups before this one cannot wake it any more.
        self.wake_count = wake_count;
        woken
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Mutex, task::Wake};

    use super::*;

    fn is_woken(wheel: &TimerWheel, entry: &mut TimerEntry) -> bool {
        entry
            .poll(wheel, &mut Context::from_waker(Waker::noop()))
            .is_ready()
    }

    #[test]
    fn wakes_when_the_tick_comes() {
        let wheel = TimerWheel::new();
        let due = wheel.now() + TICK * 3;
        let mut entry = wheel.entry(due);
        wheel.turn_to(Tick(2));
        assert!(!is_woken(&wheel, &mut entry));
        wheel.turn_to(Tick(3));
        assert!(is_woken(&wheel, &mut entry) && wheel.now() >= due);
    }

    #[test]
    fn what_is_due_already_is_woken_with_the_next_tick_and_what_is_far_before_its_time() {
        let wheel = TimerWheel::new();
        wheel.turn_to(Tick(1_000));
        let (mut late, mut far) = (wheel.entry(Tick(7)), wheel.entry(Tick(u32::MAX)));
        wheel.turn_to(Tick(1_001));
        assert!(is_woken(&wheel, &mut late) && !is_woken(&wheel, &mut far));
        wheel.turn_to(Tick(1_000 + SLOTS));
        assert!(is_woken(&wheel, &mut far));
    }

    /// When woken the first time, takes an entry far ahead.
    struct Returning(TimerWheel, Mutex<Option<TimerEntry>>);

    impl Wake for Returning {
        fn wake(self: Arc<Self>) {
            let mut again = self.1.lock().expect("alone");
            if again.is_none() {
                let mut entry = self.0.entry(Tick(100));
                assert!(
                    entry
                        .poll(&self.0, &mut Context::from_waker(&Arc::clone(&self).into()))
                        .is_pending()
                );
                *again = Some(entry);
            }
        }
    }

    #[test]
    fn an_entry_taken_while_all_are_woken_is_not_lost() {
        let wheel = TimerWheel::new();
        let mut entry = wheel.entry(Tick(1));
        let returning = Arc::new(Returning(wheel.clone(), Mutex::default()));
        let waker = Arc::clone(&returning).into();
        let mut cx = Context::from_waker(&waker);
        assert!(entry.poll(&wheel, &mut cx).is_pending());
        wheel.wake_all();
        let mut again = returning
            .1
            .lock()
            .expect("alone")
            .take()
            .expect("it was woken");
        // The same wake-up has passed there, too: no other would come.
        assert!(again.poll(&wheel, &mut cx).is_ready());
    }

    #[test]
    fn waking_all_also_wakes_entries_between_looking_and_waiting() {
        let wheel = TimerWheel::new();
        let (mut near, mut far) = (wheel.entry(Tick(1)), wheel.entry(Tick(100)));
        assert_eq!(wheel.wake_count(), 0);
        wheel.wake_all();
        assert!(is_woken(&wheel, &mut near) && is_woken(&wheel, &mut far));
        assert_eq!(wheel.wake_count(), 1);
    }
}
