//! What each kind of role can do on Postgres: a plain writer with the published grants, a role without rights, and the owner
//! of another schema. Asked of every object of ours that there is.

use std::{
    collections::BTreeSet,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use kairanban_core::ChangeKind;

use crate::place::{Foreign, Kind, Place, create};

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

    /// One with the grants as they are published.
    fn writer(place: &Place) -> Self {
        let role = Self::new(place, "writer");
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/grants-writer.sql");
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
    let place = Place::new(Kind::Postgres);
    place.foreign().run(
        "INSERT INTO identity VALUES ('default_board', '1') ON CONFLICT DO NOTHING; GRANT CREATE ON SCHEMA public TO postgres",
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

const TABLES: &str = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v', 'm', 'p', 'f')";
const SEQUENCES: &str =
    "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'S'";
const FUNCTIONS: &str = "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace";

/// Each access to each object; returns those that were not refused for want of a right.
fn accesses(place: &Place, foreign: &mut Foreign) -> BTreeSet<String> {
    let mut owner = place.foreign();
    let mut tried = Vec::new();
    for table in list(&mut owner, TABLES) {
        let column = owner.ask(&format!("SELECT attname FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum DESC LIMIT 1"));
        tried.extend([
            (format!("read {table}"), format!("SELECT * FROM {table}")),
            (format!("insert {table}"), format!("INSERT INTO {table} DEFAULT VALUES")),
            (format!("update {table}"), format!("UPDATE {table} SET {column} = {column}")),
            (format!("delete {table}"), format!("DELETE FROM {table}")),
            (format!("truncate {table}"), format!("TRUNCATE {table} CASCADE")),
            (format!("alter {table}"), format!("ALTER TABLE {table} ADD COLUMN x int")),
            (
                format!("trigger {table}"),
                format!(
                    "CREATE TRIGGER x AFTER INSERT ON {table} EXECUTE FUNCTION pg_catalog.suppress_redundant_updates_trigger()"
                ),
            ),
            (format!("disable {table}"), format!("ALTER TABLE {table} DISABLE TRIGGER ALL")),
            (
                format!("refer {table}"),
                format!("SELECT CASE WHEN has_table_privilege('{table}', 'REFERENCES') THEN 1 ELSE 1 / 0 END"),
            ),
            (format!("index {table}"), format!("CREATE INDEX ON {table} (({column} IS NULL))")),
            (format!("drop {table}"), format!("DROP TABLE {table} CASCADE")),
        ]);
        for mode in [
            "SHARE UPDATE EXCLUSIVE",
            "SHARE",
            "EXCLUSIVE",
            "ACCESS EXCLUSIVE",
        ] {
            tried.push((
                format!("lock {table}"),
                format!("LOCK TABLE {table} IN {mode} MODE"),
            ));
        }
    }
    for sequence in list(&mut owner, SEQUENCES) {
        tried.extend([
            (
                format!("read {sequence}"),
                format!("SELECT * FROM {sequence}"),
            ),
            (
                format!("draw {sequence}"),
                format!("SELECT nextval('{sequence}')"),
            ),
            (
                format!("set {sequence}"),
                format!("SELECT setval('{sequence}', 1)"),
            ),
            (
                format!("alter {sequence}"),
                format!("ALTER SEQUENCE {sequence} RESTART"),
            ),
        ]);
    }
    for function in list(&mut owner, FUNCTIONS) {
        let nulls = owner.ask(&format!("SELECT coalesce(string_agg('NULL', ', '), '') FROM pg_proc p, generate_series(1, pronargs) WHERE proname = '{function}'"));
        tried.extend([
            (format!("call {function}"), format!("SELECT {function}({nulls})")),
            (format!("hang {function}"), format!("CREATE TEMP TABLE x (id bigint); CREATE TRIGGER x BEFORE INSERT ON x FOR EACH ROW EXECUTE FUNCTION {function}()")),
            (format!("alter {function}"), format!("ALTER FUNCTION {function} RESET ALL")),
        ]);
    }
    tried.push((
        "make a table".to_owned(),
        "CREATE TABLE public.x ()".to_owned(),
    ));
    tried.push((
        "make a function".to_owned(),
        "CREATE FUNCTION public.x() RETURNS int LANGUAGE sql AS 'SELECT 1'".to_owned(),
    ));
    tried.push((
        "become a replica".to_owned(),
        "SET session_replication_role = replica".to_owned(),
    ));
    let refused = |error: &str| {
        [
            "permission denied",
            "must be owner",
            "division by zero",
            "does not exist",
            "must return type trigger",
        ]
        .iter()
        .any(|text| error.contains(text))
    };
    let mut done = BTreeSet::new();
    for (what, sql) in tried {
        if foreign
            .try_run(&format!("BEGIN; {sql}"))
            .map_or_else(|error| !refused(&error), |()| true)
        {
            done.insert(what);
        }
        foreign.run("ROLLBACK");
    }
    done
}

#[test]
fn a_role_can_do_what_its_grants_name_and_no_more() {
    let place = place();
    let nothing: BTreeSet<String> = BTreeSet::new();
    let stranger = Role::new(&place, "stranger");
    assert_eq!(accesses(&place, &mut stranger.connect()), nothing);
    let writer = Role::writer(&place);
    let allowed = [
        "call move_topic_ids",
        "delete topics",
        "insert topics",
        "lock topics",
        "read boards",
        "read topics",
        "update topics",
    ];
    assert_eq!(
        accesses(&place, &mut writer.connect()),
        allowed.map(str::to_owned).into()
    );
    assert_eq!(place.comments(), ["first"]);
}

#[test]
fn a_plain_writer_does_all_that_a_site_does() {
    let place = place();
    let writer = Role::writer(&place);
    let mut site = writer.connect();
    site.run(
        "INSERT INTO topics (comment) VALUES ('a'), ('b'); INSERT INTO topics (id, board_id, comment, author) VALUES (700, 1, 'c', NULL);
         UPDATE topics SET comment = 'A' WHERE comment = 'a'; DELETE FROM topics WHERE comment = 'b'; SELECT move_topic_ids()",
    );
    assert_eq!(place.comments(), ["first", "A", "c"]);
}

/// The functions that log and stamp, hung on a table of the attacker's own, also by one who may call them.
#[test]
fn nothing_is_forged_by_our_functions_on_another_table() {
    let place = place();
    let writer = Role::writer(&place);
    let mut owner = place.foreign();
    let before = place.head();
    for function in list(
        &mut owner,
        &format!("{FUNCTIONS} AND prorettype = 'trigger'::regtype"),
    ) {
        for granted in [false, true] {
            if granted {
                owner.run(&format!(
                    "GRANT EXECUTE ON FUNCTION {function}() TO {}",
                    writer.name
                ));
            }
            for (event, rows) in [
                (
                    "INSERT",
                    "REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT",
                ),
                ("INSERT", "FOR EACH ROW"),
                (
                    "DELETE",
                    "REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT",
                ),
                ("TRUNCATE", "FOR EACH STATEMENT"),
            ] {
                // Each in a session of its own: its tables go with it.
                let mut attacker = writer.connect();
                let forged = attacker.try_run(&format!(
                    "CREATE TEMP TABLE topics (id bigint, board_id bigint, comment text, author text, created_at timestamptz, updated_at timestamptz,
                         archived bool, revision bigint, edited_at timestamptz, writer xid8, proof uuid, title text, read text, post text);
                     CREATE TRIGGER forge AFTER {event} ON pg_temp.topics {rows} EXECUTE FUNCTION public.{function}();
                     INSERT INTO pg_temp.topics (id, board_id, comment) VALUES (1, 1, 'forged'); DELETE FROM pg_temp.topics; TRUNCATE pg_temp.topics"
                ));
                assert!(
                    forged.is_err(),
                    "{function} granted: {granted}, {event} {rows}"
                );
            }
        }
    }
    assert_eq!(place.head(), before);
}

/// Settings prove nothing: with any value of any of ours, a plain writer's rows count like all others.
#[test]
fn no_setting_changes_what_a_write_comes_to() {
    let place = place();
    let writer = Role::writer(&place);
    let mut settings = list(
        &mut place.foreign(),
        "SELECT DISTINCT (regexp_matches(prosrc, 'kairanban\\.[a-z_]+', 'g'))[1] \
        FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
    );
    assert!(settings.len() >= 4, "{settings:?}");
    settings.push("transform_null_equals".to_owned());
    for setting in settings {
        for value in ["on", "off", "1", ""] {
            let mut attacker = writer.connect();
            if attacker
                .try_run(&format!("SET {setting} = '{value}'"))
                .is_err()
            {
                continue;
            }
            let before = place.head();
            attacker.run("INSERT INTO topics (comment, revision) VALUES ('theirs', -1); UPDATE topics SET revision = 9007199254740991; \
                UPDATE topics SET comment = 'changed', revision = -1 WHERE comment = 'theirs'; UPDATE topics SET archived = true WHERE comment = 'changed'; \
                DELETE FROM topics WHERE comment = 'changed'");
            let kinds: Vec<_> = place
                .changes(before)
                .iter()
                .map(|change| change.kind)
                .collect();
            assert_eq!(
                kinds
                    .iter()
                    .filter(|kind| **kind == ChangeKind::Delete)
                    .count(),
                2,
                "{setting} = {value}: {kinds:?}"
            );
            assert_eq!(kinds.len(), 4, "{setting} = {value}: {kinds:?}");
            assert!(
                place.comments() == ["first"]
                    && place.load().snapshot.topics()[0].revision <= before,
                "{setting} = {value}"
            );
            // It would hold the order of commits for as long as it pleases; what refuses it is the NOTIFY.
            let two = attacker.try_run(
                "BEGIN; INSERT INTO topics (comment) VALUES ('two'); PREPARE TRANSACTION 'theirs'",
            );
            assert!(
                two.is_err_and(|error| error.contains("NOTIFY")),
                "{setting} = {value}"
            );
            attacker.try_run("ROLLBACK").ok();
        }
    }
}

/// One without rights takes every lock that it can get; posts go on.
#[test]
fn a_role_without_rights_blocks_nobody() {
    let place = place();
    let mut owner = place.foreign();
    let stranger = Role::new(&place, "blocker");
    let mut blocker = stranger.connect();
    blocker.run("BEGIN");
    let keys = "SELECT string_agg(format('pg_advisory_lock(%s)', oid), ', ') FROM pg_class WHERE relnamespace = 'public'::regnamespace";
    blocker.run(&format!("SELECT {}", owner.ask(keys)));
    let migrating = "pg_advisory_lock(hashtextextended('kairanban migrate public', 0))";
    blocker.run(&format!(
        "SELECT {migrating}, pg_notify('kairanban_public', '')"
    ));
    for table in list(&mut owner, TABLES) {
        for mode in [
            "ACCESS SHARE",
            "ROW SHARE",
            "ROW EXCLUSIVE",
            "SHARE UPDATE EXCLUSIVE",
            "SHARE",
            "EXCLUSIVE",
            "ACCESS EXCLUSIVE",
        ] {
            blocker.run("SAVEPOINT a");
            assert!(
                blocker
                    .try_run(&format!("LOCK TABLE {table} IN {mode} MODE"))
                    .is_err(),
                "{table} {mode}"
            );
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

/// Functions, operators and tables with the names of ours, found first on the attacker's search path.
#[test]
fn the_owner_of_another_schema_gets_nothing_run_with_our_rights() {
    let place = place();
    let mut owner = place.foreign();
    let writer = Role::writer(&place);
    owner.run(&format!("CREATE SCHEMA evil AUTHORIZATION {}", writer.name));
    let mut attacker = writer.connect();
    let names = list(
        &mut owner,
        "SELECT DISTINCT proname FROM pg_proc WHERE proname IN ('nextval', 'setval', 'current_setting', 'set_config', \
        'pg_notify', 'pg_current_xact_id', 'clock_timestamp', 'has_table_privilege', 'pg_sequence_last_value')",
    );
    attacker.run("CREATE FUNCTION evil.note() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE 'run as %', current_user; END $$");
    for name in names {
        for arguments in [
            "",
            "text",
            "regclass",
            "text, text",
            "text, boolean",
            "text, text, boolean",
            "regclass, bigint",
            "oid, text",
        ] {
            attacker.run(&format!("CREATE FUNCTION evil.{name}({arguments}) RETURNS text LANGUAGE sql AS 'SELECT evil.note()'"));
        }
    }
    attacker.run(
        "CREATE FUNCTION evil.eq(bigint, bigint) RETURNS boolean LANGUAGE sql AS $$ SELECT evil.note() IS NULL $$; \
        CREATE OPERATOR evil.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = evil.eq); \
        CREATE OPERATOR evil.> (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = evil.eq)",
    );
    for table in list(&mut owner, TABLES) {
        attacker.run(&format!(
            "CREATE TABLE evil.{table} (id bigint, nothing boolean); CREATE TEMP TABLE {table} (id bigint, nothing boolean)"
        ));
    }
    attacker.run("SET search_path = evil, pg_temp, pg_catalog, public");
    let before = place.head();
    attacker.run("INSERT INTO public.topics (comment) VALUES ('a'); UPDATE public.topics SET comment = 'b' WHERE comment OPERATOR(pg_catalog.=) 'a'; \
        DELETE FROM public.topics WHERE comment OPERATOR(pg_catalog.=) 'first'");
    assert_eq!(place.changes(before).len(), 3);
    assert_eq!(place.comments(), ["b"]);
    drop(attacker);
    owner.run("DROP SCHEMA evil CASCADE");
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
    let place = Place::new(Kind::Postgres);
    let mut anybody = place.foreign();
    anybody.run(
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
