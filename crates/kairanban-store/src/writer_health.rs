//! What the writer knows about the database, for `/readyz`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::{StoreError, error::FaultKind};

/// Writes that cannot be done for longer than this are a fault of the database, and not only of some of them.
const OUTAGE: Duration = Duration::from_secs(1);

/// The last fault that writes met, until a write, or a check of the writer's own, is good again. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct WriterHealth(Arc<Mutex<Health>>);

#[derive(Debug, Default)]
struct Health {
    fault: Option<String>,
    /// Since when no write was done, because the database was away or took too long each time.
    away_since: Option<Instant>,
}

impl WriterHealth {
    /// Returns why nothing can be written now, if nothing can.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        self.0.lock().fault.clone()
    }

    /// Records a failed write: what concerns that write alone, or passes by itself within a moment, is no fault.
    pub(crate) fn record(&self, error: &StoreError) {
        match error {
            StoreError::Fault(fault) if fault.kind != FaultKind::Busy => {
                self.set(fault.to_string())
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
        if health.fault.as_ref() != Some(&reason) {
            tracing::error!(%reason, "writing does not work");
            health.fault = Some(reason);
        }
    }

    pub(crate) fn clear(&self) {
        let mut health = self.0.lock();
        health.away_since = None;
        if health.fault.take().is_some() {
            tracing::info!("writing works again");
        }
    }

    pub(crate) fn is_faulty(&self) -> bool {
        self.0.lock().fault.is_some()
    }
}
