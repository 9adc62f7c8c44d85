//! The database is the truth, whatever happened to it: restored in each way, while the server runs and while it is away;
//! written without a revision; and boards whose names mean others than before.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use crate::{
    node::{Database, Node, program, run_psql, try_output},
    sse::{Event, Reader},
};

/// What the contract promises.
const NOTICED_MAX: Duration = Duration::from_secs(5);
const QUICK: (&str, &str) = ("HISTORY__RECONCILE_S", "1");

/// How a backup is put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// SQLite: another file is moved to the place.
    FileReplaced,
    /// SQLite: the file is deleted, and a copy put there a while later.
    FileDeleted,
    /// SQLite: `.restore`, into the same file.
    Restore,
    /// Postgres: `pg_restore --clean` into the same database.
    PgRestoreClean,
    /// Postgres: the database is dropped, made again, and filled by `psql`.
    DropCreate,
    /// Postgres: a copy and the database exchange their names.
    Exchanged,
    /// Every table that a restore would fill is put back row by row, in one transaction.
    Rows,
}

const OF_SQLITE: [Way; 4] = [Way::FileReplaced, Way::FileDeleted, Way::Restore, Way::Rows];
const OF_POSTGRES: [Way; 4] = [
    Way::PgRestoreClean,
    Way::DropCreate,
    Way::Exchanged,
    Way::Rows,
];
/// Without what references others first.
const TABLES: [&str; 3] = ["changes", "topics", "identity"];

struct Backup {
    way: Way,
    folder: tempfile::TempDir,
}

impl Backup {
    fn take(node: &Node, way: Way) -> Self {
        let backup = Self {
            way,
            folder: tempfile::tempdir().expect("a folder"),
        };
        let file = backup.file().display().to_string();
        match way {
            Way::FileReplaced | Way::FileDeleted | Way::Restore => {
                drop(node.database.sql(&format!("VACUUM INTO '{file}';")))
            }
            Way::PgRestoreClean => run("pg_dump", &["-Fc", "-f", &file, &node.database.url()]),
            Way::DropCreate => run("pg_dump", &["-f", &file, &node.database.url()]),
            Way::Exchanged => {
                let (base, name) = base_and_name(node);
                run_psql(
                    &format!("{base}/postgres"),
                    &format!("CREATE DATABASE {name}_copy"),
                );
                run("pg_dump", &["-f", &file, &node.database.url()]);
                run(
                    "psql",
                    &[
                        "-qX",
                        "-v",
                        "ON_ERROR_STOP=1",
                        "-f",
                        &file,
                        &format!("{base}/{name}_copy"),
                    ],
                );
            }
            Way::Rows => {
                let copies = TABLES
                    .map(|table| format!("CREATE TABLE {table}_kept AS SELECT * FROM {table};"))
                    .concat();
                node.database.sql(&copies);
            }
        }
        backup
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("backup")
    }

    fn put_back(&self, node: &Node) {
        let file = self.file().display().to_string();
        let beside =
            |suffix: &str| PathBuf::from(format!("{}{suffix}", node.database.file().display()));
        match self.way {
            Way::FileReplaced | Way::FileDeleted => {
                for suffix in ["-wal", "-shm"] {
                    // There is none if the server is away.
                    let _ = fs::remove_file(beside(suffix));
                }
                let copy = beside(".new");
                fs::copy(self.file(), &copy).expect("copied");
                if self.way == Way::FileDeleted {
                    fs::remove_file(node.database.file()).expect("removed");
                    std::thread::park_timeout(Duration::from_millis(300));
                }
                fs::rename(&copy, node.database.file()).expect("moved");
            }
            Way::Restore => drop(node.database.sql(&format!(".restore '{file}'"))),
            Way::PgRestoreClean => {
                run(
                    "pg_restore",
                    &[
                        "--clean",
                        "--if-exists",
                        "-1",
                        "-d",
                        &node.database.url(),
                        &file,
                    ],
                );
            }
            Way::DropCreate => {
                let (base, name) = base_and_name(node);
                run_psql(
                    &format!("{base}/postgres"),
                    &format!("DROP DATABASE {name} WITH (FORCE); CREATE DATABASE {name};"),
                );
                run(
                    "psql",
                    &[
                        "-qX",
                        "-1",
                        "-v",
                        "ON_ERROR_STOP=1",
                        "-f",
                        &file,
                        &node.database.url(),
                    ],
                );
            }
            Way::Exchanged => exchange(node),
            Way::Rows => put_rows_back(node),
        }
    }
}

/// Two databases exchange their names, while servers try to come in.
fn exchange(node: &Node) {
    let (base, name) = base_and_name(node);
    let server = format!("{base}/postgres");
    let rename = |from: &str, to: &str| {
        let end = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{from}';"
        );
        let deadline = Instant::now() + Duration::from_secs(10);
        let text = format!(
            "ALTER DATABASE {from} ALLOW_CONNECTIONS false; {end} SELECT pg_sleep(0.1); ALTER DATABASE {from} RENAME TO {to};"
        );
        while let Err(error) = try_output(
            Command::new("psql").args(["-qAtX", "-v", "ON_ERROR_STOP=1", "-f", "-", &server]),
            &text,
        ) {
            assert!(Instant::now() < deadline, "{error}");
        }
    };
    rename(&name, &format!("{name}_old"));
    rename(&format!("{name}_copy"), &name);
    run_psql(
        &server,
        &format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true;"),
    );
}

fn put_rows_back(node: &Node) {
    let postgres = node.database.is_postgres();
    let (before, after) = if postgres {
        (
            "SET session_replication_role = replica;",
            "SELECT setval('revision_seq', (SELECT max(revision) FROM changes));",
        )
    } else {
        (
            "UPDATE revisions SET newest = 0;",
            "UPDATE revisions SET newest = (SELECT max(revision) FROM changes_kept), batch = 0;",
        )
    };
    // SQLite's triggers cannot be turned off: what they log goes with the rest.
    let order = ["topics", "changes", "identity"];
    let rows: String = order
        .map(|table| {
            let overriding = if postgres && table != "identity" {
                "OVERRIDING SYSTEM VALUE"
            } else {
                ""
            };
            format!(
                "DELETE FROM {table}; INSERT INTO {table} {overriding} SELECT * FROM {table}_kept;"
            )
        })
        .concat();
    let log = if postgres {
        ""
    } else {
        "DELETE FROM changes; INSERT INTO changes SELECT * FROM changes_kept;"
    };
    node.database
        .sql(&format!("BEGIN; {before} {rows} {log} {after} COMMIT;"));
}

fn base_and_name(node: &Node) -> (String, String) {
    let url = node.database.url();
    let (base, name) = url.rsplit_once('/').expect("a URL with a database");
    (base.to_owned(), name.to_owned())
}

fn run(name: &str, arguments: &[&str]) {
    try_output(Command::new(name).args(arguments), "").unwrap_or_else(|error| panic!("{error}"));
}

/// The next event with this name.
fn next(stream: &mut Reader, name: &str) -> Event {
    let deadline = Instant::now() + Duration::from_secs(15);
    loop {
        assert!(Instant::now() < deadline, "no {name} came");
        // A heartbeat comes sooner than the patience of a reader ends.
        if let Some(event) = stream
            .raw(Duration::from_secs(10))
            .filter(|event| event.name == name)
        {
            return event;
        }
    }
}

fn epoch_of(node: &Node) -> String {
    let tag = node
        .get("/api/v1/boards/main/topics")
        .header("etag")
        .expect("a tag")
        .trim_matches('"')
        .to_owned();
    tag.split('-').next().expect("an epoch").to_owned()
}

fn comments(node: &Node) -> Vec<String> {
    let list = node.get("/api/v1/boards/main/topics").json();
    let topics = list["topics"].as_array().expect("a list").iter();
    topics
        .map(|topic| topic["comment"].as_str().expect("text").to_owned())
        .collect()
}

/// Waits until the condition holds, at most as long as the contract allows.
fn within(at_most: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < at_most, "{what}: not within {at_most:?}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

fn is_noticed_while_running(database: Database, way: Way) {
    let node = Node::start(database);
    node.post("kept");
    let backup = Backup::take(&node, way);
    let lost = node.send("POST", "/", "text/plain", "lost");
    let cursor = lost
        .header("etag")
        .unwrap_or_default()
        .trim_matches('"')
        .to_owned();
    let old = epoch_of(&node);
    let mut stream = node.stream("/b/main/stream?format=patch");
    let mut many = node.stream("/stream?board=main&format=patch");
    assert!(stream.event().data.contains("lost"));
    next(&mut many, "cursor");
    backup.put_back(&node);
    let began = Instant::now();
    let reset = next(&mut stream, "reset");
    assert!(reset.data.contains("epoch"), "{way:?}: {reset:?}");
    let list = next(&mut stream, "snapshot");
    assert!(
        began.elapsed() < NOTICED_MAX,
        "{way:?}: {:?}",
        began.elapsed()
    );
    assert!(
        list.data.contains("kept") && !list.data.contains("lost"),
        "{way:?}: {list:?}"
    );
    assert!(next(&mut many, "reset").data.contains("epoch"), "{way:?}");
    assert!(
        !next(&mut many, "snapshot").data.contains("lost"),
        "{way:?}"
    );
    // As many as there were, so that the numbers are the same.
    within(NOTICED_MAX, "posting", || {
        node.send("POST", "/", "text/plain", "after").status == 201
    });
    assert!(next(&mut stream, "patch").data.contains("after"), "{way:?}");
    assert!(next(&mut many, "patch").data.contains("after"), "{way:?}");
    assert_ne!(epoch_of(&node), old, "{way:?}");
    assert_eq!(comments(&node), ["kept", "after"], "{way:?}");
    if !cursor.is_empty() {
        let mut back = node.resume("/b/main/stream?format=patch", &cursor);
        assert_eq!(back.event().name, "reset", "{way:?}");
    }
    if let Way::Exchanged = way {
        let (base, name) = base_and_name(&node);
        drop(node);
        run_psql(
            &format!("{base}/postgres"),
            &format!("DROP DATABASE {name}_old"),
        );
    }
}

fn is_noticed_at_the_start(database: Database, way: Way) {
    let mut node = Node::start(database);
    node.post("kept");
    let backup = Backup::take(&node, way);
    node.post("lost");
    let mut stream = node.stream("/b/main/stream?format=patch");
    let cursor = stream.event().id.expect("a cursor");
    node.terminate();
    node.end(Duration::from_secs(15));
    backup.put_back(&node);
    // As many as were lost, by another program, so that the numbers are the same.
    node.database
        .sql("INSERT INTO topics (board_id, comment) VALUES (1, 'foreign');");
    let log = backup.folder.path().join("log");
    node.restart_logging_to(fs::File::create(&log).expect("a file"));
    let mut back = node.resume("/b/main/stream?format=patch", &cursor);
    let reset = back.event();
    assert!(
        reset.name == "reset" && reset.data.contains("epoch"),
        "{way:?}: {reset:?}"
    );
    within(NOTICED_MAX, "a line in the log", || {
        fs::read_to_string(&log).is_ok_and(|text| text.contains("a new epoch begins"))
    });
    let list = back.event();
    assert!(
        list.data.contains("foreign") && !list.data.contains("lost"),
        "{way:?}: {list:?}"
    );
    if let Way::Exchanged = way {
        let (base, name) = base_and_name(&node);
        drop(node);
        run_psql(
            &format!("{base}/postgres"),
            &format!("DROP DATABASE {name}_old"),
        );
    }
}

macro_rules! each_way {
    ($($name:ident: $database:ident, $ways:ident, $at:literal;)*) => {
        mod running { $(#[test] fn $name() { super::is_noticed_while_running(super::Database::$database(), super::$ways[$at]); })* }
        mod stopped { $(#[test] fn $name() { super::is_noticed_at_the_start(super::Database::$database(), super::$ways[$at]); })* }
    };
}

each_way! {
    file_replaced: sqlite, OF_SQLITE, 0;
    file_deleted: sqlite, OF_SQLITE, 1;
    restore: sqlite, OF_SQLITE, 2;
    sqlite_rows: sqlite, OF_SQLITE, 3;
    pg_restore_clean: postgres, OF_POSTGRES, 0;
    drop_create: postgres, OF_POSTGRES, 1;
    exchanged_names: postgres, OF_POSTGRES, 2;
    postgres_rows: postgres, OF_POSTGRES, 3;
}

crate::on_both!(
    a_new_epoch_reaches_a_running_server,
    what_triggers_did_not_log_is_shown,
    a_board_made_again_takes_no_old_cursor,
    boards_that_exchange_their_names_take_no_old_cursor,
    one_board_that_cannot_be_read_darkens_itself_alone,
);

fn a_new_epoch_reaches_a_running_server(database: Database) {
    let node = Node::start(database);
    node.post("kept");
    let old = epoch_of(&node);
    let mut stream = node.stream("/b/main/stream?format=patch");
    stream.event();
    let output = program()
        .args([
            "--database-url",
            &node.database.url(),
            "migrate",
            "--new-epoch",
        ])
        .output()
        .expect("the program");
    assert!(output.status.success(), "{output:?}");
    let began = Instant::now();
    assert!(next(&mut stream, "reset").data.contains("epoch"));
    assert!(next(&mut stream, "snapshot").data.contains("kept") && began.elapsed() < NOTICED_MAX);
    assert_ne!(epoch_of(&node), old);
}

fn what_triggers_did_not_log_is_shown(database: Database) {
    let node = Node::start_with(database, &[QUICK]);
    node.post("one");
    node.post("two");
    let other = node.database.is_postgres().then(|| node.sibling());
    let mut streams: Vec<_> = [Some(&node), other.as_ref()]
        .into_iter()
        .flatten()
        .map(|node| node.stream("/b/main/stream?format=patch"))
        .collect();
    streams.iter_mut().for_each(|stream| drop(stream.event()));
    let unlogged = "INSERT INTO topics (board_id, comment) VALUES (1, 'unlogged'); UPDATE topics SET comment = 'edited' WHERE id = 1; \
                    DELETE FROM topics WHERE id = 2;";
    if node.database.is_postgres() {
        node.database.sql(&format!(
            "BEGIN; ALTER TABLE topics DISABLE TRIGGER USER; {unlogged} ALTER TABLE topics ENABLE TRIGGER USER; COMMIT;"
        ));
    } else {
        let triggers = node.database.sql(
            "SELECT sql || ';' FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'topics';",
        );
        let names = node
            .database
            .sql("SELECT 'DROP TRIGGER ' || name || ';' FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'topics';");
        node.database
            .sql(&format!("BEGIN; {names} {unlogged} {triggers} COMMIT;"));
    }
    let before = node
        .database
        .sql("SELECT count(*) FROM changes WHERE kind = 'clear';");
    for stream in &mut streams {
        // Readers at one revision may have held different lists, so each is sent the whole one.
        let list = next(stream, "snapshot").data;
        assert!(
            list.contains("unlogged") && list.contains("edited") && !list.contains("two"),
            "{list}"
        );
    }
    assert_eq!(comments(&node), ["edited", "unlogged"]);
    let after = node
        .database
        .sql("SELECT count(*) FROM changes WHERE kind = 'clear';");
    let (before, after): (u32, u32) = (
        before.parse().expect("a number"),
        after.parse().expect("a number"),
    );
    assert!(
        after - before <= 1 && after >= 1,
        "logged once, not once a node: {before} and {after}"
    );
}

/// Turning the triggers off and on makes them forget the rows that replication brings, until the server puts that right.
#[test]
fn triggers_that_forgot_replication_are_restored() {
    let node = Node::start_with(Database::postgres(), &[QUICK]);
    let wrong = "SELECT count(*) FROM pg_trigger WHERE tgname IN ('topics_applied', 'topics_before_insert') AND tgenabled = 'O';";
    node.database
        .sql("ALTER TABLE topics DISABLE TRIGGER ALL; ALTER TABLE topics ENABLE TRIGGER ALL;");
    within(Duration::from_secs(10), "restoring the triggers", || {
        node.database.sql(wrong) == "0"
    });
    node.database.sql("SET session_replication_role = replica; INSERT INTO topics (board_id, comment) VALUES (1, 'applied');");
    let unlogged = node
        .database
        .sql("SELECT count(*) FROM topics WHERE revision = 0;");
    assert_eq!(unlogged, "0", "it drew a revision");
    assert_eq!(comments(&node), ["applied"]);
}

fn administer(node: &Node, method: &str, path: &str, body: &str) {
    let token = node.token(&["create", "--scope", "admin", "--name", "ann"]);
    let answer = node.send_as(method, path, &token, &[], body);
    assert!(answer.status < 300, "{answer:?}");
}

/// Whatever a reader with this cursor asks, it is not told that nothing or little changed.
fn takes_no_old_cursor(node: &Node, board: &str, cursor: &str, shown: &str, hidden: &str) {
    let mut back = node.resume(&format!("/b/{board}/stream?format=patch"), cursor);
    let reset = back.event();
    assert!(
        reset.name == "reset" && reset.data.contains("trimmed"),
        "{reset:?}"
    );
    let list = back.event();
    assert!(
        list.name == "snapshot" && list.data.contains(shown) && !list.data.contains(hidden),
        "{list:?}"
    );
    let mut many = node.resume(
        &format!("/stream?board={board}&board=main&format=patch"),
        cursor,
    );
    assert_eq!(
        [many.event().name, many.event().name, many.event().name],
        ["reset", "snapshot", "snapshot"]
    );
    let tag = format!("\"{cursor}\"");
    for path in [
        format!("/api/v1/boards/{board}/topics"),
        format!("/api/v1/boards/{board}/topics?wait=5"),
        format!("/b/{board}"),
    ] {
        let answer = node.get_with(&path, &[("If-None-Match", &tag)]);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        assert!(
            answer.body.contains(shown) && !answer.body.contains(hidden),
            "{path}: {answer:?}"
        );
    }
    let log = node.get(&format!("/api/v1/boards/{board}/changes?since={cursor}"));
    assert_eq!(log.status, 410, "{log:?}");
    assert_eq!(
        node.get(&format!("/api/v1/boards/{board}/changes")).status,
        200
    );
}

fn a_board_made_again_takes_no_old_cursor(database: Database) {
    let node = Node::start(database);
    administer(&node, "POST", "/api/v1/boards", "{\"name\":\"again\"}");
    assert_eq!(
        node.send("POST", "/b/again", "text/plain", "of the first")
            .status,
        201
    );
    let mut stream = node.stream("/b/again/stream?format=patch");
    let cursor = stream.event().id.expect("a cursor");
    administer(&node, "DELETE", "/api/v1/boards/again", "");
    administer(&node, "POST", "/api/v1/boards", "{\"name\":\"again\"}");
    assert_eq!(
        node.send("POST", "/b/again", "text/plain", "of the second")
            .status,
        201
    );
    takes_no_old_cursor(&node, "again", &cursor, "of the second", "of the first");
    // And who was there from its beginning is told what changed.
    let mut stream = node.stream("/b/again/stream?format=patch");
    let cursor = stream.event().id.expect("a cursor");
    assert_eq!(
        node.send("POST", "/b/again", "text/plain", "more").status,
        201
    );
    assert_eq!(
        node.resume("/b/again/stream?format=patch", &cursor)
            .event()
            .name,
        "patch"
    );
    let recent = node.stream("/b/again/stream?format=patch&since=1h").event();
    assert!(
        recent.name != "reset" && recent.data.contains("of the second"),
        "{recent:?}"
    );
}

fn boards_that_exchange_their_names_take_no_old_cursor(database: Database) {
    let node = Node::start(database);
    node.database
        .sql("INSERT INTO boards (name) VALUES ('red'), ('blue');");
    for board in ["red", "blue"] {
        assert_eq!(
            node.send(
                "POST",
                &format!("/b/{board}"),
                "text/plain",
                format!("first of {board}")
            )
            .status,
            201
        );
    }
    let mut red = node.stream("/b/red/stream?format=patch");
    let mut blue = node.stream("/b/blue/stream?format=patch");
    let cursor = blue.event().id.expect("a cursor");
    red.event();
    node.database.sql(
        "BEGIN; UPDATE boards SET name = 'other' WHERE name = 'red'; UPDATE boards SET name = 'red' WHERE name = 'blue'; \
         UPDATE boards SET name = 'blue' WHERE name = 'other'; COMMIT;",
    );
    for stream in [&mut red, &mut blue] {
        assert!(next(stream, "bye").data.contains("gone"));
    }
    assert_eq!(
        node.send("POST", "/b/red", "text/plain", "after").status,
        201
    );
    takes_no_old_cursor(&node, "red", &cursor, "first of blue", "first of red");
    takes_no_old_cursor(&node, "blue", &cursor, "first of red", "first of blue");
}

fn one_board_that_cannot_be_read_darkens_itself_alone(database: Database) {
    // At this revision it cannot be read for some seconds.
    let environment = [
        ("KAIRANBAN_DATABASE__BOARD_RETRY_MAX_S", "1"),
        ("FAILPOINTS", "load-dark-4=10"),
    ];
    let node = Node::start_in(
        database,
        environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
    );
    node.database
        .sql("INSERT INTO boards (name) VALUES ('dark');");
    assert_eq!(
        node.send("POST", "/b/dark", "text/plain", "there").status,
        201
    );
    let mut dark = node.stream("/b/dark/stream?format=patch");
    let mut main = node.stream("/b/main/stream?format=patch");
    dark.event();
    main.event();
    // Then it has to be read.
    node.database.sql(if node.database.is_postgres() {
        "BEGIN; INSERT INTO changes (kind, board_id) VALUES ('clear', 2); SELECT transaction_begun(); COMMIT;"
    } else {
        "INSERT INTO changes (revision, kind, board_id) VALUES (0, 'clear', 2);"
    });
    next(&mut dark, "stale");
    let ready = node.get("/readyz");
    assert!(
        ready.status == 200 && ready.body.contains("dark") && !ready.body.contains("main"),
        "{ready:?}"
    );
    let list = node.get("/api/v1/boards/dark/topics");
    assert!(
        list.status == 200
            && list.header("kairanban-stale-since").is_some()
            && list.body.contains("there"),
        "{list:?}"
    );
    assert_eq!(
        node.stream("/b/dark/stream?format=patch").event().name,
        "snapshot"
    );
    node.post("the others go on");
    assert!(next(&mut main, "patch").data.contains("the others go on"));
    next(&mut dark, "fresh");
    assert_eq!(
        node.send("POST", "/b/dark", "text/plain", "back").status,
        201
    );
    assert!(next(&mut dark, "patch").data.contains("back"));
    assert_eq!(node.get("/readyz").json()["status"], "ready");
}

#[test]
fn what_was_seen_last_is_kept_for_this_user_alone_and_a_broken_note_is_no_error() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut node = Node::start(Database::sqlite());
    node.post("one");
    let note = node.data().join("last-seen.json");
    let id = node.database.sql("SELECT max(id) FROM changes;");
    within(NOTICED_MAX, "the note", || {
        fs::read_to_string(&note).is_ok_and(|text| text.contains(&format!("\"id\":{id}")))
    });
    assert_eq!(
        fs::metadata(&note).expect("there").permissions().mode() & 0o777,
        0o600
    );
    let old = epoch_of(&node);
    for broken in ["", "{", "null"] {
        node.kill();
        fs::write(&note, broken).expect("written");
        node.restart();
        assert_eq!(epoch_of(&node), old, "{broken:?}");
    }
}

/// A restored database whose revisions have come as far again: the commit itself shows that other rows lie before it.
#[test]
fn a_commit_that_follows_on_another_history_begins_an_epoch() {
    let node = Node::start_with(Database::postgres(), &[("DATABASE__POLL_MS", "5000")]);
    let epoch = || {
        node.get("/api/v1/boards/main/topics")
            .header("etag")
            .expect("an ETag")
            .trim_matches('"')
            .split('-')
            .next()
            .map(str::to_owned)
    };
    node.post("before");
    let first = epoch();
    // The same number at another time; no trigger sees it.
    node.database.sql("UPDATE changes SET at = at - interval '1 day' WHERE revision = (SELECT max(revision) FROM changes);");
    node.post("after");
    let end = Instant::now() + Duration::from_millis(2500);
    while epoch() == first {
        assert!(
            Instant::now() < end,
            "the commit was taken for the next one of the history before"
        );
        std::thread::park_timeout(Duration::from_millis(20));
    }
}
