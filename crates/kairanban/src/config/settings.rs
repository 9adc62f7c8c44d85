//! Every key, with its type. What each means stands in `config/default.toml`.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    num::NonZero,
    path::PathBuf,
    time::Duration,
};

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, de::Error as _};

use super::durations::{as_written, millis, positive_millis, positive_seconds, seconds};

/// A text that is not shown.
#[derive(Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct SecretText(String);

impl SecretText {
    /// Returns the text itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "\"\"" } else { "\"***\"" })
    }
}

/// A network, as in `10.0.0.0/8`, or the address of one host.
#[derive(Clone, Copy)]
pub struct Network(IpNet);

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let host = text.parse::<IpAddr>().map(IpNet::from);
        text.parse()
            .or(host)
            .map(Self)
            .map_err(|_| D::Error::custom("must be a network, as in \"10.0.0.0/8\", or an address"))
    }
}

impl From<Network> for IpNet {
    fn from(network: Network) -> Self {
        network.0
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
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
    /// Postgres, by LISTEN and NOTIFY.
    Postgres,
    /// Redis, and LISTEN for the commits of other programs.
    Redis,
}

/// Defines the sections. A duration names its key, which ends with the unit, and the function that
/// reads it: `poll = "poll_ms" in "positive_millis": Duration`.
macro_rules! sections {
    ($(
        $(#[$doc:meta])*
        struct $section:ident {$(
            $(#[$field_doc:meta])*
            $field:ident $(= $key:literal in $read:literal)?: $kind:ty,
        )*}
    )*) => {$(
        $(#[$doc])*
        #[derive(Clone, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $section {$(
            $(#[$field_doc])*
            $(#[serde(rename = $key, deserialize_with = $read)])?
            pub $field: $kind,
        )*}

        /// Shows the keys and values as the file has them.
        impl fmt::Debug for $section {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut section = f.debug_struct(stringify!($section));
                $(show_field!(section, self.$field, $field $(, $key)?);)*
                section.finish()
            }
        }
    )*};
}

macro_rules! show_field {
    ($section:ident, $value:expr, $field:ident) => {
        $section.field(stringify!($field), &$value);
    };
    ($section:ident, $value:expr, $field:ident, $key:literal) => {
        $section.field($key, &as_written($key, $value));
    };
}

sections! {
    /// Everything, as it stands in the file. The keys are explained there.
    struct Config {
        /// The keys of `[server]`.
        server: ServerSettings,
        /// The keys of `[database]`.
        database: DatabaseSettings,
        /// The keys of `[board]`.
        board: BoardSettings,
        /// The keys of `[cache]`.
        cache: CacheSettings,
        /// The keys of `[stream]`.
        stream: StreamSettings,
        /// The keys of `[rest]`.
        rest: RestSettings,
        /// The keys of `[history]`.
        history: HistorySettings,
        /// The keys of `[tickets]`.
        tickets: TicketsSettings,
        /// The keys of `[session]`.
        session: SessionSettings,
        /// The keys of `[idempotency]`.
        idempotency: IdempotencySettings,
        /// The keys of `[limits]`.
        limits: LimitsSettings,
        /// The keys of `[backplane]`.
        backplane: BackplaneSettings,
        /// The keys of `[cors]`.
        cors: CorsSettings,
        /// The keys of `[metrics]`.
        metrics: MetricsSettings,
    }
    /// Settings of the process.
    struct ServerSettings {
        /// Address and port to listen on.
        listen: SocketAddr,
        /// The address of the board on the web, as in `https://board.example`; empty if it has
        /// none.
        public_url: String,
        /// Other names of this server.
        hosts: Vec<String>,
        /// Threads that serve connections; 0 for one for each processor.
        workers: usize,
        /// Folder of the SQLite file, and of what this node has seen last.
        data_dir: PathBuf,
        /// Time in which `/readyz` says no before the drain begins.
        drain_wait = "drain_wait_s" in "seconds": Duration,
        /// Time in which streams and requests end.
        drain = "drain_s" in "seconds": Duration,
    }
    /// Settings of the database.
    struct DatabaseSettings {
        /// URL of the database; empty for the embedded SQLite.
        url: SecretText,
        /// URL for LISTEN and migrations; empty for `url`.
        listen_url: SecretText,
        /// Whether the server may change the schema.
        migrate: bool,
        /// Whether the SQLite file and its folder may be symbolic links.
        follow_symlinks: bool,
        /// Longest wait for a database that is not up yet.
        start_wait = "start_wait_s" in "seconds": Duration,
        /// Timeout of the first connection.
        first_connect = "first_connect_s" in "positive_seconds": Duration,
        /// Connections in the pool.
        pool_max: NonZero<u32>,
        /// Connections of the pool that may be abandoned at the same time.
        pool_abandoned_max: u32,
        /// Longest wait for a connection of the pool.
        pool_wait = "pool_wait_ms" in "millis": Duration,
        /// Timeout of every later connection.
        connect_timeout = "connect_timeout_s" in "positive_seconds": Duration,
        /// Timeout of a statement.
        statement_timeout = "statement_timeout_ms" in "positive_millis": Duration,
        /// Longest time until a write is answered.
        write_wait = "write_wait_ms" in "positive_millis": Duration,
        /// Writes that may wait in the queue.
        write_queue_max: NonZero<usize>,
        /// Writes in one transaction.
        write_group_max: NonZero<usize>,
        /// Timeout of a transaction of the writer.
        write_group_wait = "write_group_wait_ms" in "positive_millis": Duration,
        /// Longest wait for an idempotency key that another transaction holds.
        write_key_wait = "write_key_wait_ms" in "positive_millis": Duration,
        /// Longest wait of a group of writes for a lock that another transaction holds.
        write_lock_wait = "write_lock_wait_ms" in "positive_millis": Duration,
        /// Attempts at one write.
        write_tries_max: NonZero<usize>,
        /// Abandoned connections of the writer that may exist at the same time.
        write_abandoned_max: usize,
        /// Interval between two polls of the change log.
        poll = "poll_ms" in "positive_millis": Duration,
        /// Changes that one poll reads.
        changes_max: NonZero<usize>,
        /// Longest wait before a board that cannot be read is tried again.
        board_retry_max = "board_retry_max_s" in "positive_seconds": Duration,
    }
    /// Settings of all boards.
    struct BoardSettings {
        /// Name of the board at `/`.
        default: String,
        /// Topics in the live list.
        topics_max: NonZero<usize>,
        /// Zone in which pages show days and times.
        time_zone: String,
        /// File with the template of a topic; empty for the built-in.
        topic_template: PathBuf,
    }
    /// Settings of the snapshot cache.
    struct CacheSettings {
        /// Lifetime of a snapshot without readers.
        ttl = "ttl_s" in "seconds": Duration,
        /// How long a name that is no board is remembered.
        absent = "absent_ms" in "millis": Duration,
        /// Names that are remembered.
        absent_max: NonZero<usize>,
    }
    /// Settings of all streams.
    struct StreamSettings {
        /// Silence before a heartbeat is sent.
        heartbeat = "heartbeat_s" in "positive_seconds": Duration,
        /// Average lifetime of a stream.
        lifetime = "lifetime_s" in "positive_seconds": Duration,
        /// Lifetime of a stream whose client takes nothing.
        stall = "stall_s" in "positive_seconds": Duration,
        /// Shortest `retry` that is sent.
        retry_min = "retry_min_ms" in "millis": Duration,
        /// Longest `retry` that is sent.
        retry_max = "retry_max_ms" in "millis": Duration,
        /// Added to `retry` when there is no room.
        retry_refused = "retry_refused_ms" in "millis": Duration,
        /// Whether streams are written past actix.
        detached: bool,
        /// Updates that a reader may lag behind before it is reset.
        lag_max: NonZero<usize>,
        /// Changes kept in memory for readers that come back.
        replay_max: usize,
    }
    /// Settings of the REST addresses.
    struct RestSettings {
        /// Rows in one page.
        page_max: NonZero<usize>,
        /// Characters in a search text.
        search_chars_max: usize,
        /// Topics that one search looks at.
        search_topics_max: NonZero<usize>,
        /// Longest `wait` for an update.
        wait_max = "wait_max_s" in "seconds": Duration,
    }
    /// Settings of the change log.
    struct HistorySettings {
        /// Changes that the log keeps.
        changes_max: u64,
        /// How long the log keeps a change.
        age_max = "age_max_s" in "seconds": Duration,
        /// Changes of a board that are searched for a reader that comes back.
        resume_max: NonZero<usize>,
        /// How long a deleted topic can be restored.
        undo = "undo_s" in "seconds": Duration,
        /// Interval in which each board in memory is compared with the database.
        reconcile = "reconcile_s" in "positive_seconds": Duration,
        /// Boards that are compared although they are no longer in memory.
        compared_boards_max: usize,
        /// Interval at which the last revision read is written to the data folder.
        last_seen = "last_seen_ms" in "positive_millis": Duration,
        /// Administrative commands that the audit keeps.
        audit_max: u64,
        /// Commands of each actor that the audit keeps in any case.
        audit_per_actor_min: u64,
    }
    /// Settings of all tickets.
    struct TicketsSettings {
        /// Time until the first use.
        first_use = "first_use_s" in "seconds": Duration,
        /// Time from one use to the next.
        idle = "idle_s" in "seconds": Duration,
    }
    /// Settings of browsers that are signed in.
    struct SessionSettings {
        /// How long a session lasts.
        age_max = "age_max_s" in "positive_seconds": Duration,
    }
    /// Settings of repeated requests.
    struct IdempotencySettings {
        /// Lifetime of an idempotency key.
        age_max = "age_max_s" in "seconds": Duration,
    }
    /// Settings of the backplane.
    struct BackplaneSettings {
        /// Which backplane is used.
        kind: BackplaneKind,
        /// For `redis`: its URL.
        redis_url: SecretText,
        /// For `redis`: the key that signs snapshots.
        redis_key: SecretText,
        /// Lifetime of a snapshot in Redis.
        snapshot_ttl = "snapshot_ttl_s" in "positive_seconds": Duration,
        /// Size of a snapshot in Redis, in bytes.
        snapshot_bytes_max: NonZero<usize>,
    }
    /// Settings for pages of other sites.
    struct CorsSettings {
        /// Origins whose pages may read and write here.
        origins: Vec<String>,
    }
    /// Settings of who may read metrics.
    struct MetricsSettings {
        /// Whether every client may read them.
        public: bool,
        /// A second address that serves them, to every client that reaches it.
        listen: String,
    }
    /// Settings of limits, for one client and for all.
    struct LimitsSettings {
        /// Open streams of all clients.
        streams_max: usize,
        /// Open streams of one address.
        streams_per_client_max: usize,
        /// Boards of one stream.
        boards_per_stream_max: NonZero<usize>,
        /// Writes of one address at once.
        posts_per_client_burst: NonZero<u32>,
        /// Writes of one address per second.
        posts_per_client_per_s: NonZero<u32>,
        /// Ended tokens that are remembered.
        ended_tokens_max: NonZero<usize>,
        /// Reads of the database by one address at once.
        reads_per_client_burst: NonZero<u32>,
        /// Reads of the database by one address per second.
        reads_per_client_per_s: NonZero<u32>,
        /// Reads of the database by one address in progress.
        reads_per_client_max: NonZero<usize>,
        /// Reads of the database per second that strangers cause and that find nothing.
        empty_reads_per_s: NonZero<u32>,
        /// Searches at a time.
        searches_max: NonZero<usize>,
        /// Searches of one address at a time.
        searches_per_client_max: NonZero<usize>,
        /// Bad tokens of one address per minute.
        bad_tokens_per_min: NonZero<u32>,
        /// Attempts to sign in of one address per minute.
        logins_per_min: NonZero<u32>,
        /// Sessions of one token that are alive.
        sessions_per_token_max: NonZero<usize>,
        /// Changes by one token at once.
        edits_per_token_burst: NonZero<u32>,
        /// Changes by one token per second.
        edits_per_token_per_s: NonZero<u32>,
        /// Tickets of one token that are good at the same time.
        tickets_per_token_max: NonZero<usize>,
        /// Messages in a row that are refused, before a WebSocket is closed.
        bad_messages_max: NonZero<usize>,
        /// Elements of a list in a header.
        list_elements_max: NonZero<usize>,
        /// Length of the query string, in bytes.
        query_bytes_max: usize,
        /// Clients whose share an IPv6 /48 has.
        clients_per_ipv6_48: NonZero<u32>,
        /// Clients that each limit counts one by one.
        counted_clients_max: NonZero<usize>,
        /// Size of a request's body, in bytes.
        body_bytes_max: usize,
        /// Timeout of a request's body.
        body_wait = "body_wait_s" in "positive_seconds": Duration,
        /// Timeout of a request's head.
        head_wait = "head_wait_s" in "positive_seconds": Duration,
        /// Silence between two requests on a connection.
        idle_wait = "idle_wait_s" in "positive_seconds": Duration,
        /// Open connections of all clients, without those of streams.
        connections_max: NonZero<usize>,
        /// Connections beyond those, for probes.
        connections_kept: usize,
        /// Open connections of one address.
        connections_per_client_max: NonZero<usize>,
        /// Proxies whose forwarding headers are believed.
        trusted_proxies: Vec<Network>,
    }
}
