//! Schemas of Postgres whose names are not plain lower case: all that holds in `public` holds in
//! them.

use std::{path::Path, process::Command};

use kairanban_store::{DatabaseAddress, Store, Writer, check, migrate, repair};

use crate::place::{
    DatabaseKind, Foreign, Place, TIMEOUTS, WRITER, config, create, main, new_database, post, run,
};

/// The names, and a schema that may be mistaken for each.
const NAMES: [(&str, &str); 8] = [
    ("A", "a"),
    ("My Schema", "my"),
    ("a.b", "a"),
    ("quo\"te", "quo"),
    ("看板", "public"),
    // As long as names may be, and just too long for a channel with our prefix.
    (
        "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijk",
        "public",
    ),
    (
        "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzab",
        "public",
    ),
    ("看看看看看看看看看看看看看看看看看看看看看", "public"),
];

const DOWN: &str =
    include_str!("../../../../migrations/postgres/2026-11-27-000006_pinned_functions/down.sql");

/// Returns the URL of a database where this schema comes first, and the name quoted.
fn database(name: &str, other: &str) -> (String, String) {
    let url = new_database();
    let (_, database) = url.rsplit_once('/').expect("a database");
    let quoted = format!("\"{}\"", name.replace('"', "\"\""));
    Foreign::postgres(&url).run(&format!(
        "CREATE SCHEMA {quoted}; CREATE SCHEMA IF NOT EXISTS {other}; \
         ALTER DATABASE {database} SET search_path = {quoted}"
    ));
    (url, quoted)
}

fn bring_up(url: &str) -> Vec<String> {
    let address: DatabaseAddress = url.parse().expect("an address");
    migrate(&address, TIMEOUTS, &main(), false).expect("migrated")
}

#[track_caller]
fn assert_closed_and_pinned(foreign: &mut Foreign, name: &str) {
    let ours = "FROM pg_proc WHERE pronamespace = quote_ident(current_schema())::regnamespace";
    assert!(
        foreign.number(&format!("SELECT count(*) {ours}")) > 20,
        "{name}"
    );
    let open =
        format!("SELECT count(*) {ours} AND has_function_privilege('public', oid, 'EXECUTE')");
    assert_eq!(foreign.ask(&open), "0", "{name}: open to every role");
    // The last one runs by the path of its caller.
    let pinned =
        "ARRAY['search_path=pg_catalog, ' || quote_ident(current_schema()) || ', pg_temp']";
    let loose = format!(
        "SELECT coalesce(string_agg(proname, ' '), '') {ours} AND proconfig IS DISTINCT FROM {pinned}"
    );
    assert_eq!(foreign.ask(&loose), "classified_write", "{name}: no path");
}

/// A role with the rights of one of the published files.
pub(crate) struct Granted {
    pub(crate) name: String,
    owner: Foreign,
    pub(crate) url: String,
}

impl Granted {
    pub(crate) fn new(url: &str, schema: &str, file: &str) -> Self {
        let (_, database) = url.rsplit_once('/').expect("a database");
        let name = format!("{file}_{database}");
        let mut owner = Foreign::postgres(url);
        owner.run(&format!("CREATE ROLE {name} LOGIN"));
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../config/grants-{file}.sql"));
        let granted = Command::new("psql")
            .args(["-qX", "-v", &format!("role={name}")])
            .args(["-v", &format!("schema={schema}"), "-f"])
            .arg(path)
            .arg(url)
            .status();
        assert!(granted.expect("psql").success(), "{schema}");
        let url = url.replacen("postgres@", &format!("{name}@"), 1);
        Self { name, owner, url }
    }
}

impl Drop for Granted {
    fn drop(&mut self) {
        let gone = format!("DROP OWNED BY {0}; DROP ROLE {0}", self.name);
        let gone = self.owner.try_run(&gone);
        assert!(gone.is_ok() || std::thread::panicking(), "{gone:?}");
    }
}

#[test]
fn all_that_holds_in_public_holds_in_a_schema_of_any_name() {
    for (name, other) in NAMES {
        let (url, _) = database(name, other);
        bring_up(&url);
        let place = Place::at(&url);
        let mut owner = place.foreign();
        let checked = check(&place.address, TIMEOUTS, &main(), true).expect("usable");
        assert!(checked.is_current(), "{name}: {checked:?}");
        assert_closed_and_pinned(&mut owner, name);
        create(&place, "first");
        owner
            .run("INSERT INTO topics (comment, created_at) VALUES ('theirs', '9999-12-31 12:00Z')");
        let site = Granted::new(&url, name, "writer");
        Foreign::postgres(&site.url).run("INSERT INTO topics (id, comment) VALUES (70, 'site')");
        let server = Granted::new(&url, name, "server");
        let address: DatabaseAddress = server.url.parse().expect("an address");
        let checked = check(&address, TIMEOUTS, &main(), false).expect("usable");
        assert!(checked.is_current(), "{name}: {checked:?}");
        let store = Store::open(config(&address)).expect("a store");
        let (writer, _) = Writer::start(store.clone(), WRITER, drop).expect("a writer");
        run(writer.write(post("server"))).expect("posted");
        assert_eq!(
            place.comments(),
            ["first", "theirs", "site", "server"],
            "{name}"
        );
        drop((writer, store, place));
    }
}

/// As the migrations before left them in such a schema.
#[test]
fn functions_that_earlier_migrations_left_open_are_closed_and_pinned() {
    let (url, quoted) = database("A", "a");
    bring_up(&url);
    let mut owner = Foreign::postgres(&url);
    owner.run(DOWN);
    owner.run(&format!(
        "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA {quoted} TO PUBLIC; \
         DO $$ DECLARE f regprocedure; BEGIN \
         FOR f IN SELECT oid::regprocedure FROM pg_proc WHERE pronamespace = '{quoted}'::regnamespace \
         AND proname <> 'browser_sessions_changed' LOOP EXECUTE format('ALTER FUNCTION %s RESET ALL', f); END LOOP; END $$; \
         REVOKE EXECUTE ON FUNCTION browser_sessions_changed() FROM PUBLIC; \
         ALTER TABLE topics DROP CONSTRAINT topics_created_at_range, \
         ADD CONSTRAINT topics_created_at_range CHECK (created_at < '9999-12-31'); \
         DELETE FROM __diesel_schema_migrations WHERE version = '20261127000006'"
    ));
    assert_eq!(bring_up(&url).len(), 1);
    assert_closed_and_pinned(&mut owner, "A");
    owner.run("INSERT INTO topics (comment, created_at) VALUES ('last day', '9999-12-31 12:00Z')");
}

/// Other schemas before that of the boards: that of the role's name, an empty one, the catalogue.
/// The boards are found where statements find them, whatever comes first.
#[test]
fn a_schema_that_stands_before_the_boards_changes_nothing() {
    for (before, path) in [
        ("CREATE SCHEMA postgres", "\"$user\", public"),
        ("CREATE SCHEMA other", "other, public"),
        ("SELECT 1", "pg_catalog, public"),
    ] {
        let place = Place::new(DatabaseKind::Postgres);
        let mut foreign = place.foreign();
        let database = foreign.ask("SELECT current_database()");
        foreign.run(&format!(
            "{before}; ALTER DATABASE {database} SET search_path = {path}; \
             DROP INDEX topics_live; DROP TRIGGER topics_inserted ON topics; \
             UPDATE pg_proc SET prosrc = prosrc || ' ' WHERE proname = 'topics_deleted'"
        ));
        let damage = || {
            let found = check(&place.address, TIMEOUTS, &main(), true).expect("usable");
            [found.damage, found.warnings].concat()
        };
        let found = damage();
        assert_eq!(found.len(), 3, "{path}: {found:?}");
        repair(&place.address, TIMEOUTS).expect("repaired");
        assert_eq!(damage(), Vec::<String>::new(), "{path}");
        migrate(&place.address, TIMEOUTS, &main(), false).expect("migrated");
        let elsewhere = "SELECT count(*) FROM pg_class JOIN pg_namespace \
            ON pg_namespace.oid = relnamespace WHERE nspname IN ('postgres', 'other')";
        assert_eq!(foreign.ask(elsewhere), "0", "{path}");
        assert_eq!(create(&place, "after").comment, "after", "{path}");
    }
}

/// What another program has that every statement of a server would find instead of its own.
#[test]
fn what_hides_something_of_the_boards_is_named() {
    let place = Place::new(DatabaseKind::Postgres);
    let mut foreign = place.foreign();
    let database = foreign.ask("SELECT current_database()");
    for (made, name) in [
        ("TABLE other.audit ()", "audit"),
        ("TABLE other.topics (id int)", "topics"),
        ("VIEW other.topics AS SELECT * FROM public.topics", "topics"),
        (
            "FUNCTION other.stamp_last() RETURNS void LANGUAGE sql AS ''",
            "stamp_last",
        ),
    ] {
        foreign.run(&format!(
            "CREATE SCHEMA other; CREATE {made}; \
             ALTER DATABASE {database} SET search_path = other, public"
        ));
        let error = check(&place.address, TIMEOUTS, &main(), true).expect_err(made);
        let named = format!("{error}").contains(&format!("other.{name}"));
        assert!(
            named && error.to_string().contains("first in search_path"),
            "{error}"
        );
        foreign.run("DROP SCHEMA other CASCADE");
    }
    foreign.run("CREATE SCHEMA other; CREATE TABLE other.topics ()");
    // Other programs may have tables of such names in a schema that comes later.
    foreign.run(&format!(
        "ALTER DATABASE {database} SET search_path = public, other"
    ));
    check(&place.address, TIMEOUTS, &main(), true).expect("usable");
}
