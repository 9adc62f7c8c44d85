//! A schema that is not as the migrations made it: whatever was dropped, changed or replaced is
//! named at the start, and what the owner added is not.

use std::collections::BTreeSet;

use kairanban_store::{DatabaseAddress, check, migrate, repair};

use crate::place::{DatabaseKind, Foreign, Place, TIMEOUTS, create, main, new_database};

const QUERY: &str = include_str!("../../src/start/damage/postgres/schema.sql");
const NEW: &str = include_str!("../../src/start/damage/postgres/schema.tsv");

/// Returns the rows of `schema.tsv` that the database would make.
fn found(foreign: &mut Foreign) -> Vec<String> {
    foreign.run("SET TimeZone = 'UTC'");
    let rows = foreign.ask(&format!(
        "SELECT string_agg(concat_ws(E'\\t', kind, table_name, name, shape, printed, repair_sql), E'\\n') \
         FROM ({QUERY}) AS made"
    ));
    rows.lines().map(str::to_owned).collect()
}

/// What is named, whether it stops a server or not.
pub(crate) fn damage(address: &DatabaseAddress) -> Vec<String> {
    let found = check(address, TIMEOUTS, &main(), false).expect("the database is there");
    [found.damage, found.warnings].concat()
}

pub(crate) fn stops_a_server(address: &DatabaseAddress) -> bool {
    let found = check(address, TIMEOUTS, &main(), false).expect("the database is there");
    !found.damage.is_empty()
}

/// Lets the owner do what each message says has to be done first.
fn follow(foreign: &mut Foreign, damage: &[String]) {
    for line in damage {
        if let Some((_, first)) = line.split_once("(first ") {
            let first = first.split(". Run").next().expect("a statement");
            foreign.run(first.strip_suffix(')').expect("a bracket"));
        }
    }
}

#[test]
fn the_repository_has_the_shapes_of_a_new_schema() {
    let place = Place::new(DatabaseKind::Postgres);
    let (is, should) = (found(&mut place.foreign()), NEW.lines().collect::<Vec<_>>());
    let folder = "crates/kairanban-store/src/start/damage/postgres";
    assert!(
        is == should,
        "migrate a new database of Postgres 15, and PGTZ=UTC psql -X -qAt -F $'\\t' \
         -f {folder}/schema.sql DATABASE > {folder}/schema.tsv\n{:#?}",
        BTreeSet::from_iter(is.iter().map(String::as_str))
            .symmetric_difference(&BTreeSet::from_iter(should))
    );
}

/// Of each kind all at once.
#[test]
fn each_part_that_is_dropped_is_named_and_made_again() {
    let place = Place::new(DatabaseKind::Postgres);
    let mut foreign = place.foreign();
    let kinds: BTreeSet<_> = NEW
        .lines()
        .filter_map(|row| row.split('\t').next())
        .collect();
    for kind in kinds {
        let mut named = Vec::new();
        let rows = NEW
            .lines()
            .filter(|row| row.split('\t').next() == Some(kind));
        for row in rows {
            let columns: Vec<_> = row.split('\t').collect();
            let (table, name) = (columns[1], columns[2]);
            let drop = match kind {
                "default" => format!("ALTER TABLE {table} ALTER {name} DROP DEFAULT"),
                // With it goes a sequence that is named itself.
                "identity" if table == "topics" => continue,
                "identity" => format!("ALTER TABLE {table} ALTER {name} DROP IDENTITY"),
                "NOT NULL" => format!(
                    "UPDATE pg_attribute SET attnotnull = false \
                     WHERE attrelid = '{table}'::regclass AND attname = '{name}'"
                ),
                "index" => format!("DROP INDEX {name}"),
                "function" => format!(
                    "UPDATE pg_proc SET prosrc = prosrc || ' ' WHERE proname = '{name}' \
                     AND pronamespace = 'public'::regnamespace"
                ),
                "trigger" => format!("DROP TRIGGER \"{name}\" ON {table}"),
                "CHECK" | "foreign key" | "primary key" | "unique constraint" => {
                    format!("ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name} CASCADE")
                }
                _ => continue,
            };
            foreign.run(&drop);
            named.push(format!("the {kind} {name}"));
        }
        let said = damage(&place.address).join("\n");
        for name in named {
            assert!(said.contains(&name), "{name}: {said}");
        }
        // Without these there may be values of others that a server copes with.
        let lets_in = ["CHECK", "NOT NULL", "foreign key"].contains(&kind);
        let is_kept = ["table", "column", "sequence"].contains(&kind);
        assert_eq!(
            stops_a_server(&place.address),
            !lets_in && !is_kept,
            "{kind}"
        );
        repair(&place.address, TIMEOUTS).expect("repaired");
        // What is replaced loses its path, and gets it back by the second time.
        assert_eq!(damage(&place.address), Vec::<String>::new(), "{kind}");
        assert!(
            found(&mut foreign) == NEW.lines().collect::<Vec<_>>(),
            "{kind}"
        );
    }
}

#[test]
fn each_part_that_is_another_one_is_named_with_what_helps() {
    let place = Place::new(DatabaseKind::Postgres);
    let mut foreign = place.foreign();
    for (change, named) in [
        (
            "ALTER TABLE changes ALTER topic_id TYPE integer",
            "the column changes.topic_id is integer instead of bigint (first ALTER TABLE changes",
        ),
        (
            "ALTER TABLE tickets ALTER client TYPE varchar(3)",
            "the column tickets.client is character varying(3) instead of text",
        ),
        (
            "ALTER TABLE idempotency SET UNLOGGED",
            "the table idempotency is unlogged instead of logged",
        ),
        (
            "ALTER SEQUENCE changes_id_seq CACHE 20",
            "the sequence changes_id_seq does not count one by one",
        ),
        (
            "ALTER TABLE topics DROP CONSTRAINT topics_id_check, ADD CONSTRAINT topics_id_check \
             CHECK (id <> 7)",
            "the CHECK topics_id_check of topics is not kairanban's",
        ),
        (
            "DROP INDEX topics_live; CREATE INDEX topics_live ON topics (board_id, id) \
             WHERE archived",
            "the index topics_live of topics is not kairanban's",
        ),
        (
            "ALTER TABLE idempotency DROP CONSTRAINT idempotency_pkey, \
             ADD CONSTRAINT idempotency_pkey PRIMARY KEY (board_id, key, request)",
            "the primary key idempotency_pkey of idempotency is not kairanban's",
        ),
        (
            "CREATE OR REPLACE FUNCTION topics_deleted() RETURNS trigger LANGUAGE plpgsql \
             AS 'BEGIN RETURN NULL; END'",
            "the function topics_deleted is not kairanban's",
        ),
        (
            "DROP TRIGGER topics_applied ON topics; CREATE TRIGGER topics_applied \
             AFTER INSERT ON topics FOR EACH ROW EXECUTE FUNCTION topics_applied()",
            "the trigger topics_applied of topics is not kairanban's",
        ),
        (
            "DROP TRIGGER topics_applied_update ON topics; CREATE TRIGGER topics_applied_update \
             AFTER UPDATE ON topics FOR EACH ROW WHEN (old.id = 7) EXECUTE FUNCTION \
             topics_applied()",
            "the trigger topics_applied_update of topics is not kairanban's",
        ),
    ] {
        foreign.run(change);
        let said = damage(&place.address);
        assert!(
            said.iter().any(|line| line.contains(named)),
            "{change}: {said:?}"
        );
        follow(&mut foreign, &said);
        repair(&place.address, TIMEOUTS).expect("repaired");
        assert_eq!(damage(&place.address), Vec::<String>::new(), "{change}");
        assert!(
            found(&mut foreign) == NEW.lines().collect::<Vec<_>>(),
            "{change}"
        );
    }
}

/// A server draws ids before it writes their rows.
#[test]
fn an_identity_that_takes_no_ids_is_named_and_set_back() {
    let place = Place::new(DatabaseKind::Postgres);
    let mut foreign = place.foreign();
    for table in ["topics", "boards", "tokens"] {
        foreign.run(&format!(
            "ALTER TABLE {table} ALTER id SET GENERATED ALWAYS"
        ));
        let named = format!("the identity id of {table} is not generated as it should be");
        assert_eq!(damage(&place.address), [named]);
        repair(&place.address, TIMEOUTS).expect("repaired");
        assert_eq!(damage(&place.address), Vec::<String>::new(), "{table}");
    }
}

#[test]
fn what_the_owner_added_is_no_damage() {
    let place = Place::new(DatabaseKind::Postgres);
    let mut foreign = place.foreign();
    foreign.run(
        "ALTER TABLE topics ADD COLUMN votes INTEGER NOT NULL DEFAULT 0 CHECK (votes >= 0); \
         CREATE UNIQUE INDEX of_the_owners ON boards (title, name); \
         ALTER TABLE boards ALTER post SET DEFAULT 'closed'; \
         CREATE TABLE votes (id BIGINT GENERATED ALWAYS AS IDENTITY, topic BIGINT \
         REFERENCES topics); \
         ALTER INDEX topics_board RENAME TO owners_name; \
         ALTER TABLE tokens RENAME CONSTRAINT tokens_digest_key TO owners_key; \
         CREATE FUNCTION moderate() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; \
         CREATE TRIGGER moderate BEFORE INSERT ON topics FOR EACH ROW EXECUTE FUNCTION moderate(); \
         CREATE FUNCTION stamp_last(n int) RETURNS int LANGUAGE sql AS 'SELECT n'; \
         CREATE FUNCTION stamp_last(VARIADIC n int[]) RETURNS int LANGUAGE sql AS 'SELECT 1'; \
         CREATE FUNCTION classified_write(text, text) RETURNS int LANGUAGE sql AS 'SELECT 1'; \
         CREATE FUNCTION channel_name(text) RETURNS text LANGUAGE sql AS 'SELECT $1'",
    );
    assert_eq!(damage(&place.address), Vec::<String>::new());
    // What has only the name of one of ours stays as the owner made it.
    foreign.run("UPDATE pg_proc SET prosrc = ' ' || prosrc WHERE proname = 'stamp_last'");
    let said = damage(&place.address).join(" ");
    assert!(said.contains("the function stamp_last"), "{said}");
    repair(&place.address, TIMEOUTS).expect("repaired");
    assert_eq!(damage(&place.address), Vec::<String>::new());
    let theirs = "SELECT count(*) FROM pg_proc WHERE proname IN ('stamp_last', 'channel_name') \
        AND NOT prosecdef AND has_function_privilege('public', oid, 'EXECUTE')";
    assert_eq!(foreign.ask(theirs), "3");
    assert_eq!(create(&place, "after").comment, "after");
}

/// A call of `stamp_last()` means neither it nor `stamp_last(n int DEFAULT 0)`.
#[test]
fn a_function_that_makes_calls_of_ours_ambiguous_is_named() {
    let place = Place::new(DatabaseKind::Postgres);
    let mut foreign = place.foreign();
    for signature in [
        "stamp_last(n int DEFAULT 0)",
        "move_topic_ids(n int DEFAULT 0, m text DEFAULT '')",
        "transaction_begun(n int DEFAULT 0)",
        "classified_write(a text, b jsonb, c int DEFAULT 0)",
    ] {
        foreign.run(&format!(
            "CREATE FUNCTION {signature} RETURNS void LANGUAGE sql AS 'SELECT'"
        ));
        let name = signature.split('(').next().unwrap_or_default();
        let said = damage(&place.address).join(" ");
        assert!(
            said.contains(&format!("calls of kairanban's {name}(")),
            "{said}"
        );
        let (_, advice) = said.split_once("(first ").expect("advice");
        foreign.run(advice.strip_suffix(')').expect("a bracket"));
        assert_eq!(damage(&place.address), Vec::<String>::new(), "{signature}");
    }
}

/// Our functions run by the rights of the owner, from whom row-level security hides rows if it is
/// forced.
#[test]
fn row_level_security_that_is_forced_on_an_ordinary_owner_is_named() {
    let place = Place::new(DatabaseKind::Postgres);
    let mut foreign = place.foreign();
    let owner = format!("owner_{}", foreign.ask("SELECT current_database()"));
    foreign.run(&format!(
        "CREATE ROLE {owner}; GRANT ALL ON SCHEMA public TO {owner}"
    ));
    for table in ["transactions", "changes"] {
        foreign.run(&format!(
            "ALTER TABLE {table} OWNER TO {owner}; ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"
        ));
        check(&place.address, TIMEOUTS, &main(), false).expect("it is not for owners");
        foreign.run(&format!("ALTER TABLE {table} FORCE ROW LEVEL SECURITY"));
        let error = check(&place.address, TIMEOUTS, &main(), false).expect_err("hidden rows");
        let advice = format!("ALTER TABLE {table} DISABLE ROW LEVEL SECURITY");
        assert!(error.to_string().contains(&advice), "{error}");
        foreign.run(&advice);
    }
    foreign.run(&format!(
        "REASSIGN OWNED BY {owner} TO postgres; DROP OWNED BY {owner}; DROP ROLE {owner}"
    ));
}

/// What the sessions of a database are set to changes how its objects are printed, not what they
/// are.
#[test]
fn settings_of_the_database_are_no_damage() {
    for setting in [
        "quote_all_identifiers = on",
        "DateStyle = 'German'",
        "TimeZone = 'Asia/Tokyo'",
    ] {
        let url = new_database();
        let (_, database) = url.rsplit_once('/').expect("a database");
        let mut foreign = Foreign::postgres(&url);
        let address = url.parse().expect("an address");
        foreign.run(&format!("ALTER DATABASE {database} SET {setting}"));
        for is_set in [true, false] {
            migrate(&address, TIMEOUTS, &main(), false).expect("migrated");
            assert_eq!(damage(&address), Vec::<String>::new(), "{setting} {is_set}");
            let repaired = repair(&address, TIMEOUTS).expect("nothing to repair");
            assert_eq!(repaired, Vec::<String>::new(), "{setting} {is_set}");
            foreign.run(&format!("ALTER DATABASE {database} RESET ALL"));
        }
    }
}

/// No statement takes a constraint from a table of SQLite; a tool that makes it again may.
#[test]
fn a_file_with_tables_that_lack_a_constraint_is_named() {
    let place = Place::new(DatabaseKind::Sqlite);
    let mut foreign = place.foreign();
    for (n, (table, constraint, stops)) in [
        ("topics", "CHECK (id BETWEEN 1 AND 9007199254740991)", false),
        ("topics", "REFERENCES boards ON DELETE CASCADE", false),
        ("boards", "DEFAULT ''", false),
        ("idempotency", "PRIMARY KEY (board_id, key)", true),
        ("boards", "UNIQUE", true),
    ]
    .into_iter()
    .enumerate()
    {
        let made = foreign.ask(&format!(
            "SELECT sql FROM sqlite_schema WHERE name = '{table}'"
        ));
        let is_of_table = constraint.starts_with("PRIMARY");
        let lacks = made.replacen(constraint, if is_of_table { "CHECK (1)" } else { " " }, 1);
        assert_ne!(made, lacks, "{table} has no {constraint}");
        let no_index = format!("name LIKE 'sqlite_autoindex_{table}%'");
        set_text(
            &mut foreign,
            table,
            &lacks,
            if stops { &no_index } else { "false" },
        );
        let said = damage(&place.address).join("\n");
        let named = said.contains(&format!("the table {table} lacks"));
        assert!(
            named && said.contains("lang_altertable"),
            "{constraint}: {said}"
        );
        assert_eq!(stops_a_server(&place.address), stops, "{constraint}");
        if stops {
            continue;
        }
        // Written otherwise, and with more columns.
        let other = made.replacen('\n', "  \n -- ours\n", 1);
        set_text(&mut foreign, table, &other, "false");
        foreign.run(&format!("ALTER TABLE {table} ADD COLUMN owners_{n} TEXT"));
        assert_eq!(damage(&place.address), Vec::<String>::new(), "{table}");
    }
    foreign.run("DROP INDEX topics_board; CREATE INDEX topics_board ON topics (comment)");
    let said = damage(&place.address).join("\n");
    assert!(said.contains("first DROP INDEX topics_board"), "{said}");
}

pub(crate) fn set_text(foreign: &mut Foreign, table: &str, text: &str, without: &str) {
    let text = text.replace('\'', "''");
    foreign.run(&format!(
        "PRAGMA writable_schema = ON; \
         UPDATE sqlite_schema SET sql = '{text}' WHERE name = '{table}'; \
         DELETE FROM sqlite_schema WHERE {without}; \
         PRAGMA writable_schema = RESET"
    ));
}
