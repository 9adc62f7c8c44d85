//! What the database has to be before the server starts, and how long it is waited for.

mod damage;
mod in_the_way;
mod server_role;
mod wrong_place;

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::{
    logged::{Logged, relay},
    node::Database,
    wire,
};

static NAMES: AtomicU32 = AtomicU32::new(0);

pub(crate) fn unique(prefix: &str) -> String {
    format!(
        "{prefix}_{}_{}",
        std::process::id(),
        NAMES.fetch_add(1, Ordering::Relaxed)
    )
}

fn server() -> Database {
    Database::Postgres(
        std::env::var("KAIRANBAN_TEST_POSTGRES_URL").expect("KAIRANBAN_TEST_POSTGRES_URL"),
    )
}

pub(crate) fn migrate(database: &Database) {
    let (code, said) = Logged::ended(&["migrate"], &[("DATABASE_URL", &database.url())]);
    assert_eq!(code, Some(0), "{said}");
}

/// `host:port` of a URL.
fn host(url: &str) -> String {
    let rest = url.rsplit_once('@').expect("a user").1;
    rest.split_once('/').expect("a database").0.to_owned()
}

/// A URL with another database.
fn another_database(url: &str, name: &str) -> String {
    let (server, _) = url.rsplit_once('/').expect("a database");
    format!("{server}/{name}")
}

/// A URL with another host.
fn by_way_of(url: &str, host_and_port: &str) -> String {
    url.replace(&host(url), host_and_port)
}

const NO_DDL: (&str, &str) = ("KAIRANBAN_DATABASE__MIGRATE", "false");
const NO_WAIT: (&str, &str) = ("KAIRANBAN_DATABASE__START_WAIT_S", "0");

#[test]
fn a_database_that_is_not_utf8_is_refused_before_anything_is_made() {
    for encoding in ["SQL_ASCII", "EUC_JP", "LATIN1"] {
        let (server, name) = (server(), unique("enc"));
        server.sql(&format!(
            "CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 \
            LC_COLLATE 'C' LC_CTYPE 'C';"
        ));
        let url = another_database(&server.url(), &name);
        for command in [
            &["migrate"][..],
            &["config", "check"],
            &["--listen", "127.0.0.1:0"],
            &["token", "list"],
        ] {
            assert_encoding_refused(command, &url, [encoding, "UTF8"]);
        }
        let tables = Database::Postgres(url)
            .sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public';");
        assert_eq!(tables, "0", "{encoding}");
        server.sql(&format!("DROP DATABASE {name};"));
    }
}

#[test]
fn a_file_that_is_not_utf8_is_refused_before_anything_is_made() {
    let database = Database::sqlite();
    database.sql("PRAGMA encoding = 'UTF-16'; CREATE TABLE other (x);");
    for command in [
        &["migrate"][..],
        &["config", "check"],
        &["--listen", "127.0.0.1:0"],
    ] {
        assert_encoding_refused(command, &database.url(), ["UTF-16", "sqlite3 new.db"]);
    }
    assert_eq!(database.sql("SELECT count(*) FROM sqlite_schema;"), "1");
}

#[track_caller]
fn assert_encoding_refused(command: &[&str], url: &str, words: [&str; 2]) {
    let (code, said) = Logged::ended(command, &[("DATABASE_URL", url)]);
    assert!(
        code == Some(78) && words.iter().all(|word| said.contains(word)),
        "{command:?}: {code:?} {said}"
    );
}

/// A link of 200 ms for each round trip, the first connection included.
#[test]
fn a_slow_link_does_not_end_the_start() {
    let database = Database::postgres();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let slow = by_way_of(
        &database.url(),
        &listener.local_addr().expect("an address").to_string(),
    );
    relay(listener, host(&database.url()), Duration::from_millis(100));
    migrate(&database);
    let mut server = Logged::serve(&[("DATABASE_URL", &slow)]);
    let address = server.address();
    let answer = wire::request(address, "GET", "/", &[], b"");
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[test]
fn a_database_that_is_not_up_yet_is_waited_for() {
    let database = Database::postgres();
    let port = TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("an address");
    let url = by_way_of(&database.url(), &port.to_string());
    let mut server = Logged::serve(&[("DATABASE_URL", &url)]);
    server.until("it waits", |server| {
        server.err().contains("waiting for the database")
    });
    // For a while, so that a line for each try would show.
    let until = Instant::now() + Duration::from_secs(2);
    server.until("some tries", |_| Instant::now() >= until);
    relay(
        TcpListener::bind(port).expect("the port"),
        host(&database.url()),
        Duration::ZERO,
    );
    server.address();
    assert_eq!(
        server.err().matches("waiting for the database").count(),
        1,
        "{}",
        server.err()
    );
    assert!(server.err().contains("the database is up"));
}

#[test]
fn a_command_that_may_not_wait_for_the_database_ends() {
    let environment = [("DATABASE_URL", "postgres://127.0.0.1:1/d"), NO_WAIT];
    let (code, said) = Logged::ended(&["migrate"], &environment);
    assert!(
        code == Some(1) && said.contains("refused"),
        "{code:?} {said}"
    );
}

/// A server that refuses every client with one sentence.
fn refusing(code: &'static str, message: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            let mut start = [0; 1024];
            // Asked for TLS or GSS, it has none.
            while matches!(client.read(&mut start), Ok(8)) {
                client.write_all(b"N").expect("sent");
            }
            let fields = format!("SFATAL\0VFATAL\0C{code}\0M{message}\0\0");
            let length = u32::try_from(fields.len() + 4)
                .expect("short")
                .to_be_bytes();
            // It may be gone.
            let _ = client.write_all(&[b"E", &length[..], fields.as_bytes()].concat());
        }
    });
    format!("postgres://ann:canary@{address}/d")
}

#[test]
fn what_waiting_cannot_mend_ends_the_start_at_once() {
    for (code, message, next) in [
        (
            "28P01",
            "password authentication failed for user \"ann\"",
            "",
        ),
        (
            "28000",
            "no pg_hba.conf entry for host \"127.0.0.1\", user \"ann\", database \"d\", no \
             encryption",
            "",
        ),
        ("28000", "role \"ann\" is not permitted to log in", ""),
        ("28000", "role \"ann\" does not exist", "CREATE ROLE"),
        ("3D000", "database \"d\" does not exist", "createdb"),
        ("42501", "permission denied for database \"d\"", ""),
        ("08P01", "no such database: d", "[databases]"),
        ("08P01", "no such user: ann", "auth_file"),
    ] {
        let began = Instant::now();
        let (status, said) = Logged::ended(&[], &[("DATABASE_URL", &refusing(code, message))]);
        assert!(
            status == Some(78)
                && said.contains(message)
                && said.contains(next)
                && !said.contains("canary"),
            "{status:?} {said}"
        );
        assert!(
            began.elapsed() < Duration::from_secs(5) && !said.contains("waiting"),
            "{message}: {said}"
        );
    }
}

#[test]
fn a_host_that_is_not_known_is_waited_for_whatever_its_name() {
    let environment = [("DATABASE_URL", "postgres://nohost.invalid/d"), NO_WAIT];
    let (code, said) = Logged::ended(&["migrate"], &environment);
    assert!(
        code == Some(1) && said.contains("could not translate host name"),
        "{code:?} {said}"
    );
}

#[test]
fn what_passes_by_itself_is_waited_for() {
    for (code, message) in [
        ("57P03", "the database system is starting up"),
        ("57P03", "the database system is shutting down"),
        (
            "57P03",
            "the database system is not yet accepting connections",
        ),
        ("53300", "sorry, too many clients already"),
        ("57P03", "データベースシステムは起動処理中です"),
    ] {
        let url = refusing(code, message);
        let mut server = Logged::serve(&[("DATABASE_URL", &url)]);
        server.until(message, |server| {
            server.err().contains("waiting for the database")
        });
        let (status, said) = Logged::ended(&[], &[("DATABASE_URL", &url), NO_WAIT]);
        assert!(
            status == Some(1) && said.contains(message),
            "{status:?} {said}"
        );
    }
}

/// The settings that a session has, and the number of channels on which it listens.
const SETTINGS: &str = "SELECT string_agg(name || '=' || setting, ' ' ORDER BY name) || \
    (SELECT count(*) FROM pg_listening_channels()) \
    FROM pg_settings WHERE name IN ('statement_timeout', 'lock_timeout', \
    'idle_in_transaction_session_timeout', \
    'synchronous_commit', 'client_min_messages', 'jit', 'search_path', 'DateStyle', \
    'default_transaction_isolation');";

/// Asks with many sessions at a time, each with a backend of its own: that covers the whole pool.
#[track_caller]
fn assert_settings(pooled: &str, usual: &str, when: &str) {
    let strangers: Vec<_> = (0..8)
        .map(|_| {
            let stranger = Database::Postgres(pooled.to_owned());
            thread::spawn(move || {
                stranger.sql(&format!("BEGIN; SELECT pg_sleep(0.3); {SETTINGS} COMMIT;"))
            })
        })
        .collect();
    for stranger in strangers {
        assert_eq!(stranger.join().expect("an answer").trim(), usual, "{when}");
    }
}

/// Starts a server that uses the pooler, and waits until it has posted, and has found the pooler if
/// it listens through it.
fn serve_through(pooled: &str, listen: &str) -> Logged {
    let mut server = Logged::serve(&[
        ("DATABASE_URL", pooled),
        ("KAIRANBAN_DATABASE__LISTEN_URL", listen),
    ]);
    let address = server.address();
    for number in 0..20 {
        let posted = wire::post(address, &number.to_string());
        assert_eq!(posted.status, 201, "{posted:?}");
    }
    let page = wire::request(address, "GET", "/", &[], b"");
    assert_eq!(page.status, 200);
    if listen == pooled {
        server.until("it has found the pooler", |server| {
            server.err().contains("loses notifications") || server.err().contains("pooler")
        });
    }
    server
}

/// Another program behind the same transaction pooler has the settings of the database.
#[test]
fn behind_a_pooler_other_programs_keep_their_settings() {
    let database = Database::postgres();
    let url = database.url();
    let bouncer =
        std::env::var("KAIRANBAN_TEST_PGBOUNCER_URL").expect("KAIRANBAN_TEST_PGBOUNCER_URL");
    let (_, name) = url.rsplit_once('/').expect("a database");
    let pooled = another_database(&bouncer, name);
    let usual = database.sql(SETTINGS);
    assert_settings(&pooled, &usual, "before");
    migrate(&database);
    for listen in [&url, &pooled] {
        let server = serve_through(&pooled, listen);
        assert_settings(&pooled, &usual, "during");
        drop(server);
        assert_settings(&pooled, &usual, "after");
    }
    for command in [&["config", "check"][..], &["token", "list"], &["migrate"]] {
        let (code, said) = Logged::ended(command, &[("DATABASE_URL", &pooled)]);
        assert_eq!(code, Some(0), "{said}");
    }
    assert_settings(&pooled, &usual, "after commands");
}

#[test]
fn a_node_says_that_its_default_board_is_not_the_one_of_the_database() {
    for database in [Database::sqlite(), Database::postgres()] {
        migrate(&database);
        database.sql("DELETE FROM identity WHERE key = 'default_board';");
        assert!(
            !names_another_default(&database, "main"),
            "nothing is known"
        );
        database.sql(
            "DELETE FROM identity WHERE key = 'default_board'; \
            INSERT INTO identity (key, value) SELECT 'default_board', id FROM boards \
            WHERE name = 'main';",
        );
        assert!(!names_another_default(&database, "main"));
        assert!(names_another_default(&database, "another"));
    }
}

/// Whether a server with this default board says that the database has another.
fn names_another_default(database: &Database, board: &str) -> bool {
    let mut server = Logged::serve(&[
        ("DATABASE_URL", &database.url()),
        ("KAIRANBAN_BOARD__DEFAULT", board),
    ]);
    server.address();
    server
        .err()
        .contains("is not the default board of the database")
}

#[test]
fn without_migrating_a_server_says_which_command_to_run() {
    for database in [Database::sqlite(), Database::postgres()] {
        let environment = [
            ("DATABASE_URL", database.url()),
            (NO_DDL.0, NO_DDL.1.to_owned()),
        ];
        let environment: Vec<_> = environment
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let (code, said) = Logged::ended(&["--listen", "127.0.0.1:0"], &environment);
        assert!(
            code == Some(78) && said.contains("Run `kairanban migrate`"),
            "{code:?} {said}"
        );
        assert_eq!(
            Logged::ended(&["migrate"], &environment).0,
            Some(0),
            "asked for, it migrates"
        );
        let mut server = Logged::serve(&environment);
        server.address();
    }
}
