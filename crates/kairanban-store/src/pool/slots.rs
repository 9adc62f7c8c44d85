//! How many connections of the pool are in use, and which of them do not answer.
//!
//! A statement ends by itself after its time, unless its backend is frozen: then the thread that
//! asked waits for as long as that lasts. Its slot is given to others meanwhile, who get another
//! connection; if it ever comes back, its connection is closed.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use diesel::connection::{Instrumentation, InstrumentationEvent};
use parking_lot::{Condvar, Mutex};

/// Since when a connection waits for the answer to a statement, if it does. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Activity(Arc<Mutex<Option<Instant>>>);

impl Activity {
    fn is_silent(&self, silence_max: Duration) -> bool {
        self.0.lock().is_some_and(|at| at.elapsed() > silence_max)
    }
}

impl Instrumentation for Activity {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        match event {
            InstrumentationEvent::StartQuery { .. } => *self.0.lock() = Some(Instant::now()),
            InstrumentationEvent::FinishQuery { .. } => *self.0.lock() = None,
            _ => {}
        }
    }
}

/// The slots of a pool. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct PoolSlots(Arc<SharedSlots>);

#[derive(Debug)]
struct SharedSlots {
    in_use: Mutex<InUse>,
    freed: Condvar,
    size_max: usize,
    abandoned_max: usize,
    /// A statement that takes longer never ends.
    silence_max: Duration,
}

#[derive(Debug, Default)]
struct InUse {
    last: u64,
    slots: HashMap<u64, Use>,
    abandoned: usize,
}

#[derive(Debug)]
struct Use {
    activity: Option<Activity>,
    is_abandoned: bool,
}

impl InUse {
    /// Gives up slots whose connections do not answer. Returns whether there were any.
    fn abandon_silent(&mut self, silence_max: Duration, abandoned_max: usize) -> bool {
        let before = self.abandoned;
        for slot in self.slots.values_mut().filter(|slot| !slot.is_abandoned) {
            let activity = slot.activity.as_ref();
            if self.abandoned < abandoned_max
                && activity.is_some_and(|activity| activity.is_silent(silence_max))
            {
                slot.is_abandoned = true;
                self.abandoned += 1;
            }
        }
        self.abandoned > before
    }
}

impl PoolSlots {
    pub(super) fn new(size_max: u32, abandoned_max: u32, silence_max: Duration) -> Self {
        Self(Arc::new(SharedSlots {
            in_use: Mutex::default(),
            freed: Condvar::new(),
            size_max: usize::try_from(size_max).unwrap_or(usize::MAX),
            abandoned_max: usize::try_from(abandoned_max).unwrap_or(usize::MAX),
            silence_max,
        }))
    }

    /// Takes a slot; `None` if all are in use for too long. Calls `on_silence` if a connection was
    /// found that does not answer.
    pub(super) fn take(&self, patience: Duration, on_silence: impl Fn()) -> Option<Slot> {
        let inner = &self.0;
        let end = Instant::now() + patience;
        let mut in_use = inner.in_use.lock();
        let mut is_over = false;
        loop {
            if in_use.abandon_silent(inner.silence_max, inner.abandoned_max) {
                tracing::warn!(
                    abandoned = in_use.abandoned,
                    "a connection to the database does not answer; another takes its place"
                );
                on_silence();
            }
            if in_use.slots.len() - in_use.abandoned < inner.size_max {
                in_use.last += 1;
                let number = in_use.last;
                let fresh = Use {
                    activity: None,
                    is_abandoned: false,
                };
                in_use.slots.insert(number, fresh);
                return Some(Slot {
                    slots: self.clone(),
                    number,
                });
            }
            if is_over {
                return None;
            }
            is_over = inner.freed.wait_until(&mut in_use, end).timed_out();
        }
    }

    /// Returns how many connections were abandoned and have not come back.
    pub(super) fn abandoned(&self) -> usize {
        self.0.in_use.lock().abandoned
    }
}

/// The right to use a connection, until it is dropped.
pub(super) struct Slot {
    slots: PoolSlots,
    number: u64,
}

impl Slot {
    /// Watches the connection that the slot is used for.
    pub(super) fn watch(&self, activity: &Activity) {
        *activity.0.lock() = None;
        if let Some(slot) = self.slots.0.in_use.lock().slots.get_mut(&self.number) {
            slot.activity = Some(activity.clone());
        }
    }

    pub(super) fn is_abandoned(&self) -> bool {
        let in_use = self.slots.0.in_use.lock();
        in_use
            .slots
            .get(&self.number)
            .is_some_and(|slot| slot.is_abandoned)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut in_use = self.slots.0.in_use.lock();
        if let Some(slot) = in_use.slots.remove(&self.number)
            && slot.is_abandoned
        {
            in_use.abandoned -= 1;
        }
        drop(in_use);
        self.slots.0.freed.notify_one();
    }
}
