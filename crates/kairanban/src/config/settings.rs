//! Every key, with its type. What each means stands in `config/default.toml`.

use std::{fmt, net::SocketAddr, num::NonZero, path::PathBuf};

use ipnet::IpNet;
use serde::Deserialize;

/// A text that is not shown.
#[derive(Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "\"\"" } else { "\"***\"" })
    }
}

/// What carries messages between servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackplaneKind {
    /// Postgres, if that is the database.
    Auto,
    /// Nothing: the database is polled.
    None,
    /// LISTEN and NOTIFY.
    Postgres,
    /// Redis, and LISTEN for the commits of other programs.
    Redis,
}

macro_rules! sections {
    ($($(#[$doc:meta])* $section:ident { $($(#[$key_doc:meta])* $key:ident: $kind:ty,)* })*) => {
        $($(#[$doc])* #[derive(Clone, Debug, Deserialize)] #[serde(deny_unknown_fields)]
        pub struct $section { $($(#[$key_doc])* pub $key: $kind,)* })*
    };
}

sections! {
    /// Everything, as it stands in the file. The keys are explained there.
    Config {
        #[doc = "`[server]`"] server: Server,
        #[doc = "`[database]`"] database: Database,
        #[doc = "`[board]`"] board: Board,
        #[doc = "`[cache]`"] cache: Cache,
        #[doc = "`[stream]`"] stream: Stream,
        #[doc = "`[rest]`"] rest: Rest,
        #[doc = "`[history]`"] history: History,
        #[doc = "`[tickets]`"] tickets: Tickets,
        #[doc = "`[idempotency]`"] idempotency: Idempotency,
        #[doc = "`[limits]`"] limits: Limits,
        #[doc = "`[backplane]`"] backplane: Backplane,
        #[doc = "`[cors]`"] cors: Cors,
    }
    /// The process.
    Server {
        #[doc = "Address to listen on"] listen: SocketAddr,
        #[doc = "Threads that serve connections; 0 for one for each processor"] workers: usize,
        #[doc = "Folder of the SQLite file, and of what this node has seen last"] data_dir: PathBuf,
        #[doc = "Between not being ready any more and the end, in seconds"] drain_wait_s: u64,
        #[doc = "Grace at the end, in seconds"] drain_s: u64,
    }
    /// The database.
    Database {
        #[doc = "Its URL; empty for the embedded one"] url: Secret,
        #[doc = "URL for LISTEN and migrations; empty for the same"] listen_url: Secret,
        #[doc = "Whether the server may change the schema"] migrate: bool,
        #[doc = "Whether the SQLite file and its folder may be symbolic \
            links"] follow_symlinks: bool,
        #[doc = "For a database that is not up yet, in seconds"] start_wait_s: u64,
        #[doc = "For the first connection, in seconds"] first_connect_s: NonZero<u64>,
        #[doc = "Connections"] pool_max: NonZero<u32>,
        #[doc = "Wait for one, in milliseconds"] pool_wait_ms: u64,
        #[doc = "To connect, in seconds"] connect_timeout_s: NonZero<u64>,
        #[doc = "For a statement, in milliseconds"] statement_timeout_ms: NonZero<u64>,
        #[doc = "For a write to be answered, in milliseconds"] write_wait_ms: NonZero<u64>,
        #[doc = "Writes that may wait"] write_queue_max: NonZero<usize>,
        #[doc = "Writes in a transaction"] write_group_max: NonZero<usize>,
        #[doc = "For a transaction of the writer, in \
            milliseconds"] write_group_wait_ms: NonZero<u64>,
        #[doc = "For a key that another transaction has written, in \
            milliseconds"] write_key_wait_ms: NonZero<u64>,
        #[doc = "Tries of a write"] write_tries_max: NonZero<usize>, #[doc = "Silent \
            sessions"] write_abandoned_max: usize,
        #[doc = "Between two looks without a signal, in milliseconds"] poll_ms: NonZero<u64>,
        #[doc = "Changes in one reading"] changes_max: NonZero<usize>,
        #[doc = "Longest wait before a board that cannot be read is tried again, in \
            seconds"] board_retry_max_s: NonZero<u64>,
    }
    /// Boards.
    Board {
        #[doc = "Name of the board at `/`"] default: String,
        #[doc = "Topics in a live list"] topics_max: NonZero<usize>,
        #[doc = "File with the template of a topic; empty for the \
            built-in"] topic_template: PathBuf,
    }
    /// The snapshot cache.
    Cache {
        #[doc = "Life of a list that nobody watches, in seconds"] ttl_s: u64,
    }
    /// Streams.
    Stream {
        #[doc = "Silence before a heartbeat, in seconds"] heartbeat_s: NonZero<u64>,
        #[doc = "Life of a stream, in seconds"] lifetime_s: NonZero<u64>,
        #[doc = "Life of a stream that takes nothing, in seconds"] stall_s: NonZero<u64>,
        #[doc = "Shortest `retry`, in milliseconds"] retry_min_ms: u64,
        #[doc = "Longest `retry`, in milliseconds"] retry_max_ms: u64,
        #[doc = "`retry` when there is no room, in milliseconds"] retry_refused_ms: u64,
        #[doc = "Whether streams are written past actix"] detached: bool,
        #[doc = "Updates behind before a resync"] lag_max: NonZero<usize>,
        #[doc = "Changes kept for readers that come back"] replay_max: usize,
    }
    /// The REST addresses.
    Rest {
        #[doc = "Rows in one page"] page_max: NonZero<usize>,
        #[doc = "Characters of a search"] search_chars_max: usize,
        #[doc = "Topics that one search looks at"] search_topics_max: NonZero<usize>,
        #[doc = "Longest wait for news, in seconds"] wait_max_s: u64,
    }
    /// The change log.
    History {
        #[doc = "Changes that it keeps"] changes_max: u64,
        #[doc = "How long it keeps them, in seconds"] age_max_s: u64,
        #[doc = "Changes of a board that are looked through for a \
            reader"] resume_max: NonZero<usize>,
        #[doc = "For a deleted topic to come back, in seconds"] undo_s: u64,
        #[doc = "Within which each board in memory is compared with the database, in \
            seconds"] reconcile_s: NonZero<u64>,
        #[doc = "Between two notes of the last change that was read, in \
            milliseconds"] last_seen_ms: NonZero<u64>,
        #[doc = "Deeds that the audit keeps"] audit_max: u64,
    }
    /// Leave for one stream, given by the holder of a token.
    Tickets {
        #[doc = "Until the first use, in seconds"] first_use_s: u64,
        #[doc = "From one use to the next, in seconds"] idle_s: u64,
    }
    /// Repeated requests.
    Idempotency {
        #[doc = "Life of a key, in seconds"] age_max_s: u64,
    }
    /// What carries "look again" between the servers of one database.
    Backplane {
        #[doc = "Which"] kind: BackplaneKind,
        #[doc = "For `redis`: its URL"] redis_url: Secret,
        #[doc = "For `redis`: the key that lists there are signed with"] redis_key: Secret,
        #[doc = "Life of a list in Redis, in seconds"] snapshot_ttl_s: NonZero<u64>,
        #[doc = "Bytes of a list in Redis"] snapshot_bytes_max: NonZero<usize>,
    }
    /// Other sites.
    Cors {
        #[doc = "Those whose pages may read and write here"] origins: Vec<String>,
    }
    /// What one client, and all together, may take.
    Limits {
        #[doc = "Open streams"] streams_max: usize,
        #[doc = "Open streams of one address"] streams_per_client_max: usize,
        #[doc = "Boards of one stream"] boards_per_stream_max: NonZero<usize>,
        #[doc = "Writes of one address at once"] posts_per_client_burst: NonZero<u32>,
        #[doc = "Writes of one address per second"] posts_per_client_per_s: NonZero<u32>,
        #[doc = "Ended tokens that are kept in mind"] ended_tokens_max: NonZero<usize>,
        #[doc = "Readings from the database that a client may do at once"] reads_per_client_burst: NonZero<u32>,
        #[doc = "And per second"] reads_per_client_per_s: NonZero<u32>,
        #[doc = "Searches at a time"] searches_max: NonZero<usize>,
        #[doc = "Bad tokens of one address per minute"] bad_tokens_per_min: NonZero<u32>,
        #[doc = "Bytes of a request's body"] body_bytes_max: usize,
        #[doc = "For a body to arrive, in seconds"] body_wait_s: NonZero<u64>,
        #[doc = "For a head to arrive, in seconds"] head_wait_s: NonZero<u64>,
        #[doc = "Between two requests of a connection, in seconds"] idle_wait_s: NonZero<u64>,
        #[doc = "Open connections of one address"] connections_per_client_max: NonZero<usize>,
        #[doc = "Proxies that are believed"] trusted_proxies: Vec<IpNet>,
    }
}
