//! How many connections of the pool are in use, and which of them do not answer.
//!
//! A statement ends by itself after its time, unless its backend is frozen: then the thread that
//! asked waits for as long as that lasts. Its permit is passed to others meanwhile, who get another
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

/// The permits of a pool. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct PoolPermits(Arc<SharedPermits>);

#[derive(Debug)]
struct SharedPermits {
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
    permits: HashMap<u64, PermitUse>,
    abandoned: usize,
}

#[derive(Debug)]
struct PermitUse {
    activity: Option<Activity>,
    is_abandoned: bool,
}

impl InUse {
    /// Gives up permits whose connections do not answer. Returns whether there were any.
    fn abandon_silent(&mut self, silence_max: Duration, abandoned_max: usize) -> bool {
        let before = self.abandoned;
        for permit in self
            .permits
            .values_mut()
            .filter(|permit| !permit.is_abandoned)
        {
            let activity = permit.activity.as_ref();
            if self.abandoned < abandoned_max
                && activity.is_some_and(|activity| activity.is_silent(silence_max))
            {
                permit.is_abandoned = true;
                self.abandoned += 1;
            }
        }
        self.abandoned > before
    }
}

impl PoolPermits {
    pub(super) fn new(size_max: u32, abandoned_max: u32, silence_max: Duration) -> Self {
        Self(Arc::new(SharedPermits {
            in_use: Mutex::default(),
            freed: Condvar::new(),
            size_max: usize::try_from(size_max).unwrap_or(usize::MAX),
            abandoned_max: usize::try_from(abandoned_max).unwrap_or(usize::MAX),
            silence_max,
        }))
    }

    /// Takes a permit; `None` if all are in use for too long. Calls `on_silence` if a connection
    /// was found that does not answer.
    pub(super) fn take(&self, wait_max: Duration, on_silence: impl Fn()) -> Option<PoolPermit> {
        let inner = &self.0;
        let end = Instant::now() + wait_max;
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
            if in_use.permits.len() - in_use.abandoned < inner.size_max {
                in_use.last += 1;
                let number = in_use.last;
                let fresh = PermitUse {
                    activity: None,
                    is_abandoned: false,
                };
                in_use.permits.insert(number, fresh);
                return Some(PoolPermit {
                    permits: self.clone(),
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
pub(super) struct PoolPermit {
    permits: PoolPermits,
    number: u64,
}

impl PoolPermit {
    /// Watches the connection that the permit is used for.
    pub(super) fn watch(&self, activity: &Activity) {
        *activity.0.lock() = None;
        if let Some(permit) = self.permits.0.in_use.lock().permits.get_mut(&self.number) {
            permit.activity = Some(activity.clone());
        }
    }

    pub(super) fn is_abandoned(&self) -> bool {
        let in_use = self.permits.0.in_use.lock();
        in_use
            .permits
            .get(&self.number)
            .is_some_and(|permit| permit.is_abandoned)
    }
}

impl Drop for PoolPermit {
    fn drop(&mut self) {
        let mut in_use = self.permits.0.in_use.lock();
        if let Some(permit) = in_use.permits.remove(&self.number)
            && permit.is_abandoned
        {
            in_use.abandoned -= 1;
        }
        drop(in_use);
        self.permits.0.freed.notify_one();
    }
}
