//! What the writer knows about the database, for `/readyz`.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::{StoreError, error::FaultKind};

/// The last fault that writes met, until a write, or a check of the writer's own, is good again. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct WriterHealth(Arc<Mutex<Option<String>>>);

impl WriterHealth {
    /// Why nothing can be written now.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        self.0.lock().clone()
    }

    /// Takes note of a failed write: what concerns that write alone, or will pass by itself, is no fault.
    pub(crate) fn note(&self, error: &StoreError) {
        if let StoreError::Fault(fault) = error
            && fault.kind != FaultKind::Busy
        {
            self.set(fault.to_string());
        }
    }

    pub(crate) fn set(&self, reason: String) {
        let mut last = self.0.lock();
        if last.as_ref() != Some(&reason) {
            tracing::error!(%reason, "writing does not work");
            *last = Some(reason);
        }
    }

    pub(crate) fn clear(&self) {
        if self.0.lock().take().is_some() {
            tracing::info!("writing works again");
        }
    }

    pub(crate) fn is_faulty(&self) -> bool {
        self.0.lock().is_some()
    }
}
