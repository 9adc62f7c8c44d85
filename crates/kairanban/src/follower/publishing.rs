//! Publishes what was read from the log: permissions first, then the changes, board by board.

use std::{
    collections::{BTreeMap, HashMap},
    time::Instant,
};

use kairanban_core::{
    BoardChange, BoardChanges, BoardId, BoardName, Change, ChangeKind, KnownSince, Published,
    Revision,
};
use kairanban_store::{ChangeBatch, ChangedBoard, StoreError};

use super::Follower;
use crate::{blocking::query_priority, board_loader::LoadError};

impl Follower {
    /// Publishes a batch of the log.
    pub(super) async fn take(&mut self, batch: ChangeBatch) -> Result<(), StoreError> {
        match batch {
            ChangeBatch::Changes { changes, last } => {
                if last.is_some() {
                    self.follow(&changes).await?;
                    self.advance_to(last);
                }
            }
            ChangeBatch::Boards { last, boards } => {
                self.resync(boards).await?;
                self.advance_to(last);
            }
        }
        Ok(())
    }

    /// Publishes what changed, board by board.
    async fn follow(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let read_at = KnownSince::Reading(Instant::now());
        let mut boards: BTreeMap<&BoardName, BoardChanges> = BTreeMap::new();
        let mut board_changes: HashMap<BoardId, BoardChange> = HashMap::new();
        for change in changes {
            if change.kind.may_change_board() {
                let known = board_changes
                    .get(&change.board_id)
                    .and_then(|known| known.named_at);
                let named_at = change.names_board.then_some(change.revision).max(known);
                let now = BoardChange {
                    revision: change.revision,
                    info: change.board.clone(),
                    named_at,
                };
                board_changes.insert(change.board_id, now);
            } else if let Some(board) = &change.board {
                boards.entry(&board.name).or_default().push(change);
            }
        }
        boards
            .values_mut()
            .for_each(|changes| changes.set_known_since(read_at));
        // Publishes permissions before changes.
        if changes.iter().any(|change| change.kind.may_change_tokens()) {
            self.refresh_tokens().await?;
        }
        if !board_changes.is_empty() {
            self.evict_names();
        }
        self.deps.hub.apply_policies(&board_changes);
        for (board, changes) in &boards {
            self.publish(board, None, changes).await;
        }
        // A change that a later version wrote: the board can be read, but not followed.
        for change in changes
            .iter()
            .filter(|change| change.kind == ChangeKind::Unknown)
        {
            if let Some(board) = &change.board {
                self.outdate(&board.name, change.revision).await;
            }
        }
        let written = changes
            .iter()
            .filter(|change| change.kind.may_overfill())
            .filter_map(|change| change.board.as_ref());
        written.for_each(|board| self.deps.archiver.request_archive(&board.name));
        Ok(())
    }

    /// Reads the tokens and sessions in use again (ADR 13), and notifies the callers whose token
    /// changed or ended.
    pub(super) async fn refresh_tokens(&self) -> Result<(), StoreError> {
        let asked = self.deps.active_tokens.begin_refresh();
        if asked.is_empty() {
            return Ok(());
        }
        let keys: Vec<_> = asked.iter().cloned().collect();
        let found = query_priority(&self.deps.store, move |store| store.tokens_in_use(&keys));
        let found = found.await?;
        self.deps.active_tokens.finish_refresh(&asked, &found);
        Ok(())
    }

    /// Loads the boards that have readers and changed more than is worth following.
    async fn resync(&mut self, boards: Vec<ChangedBoard>) -> Result<(), StoreError> {
        tracing::debug!(
            boards = boards.len(),
            "much changed at once, loading the boards"
        );
        self.refresh_tokens().await?;
        self.evict_names();
        let changes = boards.iter().map(|board| {
            let change = BoardChange {
                revision: board.revision,
                info: board.info.clone(),
                named_at: None,
            };
            (board.id, change)
        });
        self.deps.hub.apply_policies(&changes.collect());
        for board in &boards {
            let Some(now) = &board.info else { continue };
            self.outdate(&now.name, board.revision).await;
            self.deps.archiver.request_archive(&now.name);
        }
        Ok(())
    }

    /// Evicts the names that no board has, and the titles of boards: a board changed.
    pub(super) fn evict_names(&self) {
        self.deps.absent.clear();
        self.deps.directory.clear();
    }

    /// Publishes changes of a board, and loads it if they do not follow on what is in memory.
    /// Returns `None` if nothing was published.
    pub(super) async fn publish(
        &mut self,
        board: &BoardName,
        id: Option<BoardId>,
        changes: &BoardChanges,
    ) -> Option<Published> {
        let published = self.deps.hub.publish(board, id, changes);
        if published == Some(Published::Reload) {
            self.reload(board, changes.revision()).await;
        }
        published
    }

    /// Loads a board that changed up to `revision` and cannot be followed, if it has readers.
    async fn outdate(&mut self, board: &BoardName, revision: Revision) {
        if self.deps.hub.mark_outdated(board, revision) {
            self.reload(board, revision).await;
        }
    }

    /// Loads a board that changed up to `revision`. One that cannot be read delays no other: its
    /// readers are sent `stale`, and it is retried.
    pub(super) async fn reload(&mut self, board: &BoardName, revision: Revision) {
        let known = self.last_seen.borrow().clone();
        match self.deps.loader.load(&known, board).await {
            Ok(()) => {
                if self.stale_boards.remove(board) {
                    tracing::info!(%board, "the board can be read again");
                }
            }
            // It was read too early: a later change loads it. A stale board is retried anyway.
            Err(LoadError::Outdated(_)) => {}
            Err(LoadError::Gone(_)) => {
                self.stale_boards.remove(board);
                self.deps.hub.end_missing(board);
            }
            Err(LoadError::Failed(error)) => {
                // Before its readers are notified, so that one that asks `/readyz` finds the board
                // named.
                if self.stale_boards.add(board, Instant::now()) {
                    tracing::warn!(%error, %board, "the board cannot be read; its readers were \
                        sent `stale`, and it is tried again");
                }
                self.deps.loader.mark_stale(board, revision);
            }
        }
    }
}
