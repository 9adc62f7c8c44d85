//! What the database has to be before the server starts, and how long it is waited for.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::{
    logged::{Logged, relay},
    node::{Database, Node},
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

/// `host:port` of a URL.
fn host(url: &str) -> String {
    let rest = url.rsplit_once('@').expect("a user").1;
    rest.split_once('/').expect("a database").0.to_owned()
}

/// A URL with another host.
fn by_way_of(url: &str, host_and_port: &str) -> String {
    url.replace(&host(url), host_and_port)
}

/// A role of the cluster, dropped at the end.
struct Role<'a> {
    name: String,
    database: &'a Database,
}

impl<'a> Role<'a> {
    fn new(database: &'a Database) -> Self {
        let name = unique("server");
        database.sql(&format!("CREATE ROLE {name} LOGIN;"));
        Self { name, database }
    }

    fn url(&self) -> String {
        let url = self.database.url();
        let (scheme, rest) = url.split_once("://").expect("a URL");
        format!(
            "{scheme}://{}@{}",
            self.name,
            rest.split_once('@').expect("a user").1
        )
    }

    fn grant_all(&self) {
        let file = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../config/grants-server.sql"
        );
        let role = format!("role={}", self.name);
        let arguments = [
            "-qX",
            "-v",
            &role,
            "-v",
            "schema=public",
            "-f",
            file,
            &self.database.url(),
        ];
        assert!(
            Command::new("psql")
                .args(arguments)
                .status()
                .expect("psql")
                .success()
        );
    }
}

impl Drop for Role<'_> {
    fn drop(&mut self) {
        let _ = self
            .database
            .try_sql(&format!("DROP OWNED BY {0}; DROP ROLE {0};", self.name));
    }
}

const NO_DDL: (&str, &str) = ("KAIRANBAN_DATABASE__MIGRATE", "false");
const NO_WAIT: (&str, &str) = ("KAIRANBAN_DATABASE__START_WAIT_S", "0");

#[test]
fn a_database_that_is_not_utf8_is_refused_before_anything_is_made() {
    for encoding in ["SQL_ASCII", "EUC_JP", "LATIN1"] {
        let (server, name) = (server(), unique("enc"));
        server.sql(&format!("CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C';"));
        let url = format!(
            "{}/{name}",
            server.url().rsplit_once('/').expect("a database").0
        );
        for command in [
            &["migrate"][..],
            &["config", "check"],
            &["--listen", "127.0.0.1:0"],
            &["token", "list"],
        ] {
            let (code, said) = Logged::ended(command, &[("DATABASE_URL", &url)]);
            assert!(
                code == Some(78) && said.contains(encoding) && said.contains("UTF8"),
                "{command:?}: {code:?} {said}"
            );
        }
        let tables = Database::Postgres(url)
            .sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public';");
        assert_eq!(tables, "0", "{encoding}");
        server.sql(&format!("DROP DATABASE {name};"));
    }
    let database = Database::sqlite();
    database.sql("PRAGMA encoding = 'UTF-16'; CREATE TABLE other (x);");
    for command in [
        &["migrate"][..],
        &["config", "check"],
        &["--listen", "127.0.0.1:0"],
    ] {
        let (code, said) = Logged::ended(command, &[("DATABASE_URL", &database.url())]);
        assert!(
            code == Some(78) && said.contains("UTF-16") && said.contains("sqlite3 new.db"),
            "{command:?}: {code:?} {said}"
        );
    }
    assert_eq!(database.sql("SELECT count(*) FROM sqlite_schema;"), "1");
}

/// Each right of `config/grants-server.sql` is taken away in turn.
#[test]
fn each_right_that_is_missing_is_named_with_its_grant() {
    let database = Database::postgres();
    let role = Role::new(&database);
    let check = || {
        Logged::ended(
            &["config", "check"],
            &[("DATABASE_URL", &role.url()), NO_DDL],
        )
    };
    let (code, said) = check();
    assert!(
        code == Some(78) && said.contains("kairanban migrate"),
        "not migrated: {said}"
    );
    let (code, said) = Logged::ended(&["migrate"], &[("DATABASE_URL", &role.url())]);
    assert!(
        code == Some(78)
            && said.contains(&format!("GRANT CREATE ON SCHEMA public TO {}", role.name)),
        "{said}"
    );
    assert_eq!(
        Logged::ended(&["migrate"], &[("DATABASE_URL", &database.url())]).0,
        Some(0)
    );
    role.grant_all();
    let (code, said) = check();
    assert_eq!(code, Some(0), "{said}");
    let granted = database.sql(&format!(
        "SELECT relname || ' ' || privilege_type FROM pg_class, aclexplode(relacl) WHERE relnamespace = 'public'::regnamespace \
         AND grantee = '{}'::regrole;",
        role.name
    ));
    assert!(granted.lines().count() > 20, "{granted}");
    for (table, right) in granted
        .lines()
        .map(|line| line.split_once(' ').expect("two words"))
    {
        database.sql(&format!("REVOKE {right} ON {table} FROM {};", role.name));
        let expected = format!("GRANT {right} ON public.{table} TO {}", role.name);
        let (code, said) = check();
        assert!(
            code == Some(78) && said.contains(&expected),
            "{expected}: {said}"
        );
        database.sql(&format!("GRANT {right} ON {table} TO {};", role.name));
    }
    database.sql("REVOKE USAGE ON SCHEMA public FROM PUBLIC;");
    database.sql(&format!(
        "REVOKE USAGE ON SCHEMA public FROM {};",
        role.name
    ));
    let (code, said) = check();
    assert!(
        code == Some(78)
            && said.contains(&format!("GRANT USAGE ON SCHEMA public TO {}", role.name)),
        "{said}"
    );
    assert!(!said.contains("has to be migrated"), "{said}");
}

#[test]
fn a_role_without_ddl_serves_a_whole_session() {
    let database = Database::postgres();
    assert_eq!(
        Logged::ended(&["migrate"], &[("DATABASE_URL", &database.url())]).0,
        Some(0)
    );
    let role = Role::new(&database);
    role.grant_all();
    let node = Node::start_with(
        Database::Postgres(role.url()),
        &[("DATABASE__MIGRATE", "false"), ("BOARD__TOPICS_MAX", "3")],
    );
    let admin = node.token(&["create", "--scope", "admin"]);
    let send = |method: &str, path: &str, headers: &[(&str, &str)], body: &str, expected: u16| {
        let answer = node.send_as(method, path, &admin, headers, body);
        assert_eq!(answer.status, expected, "{method} {path}: {answer:?}");
        answer
    };
    let ids: Vec<_> = (0..6)
        .map(|number| node.post(&format!("topic {number}")))
        .collect();
    let topic = format!("/api/v1/boards/main/topics/{}", ids[5]);
    send("PATCH", &topic, &[], r#"{"comment":"edited"}"#, 200);
    send("DELETE", &topic, &[], "", 204);
    send("POST", &format!("{topic}/restore"), &[], "", 200);
    for _ in 0..2 {
        send(
            "POST",
            "/api/v1/boards/main/topics",
            &[("Idempotency-Key", "once")],
            r#"{"comment":"once"}"#,
            201,
        );
    }
    send("POST", "/api/v1/boards", &[], r#"{"name":"other"}"#, 201);
    send(
        "PATCH",
        "/api/v1/boards/other",
        &[],
        r#"{"read":"token"}"#,
        200,
    );
    let ticket =
        send("POST", "/api/v1/tickets", &[], r#"{"board":"other"}"#, 201).json()["ticket"].clone();
    node.stream(&format!(
        "/b/other/stream?ticket={}",
        ticket.as_str().expect("a ticket")
    ))
    .event();
    send("DELETE", "/api/v1/boards/other", &[], "", 204);
    let made = send(
        "POST",
        "/api/v1/tokens",
        &[],
        r#"{"name":"bot","scope":"read"}"#,
        201,
    );
    send(
        "DELETE",
        made.header("location").expect("an address"),
        &[],
        "",
        204,
    );
    send("GET", "/api/v1/audit", &[], "", 200);
    send("GET", "/api/v1/stats", &[], "", 200);
    send("GET", "/api/v1/boards/main/changes", &[], "", 200);
    let deadline = Instant::now() + crate::wire::PATIENCE;
    while database.sql("SELECT count(*) FROM topics WHERE NOT archived;") != "3" {
        assert!(
            Instant::now() < deadline,
            "archived: {}",
            database.sql("SELECT count(*) FROM topics WHERE archived;")
        );
    }
    assert_eq!(
        database.sql("SELECT count(*) FROM tokens WHERE last_used_at IS NOT NULL;"),
        "1"
    );
    assert!(
        Database::Postgres(role.url())
            .try_sql("CREATE TABLE more (x int);")
            .is_err(),
        "the role has no DDL"
    );
    drop(node);
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

/// Any role can take any advisory lock.
#[test]
fn a_migration_waits_for_no_advisory_lock() {
    let database = Database::postgres();
    let role = Role::new(&database);
    let held = Database::Postgres(role.url())
        .hold("SELECT pg_advisory_lock(hashtextextended('kairanban migrate public', 0))");
    let locks = database.hold("SELECT pg_advisory_lock(oid::bigint) FROM pg_class");
    assert_eq!(
        Logged::ended(&["migrate"], &[("DATABASE_URL", &database.url())]).0,
        Some(0)
    );
    drop((locks, held));
}

/// As in every database that Postgres up to 14 made.
#[test]
fn a_schema_that_is_open_to_all_is_named() {
    let database = Database::postgres();
    let url = [("DATABASE_URL", &*database.url())];
    let named = || {
        Logged::ended(&["config", "check"], &url)
            .1
            .contains("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    };
    database.sql("GRANT CREATE ON SCHEMA public TO PUBLIC;");
    let mut server = Logged::serve(&url);
    server.address();
    assert!(
        server
            .err()
            .contains("REVOKE CREATE ON SCHEMA public FROM PUBLIC"),
        "{}",
        server.err()
    );
    assert!(named());
    database.sql("REVOKE CREATE ON SCHEMA public FROM PUBLIC;");
    assert!(!named());
}

/// As `pg_restore --no-acl` leaves them: every role may execute them, and most have their owner's rights.
#[test]
fn functions_that_a_restore_opens_are_closed_again() {
    let database = Database::postgres();
    let url = database.url();
    let environment = [("DATABASE_URL", &*url)];
    let open = "SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND has_function_privilege('public', oid, 'EXECUTE');";
    let give = "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO PUBLIC;";
    assert_eq!(Logged::ended(&["migrate"], &environment).0, Some(0));
    assert_eq!(database.sql(open), "0");
    database.sql(give);
    assert!(
        Logged::ended(&["config", "check"], &environment)
            .1
            .contains("every role may execute functions of the boards")
    );
    assert_eq!(Logged::ended(&["migrate"], &environment).0, Some(0));
    assert_eq!(database.sql(open), "0");
    let node = Node::start_with(database.twin(), &[("HISTORY__RECONCILE_S", "1")]);
    database.sql(give);
    let deadline = Instant::now() + crate::wire::PATIENCE;
    while database.sql(open) != "0" {
        assert!(Instant::now() < deadline, "a running server closes them");
    }
    drop(node);
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
    assert_eq!(
        Logged::ended(&["migrate"], &[("DATABASE_URL", &database.url())]).0,
        Some(0)
    );
    let mut server = Logged::serve(&[("DATABASE_URL", &slow)]);
    let address = server.address();
    let answer = crate::wire::request(address, "GET", "/", &[], b"");
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
    let (code, said) = Logged::ended(
        &["migrate"],
        &[("DATABASE_URL", "postgres://127.0.0.1:1/d"), NO_WAIT],
    );
    assert!(
        code == Some(1) && said.contains("refused"),
        "{code:?} {said}"
    );
}

/// A server that refuses everybody with one sentence.
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
    for (code, message) in [
        ("28P01", "password authentication failed for user \"ann\""),
        (
            "28000",
            "no pg_hba.conf entry for host \"127.0.0.1\", user \"ann\", database \"d\", no encryption",
        ),
        ("28000", "role \"ann\" is not permitted to log in"),
        ("28000", "role \"ann\" does not exist"),
        ("3D000", "database \"d\" does not exist"),
        ("42501", "permission denied for database \"d\""),
        ("08P01", "no such database: d"),
    ] {
        let began = Instant::now();
        let (status, said) = Logged::ended(&[], &[("DATABASE_URL", &refusing(code, message))]);
        assert!(
            status == Some(78) && said.contains(message) && !said.contains("canary"),
            "{status:?} {said}"
        );
        assert!(
            began.elapsed() < Duration::from_secs(5) && !said.contains("waiting"),
            "{message}: {said}"
        );
    }
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

/// Another program behind the same transaction pooler has the settings of the database, while a server runs and after it.
#[test]
fn behind_a_pooler_other_programs_keep_their_settings() {
    let database = Database::postgres();
    let bouncer =
        std::env::var("KAIRANBAN_TEST_PGBOUNCER_URL").expect("KAIRANBAN_TEST_PGBOUNCER_URL");
    let name = database
        .url()
        .rsplit_once('/')
        .expect("a database")
        .1
        .to_owned();
    let pooled = format!("{}/{name}", bouncer.rsplit_once('/').expect("a database").0);
    const SETTINGS: &str = "SELECT string_agg(name || '=' || setting, ' ' ORDER BY name) || (SELECT count(*) FROM pg_listening_channels()) \
        FROM pg_settings WHERE name IN ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', \
        'synchronous_commit', 'client_min_messages', 'jit', 'search_path', 'DateStyle', 'default_transaction_isolation');";
    let usual = database.sql(SETTINGS);
    // Many at a time, each with a backend of its own, so that none of the pool's is left out.
    let all_have_the_usual = |when: &str| {
        let strangers: Vec<_> = (0..8)
            .map(|_| {
                let stranger = Database::Postgres(pooled.clone());
                thread::spawn(move || {
                    stranger.sql(&format!("BEGIN; SELECT pg_sleep(0.3); {SETTINGS} COMMIT;"))
                })
            })
            .collect();
        for stranger in strangers {
            assert_eq!(stranger.join().expect("an answer").trim(), usual, "{when}");
        }
    };
    all_have_the_usual("before");
    assert_eq!(
        Logged::ended(&["migrate"], &[("DATABASE_URL", &database.url())]).0,
        Some(0)
    );
    for listen in [&database.url(), &pooled] {
        let mut server = Logged::serve(&[
            ("DATABASE_URL", &pooled),
            ("KAIRANBAN_DATABASE__LISTEN_URL", listen),
        ]);
        let address = server.address();
        for number in 0..20 {
            let posted = crate::wire::request(
                address,
                "POST",
                "/",
                &[("Content-Type", "text/plain")],
                format!("{number}").as_bytes(),
            );
            assert_eq!(posted.status, 201, "{posted:?}");
        }
        assert_eq!(
            crate::wire::request(address, "GET", "/", &[], b"").status,
            200
        );
        if listen == &pooled {
            server.until("it has found the pooler", |server| {
                server.err().contains("loses notifications") || server.err().contains("pooler")
            });
        }
        all_have_the_usual("during");
        drop(server);
        all_have_the_usual("after");
    }
    for command in [&["config", "check"][..], &["token", "list"], &["migrate"]] {
        let (code, said) = Logged::ended(command, &[("DATABASE_URL", &pooled)]);
        assert_eq!(code, Some(0), "{said}");
    }
    all_have_the_usual("after commands");
}

#[test]
fn a_node_says_that_its_default_board_is_not_the_one_of_the_database() {
    for database in [Database::sqlite(), Database::postgres()] {
        let url = database.url();
        let says = |board: &str| {
            let mut server =
                Logged::serve(&[("DATABASE_URL", &url), ("KAIRANBAN_BOARD__DEFAULT", board)]);
            server.address();
            server
                .err()
                .contains("is not the default board of the database")
        };
        assert_eq!(
            Logged::ended(&["migrate"], &[("DATABASE_URL", &url)]).0,
            Some(0)
        );
        database.sql("DELETE FROM identity WHERE key = 'default_board';");
        assert!(!says("main"), "nothing is known");
        database.sql("DELETE FROM identity WHERE key = 'default_board'; INSERT INTO identity (key, value) SELECT 'default_board', id FROM boards WHERE name = 'main';");
        assert!(!says("main"));
        assert!(says("another"));
    }
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
