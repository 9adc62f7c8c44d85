//! A fresh, migrated database of the test's own.

use std::{
    env,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use diesel::{
    Connection as _, PgConnection, QueryableByName, RunQueryDsl as _, SqliteConnection,
    connection::SimpleConnection, sql_query, sql_types::Text,
};
use kairanban_core::{Actor, BoardLoad, BoardName, Change, LogPosition, NewTopic, Revision, Topic};
use kairanban_store::{
    AdminCommand, ChangeBatch, DatabaseAddress, Store, StoreConfig, Timeouts, Write, WriteResult,
    Writer, WriterConfig, migrate,
};

pub(crate) const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(2),
    statement: Duration::from_secs(2),
    key: Duration::from_millis(50),
};

pub(crate) const WRITER: WriterConfig = WriterConfig {
    queue_max: 256,
    group_max: 64,
    group_wait: Duration::from_secs(3),
    tries_max: 3,
    abandoned_max: 2,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
}

pub(crate) struct Place {
    pub(crate) kind: Kind,
    pub(crate) address: DatabaseAddress,
    pub(crate) store: Store,
    _folder: Option<tempfile::TempDir>,
}

/// Another program's connection.
pub(crate) enum Foreign {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Place {
    pub(crate) fn new(kind: Kind) -> Self {
        let (address, folder) = match kind {
            Kind::Sqlite => {
                let folder = tempfile::tempdir().expect("a folder");
                (
                    format!("sqlite://{}", folder.path().join("deep/board.db").display()),
                    Some(folder),
                )
            }
            Kind::Postgres => (new_database(), None),
        };
        let address: DatabaseAddress = address.parse().expect("an address");
        migrate(&address, TIMEOUTS, &main(), false).expect("migrated");
        let store = Store::open(config(&address)).expect("a store");
        Self {
            kind,
            address,
            store,
            _folder: folder,
        }
    }

    /// As one finds it who has a database already.
    pub(crate) fn at(url: &str) -> Self {
        let address: DatabaseAddress = url.parse().expect("an address");
        let store = Store::open(config(&address)).expect("a store");
        Self {
            kind: Kind::Postgres,
            address,
            store,
            _folder: None,
        }
    }

    pub(crate) fn url(&self) -> &str {
        match &self.address {
            DatabaseAddress::Postgres(url) => url,
            DatabaseAddress::Sqlite(_) => panic!("a path"),
        }
    }

    pub(crate) fn foreign(&self) -> Foreign {
        match &self.address {
            DatabaseAddress::Sqlite(path) => Foreign::Sqlite(
                SqliteConnection::establish(&path.to_string_lossy()).expect("sqlite"),
            ),
            DatabaseAddress::Postgres(url) => {
                Foreign::Postgres(PgConnection::establish(url).expect("postgres"))
            }
        }
    }

    pub(crate) fn load(&self) -> BoardLoad {
        self.store
            .load(self.store.epoch(), &main())
            .expect("the board")
    }

    /// The comments of the live list, in order.
    pub(crate) fn comments(&self) -> Vec<String> {
        self.load()
            .snapshot
            .topics()
            .iter()
            .map(|topic| topic.comment.clone())
            .collect()
    }

    pub(crate) fn head(&self) -> Revision {
        self.store.head().expect("a head")
    }

    pub(crate) fn changes(&self, after: Revision) -> Vec<Change> {
        let known = self.known(after);
        match self
            .store
            .changes_since(&known)
            .expect("the log")
            .expect("the same history")
        {
            ChangeBatch::Changes { changes, .. } => changes
                .into_iter()
                .filter(|change| change.revision > after)
                .collect(),
            ChangeBatch::Boards { .. } => panic!("more changes than expected"),
        }
    }

    /// A place of the log whose last row is not compared: what is known in a test that did not read it.
    pub(crate) fn known(&self, after: Revision) -> LogPosition {
        let (now, _) = self.store.settle(None).expect("a place");
        let last = now.last.filter(|last| last.revision <= after);
        LogPosition { last, ..now }
    }

    /// A writer, and the revisions of its commits.
    pub(crate) fn writer(&self) -> (Writer, Arc<Mutex<Vec<u64>>>) {
        let commits = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&commits);
        let on_commit = move |commit: kairanban_store::Committed| {
            seen.lock().expect("a lock").push(commit.revision.get())
        };
        let (writer, _) = Writer::start(self.store.clone(), WRITER, on_commit).expect("a writer");
        (writer, commits)
    }
}

#[derive(QueryableByName)]
struct Value {
    #[diesel(sql_type = Text)]
    value: String,
}

impl Foreign {
    pub(crate) fn postgres(url: &str) -> Self {
        Self::Postgres(PgConnection::establish(url).expect("postgres"))
    }

    pub(crate) fn run(&mut self, sql: &str) {
        self.try_run(sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// The only value of the only row of a query, as text.
    pub(crate) fn ask(&mut self, expression: &str) -> String {
        let query = sql_query(format!("SELECT CAST(({expression}) AS TEXT) AS value"));
        let row: Value = match self {
            Self::Sqlite(connection) => query.get_result(connection),
            Self::Postgres(connection) => query.get_result(connection),
        }
        .unwrap_or_else(|error| panic!("{expression}: {error}"));
        row.value
    }

    pub(crate) fn try_run(&mut self, sql: &str) -> Result<(), String> {
        let done = match self {
            Self::Sqlite(connection) => connection.batch_execute(sql),
            Self::Postgres(connection) => connection.batch_execute(sql),
        };
        done.map_err(|error| error.to_string())
    }
}

pub(crate) fn config(address: &DatabaseAddress) -> StoreConfig {
    StoreConfig {
        address: address.clone(),
        timeouts: TIMEOUTS,
        first_connect: Duration::from_secs(10),
        pool_max: 4,
        pool_wait: Duration::from_secs(2),
        topics_max: 5,
        replay_max: 100,
        resume_max: 1_000,
        changes_max: 1_000,
    }
}

pub(crate) fn main() -> BoardName {
    "main".parse().expect("a name")
}

pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime")
        .block_on(future)
}

/// What the administrator `ann` does.
pub(crate) fn administer(command: AdminCommand) -> Write {
    Write::Administer {
        actor: Actor {
            name: "ann".to_owned(),
            token: Some(7),
        },
        command,
    }
}

pub(crate) fn create(place: &Place, comment: &str) -> Topic {
    let (writer, _) = place.writer();
    match run(writer.write(Write::CreateTopic {
        board: main(),
        topic: topic(comment),
        key: None,
        right: None,
    }))
    .expect("written")
    {
        WriteResult::Topic(topic) => topic,
        other => panic!("a topic, got {other:?}"),
    }
}

pub(crate) fn topic(comment: &str) -> NewTopic {
    NewTopic::try_new(comment, "").expect("allowed")
}

/// The URL of an empty database.
pub(crate) fn new_database() -> String {
    let server = env::var("KAIRANBAN_TEST_POSTGRES_URL")
        .expect("KAIRANBAN_TEST_POSTGRES_URL; scripts/test sets it");
    let id = format!("{:?}", thread::current().id()).replace(|c: char| !c.is_ascii_digit(), "");
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("store_{}_{id}_{number}", std::process::id());
    let mut connection = PgConnection::establish(&server).expect("the test Postgres");
    connection
        .batch_execute(&format!("CREATE DATABASE {name}"))
        .expect("a database");
    let (base, _) = server.rsplit_once('/').expect("a URL with a database");
    format!("{base}/{name}")
}
