//! Every access to every object.

use std::collections::BTreeSet;

use super::{FUNCTIONS, Role, SEQUENCES, TABLES, list, place};
use crate::place::{Foreign, Place};

/// An access: what it is called, and the statement that tries it.
type Access = (String, String);

fn accesses_of_table(owner: &mut Foreign, table: &str) -> Vec<Access> {
    let column = owner.ask(&format!(
        "SELECT attname FROM pg_attribute \
        WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped \
        ORDER BY attnum DESC LIMIT 1"
    ));
    let mut tried = vec![
        (format!("read {table}"), format!("SELECT * FROM {table}")),
        (
            format!("insert {table}"),
            format!("INSERT INTO {table} DEFAULT VALUES"),
        ),
        (
            format!("update {table}"),
            format!("UPDATE {table} SET {column} = {column}"),
        ),
        (format!("delete {table}"), format!("DELETE FROM {table}")),
        (
            format!("truncate {table}"),
            format!("TRUNCATE {table} CASCADE"),
        ),
        (
            format!("alter {table}"),
            format!("ALTER TABLE {table} ADD COLUMN x int"),
        ),
        (
            format!("trigger {table}"),
            format!(
                "CREATE TRIGGER x AFTER INSERT ON {table} \
                 EXECUTE FUNCTION pg_catalog.suppress_redundant_updates_trigger()"
            ),
        ),
        (
            format!("disable {table}"),
            format!("ALTER TABLE {table} DISABLE TRIGGER ALL"),
        ),
        (
            format!("refer {table}"),
            format!(
                "SELECT CASE WHEN has_table_privilege('{table}', 'REFERENCES') THEN 1 \
                 ELSE 1 / 0 END"
            ),
        ),
        (
            format!("index {table}"),
            format!("CREATE INDEX ON {table} (({column} IS NULL))"),
        ),
        (
            format!("drop {table}"),
            format!("DROP TABLE {table} CASCADE"),
        ),
    ];
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
    tried
}

fn accesses_of_sequence(sequence: &str) -> [Access; 4] {
    [
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
    ]
}

fn accesses_of_function(owner: &mut Foreign, function: &str) -> [Access; 3] {
    let nulls = owner.ask(&format!(
        "SELECT coalesce(string_agg('NULL', ', '), '') \
        FROM pg_proc p, generate_series(1, pronargs) WHERE proname = '{function}'"
    ));
    [
        (
            format!("call {function}"),
            format!("SELECT {function}({nulls})"),
        ),
        (
            format!("hang {function}"),
            format!(
                "CREATE TEMP TABLE x (id bigint); CREATE TRIGGER x BEFORE INSERT ON x FOR EACH ROW \
                 EXECUTE FUNCTION {function}()"
            ),
        ),
        (
            format!("alter {function}"),
            format!("ALTER FUNCTION {function} RESET ALL"),
        ),
    ]
}

fn accesses_of_database() -> [Access; 3] {
    [
        (
            "make a table".to_owned(),
            "CREATE TABLE public.x ()".to_owned(),
        ),
        (
            "make a function".to_owned(),
            "CREATE FUNCTION public.x() RETURNS int LANGUAGE sql AS 'SELECT 1'".to_owned(),
        ),
        (
            "become a replica".to_owned(),
            "SET session_replication_role = replica".to_owned(),
        ),
    ]
}

fn is_refused_for_want_of_a_right(error: &str) -> bool {
    [
        "permission denied",
        "must be owner",
        "division by zero",
        "does not exist",
        "must return type trigger",
    ]
    .iter()
    .any(|text| error.contains(text))
}

/// Tries each access to each object. Returns those that were not refused for want of a right.
fn accesses(place: &Place, foreign: &mut Foreign) -> BTreeSet<String> {
    let mut owner = place.foreign();
    let mut tried = Vec::new();
    for table in list(&mut owner, TABLES) {
        tried.extend(accesses_of_table(&mut owner, &table));
    }
    for sequence in list(&mut owner, SEQUENCES) {
        tried.extend(accesses_of_sequence(&sequence));
    }
    for function in list(&mut owner, FUNCTIONS) {
        tried.extend(accesses_of_function(&mut owner, &function));
    }
    tried.extend(accesses_of_database());
    let mut done = BTreeSet::new();
    for (what, sql) in tried {
        if foreign
            .try_run(&format!("BEGIN; {sql}"))
            .map_or_else(|error| !is_refused_for_want_of_a_right(&error), |()| true)
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
