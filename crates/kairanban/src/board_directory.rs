//! Remembers the titles of boards, which every page shows, until the log reports a change of a
//! board.
//!
//! A list is remembered for each kind of caller: all of them who may see the same boards share one
//! reading. What a reader is shown of the board itself does not depend on this: a list that cannot
//! be read is empty.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::Arc,
    time::{Duration, Instant},
};

use kairanban_core::{BoardName, VisibleBoards};
use kairanban_store::{Store, StoreError, TitledBoard};
use parking_lot::Mutex;

use crate::blocking::{query, unanswered};

/// Boards in a list.
const LISTED_MAX: usize = 50;
/// Kinds of callers, and titles of boards in no list, that are remembered.
const KNOWN_MAX: usize = 1_000;

/// Titles of boards. Cheap to clone.
#[derive(Clone, Debug)]
pub struct BoardDirectory(Arc<Directory>);

#[derive(Debug)]
struct Directory {
    known: Mutex<KnownTitles>,
    /// Readers that arrive together cost one reading.
    reading: tokio::sync::Mutex<()>,
    ttl: Duration,
}

#[derive(Debug, Default)]
struct KnownTitles {
    /// Grows whenever everything is evicted. What was read before that is not remembered after
    /// it.
    generation: u64,
    lists: HashMap<VisibleBoards, (Instant, Arc<[TitledBoard]>)>,
    titles: HashMap<BoardName, (Instant, Arc<str>)>,
    /// When a reading last failed.
    failed_at: Option<Instant>,
}

impl BoardDirectory {
    /// Creates a directory that remembers a title for `ttl`, unless a board changes.
    #[must_use]
    pub fn new(ttl: Duration) -> Self {
        Self(Arc::new(Directory {
            known: Mutex::default(),
            reading: tokio::sync::Mutex::default(),
            ttl,
        }))
    }

    /// Evicts everything, because a board changed.
    pub fn clear(&self) {
        let mut known = self.0.known.lock();
        known.generation += 1;
        known.lists.clear();
        known.titles.clear();
    }

    /// Returns the first boards, by name, that a caller may see, as far as they are remembered,
    /// however long ago.
    #[must_use]
    pub fn remembered_list(&self, visible: &VisibleBoards) -> Option<Arc<[TitledBoard]>> {
        let known = self.0.known.lock();
        known.lists.get(visible).map(|(_, list)| Arc::clone(list))
    }

    /// Returns the first boards, by name, that a caller may see. Cancel safe.
    ///
    /// # Errors
    /// If it is not remembered, and the database is away.
    pub async fn list(
        &self,
        store: &Store,
        visible: VisibleBoards,
    ) -> Result<Arc<[TitledBoard]>, StoreError> {
        let key = visible.clone();
        let read = move |store: &Store| store.titled_boards(&visible, LISTED_MAX).map(Arc::from);
        self.remembered(|known| &mut known.lists, key, store, read)
            .await
    }

    /// Returns the title of a board. Cancel safe.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub async fn title(&self, store: &Store, board: BoardName) -> Result<Arc<str>, StoreError> {
        let key = board.clone();
        let read = move |store: &Store| store.board_title(&board).map(Arc::from);
        self.remembered(|known| &mut known.titles, key, store, read)
            .await
    }

    async fn remembered<K: Clone + Eq + Hash, V: Clone + Send + 'static>(
        &self,
        of: impl Fn(&mut KnownTitles) -> &mut HashMap<K, (Instant, V)>,
        key: K,
        store: &Store,
        read: impl FnOnce(&Store) -> Result<V, StoreError> + Send + 'static,
    ) -> Result<V, StoreError> {
        let find = |ttl: Duration| {
            let mut known = self.0.known.lock();
            let found = of(&mut known).get(&key);
            let found = found.filter(|(read_at, _)| read_at.elapsed() < ttl);
            let value = found.map(|(_, value)| value.clone());
            (value, known.generation, known.failed_at)
        };
        let began = Instant::now();
        if let (Some(value), ..) = find(self.0.ttl) {
            return Ok(value);
        }
        let _reading = self.0.reading.lock().await;
        let (found, generation, failed_at) = find(self.0.ttl);
        if let Some(value) = found {
            return Ok(value);
        }
        // Those who waited for a reading that failed do not wait for another one.
        let has_failed = failed_at.is_some_and(|failed_at| failed_at > began);
        let read = if has_failed {
            Err(unanswered())
        } else {
            query(store, read).await
        };
        let value = match read {
            Ok(value) => value,
            // While the database is away nothing expires.
            Err(error) => {
                self.0.known.lock().failed_at = Some(Instant::now());
                return find(Duration::MAX).0.ok_or(error);
            }
        };
        let mut known = self.0.known.lock();
        if known.generation == generation {
            let all = of(&mut known);
            if all.len() >= KNOWN_MAX {
                all.clear();
            }
            all.insert(key.clone(), (Instant::now(), value.clone()));
        }
        Ok(value)
    }
}
