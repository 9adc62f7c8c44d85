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
use kairanban_core::{
    Actor, BoardLoad, BoardName, Change, ChangeKind, LogPosition, NewTopic, Revision, Topic,
    TopicEdit, TopicId,
};
use kairanban_store::{
    AdminCommand, ChangeBatch, Creation, DatabaseAddress, OnWait, Store, StoreConfig, StoreError,
    Timeouts, Write, WriteResult, Writer, WriterConfig, migrate,
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
    lock_wait: Duration::from_millis(50),
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DatabaseKind {
    Sqlite,
    Postgres,
}

pub(crate) struct Place {
    pub(crate) kind: DatabaseKind,
    pub(crate) address: DatabaseAddress,
    pub(crate) store: Store,
    _folder: Option<tempfile::TempDir>,
}

/// The connection of another program.
pub(crate) enum Foreign {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Place {
    pub(crate) fn new(kind: DatabaseKind) -> Self {
        let (address, folder) = match kind {
            DatabaseKind::Sqlite => {
                let folder = tempfile::tempdir().expect("a folder");
                (
                    format!("sqlite://{}", folder.path().join("deep/board.db").display()),
                    Some(folder),
                )
            }
            DatabaseKind::Postgres => (new_database(), None),
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
            kind: DatabaseKind::Postgres,
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
        Foreign::at(&self.address)
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

    /// The kinds of the changes after a revision.
    pub(crate) fn kinds(&self, after: Revision) -> Vec<ChangeKind> {
        self.changes(after)
            .iter()
            .map(|change| change.kind)
            .collect()
    }

    /// The kind, the board and the topic of each change after a revision.
    pub(crate) fn changed(&self, after: Revision) -> Vec<(ChangeKind, i64, Option<i64>)> {
        self.changes(after)
            .iter()
            .map(|change| {
                let topic = change.topic_id.map(|id| id.0);
                (change.kind, change.board_id.0, topic)
            })
            .collect()
    }

    /// A place of the log whose last row is not compared: what is known in a test that did not read
    /// it.
    pub(crate) fn known(&self, after: Revision) -> LogPosition {
        let (now, _) = self.store.settle(None).expect("a place");
        let last = now.last.filter(|last| last.revision <= after);
        LogPosition { last, ..now }
    }

    /// A writer, and the revisions of its commits.
    pub(crate) fn writer(&self) -> (Writer, Arc<Mutex<Vec<u64>>>) {
        let commits = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&commits);
        let (writer, _) = Writer::start(self.store.clone(), WRITER, move |commit| {
            seen.lock().expect("a lock").push(commit.revision.get());
        })
        .expect("a writer");
        (writer, commits)
    }
}

#[derive(QueryableByName)]
struct OneValue {
    #[diesel(sql_type = Text)]
    value: String,
}

impl Foreign {
    pub(crate) fn at(address: &DatabaseAddress) -> Self {
        match address {
            DatabaseAddress::Sqlite(path) => {
                let mut connection =
                    SqliteConnection::establish(&path.to_string_lossy()).expect("sqlite");
                // As Django does: the writer may be trying whether writing works again.
                connection
                    .batch_execute("PRAGMA busy_timeout = 5000")
                    .expect("set");
                Self::Sqlite(connection)
            }
            DatabaseAddress::Postgres(url) => Self::postgres(url),
        }
    }

    pub(crate) fn postgres(url: &str) -> Self {
        Self::Postgres(PgConnection::establish(url).expect("postgres"))
    }

    pub(crate) fn run(&mut self, sql: &str) {
        self.try_run(sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Runs what the database has to refuse. Returns the error.
    #[track_caller]
    pub(crate) fn refused(&mut self, sql: &str) -> String {
        match self.try_run(sql) {
            Ok(()) => panic!("not refused: {sql:.200}"),
            Err(error) => error,
        }
    }

    /// The only value of the only row of a query, as a number.
    pub(crate) fn number(&mut self, expression: &str) -> i64 {
        self.ask(expression).parse().expect("a number")
    }

    /// The only value of the only row of a query, as text.
    pub(crate) fn ask(&mut self, expression: &str) -> String {
        let query = sql_query(format!("SELECT CAST(({expression}) AS TEXT) AS value"));
        let row: OneValue = match self {
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
        pool_abandoned_max: 4,
        pool_wait: Duration::from_secs(2),
        topics_max: 5,
        replay_max: 100,
        resume_max: 1_000,
        changes_max: 1_000,
        on_wait: OnWait::default(),
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
        is_admitted: true,
    }
}

/// A post to `main`, without a key and by a client without a token.
pub(crate) fn post(comment: &str) -> Write {
    post_once(comment, None)
}

pub(crate) fn post_once(comment: &str, key: Option<&str>) -> Write {
    Write::CreateTopic(Creation {
        board: main(),
        topic: topic(comment),
        key: key.map(|key| key.parse().expect("a key")),
        scope: None,
    })
}

pub(crate) fn edit_topic(id: TopicId, text: &str, expected: Option<Revision>) -> Write {
    administer(AdminCommand::UpdateTopic {
        board: main(),
        id,
        edit: TopicEdit::try_new(Some(text), None).expect("allowed"),
        condition: expected.into(),
    })
}

pub(crate) fn delete_topic(id: TopicId, expected: Option<Revision>) -> Write {
    administer(AdminCommand::DeleteTopic {
        board: main(),
        id,
        condition: expected.into(),
    })
}

pub(crate) fn restore_topic(id: TopicId, within: Duration) -> Write {
    administer(AdminCommand::RestoreTopic {
        board: main(),
        id,
        within,
    })
}

/// The topic that a write made or changed.
#[track_caller]
pub(crate) fn written_topic(result: Result<WriteResult, StoreError>) -> Topic {
    match result {
        Ok(WriteResult::Topic(topic)) => topic,
        other => panic!("a topic, got {other:?}"),
    }
}

pub(crate) fn create(place: &Place, comment: &str) -> Topic {
    let (writer, _) = place.writer();
    written_topic(run(writer.write(post(comment))))
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
