//! Shares live lists between the nodes in Redis: a board that one of them has read costs the others
//! no query for its topics.
//!
//! A copy is never believed by itself: the database is asked for the board's revision, and only a
//! copy of exactly that revision counts (ADR 7). So a copy may be old, or lost, without harm.
//! Against copies that other users of that Redis forge, copies are signed and bounded (see
//! [`seal`]); without a key no board that needs a token has one.

mod seal;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use kairanban_core::{
    BoardLoad, BoardName, BulkStamp, Cursor, LogPosition, Policies, ReplayBuffer, Revision,
    Snapshot, Topic, TopicId, full_list,
};
use kairanban_store::{BoardHead, Store, StoreError};
use redis::{
    AsyncCommands as _, Client,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use serde::{Deserialize, Serialize};

pub use self::seal::Seal;
use crate::{blocking::query, failpoint};

/// Time limit of an answer of Redis. A reader waits for it, and the database would do.
const WAIT: Duration = Duration::from_millis(250);
/// Longest delay between two attempts to connect.
const RETRY_MAX: Duration = Duration::from_secs(2);

/// A connection to Redis that comes back by itself. Cheap to clone.
#[derive(Clone)]
pub struct Redis {
    client: Client,
    connection: ConnectionManager,
    /// How long a copy is kept.
    ttl: Duration,
    seal: Seal,
    /// Whether an invalid copy was logged: once, or each read would log it.
    has_warned: Arc<AtomicBool>,
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The address may hold a password.
        f.write_str("Redis")
    }
}

impl Redis {
    /// Creates a connection to the address of `client`, which is opened when it is first needed.
    /// Requires a runtime.
    ///
    /// # Errors
    /// If the address is invalid.
    pub fn new(client: Client, ttl: Duration, seal: Seal) -> redis::RedisResult<Self> {
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(0)
            .set_max_delay(RETRY_MAX)
            .set_connection_timeout(Some(WAIT))
            .set_response_timeout(Some(WAIT));
        let connection = ConnectionManager::new_lazy_with_config(client.clone(), config)?;
        Ok(Self {
            client,
            connection,
            ttl,
            seal,
            has_warned: Arc::default(),
        })
    }

    /// Returns the client, to open other connections.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// Publishes a message on a channel.
    ///
    /// # Errors
    /// Why it was not published, described.
    pub async fn publish(&self, channel: &str, message: &str) -> Result<(), String> {
        let sent: redis::RedisResult<()> = self.connection.clone().publish(channel, message).await;
        sent.map_err(|error| error.to_string())
    }

    /// Returns whether a board with these policies may have a copy here.
    fn takes(&self, policies: Policies) -> bool {
        self.seal.is_signed() || policies.is_public()
    }

    async fn get(&self, key: &str) -> Option<SharedBoard> {
        // One byte more than is taken, so that a longer copy is known as such without being
        // fetched.
        let end = isize::try_from(self.seal.bytes_max()).unwrap_or(isize::MAX);
        let found: redis::RedisResult<Vec<u8>> =
            self.connection.clone().getrange(key, 0, end).await;
        let found = found
            .inspect_err(|error| tracing::debug!(%error, "no copy from Redis"))
            .ok()?;
        if found.is_empty() {
            return None;
        }
        self.seal
            .open(key, &found)
            .inspect_err(|fault| self.warn(key, fault))
            .ok()
    }

    async fn put(&self, key: &str, copy: &SharedBoard) {
        let sealed = match self.seal.close(key, copy) {
            Ok(sealed) => sealed,
            Err(fault) => return tracing::debug!(fault, key, "no copy to Redis"),
        };
        let put: redis::RedisResult<()> = self
            .connection
            .clone()
            .set_ex(key, sealed, self.ttl.as_secs().max(1))
            .await;
        if let Err(error) = put {
            tracing::debug!(%error, "no copy to Redis");
        }
    }

    fn warn(&self, key: &str, fault: &str) {
        if !self.has_warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(key, fault, "ignored a list in Redis; no other is logged");
        }
    }
}

/// Reads boards from the database, or from current copies in Redis. Cheap to clone.
#[derive(Clone, Debug)]
pub struct BoardSource {
    store: Store,
    redis: Option<Redis>,
}

impl BoardSource {
    /// Creates a source that reads from `store`, and from `redis` if there is one.
    #[must_use]
    pub const fn new(store: Store, redis: Option<Redis>) -> Self {
        Self { store, redis }
    }

    /// Reads a board with its live list. Returns `None` if the database does not hold the history
    /// any more that was read up to `known`, which the follower is about to notice.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBoard`], or if the database is away.
    pub async fn read(
        &self,
        known: &LogPosition,
        board: &BoardName,
    ) -> Result<Option<BoardLoad>, StoreError> {
        let epoch = &known.epoch;
        let Some(redis) = &self.redis else {
            return self.read_database(known, board).await;
        };
        let (of, name) = (known.clone(), board.clone());
        let head = query(&self.store, move |store| {
            store.read_of(&of, |store| store.board_head(&name))
        });
        let Some(BoardHead {
            id: board_id,
            policies,
            revision,
            named_at,
        }) = head.await?
        else {
            return Ok(None);
        };
        if !redis.takes(policies) {
            return self.read_database(known, board).await;
        }
        // Nodes that show lists of another length, or sign with another key, have other copies.
        let signed = if redis.seal.is_signed() {
            ":signed"
        } else {
            ""
        };
        let topics_max = self.store.topics_max();
        let key = format!("kairanban:{epoch}:{topics_max}:{board}{signed}");
        if let Some(copy) = redis.get(&key).await
            && (copy.board_id, copy.revision) == (board_id.0, revision.get())
            && full_list::surplus(copy.topics.len(), topics_max) == 0
        {
            let (snapshot, replay_buffer) = copy.into_list(
                board,
                Cursor {
                    epoch: epoch.clone(),
                    revision,
                },
                self.store.replay_max(),
            );
            let load = BoardLoad {
                board_id,
                policies,
                snapshot,
                replay_buffer,
                named_at,
            };
            return Ok(Some(load));
        }
        let loaded = self.read_database(known, board).await?;
        if let Some(loaded) = loaded.as_ref().filter(|load| redis.takes(load.policies)) {
            let (redis, copy) = (redis.clone(), SharedBoard::from(loaded));
            // The readers that wait for the board need not wait for this.
            tokio::spawn(async move { redis.put(&key, &copy).await });
        }
        Ok(loaded)
    }

    async fn read_database(
        &self,
        known: &LogPosition,
        board: &BoardName,
    ) -> Result<Option<BoardLoad>, StoreError> {
        let (known, name) = (known.clone(), board.clone());
        let read =
            move |store: &Store| store.read_of(&known, |store| store.load(&known.epoch, &name));
        let loaded = query(&self.store, read).await?;
        if let Some(loaded) = &loaded
            && failpoint::fires_at("load", board.as_str(), loaded.snapshot.revision().get())
        {
            return Err(StoreError::Internal("failpoint".to_owned()));
        }
        Ok(loaded)
    }
}

/// A live list with the newest part of its log, as it is stored in Redis.
#[derive(Debug, Serialize, Deserialize)]
struct SharedBoard {
    board_id: i64,
    revision: u64,
    topics: Vec<TopicCopy>,
    floor: u64,
    /// The revision and the topic of each change after the floor.
    #[serde(rename = "tail")]
    entries: Vec<(u64, i64)>,
    /// The number on the topics of each bulk transaction, and its revision.
    #[serde(default)]
    bulk_stamps: Vec<(u64, u64)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct TopicCopy {
    id: i64,
    comment: String,
    author: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    edited_at: Option<DateTime<Utc>>,
    revision: u64,
}

impl TopicCopy {
    fn of(topic: &Arc<Topic>) -> Self {
        Self {
            id: topic.id.0,
            comment: topic.comment.clone(),
            author: topic.author.clone(),
            created_at: topic.created_at,
            updated_at: topic.updated_at,
            edited_at: topic.edited_at,
            revision: topic.revision.get(),
        }
    }

    fn into_topic(self) -> Arc<Topic> {
        Arc::new(Topic {
            id: TopicId(self.id),
            comment: self.comment,
            author: self.author,
            created_at: self.created_at,
            updated_at: self.updated_at,
            edited_at: self.edited_at,
            revision: revision(self.revision),
        })
    }
}

fn revision(number: u64) -> Revision {
    Revision::new(number).unwrap_or_default()
}

impl From<&BoardLoad> for SharedBoard {
    fn from(loaded: &BoardLoad) -> Self {
        Self {
            board_id: loaded.board_id.0,
            revision: loaded.snapshot.revision().get(),
            topics: loaded.snapshot.topics().iter().map(TopicCopy::of).collect(),
            floor: loaded.replay_buffer.floor().get(),
            entries: loaded
                .replay_buffer
                .entries()
                .map(|(revision, topic)| (revision.get(), topic.0))
                .collect(),
            bulk_stamps: loaded
                .snapshot
                .bulk_stamps()
                .iter()
                .map(|stamp| (stamp.stamped_as.get(), stamp.revision.get()))
                .collect(),
        }
    }
}

impl SharedBoard {
    fn into_list(
        self,
        board: &BoardName,
        cursor: Cursor,
        replay_max: usize,
    ) -> (Snapshot, ReplayBuffer) {
        let mut topics: Vec<_> = self.topics.into_iter().map(TopicCopy::into_topic).collect();
        topics.sort_unstable_by_key(|topic| topic.id);
        topics.dedup_by_key(|topic| topic.id);
        let entries = self
            .entries
            .into_iter()
            .map(|(at, topic)| (revision(at), TopicId(topic)));
        let stamps = self.bulk_stamps.into_iter();
        let stamps = stamps.map(|(stamped_as, at)| BulkStamp {
            stamped_as: revision(stamped_as),
            revision: revision(at),
        });
        (
            Snapshot::new(board.clone(), cursor, topics).with_bulk_stamps(stamps),
            ReplayBuffer::new(revision(self.floor), entries, replay_max),
        )
    }
}

#[cfg(test)]
mod tests {
    use kairanban_core::{BoardId, Policies};

    use super::*;

    #[test]
    fn a_copy_is_the_same_list() {
        let now = Utc::now();
        let revision = Revision::new(9).expect("a revision");
        let topic = Topic {
            id: TopicId(3),
            comment: "回覧\n\u{0}".to_owned(),
            author: "ann".to_owned(),
            created_at: now,
            updated_at: now,
            edited_at: Some(now),
            revision,
        };
        let cursor: Cursor = "e-9".parse().expect("a cursor");
        let board: BoardName = "main".parse().expect("a name");
        let stamp = BulkStamp {
            stamped_as: topic.revision,
            revision: Revision::new(12).expect("a revision"),
        };
        let loaded = BoardLoad {
            board_id: BoardId(4),
            policies: Policies::default(),
            snapshot: Snapshot::new(board.clone(), cursor.clone(), vec![Arc::new(topic.clone())])
                .with_bulk_stamps([stamp]),
            replay_buffer: ReplayBuffer::new(
                Revision::new(7).expect("a revision"),
                [(revision, TopicId(3))],
                8,
            ),
            named_at: Revision::ZERO,
        };
        let text = serde_json::to_string(&SharedBoard::from(&loaded)).expect("JSON");
        let copy: SharedBoard = serde_json::from_str(&text).expect("a copy");
        let (snapshot, replay_buffer) = copy.into_list(&board, cursor, 8);
        assert_eq!(
            snapshot
                .topics()
                .iter()
                .map(|topic| topic.as_ref())
                .collect::<Vec<_>>(),
            [&topic]
        );
        assert_eq!(
            (snapshot.digest(), replay_buffer.floor()),
            (loaded.snapshot.digest(), loaded.replay_buffer.floor())
        );
        assert_eq!(snapshot.bulk_stamps(), [stamp]);
        assert!(replay_buffer.entries().eq(loaded.replay_buffer.entries()));
    }
}
