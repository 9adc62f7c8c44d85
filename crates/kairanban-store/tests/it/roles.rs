//! What each kind of role can do on Postgres: a server and a plain writer with the published
//! grants, a role without rights, and the owner of another schema. Asked of every object of ours
//! that there is.

mod accesses;
mod attacks;
mod marks;

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use crate::place::{DatabaseKind, Foreign, Place, create};

/// A role of the test's own, dropped at the end.
struct Role {
    name: String,
    owner: Foreign,
    url: String,
}

impl Role {
    fn new(place: &Place, kind: &str) -> Self {
        let (_, database) = place.url().rsplit_once('/').expect("a database");
        let name = format!("{kind}_{database}");
        let mut owner = place.foreign();
        owner.run(&format!("CREATE ROLE {name} LOGIN"));
        let url = place.url().replacen("postgres@", &format!("{name}@"), 1);
        Self { name, owner, url }
    }

    /// One with the grants of a writer as they are published.
    fn writer(place: &Place) -> Self {
        Self::granted(place, "writer")
    }

    /// One with the grants of a server as they are published.
    fn server(place: &Place) -> Self {
        Self::granted(place, "server")
    }

    fn granted(place: &Place, kind: &str) -> Self {
        let role = Self::new(place, kind);
        let file = format!("../../config/grants-{kind}.sql");
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let name = format!("role={}", role.name);
        let granted = Command::new("psql")
            .args(["-qX", "-v", &name, "-v", "schema=public", "-f"])
            .arg(file)
            .arg(place.url())
            .output();
        let granted = granted.expect("psql");
        assert!(
            granted.status.success(),
            "{}",
            String::from_utf8_lossy(&granted.stderr)
        );
        role
    }

    /// One that owns a schema of its own, where it finds names first.
    fn neighbour(place: &Place) -> Self {
        let mut role = Self::new(place, "neighbour");
        let schema = format!("CREATE SCHEMA AUTHORIZATION {}", role.name);
        role.owner.run(&schema);
        role
    }

    fn connect(&self) -> Foreign {
        Foreign::postgres(&self.url)
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        let gone = self.owner.try_run(&format!(
            "RESET ROLE; DROP OWNED BY {0} CASCADE; DROP ROLE {0}",
            self.name
        ));
        assert!(gone.is_ok() || std::thread::panicking(), "{gone:?}");
    }
}

fn place() -> Place {
    let place = Place::new(DatabaseKind::Postgres);
    place.foreign().run(
        "INSERT INTO identity VALUES ('default_board', '1') ON CONFLICT DO NOTHING; GRANT \
         CREATE ON SCHEMA public TO postgres",
    );
    create(&place, "first");
    place
}

/// The names that `query` finds, one a row.
fn list(foreign: &mut Foreign, query: &str) -> Vec<String> {
    let found = foreign.ask(&format!(
        "SELECT coalesce(string_agg(name, ' ' ORDER BY name), '') FROM ({query}) AS found (name)"
    ));
    found.split_whitespace().map(str::to_owned).collect()
}

const TABLES: &str = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace \
    AND relkind IN ('r', 'v', 'm', 'p', 'f')";
const SEQUENCES: &str =
    "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'S'";
const FUNCTIONS: &str = "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace";

#[test]
fn a_plain_writer_does_all_that_a_site_does() {
    let place = place();
    let writer = Role::writer(&place);
    let mut site = writer.connect();
    site.run(
        "INSERT INTO topics (comment) VALUES ('a'), ('b'); \
         INSERT INTO topics (id, board_id, comment, author) VALUES (700, 1, 'c', NULL);
         UPDATE topics SET comment = 'A' WHERE comment = 'a'; DELETE FROM topics \
         WHERE comment = 'b'; SELECT move_topic_ids()",
    );
    assert_eq!(place.comments(), ["first", "A", "c"]);
}

const LOCK_MODES: [&str; 7] = [
    "ACCESS SHARE",
    "ROW SHARE",
    "ROW EXCLUSIVE",
    "SHARE UPDATE EXCLUSIVE",
    "SHARE",
    "EXCLUSIVE",
    "ACCESS EXCLUSIVE",
];

/// A role without rights takes every lock that it can get; posts go on.
#[test]
fn a_role_without_rights_blocks_no_write() {
    let place = place();
    let mut owner = place.foreign();
    let stranger = Role::new(&place, "blocker");
    let mut blocker = stranger.connect();
    blocker.run("BEGIN");
    let keys = "SELECT string_agg(format('pg_advisory_lock(%s)', oid), ', ') FROM pg_class \
        WHERE relnamespace = 'public'::regnamespace";
    blocker.run(&format!("SELECT {}", owner.ask(keys)));
    let migrating = "pg_advisory_lock(hashtextextended('kairanban migrate public', 0))";
    blocker.run(&format!(
        "SELECT {migrating}, pg_notify('kairanban_public', '')"
    ));
    for table in list(&mut owner, TABLES) {
        for mode in LOCK_MODES {
            blocker.run("SAVEPOINT a");
            blocker.refused(&format!("LOCK TABLE {table} IN {mode} MODE"));
            blocker.run("ROLLBACK TO a");
        }
    }
    let began = Instant::now();
    create(&place, "posted");
    owner.run("SET lock_timeout = '1s'; INSERT INTO topics (comment) VALUES ('theirs')");
    assert!(
        began.elapsed() < Duration::from_millis(1_500),
        "{:?}",
        began.elapsed()
    );
}

/// A dump reads every table and is neither held up by a commit nor holds one up.
#[test]
fn a_dump_and_commits_do_not_wait_for_each_other() {
    let place = place();
    let mut holder = place.foreign();
    holder
        .run("BEGIN; INSERT INTO topics (comment) VALUES ('open'); SET CONSTRAINTS ALL IMMEDIATE");
    let dumped = Command::new("pg_dump")
        .args(["--lock-wait-timeout=2000", "-f", "/dev/null", place.url()])
        .output()
        .expect("pg_dump");
    assert!(
        dumped.status.success(),
        "{}",
        String::from_utf8_lossy(&dumped.stderr)
    );
    holder.run("COMMIT");
    let mut dump = place.foreign();
    let tables = list(&mut place.foreign(), TABLES).join(", ");
    dump.run(&format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ; LOCK TABLE {tables} IN ACCESS SHARE MODE"
    ));
    let began = Instant::now();
    create(&place, "meanwhile");
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
}

/// Nor does it keep a server from starting, whether there is something to do or not.
#[test]
fn the_lock_of_migrations_keeps_no_server_from_starting() {
    let place = Place::new(DatabaseKind::Postgres);
    let mut any_role = place.foreign();
    any_role.run(
        "SELECT pg_advisory_lock(hashtextextended('kairanban migrate ' || current_schema(), 0))",
    );
    for undone in ["SELECT 1", "DELETE FROM boards WHERE name = 'main'"] {
        place.foreign().run(undone);
        let (done, is_done) = std::sync::mpsc::channel();
        let address = place.address.clone();
        std::thread::spawn(move || {
            done.send(kairanban_store::migrate(
                &address,
                crate::place::TIMEOUTS,
                &crate::place::main(),
                false,
            ))
        });
        let ran = is_done
            .recv_timeout(std::time::Duration::from_secs(10))
            .expect("in time")
            .expect("migrated");
        assert!(ran.is_empty());
    }
}
