//! Every access to every object.

use std::collections::BTreeSet;

use super::{FUNCTIONS, LOCK_MODES, Role, SEQUENCES, TABLES, list, place};
use crate::place::{Foreign, Place};

/// An access: what it is called, and the statement that tries it.
type Access = (String, String);

/// Names an access by its verb and its object.
fn access(verb: &str, object: &str, sql: &str) -> Access {
    (format!("{verb} {object}"), sql.to_owned())
}

fn accesses_of_table(owner: &mut Foreign, table: &str) -> Vec<Access> {
    let column = owner.ask(&format!(
        "SELECT attname FROM pg_attribute \
        WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped \
        ORDER BY attnum DESC LIMIT 1"
    ));
    let locks = LOCK_MODES[3..]
        .iter()
        .map(|mode| ("lock", format!("LOCK TABLE $ IN {mode} MODE")));
    [
        ("read", "SELECT * FROM $"),
        ("insert", "INSERT INTO $ DEFAULT VALUES"),
        ("update", "UPDATE $ SET % = %"),
        ("delete", "DELETE FROM $"),
        ("truncate", "TRUNCATE $ CASCADE"),
        ("alter", "ALTER TABLE $ ADD COLUMN x int"),
        (
            "trigger",
            "CREATE TRIGGER x AFTER INSERT ON $ \
             EXECUTE FUNCTION pg_catalog.suppress_redundant_updates_trigger()",
        ),
        ("disable", "ALTER TABLE $ DISABLE TRIGGER ALL"),
        (
            "refer",
            "SELECT CASE WHEN has_table_privilege('$', 'REFERENCES') THEN 1 ELSE 1 / 0 END",
        ),
        ("index", "CREATE INDEX ON $ ((% IS NULL))"),
        ("drop", "DROP TABLE $ CASCADE"),
    ]
    .map(|(verb, sql)| (verb, sql.to_owned()))
    .into_iter()
    .chain(locks)
    .map(|(verb, sql)| access(verb, table, &sql.replace('$', table).replace('%', &column)))
    .collect()
}

fn accesses_of_sequence(sequence: &str) -> [Access; 4] {
    [
        ("read", "SELECT * FROM $"),
        ("draw", "SELECT nextval('$')"),
        ("set", "SELECT setval('$', 1)"),
        ("alter", "ALTER SEQUENCE $ RESTART"),
    ]
    .map(|(verb, sql)| access(verb, sequence, &sql.replace('$', sequence)))
}

fn accesses_of_function(owner: &mut Foreign, function: &str) -> [Access; 3] {
    let nulls = owner.ask(&format!(
        "SELECT coalesce(string_agg('NULL', ', '), '') \
        FROM pg_proc p, generate_series(1, pronargs) WHERE proname = '{function}'"
    ));
    [
        ("call", "SELECT $(%)"),
        (
            "hang",
            "CREATE TEMP TABLE x (id bigint); CREATE TRIGGER x BEFORE INSERT ON x FOR EACH ROW \
             EXECUTE FUNCTION $()",
        ),
        ("alter", "ALTER FUNCTION $ RESET ALL"),
    ]
    .map(|(verb, sql)| {
        access(
            verb,
            function,
            &sql.replace('$', function).replace('%', &nulls),
        )
    })
}

fn accesses_of_database() -> [Access; 3] {
    [
        access("make", "a table", "CREATE TABLE public.x ()"),
        access(
            "make",
            "a function",
            "CREATE FUNCTION public.x() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        ),
        access(
            "become",
            "a replica",
            "SET session_replication_role = replica",
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

/// What a server reads and writes. It has none of the rights that change a schema.
const OF_A_SERVER: [(&str, &str); 8] = [
    (
        "read",
        "__diesel_schema_migrations audit board_lives boards browser_sessions changes deleted_topics idempotency \
         identity revision_seq tickets tokens topics",
    ),
    (
        "insert",
        "audit board_lives boards browser_sessions changes deleted_topics idempotency identity tickets tokens \
         topics",
    ),
    (
        "update",
        "board_lives boards browser_sessions identity tickets tokens topics",
    ),
    (
        "delete",
        "audit boards browser_sessions changes deleted_topics idempotency tickets topics",
    ),
    // By the right to update or to delete.
    (
        "lock",
        "audit board_lives boards browser_sessions changes commit_order deleted_topics idempotency identity \
         tickets tokens topics",
    ),
    ("draw", "revision_seq topics_id_seq"),
    ("set", "revision_seq topics_id_seq"),
    (
        "call",
        "channel_name classified_write move_topic_ids stamp_last transaction_begun",
    ),
];

const OF_A_WRITER: [(&str, &str); 6] = [
    ("read", "boards topics"),
    ("insert", "topics"),
    ("update", "topics"),
    ("delete", "topics"),
    ("lock", "topics"),
    ("call", "move_topic_ids"),
];

fn named(allowed: &[(&str, &str)]) -> BTreeSet<String> {
    let each = allowed.iter().flat_map(|(verb, objects)| {
        let objects = objects.split_whitespace();
        objects.map(move |object| format!("{verb} {object}"))
    });
    each.collect()
}

#[test]
fn a_role_can_do_what_its_grants_name_and_no_more() {
    let place = place();
    let nothing: BTreeSet<String> = BTreeSet::new();
    let stranger = Role::new(&place, "stranger");
    assert_eq!(accesses(&place, &mut stranger.connect()), nothing);
    let neighbour = Role::neighbour(&place);
    let mut its_session = neighbour.connect();
    its_session.run("CREATE TABLE of_its_own ()");
    assert_eq!(accesses(&place, &mut its_session), nothing);
    let writer = Role::writer(&place);
    assert_eq!(accesses(&place, &mut writer.connect()), named(&OF_A_WRITER));
    let server = Role::server(&place);
    assert_eq!(accesses(&place, &mut server.connect()), named(&OF_A_SERVER));
    assert_eq!(place.comments(), ["first"]);
}
