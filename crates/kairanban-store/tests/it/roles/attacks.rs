//! What a role with the rights of a writer tries in vain: forgeries, settings, and names that are found before ours.

use kairanban_core::ChangeKind;

use super::{FUNCTIONS, Role, TABLES, list, place};

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
                    "CREATE TEMP TABLE topics (id bigint, board_id bigint, comment text, \
                     author text, created_at timestamptz, updated_at timestamptz,
                         archived bool, revision bigint, edited_at timestamptz, writer xid8, \
                         proof uuid, title text, read text, post text);
                     CREATE TRIGGER forge AFTER {event} ON pg_temp.topics {rows} \
                     EXECUTE FUNCTION public.{function}();
                     INSERT INTO pg_temp.topics (id, board_id, comment) VALUES (1, 1, 'forged'); \
                     DELETE FROM pg_temp.topics; TRUNCATE pg_temp.topics"
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
            attacker.run(
                "INSERT INTO topics (comment, revision) VALUES ('theirs', -1); \
                UPDATE topics SET revision = 9007199254740991; \
                UPDATE topics SET comment = 'changed', revision = -1 WHERE comment = 'theirs'; \
                UPDATE topics SET archived = true WHERE comment = 'changed'; \
                DELETE FROM topics WHERE comment = 'changed'",
            );
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
        "SELECT DISTINCT proname FROM pg_proc WHERE proname IN ('nextval', 'setval', \
         'current_setting', 'set_config', \
        'pg_notify', 'pg_current_xact_id', 'clock_timestamp', 'has_table_privilege', \
        'pg_sequence_last_value')",
    );
    attacker.run(
        "CREATE FUNCTION evil.note() RETURNS text LANGUAGE plpgsql AS $$ \
        BEGIN RAISE 'run as %', current_user; END $$",
    );
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
    for table in list(&mut owner, TABLES) {
        attacker.run(&format!(
            "CREATE TABLE evil.{table} (id bigint, nothing boolean); \
             CREATE TEMP TABLE {table} (id bigint, nothing boolean)"
        ));
    }
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
