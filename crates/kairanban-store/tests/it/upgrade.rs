//! Postgres databases of the version before: bad rows, plain rows, and others who write meanwhile.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use kairanban_store::{DatabaseAddress, migrate};

use crate::place::{Foreign, Place, TIMEOUTS, create, main, new_database};

const BEFORE: [(&str, &str); 4] = [
    (
        "20261123000000",
        include_str!("../../../../migrations/postgres/2026-11-23-000000_boards/up.sql"),
    ),
    (
        "20261123000001",
        include_str!("../../../../migrations/postgres/2026-11-23-000001_idempotency/up.sql"),
    ),
    (
        "20261123000002",
        include_str!("../../../../migrations/postgres/2026-11-23-000002_tokens/up.sql"),
    ),
    (
        "20261123000003",
        include_str!("../../../../migrations/postgres/2026-11-23-000003_access/up.sql"),
    ),
];
const UP: &str =
    include_str!("../../../../migrations/postgres/2026-11-25-000000_public_schema/up.sql");
const DOWN: &str =
    include_str!("../../../../migrations/postgres/2026-11-25-000000_public_schema/down.sql");
const REPLICA_UP: &str =
    include_str!("../../../../migrations/postgres/2026-11-25-000001_replica_capture/up.sql");
const REPLICA_DOWN: &str =
    include_str!("../../../../migrations/postgres/2026-11-25-000001_replica_capture/down.sql");

/// A database as the version before left it, with the board `main`.
fn before() -> (String, Foreign) {
    let url = new_database();
    let mut foreign = Foreign::postgres(&url);
    foreign.run(
        "CREATE TABLE __diesel_schema_migrations \
         (version VARCHAR(50) PRIMARY KEY, run_on TIMESTAMP NOT NULL DEFAULT now())",
    );
    for (version, sql) in BEFORE {
        foreign.run(&format!(
            "BEGIN; {sql}; INSERT INTO __diesel_schema_migrations VALUES ('{version}'); COMMIT"
        ));
    }
    foreign.run("INSERT INTO boards (name) VALUES ('main')");
    (url, foreign)
}

fn bring_up(url: &str) -> Result<Vec<String>, String> {
    let address: DatabaseAddress = url.parse().expect("an address");
    migrate(&address, TIMEOUTS, &main(), false).map_err(|error| error.to_string())
}

#[test]
fn instants_are_kept_whatever_the_zone_of_the_database() {
    let (url, mut foreign) = before();
    let (_, name) = url.rsplit_once('/').expect("a database");
    foreign.run(&format!(
        "ALTER DATABASE {name} SET timezone = 'America/New_York'"
    ));
    foreign.run(
        "INSERT INTO topics (board_id, comment, created_at, updated_at) \
         VALUES (1, 'a', '2024-03-10 02:30:00.123456', '2024-03-10 02:30:00.9'), \
             (1, 'b', '2024-11-03 01:30:00', '2024-11-03 01:30:01'), \
             (1, 'c', '0001-01-01', '9999-12-31'); \
         INSERT INTO tokens (name, digest, scope, expires_at) \
         VALUES ('t', 'd', 'read', '2031-01-01 12:00:00')",
    );
    let times = "SELECT string_agg(id || ' ' || extract(epoch FROM created_at) || ' ' || \
        extract(epoch FROM updated_at), ', ' ORDER BY id) FROM topics";
    let revisions = "SELECT string_agg(revision::text, ',' ORDER BY id) FROM topics";
    let kept = [times, revisions].map(|query| (query, foreign.ask(query)));
    bring_up(&url).expect("migrated");
    let mut foreign = Foreign::postgres(&url);
    let known = [
        (
            "SELECT expires_at = '2031-01-01 12:00:00+00' FROM tokens",
            "true",
        ),
        (
            "SELECT string_agg(comment, '') FROM topics WHERE edited_at = updated_at",
            "bc",
        ),
        ("SELECT count(*) FROM topics WHERE edited_at IS NULL", "1"),
    ];
    let known = known.map(|(query, answer)| (query, answer.to_owned()));
    for (query, answer) in kept.into_iter().chain(known) {
        assert_eq!(foreign.ask(query), answer, "{query}");
    }
    assert_eq!(Place::at(&url).comments(), ["a", "b", "c"]);
}

/// Times that the new constraints refuse, and what they become.
const TIMES: [(&str, &str); 4] = [
    ("infinity", "9999-12-31"),
    ("-infinity", "0001-01-01"),
    ("0044-03-15 BC", "0001-01-01"),
    ("10000-01-01", "9999-12-31"),
];

/// What the count of mended rows says of [`corrupt`].
const COUNTS: [&str; 15] = [
    "4 of boards.created_at",
    "4 of tokens.created_at",
    "4 of tokens.expires_at",
    "4 of tokens.revoked_at",
    "4 of tokens.last_used_at",
    "4 of audit.at",
    "4 of idempotency.used_at",
    "4 of tickets.made_at",
    "4 of tickets.used_at",
    "4 of deleted_topics.created_at",
    "4 of deleted_topics.deleted_at",
    "1 of boards.title",
    "2 of topics.revision",
    "2 of changes.revision",
    "1 of topics.id",
];

/// Writes each kind of row that the new constraints refuse.
fn corrupt(foreign: &mut Foreign) {
    foreign.run(
        "INSERT INTO topics (board_id, comment) SELECT 1, 'c' || g FROM generate_series(1, 3) g",
    );
    for (n, (bad, _)) in TIMES.iter().enumerate() {
        foreign.run(&format!(
            "INSERT INTO boards (name, created_at) VALUES ('b{n}', '{bad}');
             INSERT INTO tokens (name, digest, scope,
                     created_at, expires_at, revoked_at, last_used_at)
                 VALUES ('{n}', 'd{n}', 'read', '{bad}', '{bad}', '{bad}', '{bad}');
             INSERT INTO audit (at, actor, action) VALUES ('{bad}', 'a', 'a');
             INSERT INTO idempotency (board_id, key, request, topic_id, used_at)
                 VALUES (1, 'k{n}', '', 1, '{bad}');
             INSERT INTO tickets (digest, token_id, board_id, made_at, used_at)
                 SELECT 't{n}', max(id), 1, '{bad}', '{bad}' FROM tokens;
             INSERT INTO deleted_topics
                 VALUES (900 + {n}, 1, '', '', '{bad}', '{bad}', false, '{bad}')"
        ));
    }
    foreign.run(
        "UPDATE boards SET title = E'a\\nb\\x07' WHERE name = 'b0';
         ALTER TABLE topics DISABLE TRIGGER USER;
         UPDATE topics SET revision = -1 WHERE id = 1;
         UPDATE topics SET revision = 9007199254740992 WHERE id = 2;
         INSERT INTO topics (id, board_id, comment) VALUES (9007199254740991, 1, 'last');
         ALTER TABLE topics ENABLE TRIGGER USER;
         INSERT INTO changes (revision, kind, board_id)
             VALUES (-5, 'board', 1), (9223372036854775807, 'board', 1)",
    );
}

fn assert_mended(foreign: &mut Foreign) {
    let said = foreign.ask("SELECT value FROM identity WHERE key = 'mended'");
    for count in COUNTS {
        assert!(said.contains(count), "{count}: {said}");
    }
    for (n, (bad, good)) in TIMES.iter().enumerate() {
        for query in [
            format!("SELECT created_at = '{good} 00:00+00' FROM boards WHERE name = 'b{n}'"),
            format!("SELECT revoked_at = '{good} 00:00+00' FROM tokens WHERE name = '{n}'"),
        ] {
            assert_eq!(foreign.ask(&query), "true", "{bad}");
        }
    }
    assert_eq!(
        foreign.ask("SELECT count(*) FROM tokens WHERE expires_at IS NULL"),
        "1",
        "what never ends has no end"
    );
    assert_eq!(
        foreign.ask("SELECT title FROM boards WHERE name = 'b0'"),
        "a b "
    );
}

/// Rows that the new constraints refuse are mended and counted, and the board is whole afterwards.
#[test]
fn rows_of_every_bad_kind_are_mended_and_counted() {
    let (url, mut foreign) = before();
    corrupt(&mut foreign);
    // By hand, or the server has taken the count into its log.
    foreign.run(&format!(
        "BEGIN; {UP}; INSERT INTO __diesel_schema_migrations VALUES ('20261125000000'); COMMIT"
    ));
    assert_mended(&mut foreign);
    bring_up(&url).expect("migrated");
    let place = Place::at(&url);
    assert_eq!(place.comments(), ["c1", "c2", "c3", "last"]);
    let revisions: Vec<_> = place
        .load()
        .snapshot
        .topics()
        .iter()
        .map(|topic| topic.revision.get())
        .collect();
    assert!(
        revisions[0] > revisions[2] && revisions[0] == revisions[1],
        "{revisions:?}"
    );
    assert!(create(&place, "next").id.0 < 10_000);
    assert_eq!(place.store.tokens(0, 10).expect("tokens").rows.len(), 4);
}

#[test]
fn the_way_back_and_forth_again_keeps_the_rows() {
    let (url, mut foreign) = before();
    foreign.run("INSERT INTO topics (board_id, comment) VALUES (1, 'a')");
    let created = foreign.ask("SELECT extract(epoch FROM created_at) FROM topics");
    for step in [UP, REPLICA_UP, REPLICA_DOWN, DOWN] {
        foreign.run(&format!("BEGIN; {step}; COMMIT"));
    }
    foreign.run(
        "INSERT INTO topics (board_id, comment) VALUES (1, 'b'); \
         UPDATE topics SET comment = 'B' WHERE comment = 'b'",
    );
    bring_up(&url).expect("migrated");
    assert_eq!(Place::at(&url).comments(), ["a", "B"]);
    assert_eq!(
        Foreign::postgres(&url)
            .ask("SELECT extract(epoch FROM created_at) FROM topics WHERE comment = 'a'"),
        created
    );
}

/// Transactions that take the tables in either order, and a pause after each. Those that hold
/// another table before they come to `topics` are rare, as they are in life.
const WORK: [(&str, u32); 4] = [
    ("INSERT INTO topics (board_id, comment) VALUES (1, 'a')", 0),
    (
        "INSERT INTO topics (board_id, comment) VALUES (1, 'c'); \
         UPDATE boards SET title = 'y' WHERE id = 1",
        0,
    ),
    (
        "UPDATE boards SET title = 'x' WHERE id = 1; \
         INSERT INTO topics (board_id, comment) VALUES (1, 'b')",
        30,
    ),
    (
        "SELECT count(*) FROM changes JOIN topics ON topics.id = topic_id; \
         DELETE FROM topics WHERE id IN (SELECT min(id) FROM topics)",
        30,
    ),
];

/// Runs a transaction again and again. Returns how often.
fn repeat(mut foreign: Foreign, (work, pause_ms): (&str, u32), over: &AtomicBool) -> u32 {
    let mut written = 0;
    while !over.load(Ordering::Relaxed) {
        foreign.run(&format!("BEGIN; {work}; COMMIT"));
        written += 1;
        foreign.run(&format!("SELECT pg_sleep({pause_ms} / 1000.0)"));
    }
    written
}

/// Checks that what was seen below a revision stays as it was. Returns the last revision.
fn watch_order(mut foreign: Foreign, over: &AtomicBool) -> i64 {
    let (mut head, mut rows) = (0_i64, 0_i64);
    while !over.load(Ordering::Relaxed) {
        let seen = foreign.ask(&format!(
            "SELECT count(*) FILTER (WHERE revision <= {head}) || ' ' || max(revision) \
             || ' ' || count(*) FROM changes WHERE revision > 0"
        ));
        let seen: Vec<i64> = seen
            .split(' ')
            .map(|number| number.parse().expect("a number"))
            .collect();
        assert_eq!(
            seen[0], rows,
            "a row came below revision {head}, which was seen"
        );
        (head, rows) = (seen[1], seen[2]);
    }
    head
}

#[test]
fn migrating_among_writers_keeps_the_order_of_commits() {
    let (url, mut foreign) = before();
    let over = Arc::new(AtomicBool::new(false));
    let writers = WORK.map(|work| {
        let (foreign, over) = (Foreign::postgres(&url), Arc::clone(&over));
        thread::spawn(move || repeat(foreign, work, &over))
    });
    let watcher = {
        let (foreign, over) = (Foreign::postgres(&url), Arc::clone(&over));
        thread::spawn(move || watch_order(foreign, &over))
    };
    let ran = bring_up(&url);
    // And on for a while under the new lock.
    let newest = "SELECT max(revision) FROM changes";
    let head = foreign.number(newest);
    while foreign.number(newest) < head + 50 {}
    over.store(true, Ordering::Relaxed);
    let written = writers.map(|thread| thread.join().expect("no writer failed"));
    assert!(
        watcher.join().expect("in order") >= head && written.iter().all(|count| *count > 0),
        "{written:?}"
    );
    assert!(ran.expect("migrated").len() >= 2);
}

/// Behind an open transaction a migration waits, but holds up no writer for long: it lets go, and
/// tries again.
#[test]
fn a_migration_that_waits_lets_others_by() {
    let steps = [
        include_str!("../../../../migrations/postgres/2026-11-25-000002_board_lives/up.sql"),
        include_str!("../../../../migrations/postgres/2026-11-25-000004_boards_truncated/up.sql"),
        include_str!("../../../../migrations/postgres/2026-11-26-000000_tokens_truncated/up.sql"),
    ];
    let (url, mut foreign) = before();
    foreign.run("INSERT INTO boards (name) VALUES ('busy')");
    foreign.run(&format!("BEGIN; {UP}; COMMIT; BEGIN; {REPLICA_UP}; COMMIT"));
    for step in steps {
        let mut open = Foreign::postgres(&url);
        open.run("BEGIN; UPDATE tokens SET name = name");
        open.run("UPDATE boards SET title = 'open' WHERE name = 'main'");
        thread::scope(|scope| {
            let url = &url;
            let migration = scope
                .spawn(move || Foreign::postgres(url).try_run(&format!("BEGIN; {step}; COMMIT")));
            let waits = "(SELECT count(*) FROM pg_stat_activity \
                WHERE datname = current_database() AND wait_event_type = 'Lock')";
            let end = std::time::Instant::now() + std::time::Duration::from_secs(5);
            while foreign.ask(waits) == "0" {
                assert!(
                    std::time::Instant::now() < end,
                    "the migration does not wait"
                );
            }
            for n in 0..5 {
                foreign.run(&format!(
                    "SET lock_timeout = '3s'; UPDATE boards SET title = '{n}' WHERE name = 'busy'"
                ));
            }
            open.run("COMMIT");
            migration.join().expect("a result").expect("migrated");
        });
    }
}
