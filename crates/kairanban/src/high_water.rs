//! Keeps the highest revision that was seen of something.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use kairanban_core::Revision;

/// A revision that only grows, shared between threads.
#[derive(Clone, Debug, Default)]
pub struct HighWater(Arc<AtomicU64>);

impl HighWater {
    /// Raises it to `revision`, if that is higher.
    pub fn raise(&self, revision: Revision) {
        // Publishes nothing but the number itself.
        self.0.fetch_max(revision.get(), Ordering::AcqRel);
    }

    /// Lowers it to `revision`, unless it was raised since it was `seen`.
    pub fn lower(&self, seen: Revision, revision: Revision) {
        if revision < seen {
            // Raised meanwhile: the next poll lowers it.
            let _ = self.0.compare_exchange(
                seen.get(),
                revision.get(),
                Ordering::AcqRel,
                Ordering::Acquire,
            );
        }
    }

    /// Sets it to `revision`, of another history.
    pub fn reset(&self, revision: Revision) {
        self.0.store(revision.get(), Ordering::Release);
    }

    /// Returns the highest revision so far.
    #[must_use]
    pub fn get(&self) -> Revision {
        Revision::new(self.0.load(Ordering::Acquire)).unwrap_or_default()
    }
}
