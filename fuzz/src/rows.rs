//! Rows that other programs wrote, with constraints off and triggers gone: whatever stands in them,
//! the rest is read.
//!
//! The input is whatever `arbitrary` makes values of. SQLite stores them and the store reads them
//! back; what Postgres would send is decoded without it.

use std::{fmt::Write as _, path::Path, sync::Mutex, time::Duration};

use arbitrary::{Result, Unstructured};
use chrono::{DateTime, Datelike as _, TimeDelta, Utc};
use diesel::{
    Connection as _, QueryableByName, RunQueryDsl as _, SqliteConnection,
    connection::SimpleConnection as _, sql_query, sql_types::Text,
};
use kairanban::fuzzing::{Encoder, StreamFormat};
use kairanban_core::{BoardName, LogPosition, Revision, SearchText, Topic, TopicId, VisibleBoards};
use kairanban_store::{
    DatabaseAddress, LogPage, OnWait, Page, Store, StoreConfig, StoreError, Timeouts, fuzzing,
    migrate,
};

use crate::{event_stream, stream::fragments};

pub fn check(input: &[u8]) {
    check_postgres(input);
    let mut bytes = Unstructured::new(input);
    if let Ok(statements) = corrupt(&mut bytes) {
        static PLACE: Mutex<Option<Place>> = Mutex::new(None);
        let mut place = PLACE
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        place.get_or_insert_with(Place::new).check(&statements);
    }
}

/// A time is one that every client can represent, and the very one that was sent if it can be.
fn check_postgres(bytes: &[u8]) {
    let text = fuzzing::postgres_text(bytes).expect("every text can be read");
    assert_eq!(text, String::from_utf8_lossy(bytes));
    let sent: Option<[u8; 8]> = bytes.try_into().ok();
    let read = fuzzing::postgres_time(bytes);
    assert_eq!(read.is_ok(), sent.is_some());
    if let (Ok((time, is_exact)), Some(sent)) = (read, sent) {
        assert!((1..=9999).contains(&time.year()));
        let start: DateTime<Utc> = "2000-01-01T00:00:00Z".parse().expect("a time");
        let meant = start.checked_add_signed(TimeDelta::microseconds(i64::from_be_bytes(sent)));
        assert_eq!(is_exact, meant == Some(time));
        let has_plain_year = meant.is_some_and(|meant| (1..=9999).contains(&meant.year()));
        assert_eq!(is_exact, has_plain_year);
    }
}

/// A column, and what it holds.
type Column = (&'static str, ColumnKind);

#[derive(Clone, Copy)]
enum ColumnKind {
    Text,
    Number,
}

/// A table, which of its rows are damaged, and the columns that other programs can write.
type Damaged = (&'static str, &'static str, &'static [Column]);

const DAMAGED: [Damaged; 6] = [
    (
        "topics",
        "id IN (2, 4)",
        &[
            ("comment", ColumnKind::Text),
            ("author", ColumnKind::Text),
            ("created_at", ColumnKind::Text),
            ("updated_at", ColumnKind::Text),
            ("edited_at", ColumnKind::Text),
            ("archived", ColumnKind::Number),
            ("revision", ColumnKind::Number),
            ("board_id", ColumnKind::Number),
            ("id", ColumnKind::Number),
        ],
    ),
    (
        "boards",
        "id = 2",
        &[
            ("created_at", ColumnKind::Text),
            ("read", ColumnKind::Text),
            ("post", ColumnKind::Text),
            ("name", ColumnKind::Text),
            ("title", ColumnKind::Text),
            ("id", ColumnKind::Number),
        ],
    ),
    (
        "changes",
        "id = 2",
        &[
            ("kind", ColumnKind::Text),
            ("revision", ColumnKind::Number),
            ("board_id", ColumnKind::Number),
            ("topic_id", ColumnKind::Number),
            ("at", ColumnKind::Text),
        ],
    ),
    (
        "board_lives",
        "board_id = 2",
        &[
            ("named_by", ColumnKind::Number),
            ("board_id", ColumnKind::Number),
        ],
    ),
    (
        "tokens",
        "id = 1",
        &[
            ("name", ColumnKind::Text),
            ("scope", ColumnKind::Text),
            ("digest", ColumnKind::Text),
            ("board_id", ColumnKind::Number),
            ("created_at", ColumnKind::Text),
            ("expires_at", ColumnKind::Text),
            ("revoked_at", ColumnKind::Text),
            ("last_used_at", ColumnKind::Text),
        ],
    ),
    (
        "audit",
        "id = 1",
        &[
            ("at", ColumnKind::Text),
            ("actor", ColumnKind::Text),
            ("action", ColumnKind::Text),
            ("board", ColumnKind::Text),
            ("subject", ColumnKind::Number),
            ("token_id", ColumnKind::Number),
        ],
    ),
];

/// Writes statements that corrupt some rows.
fn corrupt(bytes: &mut Unstructured<'_>) -> Result<Vec<String>> {
    let mut statements = Vec::new();
    for _ in 0..bytes.int_in_range(1..=3)? {
        let (table, row, columns) = bytes.choose(&DAMAGED)?;
        for (column, kind) in *columns {
            if bytes.ratio(1, 3)? {
                let value = value(bytes, *kind)?;
                statements.push(format!(
                    "UPDATE {table} SET \"{column}\" = {value} WHERE {row}"
                ));
            }
        }
    }
    Ok(statements)
}

/// A value as SQL.
fn value(bytes: &mut Unstructured<'_>, column: ColumnKind) -> Result<String> {
    match (column, bytes.int_in_range(0..=7)?) {
        (_, 0) => Ok("NULL".to_owned()),
        (ColumnKind::Number, 1) => Ok(bytes.int_in_range(-2..=3_i64)?.to_string()),
        (ColumnKind::Number, 2) => Ok("9007199254740992".to_owned()),
        // SQLite has no literal for the smallest number.
        (ColumnKind::Number, _) => Ok(bytes.arbitrary::<i64>()?.max(-i64::MAX).to_string()),
        (ColumnKind::Text, 1) => {
            let year = bytes.int_in_range(0..=99_999_u32)?;
            let [month, day, hour, minute] =
                [12, 31, 24, 60].map(|end| bytes.int_in_range(0..=end));
            let fraction = bytes.arbitrary::<u64>()?;
            let (month, day, hour, minute): (u32, u32, u32, u32) = (month?, day?, hour?, minute?);
            Ok(format!(
                "'{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:59.{fraction}'"
            ))
        }
        (ColumnKind::Text, 2) => {
            let words = [
                "open", "token", "held", "closed", "set", "delete", "clear", "board",
            ];
            Ok(format!("'{}'", bytes.choose(&words)?))
        }
        (ColumnKind::Text, _) => {
            let length = bytes.int_in_range(0..=40)?;
            let text = bytes.bytes(length.min(bytes.len()))?;
            let hex = text.iter().fold(String::new(), |mut hex, byte| {
                let _ = write!(hex, "{byte:02x}");
                hex
            });
            Ok(format!("CAST(x'{hex}' AS TEXT)"))
        }
    }
}

/// A database with a board that stays whole, and another program's connection to it.
struct Place {
    store: Store,
    /// The beginning of its history.
    beginning: LogPosition,
    foreign: SqliteConnection,
    _folder: tempfile::TempDir,
}

#[derive(QueryableByName)]
struct TriggerName {
    #[diesel(sql_type = Text)]
    name: String,
}

const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(5),
    statement: Duration::from_secs(5),
    key: Duration::from_millis(50),
};

/// Everything as it was.
const RESET: &str = "
    DELETE FROM topics; DELETE FROM boards; DELETE FROM changes; DELETE FROM board_lives;
    DELETE FROM tokens; DELETE FROM audit;
    INSERT INTO boards (id, name, title) VALUES (1, 'main', 'kept'), (2, 'other', 'victim');
    INSERT INTO board_lives (board_id, named_by) VALUES (1, 1), (2, 2);
    INSERT INTO topics (id, board_id, comment, author, revision) VALUES
        (1, 1, 'kept', 'one', 3), (2, 1, 'victim', 'two', 4), (3, 1, 'kept', 'three', 5),
        (4, 2, 'victim', 'four', 6), (5, 2, 'kept', 'five', 7);
    INSERT INTO changes (id, revision, kind, board_id, topic_id) VALUES
        (1, 1, 'board', 1, NULL), (2, 2, 'board', 2, NULL), (3, 3, 'set', 1, 1), (4, 4, 'set', 1, 2),
        (5, 5, 'set', 1, 3), (6, 6, 'set', 2, 4), (7, 7, 'set', 2, 5);
    INSERT INTO tokens (id, name, digest, scope) VALUES (1, 'victim', 'd1', 'read'), (2, 'kept', 'd2', 'read');
    INSERT INTO audit (id, at, actor, action) VALUES (1, '2026-01-02 03:04:05', 'a', 'b'), (2, '2026-01-02 03:04:05', 'kept', 'b');
    UPDATE revisions SET newest = 7;
";

fn main_board() -> BoardName {
    "main".parse().expect("a name")
}

impl Place {
    fn new() -> Self {
        // Memory, where there is such a folder: the disk would be what is measured.
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() {
            tempfile::tempdir_in(memory)
        } else {
            tempfile::tempdir()
        };
        let folder = folder.expect("a folder");
        let path = folder.path().join("board.db");
        let address: DatabaseAddress = format!("sqlite://{}", path.display())
            .parse()
            .expect("an address");
        migrate(&address, TIMEOUTS, &main_board(), false).expect("migrated");
        let store = Store::open(StoreConfig {
            on_wait: OnWait::default(),
            address,
            timeouts: TIMEOUTS,
            first_connect: TIMEOUTS.connect,
            pool_max: 2,
            pool_abandoned_max: 2,
            pool_wait: Duration::from_secs(5),
            topics_max: 50,
            replay_max: 100,
            resume_max: 1_000,
            changes_max: 1_000,
        });
        let store = store.expect("a store");
        let (place, _) = store.settle(None).expect("a place");
        let beginning = LogPosition {
            last: None,
            ..place
        };
        let mut foreign = SqliteConnection::establish(&path.to_string_lossy()).expect("sqlite");
        let settings = "PRAGMA synchronous = OFF; PRAGMA foreign_keys = OFF; \
            PRAGMA ignore_check_constraints = ON; PRAGMA busy_timeout = 5000";
        foreign.batch_execute(settings).expect("settings");
        let triggers = "SELECT name FROM sqlite_schema WHERE type = 'trigger'";
        let triggers: Vec<TriggerName> = sql_query(triggers).load(&mut foreign).expect("triggers");
        for TriggerName { name } in triggers {
            let dropped = foreign.batch_execute(&format!("DROP TRIGGER \"{name}\""));
            dropped.expect("a trigger less");
        }
        Self {
            store,
            beginning,
            foreign,
            _folder: folder,
        }
    }

    fn check(&mut self, damaged: &[String]) {
        let begin = format!("BEGIN IMMEDIATE; {RESET}");
        self.foreign.batch_execute(&begin).expect("all is well");
        for statement in damaged {
            // What the database itself refuses stays as it was.
            let _ = self.foreign.batch_execute(statement);
        }
        self.foreign.batch_execute("COMMIT").expect("a commit");
        self.check_topics();
        self.check_log();
        self.check_others();
    }

    fn check_topics(&self) {
        let (store, board) = (&self.store, main_board());
        let load = store.load(store.epoch(), &board).expect("the board");
        assert_kept(load.snapshot.topics().iter().map(AsRef::as_ref));
        assert!(load.snapshot.topics().is_sorted_by_key(|topic| topic.id));
        let encoder = Encoder::new(StreamFormat::Patch, false, fragments());
        let chunk = encoder
            .wire()
            .encode(vec![encoder.snapshot(&load.snapshot)], false);
        let events = event_stream::parse(&kairanban::fuzzing::payload_of(&chunk)).events;
        let list: serde_json::Value = serde_json::from_str(&events[0].data).expect("JSON");
        let shown = list["topics"].as_array().map(Vec::len);
        assert_eq!(shown, Some(load.snapshot.topics().len()));

        let all = Page {
            before: None,
            limit: 50,
        };
        assert_kept(&store.page(&board, &all).expect("a page").rows);
        let found = store.search(&board, &SearchText::new("kept"), &all);
        assert_kept(&found.expect("a search").found);
        for (id, author) in [(1, "one"), (3, "three")] {
            let topic = store.topic(&board, TopicId(id)).expect("a topic");
            assert_eq!(topic.author, author);
        }
        let other = "other".parse().expect("a name");
        is_stated(store.load(store.epoch(), &other));
        is_stated(store.page(&other, &all));
        for id in 2..=5 {
            is_stated(store.topic(&other, TopicId(id)));
        }
    }

    fn check_log(&self) {
        let (store, board) = (&self.store, main_board());
        let all = LogPage {
            after: Revision::ZERO,
            after_id: None,
            limit: 50,
        };
        let log = store.log(&board, all).expect("the log");
        let kept = log
            .rows
            .iter()
            .filter(|row| [1, 3, 5].contains(&row.revision.get()));
        assert!(kept.count() >= 3, "{log:?}");
        is_stated(store.changes_since(&self.beginning));
        is_stated(store.boards_since(Revision::ZERO));
        is_stated(store.board_head(&board));
        is_stated(store.head());
    }

    fn check_others(&self) {
        let store = &self.store;
        let boards = store
            .boards(&VisibleBoards::All, None, 50)
            .expect("the boards");
        assert!(boards.rows.iter().any(|board| board.name == main_board()));
        let tokens = store.tokens(0, 50).expect("the tokens");
        assert!(tokens.rows.iter().any(|token| token.id == 2), "{tokens:?}");
        let audit = store.audit(None, 50).expect("the audit");
        assert!(audit.rows.iter().any(|entry| entry.id == 2), "{audit:?}");
        is_stated(store.tokens_by_id(&[1, 2]));
        is_stated(store.policies(&main_board(), None));
    }
}

/// Checks that the topics that stayed whole are there, each once.
fn assert_kept<'a>(topics: impl IntoIterator<Item = &'a Topic>) {
    let mut kept = Vec::new();
    for topic in topics {
        let times = [
            Some(topic.created_at),
            Some(topic.updated_at),
            topic.edited_at,
        ];
        assert!(
            times
                .into_iter()
                .flatten()
                .all(|time| (1..=9999).contains(&time.year()))
        );
        if let 1 | 3 = topic.id.0 {
            assert_eq!(topic.comment, "kept");
            kept.push(topic.id.0);
        }
    }
    kept.sort_unstable();
    assert_eq!(kept, [1, 3]);
}

/// Checks that a reading succeeds, or fails because there is no such thing.
fn is_stated<T>(read: std::result::Result<T, StoreError>) {
    match read {
        Ok(_) | Err(StoreError::NoSuchBoard(_) | StoreError::NoSuchTopic(_)) => {}
        Err(error) => panic!("{error:?}"),
    }
}
