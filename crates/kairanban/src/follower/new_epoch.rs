//! Finds out whether the log is still the one that was followed, and begins a new epoch if it is
//! not.

use kairanban_core::{LogPosition, Revision, Verdict};
use kairanban_store::StoreError;

use super::Follower;
use crate::blocking::query_priority;

/// The reason that is logged for a new epoch that this node did not draw.
pub(super) const ADOPTED: &str = "another one was drawn, or it is another database";

impl Follower {
    /// Finds out whether this is still the history that was followed.
    pub(super) async fn settle(&mut self) -> Result<(), StoreError> {
        let acknowledged = self.deps.acknowledged.get();
        let known = self.last_seen.borrow().clone();
        let asked = known.clone();
        let (found, verdict, trimmed_to) = query_priority(&self.deps.store, move |store| {
            let (found, verdict) = store.settle(Some(&asked))?;
            Ok((found, verdict, store.trimmed_to()?))
        })
        .await?;
        match verdict {
            Verdict::Same => {
                // The same database may have a more exact mark now.
                self.last_seen.send_if_modified(|seen| {
                    std::mem::replace(&mut seen.mark, found.mark.clone()) != found.mark
                });
                Ok(())
            }
            Verdict::Trimmed => {
                let batch = query_priority(&self.deps.store, move |store| {
                    store.boards_since(known.revision())
                })
                .await?;
                self.take(batch).await
            }
            Verdict::Adopt => {
                self.begin_epoch(found, trimmed_to, acknowledged, ADOPTED)
                    .await
            }
            Verdict::Draw(restored) => {
                self.begin_epoch(found, trimmed_to, acknowledged, restored.as_str())
                    .await
            }
        }
    }

    /// Drops the old history, and sends every reader the list of the new one. What was
    /// `acknowledged` before the new one was read, and is not in it, was lost with the old one.
    async fn begin_epoch(
        &mut self,
        found: LogPosition,
        trimmed_to: Revision,
        acknowledged: Revision,
        reason: &str,
    ) -> Result<(), StoreError> {
        // Tokens may have come back, or gone, with the other history: permissions come before
        // lists. If they cannot be read, nothing has begun, and the next poll finds the new epoch
        // again.
        self.refresh_tokens().await?;
        let (epoch, head) = (found.epoch.clone(), found.revision());
        tracing::warn!(%epoch, reason, "a new epoch begins: every reader is sent the list again");
        self.last_seen.send_replace(found);
        // Before a reader can meet the new epoch, who would wait for ever for what was lost.
        self.deps.acknowledged.lower(acknowledged, head);
        // What waits for a revision goes on only when the old lists are gone.
        self.position.send_if_modified(|position| {
            (position.epoch, position.revision) = (epoch.clone(), position.revision.min(head));
            false
        });
        self.deps.trimmed_to.reset(trimmed_to);
        self.stale_boards.clear();
        self.evict_names();
        let watched = self.deps.hub.restart(&epoch);
        self.position
            .send_modify(|position| position.revision = head);
        for board in watched {
            self.reload(&board, Revision::ZERO).await;
        }
        Ok(())
    }
}
