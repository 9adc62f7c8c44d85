//! What the database cannot do now: answered with 503, and named at `/readyz` until it is mended.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{TOPICS, await_readiness, post, post_together, shown};
use crate::{
    node::{Database, Node},
    wire,
};

crate::on_both!(
    a_missing_column_is_an_outage_that_readyz_names,
    what_cannot_be_read_is_named,
    ids_that_are_used_up_are_an_outage_that_says_what_to_do,
    what_is_wrong_with_the_log_is_an_outage,
);

/// What the server itself needs: never a 4xx, or clients would throw their posts away.
fn a_missing_column_is_an_outage_that_readyz_names(database: Database) {
    let node = Node::start(database);
    node.post("before");
    let steps = [
        (
            "ALTER TABLE idempotency RENAME TO away;",
            "ALTER TABLE away RENAME TO idempotency;",
            "idempotency",
        ),
        (
            "ALTER TABLE idempotency RENAME COLUMN request TO away;",
            "ALTER TABLE idempotency RENAME COLUMN away TO request;",
            "request",
        ),
    ];
    for (take, give, name) in steps {
        node.database.sql(take);
        let answer = wire::request(
            node.address,
            "POST",
            "/",
            &[("Content-Type", "text/plain"), ("Idempotency-Key", name)],
            b"keyed",
        );
        assert_eq!(answer.status, 503, "{answer:?}");
        await_readiness(&node, 503, name);
        node.database.sql(give);
        // Without any write.
        await_readiness(&node, 200, "ready");
    }
    node.post("after");
}

/// By what is missing, and not as a database that is away; also if only some requests read it.
fn what_cannot_be_read_is_named(database: Database) {
    let node = Node::start(database);
    node.post("before");
    for (table, column) in [
        ("changes", "kind"),
        ("topics", "author"),
        ("tokens", "scope"),
    ] {
        node.database.sql(&format!(
            "ALTER TABLE {table} RENAME COLUMN {column} TO away;"
        ));
        node.send_as("GET", "/api/v1/tokens", "kb_made_up", &[], "");
        node.get(&format!("{TOPICS}?q=before"));
        await_readiness(&node, 503, column);
        let text = node.get("/readyz").body;
        assert!(
            text.contains("kairanban migrate") && !text.contains("is away"),
            "{table}: {text}"
        );
        node.database.sql(&format!(
            "ALTER TABLE {table} RENAME COLUMN away TO {column};"
        ));
        await_readiness(&node, 200, "ready");
    }
    node.post("after");
}

/// Never a 4xx: each post would fare the same until the owner moves the sequence.
fn ids_that_are_used_up_are_an_outage_that_says_what_to_do(database: Database) {
    let node = Node::start(database);
    node.post("before");
    let ends: &[&str] = if node.database.is_postgres() {
        &["SELECT setval('topics_id_seq', 9007199254740991);"]
    } else {
        &[
            "UPDATE sqlite_sequence SET seq = 9007199254740991 WHERE name = 'topics';",
            "UPDATE sqlite_sequence SET seq = 9223372036854775807 WHERE name = 'topics';",
        ]
    };
    let back = if node.database.is_postgres() {
        "SELECT setval('topics_id_seq', max(id)) FROM topics;"
    } else {
        "UPDATE sqlite_sequence SET seq = (SELECT max(id) FROM topics) WHERE name = 'topics';"
    };
    for end in ends {
        node.database.sql(end);
        for answer in post_together(&node, &["a".to_owned(), "b".to_owned(), "c".to_owned()]) {
            assert_eq!(answer.status, 503, "{answer:?}");
        }
        await_readiness(&node, 503, "the ids are used up");
        // And it stays so while nothing is written.
        thread::park_timeout(Duration::from_millis(1500));
        await_readiness(&node, 503, "the ids are used up");
        node.database.sql(back);
        await_readiness(&node, 200, "ready");
        node.post("after");
    }
}

/// SQLite says of each table that the disk is full.
#[test]
fn ids_of_the_log_that_are_used_up_are_no_full_disk() {
    let node = Node::start(Database::sqlite());
    node.post("before");
    node.database
        .sql("UPDATE sqlite_sequence SET seq = 9223372036854775807 WHERE name = 'changes';");
    assert_eq!(node.send("POST", "/", "text/plain", "lost").status, 503);
    await_readiness(&node, 503, "at the end for the table changes");
    node.database.sql(
        "UPDATE sqlite_sequence SET seq = (SELECT max(id) FROM changes) WHERE name = 'changes';",
    );
    await_readiness(&node, 200, "ready");
    node.post("after");
}

/// Another program took the next ids; only it knew of them.
#[test]
fn an_import_with_ids_of_its_own_costs_no_post() {
    let node = Node::start(Database::postgres());
    // As the schema has it.
    node.database.sql(
        "DO $do$ BEGIN IF to_regproc('move_topic_ids') IS NULL THEN
           CREATE FUNCTION move_topic_ids() RETURNS void LANGUAGE sql SECURITY DEFINER AS
             $f$ SELECT setval(pg_get_serial_sequence('topics', 'id'), max(id)) FROM topics $f$;
         END IF; END $do$;",
    );
    for first in [1, 300] {
        node.database.sql(&format!(
            "INSERT INTO topics (id, board_id, comment) SELECT g, 1, 'imported ' || g \
             FROM generate_series({first}, {first} + 99) g;
             SELECT setval(pg_get_serial_sequence('topics', 'id'), {first});"
        ));
        let comments: Vec<_> = (0..12).map(|n| format!("after {first} {n}")).collect();
        for answer in post_together(&node, &comments) {
            assert_eq!(answer.status, 201, "{answer:?}");
            assert!(
                answer.json()["id"].as_i64().expect("an id") > first + 99,
                "{answer:?}"
            );
        }
    }
}

/// Makes a Postgres read-only or writable, and ends the sessions that do not know of it.
fn set_read_only(database: &Database, read_only: bool) {
    let name = database.sql("SELECT current_database();");
    database.sql(&format!(
        "SET default_transaction_read_only = off;
         ALTER DATABASE {name} SET default_transaction_read_only = {read_only};
         SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid();"
    ));
}

/// As a database is after a failover, also before anything is written.
#[test]
fn a_database_that_became_read_only_is_named_without_a_write() {
    let node = Node::start(Database::postgres());
    await_readiness(&node, 200, "ready");
    set_read_only(&node.database, true);
    await_readiness(&node, 503, "read-only");
    set_read_only(&node.database, false);
    await_readiness(&node, 200, "ready");
    node.post("after");
}

/// As a database is after a failover.
#[test]
fn a_read_only_database_is_named() {
    let node = Node::start(Database::postgres());
    node.post("before");
    set_read_only(&node.database, true);
    let answer = post(&node, "x");
    assert!(
        answer.status == 503 && answer.body.contains("nothing was written"),
        "{answer:?}"
    );
    await_readiness(&node, 503, "read-only");
    set_read_only(&node.database, false);
    await_readiness(&node, 200, "ready");
    node.post("after");
}

/// Waits until the node is not ready, with or without posts, which are refused.
fn await_outage(node: &Node, with_posts: bool) {
    let deadline = Instant::now() + Duration::from_secs(8);
    while node.get("/readyz").status == 200 {
        assert!(Instant::now() < deadline, "{}", node.get("/readyz").body);
        if with_posts {
            assert_eq!(post(node, "x").status, 503);
        }
        thread::park_timeout(Duration::from_millis(50));
    }
}

/// The sessions that read go on, and the one that writes cannot be opened again.
#[test]
fn a_writer_that_cannot_connect_is_named() {
    let owner = Node::start(Database::postgres());
    let role = crate::start::unique("limited");
    owner.database.sql(&format!(
        "CREATE ROLE {role} LOGIN; GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}; \
         GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}; GRANT ALL ON ALL FUNCTIONS IN \
         SCHEMA public TO {role};"
    ));
    let url = owner.database.url();
    let (scheme, rest) = url.split_once("://").expect("a URL");
    let as_role = format!(
        "{scheme}://{role}@{}",
        rest.split_once('@').expect("a user").1
    );
    for with_posts in [true, false] {
        let node = Node::start_with(
            Database::Postgres(as_role.clone()),
            &[("DATABASE__MIGRATE", "false")],
        );
        node.post("before");
        owner.database.sql(&format!(
            "ALTER ROLE {role} CONNECTION LIMIT 1; SELECT count(pg_terminate_backend(pid)) \
             FROM pg_stat_activity \
             WHERE usename = '{role}' AND query LIKE '%COMMIT%';"
        ));
        await_outage(&node, with_posts);
        owner
            .database
            .sql(&format!("ALTER ROLE {role} CONNECTION LIMIT -1;"));
        await_readiness(&node, 200, "ready");
        node.post("after");
    }
    drop(
        owner
            .database
            .try_sql(&format!("DROP OWNED BY {role}; DROP ROLE {role};")),
    );
}

/// What is wrong with our own tables is no topic's fault: a client that has to give up would lose
/// its post.
fn what_is_wrong_with_the_log_is_an_outage(database: Database) {
    let node = Node::start(database);
    node.post("before");
    let faults = if node.database.is_postgres() {
        vec![
            "SELECT setval('revision_seq', 9007199254740991);",
            "ALTER SEQUENCE revision_seq MAXVALUE 2000 RESTART 2000;
             SELECT nextval('revision_seq');",
        ]
    } else {
        vec!["UPDATE revisions SET newest = 9007199254740991;"]
    };
    for fault in faults {
        used_up_and_mended(&node, fault);
    }
}

fn used_up_and_mended(node: &Node, fault: &str) {
    let mend = if node.database.is_postgres() {
        "TRUNCATE changes; ALTER SEQUENCE revision_seq NO MAXVALUE RESTART 1000;"
    } else {
        "DELETE FROM changes; UPDATE revisions SET newest = 1000;"
    };
    node.database.sql(fault);
    assert_eq!(post(node, "x").status, 503);
    await_readiness(node, 503, "the revisions are used up");
    // And it stays so while nothing is written.
    thread::park_timeout(Duration::from_millis(1500));
    await_readiness(node, 503, "the revisions are used up");
    node.database.sql(mend);
    let migrated = crate::node::program()
        .args([
            "--database-url",
            &node.database.url(),
            "migrate",
            "--new-epoch",
        ])
        .output();
    assert!(migrated.expect("the program").status.success());
    await_readiness(node, 200, "ready");
    node.post("after");
    assert!(shown(node).contains(&"after".to_owned()));
}
