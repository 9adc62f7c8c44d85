//! Reports whether the log can be read, and what keeps it from being read.

use std::time::Instant;

use chrono::Utc;
use kairanban_core::LogPosition;
use kairanban_store::{Store, StoreError};

use super::Follower;
use crate::blocking::query_priority;

impl Follower {
    /// Counts a reading that began at `before`, against the hints if one caused it and it found
    /// nothing.
    pub(super) fn count(&mut self, is_hint: bool, before: &LogPosition) {
        if *self.last_seen.borrow() != *before {
            self.empty_reads.found();
        } else if is_hint {
            self.empty_reads.count(Instant::now());
        }
    }

    /// Finds out what the database lacks, after a query failed although it answered, and until that
    /// is there.
    pub(super) async fn check_reading(&self) {
        if !self.deps.store.take_read_failure() && self.reading_fault.borrow().is_none() {
            return;
        }
        // While the database is away, the last finding stands.
        let Ok(found) = query_priority(&self.deps.store, Store::reading_fault).await else {
            return;
        };
        let is_new = self
            .reading_fault
            .send_if_modified(|fault| std::mem::replace(fault, found.clone()) != found);
        match found {
            Some(reason) if is_new => tracing::error!(%reason, "reading does not work"),
            None if is_new => tracing::info!("reading works again"),
            _ => {}
        }
    }

    pub(super) fn fresh(&self) {
        if self
            .stale_since
            .send_if_modified(|stale| stale.take().is_some())
        {
            tracing::info!("the database is back");
        }
    }

    pub(super) fn stale(&self, error: &StoreError) {
        if self.stale_since.borrow().is_none() {
            self.stale_since.send_replace(Some(Utc::now()));
            tracing::warn!(%error, "the change log cannot be read");
        }
    }
}
