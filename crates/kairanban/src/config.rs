//! Configuration: typed in by anybody, checked once, handed down in pieces.
//!
//! `config/default.toml` is the bottom layer and holds every key, so the code knows no default of
//! its own: a key that is missing there, or unknown here, refuses to start.

mod env;
mod error;
mod layers;
mod parts;

use std::{
    fmt, fs,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZero,
    path::PathBuf,
    time::Duration,
};

use ipnet::IpNet;
use kairanban_core::BoardName;
use kairanban_store::{DatabaseAddress, StoreConfig, Timeouts, url_fault};
use serde::Deserialize;

pub use env::environment;
pub use error::ConfigError;
use layers::Layers;

/// The file with every key and its default.
pub const DEFAULT: &str = include_str!("../../../config/default.toml");

/// What the command line says about the configuration.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--config`
    pub file: Option<PathBuf>,
    /// `--listen`
    pub listen: Option<String>,
    /// `--database-url`
    pub database_url: Option<String>,
}

/// Below this a key can be guessed.
const REDIS_KEY_BYTES_MIN: usize = 16;

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
        #[doc = "Whether the SQLite file and its folder may be symbolic links"] follow_symlinks: bool,
        #[doc = "For a database that is not up yet, in seconds"] start_wait_s: u64,
        #[doc = "For the first connection, in seconds"] first_connect_s: NonZero<u64>,
        #[doc = "Connections"] pool_max: NonZero<u32>,
        #[doc = "Wait for one, in milliseconds"] pool_wait_ms: u64,
        #[doc = "To connect, in seconds"] connect_timeout_s: NonZero<u64>,
        #[doc = "For a statement, in milliseconds"] statement_timeout_ms: NonZero<u64>,
        #[doc = "For a write to be answered, in milliseconds"] write_wait_ms: NonZero<u64>,
        #[doc = "Writes that may wait"] write_queue_max: NonZero<usize>,
        #[doc = "Writes in a transaction"] write_group_max: NonZero<usize>,
        #[doc = "For a transaction of the writer, in milliseconds"] write_group_wait_ms: NonZero<u64>,
        #[doc = "For another request with the same key, in milliseconds"] write_key_wait_ms: NonZero<u64>,
        #[doc = "Tries of a write"] write_tries_max: NonZero<usize>, #[doc = "Silent sessions"] write_abandoned_max: usize,
        #[doc = "Between two looks without a signal, in milliseconds"] poll_ms: NonZero<u64>,
        #[doc = "Changes in one reading"] changes_max: NonZero<usize>,
        #[doc = "Longest wait before a board that cannot be read is tried again, in seconds"] board_retry_max_s: NonZero<u64>,
    }
    /// Boards.
    Board {
        #[doc = "Name of the board at `/`"] default: String,
        #[doc = "Topics in a live list"] topics_max: NonZero<usize>,
        #[doc = "File with the template of a topic; empty for the built-in"] topic_template: PathBuf,
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
        #[doc = "Longest wait for news, in seconds"] wait_max_s: u64,
    }
    /// The change log.
    History {
        #[doc = "Changes that it keeps"] changes_max: u64,
        #[doc = "How long it keeps them, in seconds"] age_max_s: u64,
        #[doc = "Changes of a board that are looked through for a reader"] resume_max: NonZero<usize>,
        #[doc = "For a deleted topic to come back, in seconds"] undo_s: u64,
        #[doc = "Within which each board in memory is compared with the database, in seconds"] reconcile_s: NonZero<u64>,
        #[doc = "Between two notes of the last change that was read, in milliseconds"] last_seen_ms: NonZero<u64>,
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
        #[doc = "Bad tokens of one address per minute"] bad_tokens_per_min: NonZero<u32>,
        #[doc = "Bytes of a request's body"] body_bytes_max: usize,
        #[doc = "For a body to arrive, in seconds"] body_wait_s: NonZero<u64>,
        #[doc = "For a head to arrive, in seconds"] head_wait_s: NonZero<u64>,
        #[doc = "Between two requests of a connection, in seconds"] idle_wait_s: NonZero<u64>,
        #[doc = "Open connections of one address"] connections_per_client_max: NonZero<usize>,
        #[doc = "Proxies that are believed"] trusted_proxies: Vec<IpNet>,
    }
}

impl Config {
    /// Puts the layers together: defaults, file, environment, command line.
    ///
    /// # Errors
    /// If anything in them is unknown or cannot be.
    pub fn load(
        overrides: &Overrides,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut layers = Layers::new()?;
        let environment = env::Environment::read(environment, &layers)?;
        if let Some(file) = overrides
            .file
            .clone()
            .or_else(|| environment.get("KAIRANBAN_CONFIG").map(PathBuf::from))
        {
            layers.add_file(&file)?;
        }
        for variable in environment.keys() {
            layers.add_text(
                variable.origin(),
                &variable.section,
                &variable.key,
                &variable.value,
            )?;
        }
        if let Some(url) = environment.get("DATABASE_URL") {
            layers.add_text(
                environment.origin_of("DATABASE_URL"),
                "database",
                "url",
                url,
            )?;
        }
        if let Some(url) = &overrides.database_url {
            layers.add_text("--database-url".to_owned(), "database", "url", url)?;
        }
        if let Some(listen) = &overrides.listen {
            layers.add_text("--listen".to_owned(), "server", "listen", listen)?;
        }
        let mut config = layers.read()?;
        if let Some(port) = environment
            .get("PORT")
            .filter(|_| overrides.listen.is_none())
        {
            let invalid = |_| ConfigError::Invalid {
                key: "PORT",
                reason: "is a number up to 65535".to_owned(),
            };
            config
                .server
                .listen
                .set_port(port.parse().map_err(invalid)?);
        }
        config.check().map_err(|error| layers.locate(error))?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.default_board()?;
        self.address()?;
        self.listen_address()?;
        self.backplane_addresses()?;
        self.topic_template()?;
        if let Some(place) = self
            .cors
            .origins
            .iter()
            .position(|origin| !is_origin(origin))
        {
            let reason = format!(
                "entry {} is no origin; write https://host or http://host:port, without a path",
                place + 1
            );
            return Err(ConfigError::Invalid {
                key: "cors.origins",
                reason,
            });
        }
        let wrong = |key, reason: &str| {
            Err(ConfigError::Invalid {
                key,
                reason: reason.to_owned(),
            })
        };
        if self.database.write_group_wait_ms >= self.database.write_wait_ms {
            return wrong(
                "database.write_group_wait_ms",
                "must be below database.write_wait_ms",
            );
        }
        if self.server.data_dir.to_string_lossy().contains("://") {
            return wrong(
                "server.data_dir",
                "is a folder; the URL goes to database.url",
            );
        }
        if (1..REDIS_KEY_BYTES_MIN).contains(&self.backplane.redis_key.0.len()) {
            let reason = format!(
                "must have at least {REDIS_KEY_BYTES_MIN} characters; `openssl rand -hex 32` makes one"
            );
            return Err(ConfigError::Invalid {
                key: "backplane.redis_key",
                reason,
            });
        }
        if self.stream.retry_min_ms > self.stream.retry_max_ms {
            return wrong(
                "stream.retry_min_ms",
                "must not be above stream.retry_max_ms",
            );
        }
        Ok(())
    }

    /// The board at `/`.
    ///
    /// # Errors
    /// If that is no board's name.
    pub fn default_board(&self) -> Result<BoardName, ConfigError> {
        let invalid = |fault: kairanban_core::Invalid| ConfigError::Invalid {
            key: "board.default",
            reason: fault.reason.to_string(),
        };
        self.board.default.parse().map_err(invalid)
    }

    /// Where the boards are.
    ///
    /// # Errors
    /// If the URL is none.
    pub fn address(&self) -> Result<DatabaseAddress, ConfigError> {
        match self.database.url.0.as_str() {
            "" => Ok(DatabaseAddress::Sqlite(
                self.server.data_dir.join("kairanban.db"),
            )),
            url => url.parse().map_err(|reason| ConfigError::Invalid {
                key: "database.url",
                reason,
            }),
        }
    }

    /// Where to listen for notifications and to migrate: past a pooler.
    ///
    /// # Errors
    /// If the URL is none.
    pub fn listen_address(&self) -> Result<DatabaseAddress, ConfigError> {
        match self.database.listen_url.0.as_str() {
            "" => self.address(),
            url => url.parse().map_err(|reason| ConfigError::Invalid {
                key: "database.listen_url",
                reason,
            }),
        }
    }

    /// Where messages between the servers go: by Postgres, by Redis.
    ///
    /// # Errors
    /// If that cannot be with this database, or the URL is none.
    pub fn backplane_addresses(
        &self,
    ) -> Result<(Option<String>, Option<redis::Client>), ConfigError> {
        let wrong = |key, reason: &str| {
            Err(ConfigError::Invalid {
                key,
                reason: reason.to_owned(),
            })
        };
        let url = match (self.backplane.kind, self.listen_address()?) {
            (BackplaneKind::None, _) | (BackplaneKind::Auto, DatabaseAddress::Sqlite(_)) => {
                return Ok((None, None));
            }
            (_, DatabaseAddress::Postgres(url)) => url,
            (..) => {
                return wrong(
                    "backplane.kind",
                    "SQLite has one server, which needs none; several need Postgres",
                );
            }
        };
        if self.backplane.kind != BackplaneKind::Redis {
            return Ok((Some(url), None));
        }
        // The text may hold a password, so it is not repeated.
        let written = self.backplane.redis_url.0.as_str();
        let rest = written
            .strip_prefix("redis://")
            .or_else(|| written.strip_prefix("rediss://"));
        let Some(Ok(redis)) = rest.map(|_| redis::Client::open(written)) else {
            return wrong(
                "backplane.redis_url",
                "write redis://host:port/number, or rediss:// for TLS",
            );
        };
        if let Some(fault) = rest.and_then(url_fault) {
            return wrong("backplane.redis_url", fault);
        }
        Ok((Some(url), Some(redis)))
    }

    /// How long the database may take.
    #[must_use]
    pub fn timeouts(&self) -> Timeouts {
        Timeouts {
            connect: Duration::from_secs(self.database.connect_timeout_s.get()),
            statement: Duration::from_millis(self.database.statement_timeout_ms.get()),
            key: Duration::from_millis(self.database.write_key_wait_ms.get()),
        }
    }

    /// The same for the first connection, for which no request waits.
    #[must_use]
    pub fn first_timeouts(&self) -> Timeouts {
        Timeouts {
            connect: Duration::from_secs(self.database.first_connect_s.get()),
            ..self.timeouts()
        }
    }

    /// The store's part.
    ///
    /// # Errors
    /// If the URL is none.
    pub fn store(&self) -> Result<StoreConfig, ConfigError> {
        Ok(StoreConfig {
            address: self.address()?,
            timeouts: self.timeouts(),
            first_connect: Duration::from_secs(self.database.first_connect_s.get()),
            pool_max: self.database.pool_max.get(),
            pool_wait: Duration::from_millis(self.database.pool_wait_ms),
            topics_max: self.board.topics_max.get(),
            replay_max: self.stream.replay_max,
            resume_max: self.history.resume_max.get(),
            changes_max: self.database.changes_max.get(),
        })
    }

    /// Somebody's own template of a topic, if there is one.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn topic_template(&self) -> Result<Option<String>, ConfigError> {
        let path = &self.board.topic_template;
        if path.as_os_str().is_empty() {
            return Ok(None);
        }
        let unreadable = |error: std::io::Error| ConfigError::Invalid {
            key: "board.topic_template",
            reason: format!("the file cannot be read: {}", error.kind()),
        };
        fs::read_to_string(path).map(Some).map_err(unreadable)
    }

    /// How long a deleted topic can be put back.
    #[must_use]
    pub const fn undo(&self) -> Duration {
        Duration::from_secs(self.history.undo_s)
    }

    /// The URL at which a server with this configuration would be reached from this machine.
    #[must_use]
    pub fn here(&self) -> String {
        let mut address = self.server.listen;
        if address.ip().is_unspecified() {
            address.set_ip(if address.is_ipv4() {
                Ipv4Addr::LOCALHOST.into()
            } else {
                Ipv6Addr::LOCALHOST.into()
            });
        }
        format!("http://{address}")
    }
}

/// As a browser sends it: scheme, host and perhaps port. A `*` would let everybody in.
fn is_origin(text: &str) -> bool {
    let host = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"))
        .unwrap_or_default();
    let fits = |byte: u8| {
        byte.is_ascii_lowercase()
            || byte.is_ascii_digit()
            || matches!(byte, b'.' | b'-' | b':' | b'[' | b']')
    };
    !host.is_empty() && host.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(overrides: &Overrides, environment: &[(&str, &str)]) -> Result<Config, String> {
        let environment = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::load(overrides, environment).map_err(|error| error.to_string())
    }

    /// The file is the only place with defaults: every field must be in it, every key a field.
    #[test]
    fn the_default_file_is_complete() {
        let config = load(&Overrides::default(), &[]).expect("the defaults");
        assert_eq!(
            config.address().expect("an address").to_string(),
            "sqlite://data/kairanban.db"
        );
        for line in DEFAULT
            .lines()
            .filter(|line| line.contains(" = ") && !line.starts_with('#'))
        {
            let without = DEFAULT
                .lines()
                .filter(|other| *other != line)
                .collect::<Vec<_>>()
                .join("\n");
            let read: Result<Config, _> = toml::from_str(&without);
            assert!(
                read.is_err(),
                "the code has a default of its own for {line}"
            );
        }
    }

    #[test]
    fn the_example_for_production_is_valid() {
        let file = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../config/production.example.toml"
        );
        load(
            &Overrides {
                file: Some(file.into()),
                ..Overrides::default()
            },
            &[],
        )
        .expect("valid");
    }

    #[test]
    fn stronger_layers_win() {
        let environment = [
            ("KAIRANBAN_SERVER__LISTEN", "127.0.0.1:1"),
            ("PORT", "2"),
            ("DATABASE_URL", "postgres://env/d"),
        ];
        let config = load(&Overrides::default(), &environment).expect("valid");
        assert_eq!(config.server.listen.port(), 2);
        let flags = Overrides {
            listen: Some("127.0.0.1:3".into()),
            database_url: Some("sqlite://flag.db".into()),
            file: None,
        };
        let config = load(&flags, &environment).expect("valid");
        assert_eq!(
            (
                config.server.listen.port(),
                config.address().expect("an address").to_string()
            ),
            (3, "sqlite://flag.db".into())
        );
        let config = load(
            &Overrides::default(),
            &[("KAIRANBAN_LIMITS__TRUSTED_PROXIES", "10.0.0.0/8,::1/128")],
        )
        .expect("valid");
        assert_eq!(config.limits.trusted_proxies.len(), 2);
    }

    #[test]
    fn mistakes_are_named() {
        let error = |environment: &[(&str, &str)]| {
            load(&Overrides::default(), environment).expect_err("a mistake")
        };
        assert!(
            error(&[("KAIRANBAN_LIMITS__STREAM_MAX", "1")])
                .contains("did you mean KAIRANBAN_LIMITS__STREAMS_MAX?")
        );
        assert!(error(&[("KAIRANBAN_BOARD__DEFAULT", "Main")]).contains("board.default"));
        assert!(error(&[("KAIRANBAN_BOARD__TOPICS_MAX", "0")]).contains("topics_max"));
        assert!(
            error(&[("KAIRANBAN_STREAM__RETRY_MIN_MS", "9999")]).contains("stream.retry_min_ms")
        );
        assert!(
            error(&[("KAIRANBAN_DATABASE__WRITE_WAIT_MS", "2500")])
                .contains("database.write_group_wait_ms")
        );
        for origin in [
            "*",
            "app.example",
            "https://app.example/",
            "https://*.example",
        ] {
            assert!(
                error(&[("KAIRANBAN_CORS__ORIGINS", origin)]).contains("cors.origins"),
                "{origin}"
            );
        }
        assert!(error(&[("PORT", "http")]).contains("PORT"));
        assert!(error(&[("DATABASE_URL", "mysql://ann:secret@h/d")]).contains("postgres://"));
        assert!(error(&[("DATABASE_URL_FILE", "/nowhere")]).contains("/nowhere"));
    }

    #[test]
    fn secrets_come_from_files_and_are_not_shown() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), "postgres://ann:secret@h/d\n").expect("written");
        let path = file.path().to_string_lossy().into_owned();
        for name in ["DATABASE_URL_FILE", "KAIRANBAN_DATABASE__URL_FILE"] {
            let config = load(&Overrides::default(), &[(name, &path)]).expect("valid");
            assert_eq!(
                config.address().expect("an address").to_string(),
                "postgres://h/d"
            );
            assert!(!format!("{config:?}").contains("secret"));
        }
        let wrong = load(
            &Overrides::default(),
            &[("DATABASE_URL", "mysql://ann:secret@h/d")],
        )
        .expect_err("a mistake");
        assert!(!wrong.contains("secret"), "{wrong}");
    }
}
