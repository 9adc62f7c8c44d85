//! Deletes what is no longer needed, once a minute.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use kairanban_core::Hub;
use kairanban_store::{AuditBounds, Store, StoreError, TicketTimes};
use tokio_util::sync::CancellationToken;

use crate::{
    blocking::in_the_background, config::Config, failpoint, follower::FollowerStatus,
    high_water::HighWater, limits::Quotas, metrics::CacheMetrics,
};

const INTERVAL: Duration = Duration::from_secs(60);
/// The change log is trimmed, and keys expire, once in this number of rounds.
const TRIM_EVERY: u64 = 10;

/// The task that deletes what is no longer needed.
#[derive(Debug)]
pub struct Housekeeping {
    pub(crate) store: Store,
    pub(crate) hub: Arc<Hub>,
    pub(crate) follower: FollowerStatus,
    pub(crate) trimmed_to: HighWater,
    pub(crate) quotas: Quotas,
    pub(crate) metrics: CacheMetrics,
    pub(crate) cache_ttl: Duration,
    pub(crate) bounds: Bounds,
}

/// How much is kept, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    changes_max: u64,
    changes_age_max: Duration,
    audit: AuditBounds,
    key_age_max: Duration,
    undo: Duration,
    tickets: TicketTimes,
}

impl Bounds {
    /// Takes the bounds from the configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            changes_max: config.history.changes_max,
            changes_age_max: config.history.age_max,
            audit: AuditBounds {
                max: config.history.audit_max,
                per_actor_min: config.history.audit_per_actor_min,
            },
            key_age_max: config.idempotency.age_max,
            undo: config.history.undo,
            tickets: config.tickets(),
        }
    }
}

impl Housekeeping {
    /// Deletes what is too old, every minute until `stop`.
    #[expect(
        clippy::cognitive_complexity,
        reason = "each log line expands to branches, which count"
    )]
    pub async fn run(&self, stop: &CancellationToken) {
        for round in 1_u64.. {
            failpoint::pass("housekeeping");
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(INTERVAL) => {}
            }
            self.quotas.evict_idle();
            if !self.follower.may_expire() {
                continue;
            }
            let evicted = self.hub.evict(Instant::now(), self.cache_ttl);
            self.metrics.evicted(evicted);
            if let Err(error) = self.expire(stop).await {
                tracing::warn!(%error, "could not delete what has expired");
            }
            if round % TRIM_EVERY != 0 {
                continue;
            }
            if let Err(error) = self.trim(stop).await {
                tracing::warn!(%error, "could not trim the change log");
            }
            let age_max = self.bounds.key_age_max;
            let keys = self.until_none_is_left(stop, move |store| store.expire_keys(age_max));
            if let Err(error) = keys.await {
                tracing::warn!(%error, "could not delete the keys that have expired");
            }
        }
    }

    async fn expire(&self, stop: &CancellationToken) -> Result<(), StoreError> {
        let Bounds {
            audit,
            undo,
            tickets,
            ..
        } = self.bounds;
        let expire = move |store: &Store| store.expire(audit, undo, tickets);
        self.until_none_is_left(stop, expire).await.map(drop)
    }

    async fn trim(&self, stop: &CancellationToken) -> Result<(), StoreError> {
        let Bounds {
            changes_max,
            changes_age_max,
            ..
        } = self.bounds;
        let trimmed_to = self.trimmed_to.clone();
        let trimmed = self
            .until_none_is_left(stop, move |store| {
                let trimmed = store.trim_log(changes_max, changes_age_max);
                // What went before a failure is gone.
                trimmed_to.raise(store.trimmed_to()?);
                trimmed
            })
            .await?;
        if trimmed > 0 {
            tracing::info!(trimmed, "trimmed the change log");
        }
        Ok(())
    }

    /// Repeats work that deletes a bounded number of rows. Returns how many went in all.
    async fn until_none_is_left(
        &self,
        stop: &CancellationToken,
        work: impl Fn(&Store) -> Result<usize, StoreError> + Clone + Send + 'static,
    ) -> Result<usize, StoreError> {
        let mut gone = 0;
        while !stop.is_cancelled() {
            match in_the_background(&self.store, work.clone()).await? {
                0 => break,
                went => gone += went,
            }
        }
        Ok(gone)
    }
}
