//! Locks and schemas that keep a server from its tables as it starts.

use super::{NO_WAIT, migrate};
use crate::{
    logged::Logged,
    node::{Database, Node},
};

/// A table that another program has locked, whatever the language and the time limits of the
/// database: it is waited for, and the log says so.
#[test]
fn a_table_that_is_locked_is_waited_for() {
    for (database, limit) in [
        (Database::postgres(), "statement_timeout"),
        (Database::japanese(), "lock_timeout"),
    ] {
        migrate(&database);
        database.set_for_all(limit, "200");
        let url = database.url();
        let settings = [
            ("DATABASE_URL", url.as_str()),
            ("KAIRANBAN_DATABASE__STATEMENT_TIMEOUT_MS", "2000"),
        ];
        for table in [
            "__diesel_schema_migrations",
            "boards",
            "identity",
            "transactions",
            "pg_proc",
            "pg_sequence",
        ] {
            let lock = database.lock(table);
            let mut server = Logged::serve(&settings);
            server.until(table, |server| {
                server.err().contains("another program has locked it")
            });
            let (code, said) = Logged::ended(&[], &[settings[0], settings[1], NO_WAIT]);
            assert_eq!(code, Some(1), "{limit} {table}: {said}");
            drop(lock);
            server.until("is up", |server| {
                server.err().contains("the database is up")
            });
        }
    }
}

/// A start locks `identity` against writers, so a write there that does not end keeps it out.
#[test]
fn a_write_that_keeps_a_start_out_is_waited_for() {
    for database in [Database::postgres(), Database::japanese()] {
        migrate(&database);
        let writer = database.hold("UPDATE identity SET value = value");
        let url = database.url();
        let mut server = Logged::serve(&[
            ("DATABASE_URL", url.as_str()),
            ("KAIRANBAN_DATABASE__STATEMENT_TIMEOUT_MS", "1000"),
        ]);
        server.until("it waits", |server| {
            server.err().contains("waiting for the database")
        });
        drop(writer);
        server.until("it is up", |server| {
            server.err().contains("the database is up")
        });
    }
}

/// Names in `search_path` may hold a comma.
#[test]
fn a_path_to_no_schema_is_shown() {
    let database = Database::postgres();
    database.set_for_all("search_path", "public, other");
    let (code, said) = Logged::ended(&["migrate"], &[("DATABASE_URL", &database.url())]);
    assert!(
        code == Some(78) && said.contains("(\"public, other\")") && !said.contains("GRANT"),
        "{code:?} {said}"
    );
}

/// An import may take minutes. A server shows what is there meanwhile.
#[test]
fn a_server_starts_while_another_program_writes_to_the_file() {
    let mut node = Node::start(Database::sqlite());
    node.post("before");
    node.kill();
    let lock = node.database.hold_the_write_lock();
    node.restart();
    assert!(node.get("/").body.contains("before"));
    drop(lock);
    node.post("after");
    assert!(node.get("/").body.contains("after"));
}
