//! A server with a role of its own, which has the published grants and no DDL.

use std::{process::Command, time::Instant};

use super::{NO_DDL, migrate, unique};
use crate::{
    logged::Logged,
    node::{Database, Node},
    wire::Answer,
};

/// A role of the cluster, dropped at the end.
struct ServerRole<'a> {
    name: String,
    database: &'a Database,
}

impl<'a> ServerRole<'a> {
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
        let granted = Command::new("psql")
            .args(["-qX", "-v", &role, "-v", "schema=public"])
            .args(["-f", file, &self.database.url()])
            .status();
        assert!(granted.expect("psql").success());
    }

    /// Checks the configuration of a server of this role. Returns the exit code, and what was said.
    fn check(&self) -> (Option<i32>, String) {
        let environment = [("DATABASE_URL", &*self.url()), NO_DDL];
        Logged::ended(&["config", "check"], &environment)
    }
}

impl Drop for ServerRole<'_> {
    fn drop(&mut self) {
        let _ = self
            .database
            .try_sql(&format!("DROP OWNED BY {0}; DROP ROLE {0};", self.name));
    }
}

/// Checks that this right is missing, and is named with its grant.
#[track_caller]
fn assert_named(role: &ServerRole<'_>, right: &str) {
    let expected = format!("GRANT {right} TO {}", role.name);
    let (code, said) = role.check();
    assert!(
        code == Some(78) && said.contains(&expected),
        "{expected}: {said}"
    );
}

/// Each right of `config/grants-server.sql` is taken away in turn.
#[test]
fn each_right_that_is_missing_is_named_with_its_grant() {
    let database = Database::postgres();
    migrate(&database);
    let role = ServerRole::new(&database);
    role.grant_all();
    let (code, said) = role.check();
    assert_eq!(code, Some(0), "{said}");
    let granted = database.sql(&format!(
        "SELECT relname || ' ' || privilege_type FROM pg_class, aclexplode(relacl) \
         WHERE relnamespace = 'public'::regnamespace \
         AND grantee = '{}'::regrole;",
        role.name
    ));
    assert!(granted.lines().count() > 20, "{granted}");
    for (table, right) in granted
        .lines()
        .map(|line| line.split_once(' ').expect("two words"))
    {
        database.sql(&format!("REVOKE {right} ON {table} FROM {};", role.name));
        assert_named(&role, &format!("{right} ON public.{table}"));
        database.sql(&format!("GRANT {right} ON {table} TO {};", role.name));
    }
}

#[test]
fn a_schema_that_may_not_be_used_is_named_with_its_grant() {
    let database = Database::postgres();
    migrate(&database);
    let role = ServerRole::new(&database);
    role.grant_all();
    for of in ["PUBLIC", &role.name] {
        database.sql(&format!("REVOKE USAGE ON SCHEMA public FROM {of};"));
    }
    assert_named(&role, "USAGE ON SCHEMA public");
    let (_, said) = role.check();
    assert!(!said.contains("has to be migrated"), "{said}");
}

#[test]
fn a_database_that_is_not_migrated_is_named_to_a_role_without_ddl() {
    let database = Database::postgres();
    let role = ServerRole::new(&database);
    let (code, said) = role.check();
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
}

/// A server and an administrator who uses all of it.
struct Session {
    node: Node,
    admin: String,
}

impl Session {
    /// Starts the server on a database that has been migrated.
    fn start(database: Database) -> Self {
        let settings = [("DATABASE__MIGRATE", "false"), ("BOARD__TOPICS_MAX", "3")];
        let node = Node::start_with(database, &settings);
        let admin = node.token(&["create", "--scope", "admin"]);
        Self { node, admin }
    }

    fn send(&self, method: &str, path: &str, body: &str, expected: u16) -> Answer {
        let answer = self.node.send_as(method, path, &self.admin, &[], body);
        assert_eq!(answer.status, expected, "{method} {path}: {answer:?}");
        answer
    }

    /// Posts more topics than the board takes; edits, deletes and restores one; and repeats a post
    /// under its key.
    fn write_topics(&self) {
        let ids: Vec<_> = (0..6)
            .map(|number| self.node.post(&format!("topic {number}")))
            .collect();
        let topic = format!("/api/v1/boards/main/topics/{}", ids[5]);
        self.send("PATCH", &topic, r#"{"comment":"edited"}"#, 200);
        self.send("DELETE", &topic, "", 204);
        self.send("POST", &format!("{topic}/restore"), "", 200);
        for _ in 0..2 {
            let answer = self.node.send_as(
                "POST",
                "/api/v1/boards/main/topics",
                &self.admin,
                &[("Idempotency-Key", "once")],
                r#"{"comment":"once"}"#,
            );
            assert_eq!(answer.status, 201, "{answer:?}");
        }
    }

    /// Makes a private board, reads its stream with a ticket, and deletes it.
    fn use_a_private_board(&self) {
        let board = "/api/v1/boards/other";
        self.send("POST", "/api/v1/boards", r#"{"name":"other"}"#, 201);
        self.send("PATCH", board, r#"{"read":"token"}"#, 200);
        let made = self.send("POST", "/api/v1/tickets", r#"{"board":"other"}"#, 201);
        let ticket = made.json()["ticket"].as_str().expect("a ticket").to_owned();
        self.node
            .stream(&format!("/b/other/stream?ticket={ticket}"))
            .event();
        self.send("DELETE", board, "", 204);
    }

    fn make_and_revoke_a_token(&self) {
        let body = r#"{"name":"bot","scope":"read"}"#;
        let made = self.send("POST", "/api/v1/tokens", body, 201);
        let token = made.header("location").expect("an address");
        self.send("DELETE", token, "", 204);
    }

    fn read_what_administrators_read(&self) {
        for path in [
            "/api/v1/audit",
            "/api/v1/stats",
            "/api/v1/boards/main/changes",
        ] {
            self.send("GET", path, "", 200);
        }
    }
}

#[test]
fn a_role_without_ddl_serves_a_whole_session() {
    let database = Database::postgres();
    migrate(&database);
    let role = ServerRole::new(&database);
    role.grant_all();
    let session = Session::start(Database::Postgres(role.url()));
    session.write_topics();
    session.use_a_private_board();
    session.make_and_revoke_a_token();
    session.read_what_administrators_read();
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
    drop(session);
}

/// Any role can take any advisory lock.
#[test]
fn a_migration_waits_for_no_advisory_lock() {
    let database = Database::postgres();
    let role = ServerRole::new(&database);
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
    let revoke = "REVOKE CREATE ON SCHEMA public FROM PUBLIC";
    database.sql("GRANT CREATE ON SCHEMA public TO PUBLIC;");
    let mut server = Logged::serve(&url);
    server.address();
    assert!(server.err().contains(revoke), "{}", server.err());
    let (_, said) = Logged::ended(&["config", "check"], &url);
    assert!(said.contains(revoke), "{said}");
    database.sql(&format!("{revoke};"));
    let (_, said) = Logged::ended(&["config", "check"], &url);
    assert!(!said.contains(revoke), "{said}");
}

/// As `pg_restore --no-acl` leaves them: every role may execute them, and most have their owner's
/// rights.
#[test]
fn functions_that_a_restore_opens_are_closed_again() {
    let database = Database::postgres();
    let url = database.url();
    let environment = [("DATABASE_URL", &*url)];
    let open = "SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace \
        AND has_function_privilege('public', oid, 'EXECUTE');";
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
