//! Each name of the schema, taken by objects of another program: it is refused by its name, or both
//! have room.

use kairanban_store::{DatabaseAddress, check, migrate};

use crate::place::{DatabaseKind, Foreign, Place, TIMEOUTS, main};

/// What takes the name `$`, and the word for it.
const POSTGRES_THIEVES: [(&str, &str); 8] = [
    ("CREATE TABLE $ (subject TEXT)", "table"),
    ("CREATE VIEW $ AS SELECT 1", "view"),
    ("CREATE MATERIALIZED VIEW $ AS SELECT 1", "view"),
    ("CREATE SEQUENCE $", "sequence"),
    (
        "CREATE TABLE other (x INT); CREATE INDEX $ ON other (x)",
        "index",
    ),
    ("CREATE TYPE $ AS ENUM ('a')", "type"),
    ("CREATE TYPE $ AS (a INT)", "type"),
    (
        "CREATE FUNCTION $(x INT) RETURNS INT LANGUAGE sql AS 'SELECT 1'",
        "function",
    ),
];

const SQLITE_THIEVES: [(&str, &str); 4] = [
    ("CREATE TABLE $ (subject TEXT)", "table"),
    ("CREATE VIEW $ AS SELECT 1", "view"),
    (
        "CREATE TABLE other (x INT); CREATE INDEX $ ON other (x)",
        "index",
    ),
    (
        "CREATE TABLE other (x INT); CREATE TRIGGER $ AFTER INSERT ON other BEGIN SELECT 1; END",
        "trigger",
    ),
];

/// Returns the names of the schema of a new database.
fn names(place: &Place, query: &str) -> Vec<String> {
    let names = place.foreign().ask(query);
    names.split(' ').map(str::to_owned).collect()
}

/// Returns whether the name is refused; if it is not, all of the schema can be made beside it.
fn is_refused(address: &DatabaseAddress, kind: &str, name: &str) -> bool {
    if let Err(refused) = check(address, TIMEOUTS, &main(), true) {
        let refused = refused.to_string();
        let taken = format!("a {kind} `{name}` that kairanban did not make");
        assert!(refused.contains(&taken), "{refused}");
        return true;
    }
    migrate(address, TIMEOUTS, &main(), false)
        .unwrap_or_else(|error| panic!("{kind} {name}: {error}"));
    let made = check(address, TIMEOUTS, &main(), true).expect("usable");
    assert!(made.is_current(), "{kind} {name}: {made:?}");
    false
}

#[test]
fn a_name_that_is_taken_on_postgres_is_refused_or_in_no_way() {
    let place = Place::new(DatabaseKind::Postgres);
    let names = names(
        &place,
        "SELECT string_agg(name, ' ' ORDER BY name) FROM (\
         SELECT relname::text AS name FROM pg_class WHERE relnamespace = 'public'::regnamespace \
         AND relname !~ '^__diesel' UNION SELECT proname::text FROM pg_proc \
         WHERE pronamespace = 'public'::regnamespace UNION SELECT tgname::text FROM pg_trigger \
         WHERE NOT tgisinternal) AS all_names",
    );
    let mut refused = 0;
    for (number, name) in names.iter().enumerate() {
        // Each name meets two kinds, and each kind many names.
        for offset in [0, 3] {
            let (make, kind) = POSTGRES_THIEVES[(number + offset) % POSTGRES_THIEVES.len()];
            let schema = format!("place_{number}_{offset}");
            let make = make.replace('$', &format!("\"{name}\""));
            place.foreign().run(&format!(
                "CREATE SCHEMA {schema}; SET search_path = {schema}; {make}"
            ));
            let url = format!("{}?options=-csearch_path%3D{schema}", place.url());
            let address = url.parse().expect("an address");
            refused += u32::from(is_refused(&address, kind, name));
        }
    }
    assert!(refused > 50, "{refused}");
}

#[test]
fn a_name_that_is_taken_in_a_file_is_refused_or_in_no_way() {
    let place = Place::new(DatabaseKind::Sqlite);
    let names = names(
        &place,
        "SELECT group_concat(name, ' ') FROM sqlite_schema WHERE name NOT GLOB '*sqlite_*' \
         AND name NOT GLOB '__diesel*'",
    );
    let mut refused = 0;
    for (number, name) in names.iter().enumerate() {
        let (make, kind) = SQLITE_THIEVES[number % SQLITE_THIEVES.len()];
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("other.db");
        let address = DatabaseAddress::Sqlite(file);
        // Names of SQLite ignore case.
        let make = make.replace('$', &name.to_uppercase());
        Foreign::at(&address).run(&make);
        refused += u32::from(is_refused(&address, kind, name));
    }
    assert!(refused > 10, "{refused}");
}

#[test]
fn rows_that_are_lost_from_the_table_of_migrations_are_named() {
    for kind in [DatabaseKind::Postgres, DatabaseKind::Sqlite] {
        for lost in ["20261125000000", "20261123000001", "2026"] {
            let place = Place::new(kind);
            let mut foreign = place.foreign();
            foreign.run(&format!(
                "DELETE FROM __diesel_schema_migrations WHERE version LIKE '{lost}%'"
            ));
            let refused = check(&place.address, TIMEOUTS, &main(), true)
                .expect_err("refused")
                .to_string();
            let help = format!("VALUES ('{lost}");
            assert!(refused.contains(&help), "{kind:?} {lost}: {refused}");
            let (_, insert) = refused.split_once('(').expect("a statement");
            let (insert, _) = insert.rsplit_once("), or").expect("a statement");
            foreign.run(insert);
            let checked = check(&place.address, TIMEOUTS, &main(), true).expect("usable");
            assert!(checked.is_current(), "{kind:?} {lost}: {checked:?}");
        }
    }
}
