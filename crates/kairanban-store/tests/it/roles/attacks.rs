//! What a role with the rights of a writer cannot do: forge rows, change settings, or use names
//! that are found before ours.

use kairanban_core::ChangeKind;

use super::{FUNCTIONS, Role, TABLES, list, place};
use crate::place::{Foreign, Place};

/// What a trigger runs on, and the rows that it takes.
const EVENTS: [(&str, &str); 4] = [
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
];

/// The functions that log and stamp, hung on a table of the attacker's own, also by one who may
/// call them.
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
            for (event, rows) in EVENTS {
                // Each in a session of its own: its tables go with it.
                writer.connect().refused(&forgery(&function, event, rows));
            }
        }
    }
    assert_eq!(place.head(), before);
}

/// Hangs a function of ours on a table with the name and the columns of ours, and writes to it.
fn forgery(function: &str, event: &str, rows: &str) -> String {
    format!(
        "CREATE TEMP TABLE topics (id bigint, board_id bigint, comment text, author text, \
             created_at timestamptz, updated_at timestamptz, archived bool, revision bigint, \
             edited_at timestamptz, writer xid8, proof uuid, title text, read text, post text); \
         CREATE TRIGGER forge AFTER {event} ON pg_temp.topics {rows} \
             EXECUTE FUNCTION public.{function}(); \
         INSERT INTO pg_temp.topics (id, board_id, comment) VALUES (1, 1, 'forged'); \
         DELETE FROM pg_temp.topics; TRUNCATE pg_temp.topics"
    )
}

/// Settings prove nothing: with any value of any of ours, a plain writer's rows count like all
/// others.
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
            let (mut attacker, set) = (writer.connect(), format!("SET {setting} = '{value}'"));
            if attacker.try_run(&set).is_ok() {
                assert_rows_count(&place, &mut attacker, &set);
                assert_no_prepared_transaction(&mut attacker, &set);
            }
        }
    }
}

fn assert_rows_count(place: &Place, attacker: &mut Foreign, set: &str) {
    let before = place.head();
    attacker.run(
        "INSERT INTO topics (comment, revision) VALUES ('theirs', -1); \
        UPDATE topics SET revision = 9007199254740991; \
        UPDATE topics SET comment = 'changed', revision = -1 WHERE comment = 'theirs'; \
        UPDATE topics SET archived = true WHERE comment = 'changed'; \
        DELETE FROM topics WHERE comment = 'changed'",
    );
    let kinds = place.kinds(before);
    let deletes = kinds.iter().filter(|kind| **kind == ChangeKind::Delete);
    assert_eq!((deletes.count(), kinds.len()), (2, 4), "{set}: {kinds:?}");
    assert_eq!(place.comments(), ["first"], "{set}");
    let revision = place.load().snapshot.topics()[0].revision;
    assert!(revision <= before, "{set}");
}

/// It would hold the order of commits for as long as it pleases; what refuses it is the NOTIFY.
fn assert_no_prepared_transaction(attacker: &mut Foreign, set: &str) {
    let error = attacker.refused(
        "BEGIN; INSERT INTO topics (comment) VALUES ('two'); PREPARE TRANSACTION 'theirs'",
    );
    assert!(error.contains("NOTIFY"), "{set}: {error}");
    attacker.try_run("ROLLBACK").ok();
}

/// Functions, operators and tables with the names of ours, found first on the attacker's search
/// path.
#[test]
fn the_owner_of_another_schema_gets_nothing_run_with_our_rights() {
    let place = place();
    let mut owner = place.foreign();
    let writer = Role::writer(&place);
    owner.run(&format!("CREATE SCHEMA evil AUTHORIZATION {}", writer.name));
    let mut attacker = writer.connect();
    take_our_names(&mut attacker, &mut owner);
    attacker.run("SET search_path = evil, pg_temp, pg_catalog, public");
    let before = place.head();
    attacker.run(
        "INSERT INTO public.topics (comment) VALUES ('a'); UPDATE public.topics \
        SET comment = 'b' WHERE comment OPERATOR(pg_catalog.=) 'a'; \
        DELETE FROM public.topics WHERE comment OPERATOR(pg_catalog.=) 'first'",
    );
    assert_eq!(place.changes(before).len(), 3);
    assert_eq!(place.comments(), ["b"]);
    drop(attacker);
    owner.run("DROP SCHEMA evil CASCADE");
}

/// The functions of Postgres that ours call.
const CALLED: &str = "SELECT DISTINCT proname FROM pg_proc WHERE proname IN ('nextval', 'setval', \
     'current_setting', 'set_config', 'pg_notify', 'pg_current_xact_id', 'clock_timestamp', \
     'has_table_privilege', 'pg_sequence_last_value')";

/// The types of their arguments.
const ARGUMENTS: [&str; 8] = [
    "",
    "text",
    "regclass",
    "text, text",
    "text, boolean",
    "text, text, boolean",
    "regclass, bigint",
    "oid, text",
];

/// Fills the schema `evil` with functions, operators and tables that would raise the name of the
/// role that runs them.
fn take_our_names(attacker: &mut Foreign, owner: &mut Foreign) {
    attacker.run(
        "CREATE FUNCTION evil.note() RETURNS text LANGUAGE plpgsql AS $$ \
        BEGIN RAISE 'run as %', current_user; END $$",
    );
    for name in list(owner, CALLED) {
        for arguments in ARGUMENTS {
            attacker.run(&format!(
                "CREATE FUNCTION evil.{name}({arguments}) RETURNS text LANGUAGE \
                sql AS 'SELECT evil.note()'"
            ));
        }
    }
    attacker.run(
        "CREATE FUNCTION evil.eq(bigint, bigint) RETURNS boolean LANGUAGE sql AS $$ \
         SELECT evil.note() IS NULL $$; \
        CREATE OPERATOR evil.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = evil.eq); \
        CREATE OPERATOR evil.> (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = evil.eq)",
    );
    for table in list(owner, TABLES) {
        attacker.run(&format!(
            "CREATE TABLE evil.{table} (id bigint, nothing boolean); \
             CREATE TEMP TABLE {table} (id bigint, nothing boolean)"
        ));
    }
}
