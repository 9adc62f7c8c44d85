//! A schema of which something was dropped, disabled or replaced.

use super::{
    migrate,
    wrong_place::{COMMANDS, ended, refused},
};
use crate::node::{Database, Node, program};

/// Each trigger and index is dropped, and each trigger of Postgres disabled, in turn.
fn is_refused_and_mended(database: &Database, damage: &str, parts: &[&str]) {
    database.sql(damage);
    for arguments in COMMANDS
        .into_iter()
        .filter(|command| *command != ["migrate"])
    {
        let mut command = program();
        command.args(arguments).env("DATABASE_URL", database.url());
        let (code, said) = ended(command);
        assert!(
            code == Some(78)
                && said.contains("Run `kairanban migrate`")
                && parts.iter().all(|part| said.contains(part)),
            "{damage}: {arguments:?} {code:?} {said}"
        );
    }
    migrate(database);
    let mut command = program();
    command
        .args(["config", "check"])
        .env("DATABASE_URL", database.url());
    let (code, said) = ended(command);
    assert_eq!(code, Some(0), "{damage}: {said}");
}

#[test]
fn a_trigger_that_is_off_on_postgres_is_named_and_made_again() {
    let database = Database::postgres();
    migrate(&database);
    let before = database.sql(TRIGGERS);
    for row in before.lines() {
        let (table, rest) = row.split_once('|').expect("a table");
        let (name, _) = rest.split_once('|').expect("a name");
        for (damage, part) in [
            (
                format!("ALTER TABLE {table} DISABLE TRIGGER \"{name}\";"),
                "disabled",
            ),
            (format!("DROP TRIGGER \"{name}\" ON {table};"), "missing"),
        ] {
            is_refused_and_mended(&database, &damage, &[name, table, part]);
        }
        assert_eq!(database.sql(TRIGGERS), before, "{name}");
    }
}

#[test]
fn a_key_or_a_function_that_is_another_one_is_named_and_made_again() {
    let database = Database::postgres();
    migrate(&database);
    for (damage, part) in [
        (
            "ALTER TABLE idempotency DROP CONSTRAINT idempotency_pkey;",
            "primary key idempotency_pkey of idempotency is missing",
        ),
        (
            "ALTER TABLE boards DROP CONSTRAINT boards_name_key;",
            "unique constraint boards_name_key of boards is missing",
        ),
        (
            "CREATE OR REPLACE FUNCTION topics_deleted() RETURNS trigger LANGUAGE plpgsql
             AS 'BEGIN RETURN NULL; END';",
            "function topics_deleted is not kairanban's",
        ),
    ] {
        is_refused_and_mended(&database, damage, &[part]);
    }
    // A server can do without this one.
    database.sql("ALTER TABLE boards DROP CONSTRAINT boards_title_check;");
    Node::start(database.twin()).post("as before");
    migrate(&database);
    let again =
        database.sql("SELECT count(*) FROM pg_constraint WHERE conname = 'boards_title_check';");
    assert_eq!(again.trim(), "1");
}

/// As they are, and how they fire.
const TRIGGERS: &str = "SELECT tgrelid::regclass, tgname, tgenabled, pg_get_triggerdef(oid)
    FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1, 2;";

#[test]
fn a_trigger_or_an_index_that_is_gone_from_a_file_is_named_and_made_again() {
    const OBJECTS: &str = "SELECT type, name, sql FROM sqlite_schema
        WHERE type IN ('index', 'trigger') AND sql IS NOT NULL ORDER BY 1, 2;";
    let database = Database::sqlite();
    migrate(&database);
    let before = database.sql(OBJECTS);
    let names = database.sql(
        "SELECT type, name FROM sqlite_schema WHERE type IN ('index', 'trigger')
         AND sql IS NOT NULL;",
    );
    for row in names.lines() {
        let (kind, name) = row.split_once('|').expect("a kind");
        is_refused_and_mended(
            &database,
            &format!("DROP {kind} {name};"),
            &[name, "missing"],
        );
    }
    assert_eq!(database.sql(OBJECTS), before);
}

#[test]
fn what_only_the_owner_can_mend_is_named_with_the_command() {
    let database = Database::postgres();
    migrate(&database);
    let (_, name) = {
        let url = database.url();
        let (base, name) = url.rsplit_once('/').expect("a database");
        (base.to_owned(), name.to_owned())
    };
    let replica = format!("ALTER DATABASE {name} SET session_replication_role = replica;");
    let reset = format!("ALTER DATABASE {name} RESET session_replication_role");
    for (damage, undone, part) in [
        (
            "DROP TRIGGER topics_before_update ON topics;
             CREATE FUNCTION other() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
             CREATE TRIGGER topics_before_update BEFORE UPDATE ON topics
                 FOR EACH ROW EXECUTE FUNCTION other();",
            "DROP TRIGGER topics_before_update ON topics;",
            "first DROP TRIGGER topics_before_update ON topics",
        ),
        (&replica, &format!("{reset};"), &format!("first {reset}")),
        (
            "ALTER TABLE audit RENAME TO away;",
            "ALTER TABLE away RENAME TO audit;",
            "table audit",
        ),
        (
            "ALTER TABLE topics RENAME edited_at TO away;",
            "ALTER TABLE topics RENAME away TO edited_at;",
            "column topics.edited_at",
        ),
        (
            "ALTER TABLE changes ALTER topic_id TYPE integer;",
            "ALTER TABLE changes ALTER topic_id TYPE bigint;",
            "first ALTER TABLE changes ALTER COLUMN topic_id TYPE bigint",
        ),
        (
            "ALTER FUNCTION take_id RENAME TO away;",
            "ALTER FUNCTION away RENAME TO take_id;",
            "function take_id",
        ),
        (
            "ALTER SEQUENCE revision_seq RENAME TO away;",
            "ALTER SEQUENCE away RENAME TO revision_seq;",
            "revision_seq",
        ),
    ] {
        database.sql(damage);
        refused(&database.url(), &[part]);
        database.sql(undone);
        migrate(&database);
    }
    Node::start(database).post("as before");
}

#[test]
fn what_only_the_owner_of_a_file_can_mend_is_named_with_the_command() {
    let database = Database::sqlite();
    migrate(&database);
    for (damage, undone, part) in [
        (
            "DROP TRIGGER topics_inserted;
             CREATE TRIGGER topics_inserted AFTER INSERT ON topics BEGIN SELECT 1; END;",
            "DROP TRIGGER topics_inserted;",
            "first DROP TRIGGER topics_inserted",
        ),
        (
            "ALTER TABLE audit RENAME TO away;",
            "ALTER TABLE away RENAME TO audit;",
            "table audit",
        ),
    ] {
        database.sql(damage);
        refused(&database.url(), &[part]);
        database.sql(undone);
        migrate(&database);
    }
    Node::start(database).post("as before");
}

/// Those of others may refuse what every write needs, or drop it unseen; after a row, too, as
/// SQLite promises no order.
#[test]
fn a_trigger_of_others_on_our_own_tables_of_a_file_is_named_with_the_command() {
    let database = Database::sqlite();
    migrate(&database);
    let tables = database.sql(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' \
         AND name NOT IN ('boards', 'topics', 'tokens');",
    );
    assert!(tables.lines().count() >= 10, "{tables}");
    for (at, table) in tables.lines().enumerate() {
        let timing = ["BEFORE", "AFTER"][at % 2];
        database.sql(&format!(
            "CREATE TRIGGER \"Strange one\" {timing} INSERT ON {table} \
             BEGIN SELECT RAISE(IGNORE); END;"
        ));
        refused(
            &database.url(),
            &[
                "Strange one is not kairanban's",
                &format!("its table {table} (first DROP TRIGGER \"Strange one\")"),
            ],
        );
        database.sql("DROP TRIGGER \"Strange one\";");
    }
    // Where owners may have their own, it is theirs.
    database.sql("CREATE TRIGGER own AFTER INSERT ON topics BEGIN SELECT 1; END;");
    Node::start(database).post("as before");
}

/// Writes over the page on which the table begins.
fn break_first_page_of(database: &Database, table: &str) {
    use std::io::{Seek as _, SeekFrom, Write as _};
    database.sql("PRAGMA wal_checkpoint(TRUNCATE);");
    let place = database.sql(&format!(
        "SELECT (rootpage - 1) * page_size FROM sqlite_schema, pragma_page_size \
         WHERE name = '{table}';"
    ));
    let place = place.trim().parse().expect("a place");
    let file = std::fs::File::options().write(true).open(database.file());
    let mut file = file.expect("a file");
    file.seek(SeekFrom::Start(place)).expect("found");
    file.write_all(&[0xff; 64]).expect("written");
}

#[test]
fn a_file_whose_pages_do_not_fit_together_is_refused() {
    // The last is read by none of the steps of a start.
    for table in ["boards", "topics", "identity", "deleted_topics"] {
        let database = Database::sqlite();
        migrate(&database);
        break_first_page_of(&database, table);
        refused(&database.url(), &["malformed", "restore a backup"]);
    }
}

/// They may be what other programs wrote, and a server copes with them.
#[test]
fn values_that_the_schema_does_not_take_are_no_damage() {
    let database = Database::sqlite();
    migrate(&database);
    // Of `now` and the like SQLite refuses to check anything: its functions of time may not be
    // asked for the present by a CHECK.
    for time in ["2024-02-30 00:00:00", "now", "NOW", "24:00", "2460000.5"] {
        database.sql(&format!(
            "PRAGMA ignore_check_constraints = ON;
             INSERT INTO topics (comment, created_at) VALUES ('as it is', '{time}');
             INSERT INTO tokens (name, digest, scope, expires_at)
                 VALUES ('as it is', '{time}', 'read', '{time}');
             INSERT INTO boards (name, created_at) VALUES ('b' || abs(random()), '{time}');",
        ));
    }
    assert!(database.try_sql("PRAGMA quick_check;").is_err());
    Node::start(database).post("beside it");
}

#[test]
fn a_damage_that_a_reader_meets_ends_the_server() {
    let mut node = Node::start(Database::sqlite());
    node.post("before");
    // Its tree is that of an index.
    node.database.sql(
        "PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema
             WHERE name = 'topics_live') WHERE name = 'topics';
         PRAGMA schema_version = 4242;
         PRAGMA wal_checkpoint(PASSIVE);",
    );
    let long = std::time::Duration::from_secs(10);
    let began = std::time::Instant::now();
    while crate::oracle::link::post(node.address, "after").is_some() {
        assert!(began.elapsed() < long, "it still answers");
    }
    let (_, code) = node.end(long);
    assert_eq!(code, Some(1));
    refused(&node.database.url(), &["malformed", "restore a backup"]);
}

crate::on_both!(
    what_was_written_past_a_trigger_is_shown_to_a_reader_who_comes_back,
    rows_of_the_identity_that_are_gone_are_made_again,
);

/// A row that drew no revision is in no log: a reader who comes back has to be sent the whole list.
fn what_was_written_past_a_trigger_is_shown_to_a_reader_who_comes_back(database: Database) {
    let mut node = Node::start(database.twin());
    node.post("before");
    let cursor = node.stream("/b/main/stream?format=patch").event().id;
    let cursor = cursor.expect("a cursor");
    node.kill();
    let on = if database.is_postgres() {
        " ON topics"
    } else {
        ""
    };
    database.sql(&format!("DROP TRIGGER topics_inserted{on};"));
    database.sql("INSERT INTO topics (board_id, comment) SELECT id, 'unlogged' FROM boards;");
    migrate(&database);
    node.restart();
    let path = "/b/main/stream?format=patch";
    let mut stream = node.resume(path, &cursor);
    assert_eq!(stream.event().name, "reset");
    let shown = stream.event();
    assert!(shown.data.contains("unlogged"), "{shown:?}");
}

fn rows_of_the_identity_that_are_gone_are_made_again(database: Database) {
    migrate(&database);
    for key in ["default_board", "epoch", "mark"] {
        database.sql(&format!("DELETE FROM identity WHERE key = '{key}';"));
        Node::start(database.twin()).post(key);
        database.sql(&format!(
            "INSERT INTO topics (comment) VALUES ('after {key}');"
        ));
    }
    if !database.is_postgres() {
        database.sql("DELETE FROM revisions;");
        Node::start(database.twin()).post("counted");
    }
}
