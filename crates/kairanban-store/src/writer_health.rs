//! What the writer knows about the database, for `/readyz`.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::{StoreError, error::FaultKind};

/// Writes that cannot be done for longer than this are a fault of the database, and not only of
/// some of them.
const OUTAGE: Duration = Duration::from_secs(1);

/// Between two lines of the log about writes that failed by themselves: their clients can cause as
/// many as they like.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// The last fault that writes met, until a write, or a check of the writer's own, is good again.
/// Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct WriterHealth(Arc<Mutex<Health>>);

#[derive(Debug, Default)]
struct Health {
    fault: Option<String>,
    /// Whether a check has found it: then only a check finds that it is gone. Other kinds of writes
    /// may never meet it.
    is_of_check: bool,
    /// What keeps some kind of write from the database, although the check finds nothing, until a
    /// write of that kind is good again.
    failing: BTreeMap<&'static str, String>,
    /// Since when no write was done, because the database was away or took too long each time.
    away_since: Option<Instant>,
    /// Why the last write failed, if others may fail by it, too.
    warning: Option<String>,
    warned_at: Option<Instant>,
}

impl WriterHealth {
    /// Returns why nothing can be written now, if nothing can.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        self.0.lock().fault.clone()
    }

    /// Returns why the last write failed although the database can be written, if others may fail
    /// by it, too: something of the owner's, such as a trigger, was in the way.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        self.0.lock().warning.clone()
    }

    /// Returns what kinds of writes do not work, and why, although the check finds nothing.
    #[must_use]
    pub fn failing(&self) -> Vec<String> {
        let health = self.0.lock();
        let failing = health.failing.iter();
        failing
            .map(|(kind, cause)| format!("{kind}: {cause}"))
            .collect()
    }

    /// Records that writes of this kind work.
    pub(crate) fn record_success(&self, kind: &'static str) {
        if self.0.lock().failing.remove(kind).is_some() {
            tracing::info!(kind, "writing works again");
        }
    }

    fn set_failing(&self, kind: &'static str, cause: String) {
        let mut health = self.0.lock();
        if health.failing.get(kind) != Some(&cause) {
            tracing::error!(kind, %cause, "a kind of write does not work");
            health.failing.insert(kind, cause);
        }
    }

    /// Records a write that failed. Whether it was the only one that does is for a check to find
    /// out.
    pub(crate) fn record_write(&self, kind: &'static str, error: &StoreError) {
        match error {
            StoreError::Fault(fault) if fault.kind == FaultKind::Schema => {
                self.set_failing(kind, fault.to_string());
            }
            StoreError::Fault(fault) if !fault.kind.passes() => {
                self.warn(fault.text.clone());
            }
            StoreError::Refused(refusal) => refusal
                .cause
                .iter()
                .for_each(|cause| self.warn(cause.clone())),
            other => self.record(other),
        }
    }

    fn warn(&self, cause: String) {
        let mut health = self.0.lock();
        if health
            .warned_at
            .is_none_or(|at| at.elapsed() >= WARNING_INTERVAL)
        {
            tracing::warn!(%cause, "a write was refused by something the database's owner added");
            health.warned_at = Some(Instant::now());
        }
        health.warning = Some(cause);
    }

    /// Records what was found to keep writes from the database: what passes by itself within a
    /// moment is no fault.
    pub(crate) fn record(&self, error: &StoreError) {
        match error {
            StoreError::Fault(fault) if !fault.kind.passes() => {
                self.set(fault.to_string());
                self.0.lock().is_of_check = true;
            }
            StoreError::Unavailable(text) | StoreError::Disconnected(text) => {
                let since = *self.0.lock().away_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= OUTAGE {
                    self.set(text.clone());
                }
            }
            _ => {}
        }
    }

    pub(crate) fn set(&self, reason: String) {
        let mut health = self.0.lock();
        // The fault explains it.
        health.warning = None;
        if health.fault.as_ref() != Some(&reason) {
            tracing::error!(%reason, "writing does not work");
            health.fault = Some(reason);
        }
    }

    pub(crate) fn clear(&self) {
        let mut health = self.0.lock();
        health.away_since = None;
        health.is_of_check = false;
        if health.fault.take().is_some() {
            tracing::info!("writing works again");
        }
    }

    pub(crate) fn record_commit(&self) {
        if !self.is_of_check() {
            self.clear();
        }
        let mut health = self.0.lock();
        (health.away_since, health.warning) = (None, None);
    }

    /// Returns whether there is a fault that only a check can find to be gone.
    pub(crate) fn is_of_check(&self) -> bool {
        self.0.lock().is_of_check
    }

    pub(crate) fn is_faulty(&self) -> bool {
        self.0.lock().fault.is_some()
    }
}
