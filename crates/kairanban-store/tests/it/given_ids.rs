//! Ids that other programs bring along, and values that they leave out, on Postgres.

use std::{collections::BTreeSet, thread};

use crate::{
    contract::futures,
    place::{DatabaseKind, Foreign, Place, create, post, run, written_topic},
};

fn place() -> (Place, Foreign) {
    let place = Place::new(DatabaseKind::Postgres);
    let mut foreign = place.foreign();
    foreign.run("INSERT INTO identity VALUES ('default_board', '1') ON CONFLICT DO NOTHING");
    (place, foreign)
}

/// Each way in which rows arrive with ids of their own; the next topic is behind them all.
#[test]
fn a_later_topic_is_never_below_ids_that_were_given() {
    let (place, mut foreign) = place();
    let ways = [
        "INSERT INTO topics (id, board_id, comment) \
         VALUES ($ + 1, 1, 'x'), ($ + 3, 1, 'x'), ($ + 2, 1, 'x')",
        "INSERT INTO topics (id, board_id, comment) SELECT g, 1, 'x' \
         FROM generate_series($ + 1, $ + 500) g",
        "INSERT INTO topics (id, board_id, comment) OVERRIDING SYSTEM VALUE \
         VALUES ($ + 900, 1, 'x')",
        "INSERT INTO topics (id, board_id, comment) VALUES ($ + 1000000, 1, 'x')",
        "INSERT INTO topics (id, board_id, comment) VALUES ($ + 4294967296, 1, 'x')",
        "UPDATE topics SET id = $ + 7 WHERE id = (SELECT max(id) FROM topics)",
        "UPDATE topics SET id = $ + 700000 WHERE id = (SELECT min(id) FROM topics)",
        "BEGIN; SAVEPOINT a; INSERT INTO topics (id, board_id, comment) \
         VALUES ($ + 12, 1, 'x'); RELEASE a; COMMIT",
        "COPY (SELECT $ + 21, 1, 'x') TO '/tmp/kairanban-ids-test'; COPY topics (id, board_id, \
         comment) FROM '/tmp/kairanban-ids-test'",
    ];
    for way in ways {
        let largest = foreign.ask("SELECT coalesce(max(id), 0) FROM topics");
        foreign.run(&way.replace('$', &format!("{largest}::bigint")));
        let largest = foreign.number("SELECT max(id) FROM topics");
        let next = create(&place, "next").id.0;
        assert!(next > largest, "{way}: {next} after {largest}");
        assert_eq!(
            place.comments().last().map(String::as_str),
            Some("next"),
            "{way}"
        );
    }
}

#[test]
fn an_id_that_would_leave_no_room_is_refused() {
    let (place, mut foreign) = place();
    let first = create(&place, "a").id.0;
    for (table, columns, values) in [
        ("topics", "board_id, comment", "1, 'x'"),
        ("boards", "name", "'far'"),
        ("tokens", "name, digest, scope", "'x', 'x', 'read'"),
    ] {
        for id in ["9007199254740991", "4294999999", "9223372036854775807"] {
            let insert = format!("INSERT INTO {table} (id, {columns}) VALUES ({id}, {values})");
            let error = foreign.refused(&insert);
            assert!(
                error.contains("too far ahead") || error.contains("check"),
                "{insert}: {error}"
            );
        }
    }
    foreign.refused(&format!(
        "UPDATE topics SET id = 9007199254740991 WHERE id = {first}"
    ));
    foreign.refused("INSERT INTO topics (id, board_id, comment) VALUES (0, 1, 'x')");
    assert_eq!(create(&place, "b").id.0, first + 1);
}

/// A sequence stays moved when the row that moved it is refused, or rolled back.
#[test]
fn rows_that_are_refused_do_not_use_up_the_ids() {
    let (place, mut foreign) = place();
    let first = create(&place, "a").id.0;
    foreign.run("UPDATE boards SET id = id");
    for (table, columns, values, counter) in [
        ("topics", "board_id, comment", "1, NULL", "topics_id_seq"),
        ("boards", "name", "NULL", "boards_id_seq"),
        (
            "tokens",
            "name, digest, scope",
            "'x', 'x', 'nothing'",
            "tokens_id_seq",
        ),
    ] {
        for step in 1..50_i64 {
            let id = first + step * 4_294_967_000;
            foreign.refused(&format!(
                "INSERT INTO {table} (id, {columns}) VALUES ({id}, {values})"
            ));
        }
        let moved = foreign.number(&format!("SELECT last_value FROM {counter}"));
        assert!(moved <= first + 4_294_967_296, "{table}: {moved}");
    }
    assert!(create(&place, "b").id.0 <= first + 4_294_967_297);
}

/// Imports rows with ids from `first` on, in steps.
fn import(mut foreign: Foreign, first: i64, step: i64) {
    for n in 0..40 {
        let id = first + n * step;
        foreign.run(&format!(
            "INSERT INTO topics (id, board_id, comment) SELECT g, 1, 'x' \
             FROM generate_series({id}, {id} + 20) g ON CONFLICT DO NOTHING"
        ));
    }
}

/// Takes one id after another, each greater than the one before.
fn draw_ids(mut foreign: Foreign) {
    let mut last = 0;
    for _ in 0..200 {
        foreign.run("BEGIN");
        let id = foreign.number("SELECT nextval('topics_id_seq')");
        assert!(id > last, "{id} after {last}");
        last = id;
        foreign.run(&format!(
            "INSERT INTO topics (id, board_id, comment) VALUES ({id}, 1, 'p') \
             ON CONFLICT DO NOTHING; COMMIT"
        ));
    }
}

/// Two importers with jumps and steps, and posts all the while.
#[test]
fn the_sequence_of_ids_never_goes_back() {
    let (place, mut foreign) = place();
    let importers = [(1_000_000, 250_000), (900_000, 333_333)].map(|(first, step)| {
        let foreign = place.foreign();
        thread::spawn(move || import(foreign, first, step))
    });
    let posters =
        [place.foreign(), place.foreign()].map(|foreign| thread::spawn(move || draw_ids(foreign)));
    for thread in importers.into_iter().chain(posters) {
        thread.join().expect("imported or posted");
    }
    assert_eq!(
        foreign
            .ask("SELECT count(*) FROM topics WHERE id > (SELECT last_value FROM topics_id_seq)"),
        "0"
    );
    let ids: BTreeSet<_> = (0..3)
        .map(|n| create(&place, &n.to_string()).id.0)
        .collect();
    assert_eq!(ids.len(), 3);
}

/// What was loaded while no trigger fired is passed over by a call.
#[test]
fn the_sequence_can_be_moved_behind_what_is_there() {
    let (place, mut foreign) = place();
    foreign.run(
        "ALTER TABLE topics DISABLE TRIGGER USER; \
        INSERT INTO topics (id, board_id, comment) VALUES (500, 1, 'x')",
    );
    foreign.run("ALTER TABLE topics ENABLE TRIGGER USER");
    assert_eq!(foreign.ask("SELECT move_topic_ids()"), "500");
    assert_eq!(create(&place, "a").id.0, 501);
}

/// Rows that came without the triggers, with gaps: a post among them would be archived before it
/// was seen.
#[test]
fn a_post_is_behind_what_came_without_the_triggers() {
    let (place, mut foreign) = place();
    let (writer, _) = place.writer();
    let gaps: [&[i64]; 6] = [&[1], &[2], &[1, 3], &[2, 3, 5], &[3, 9], &[2, 40, 41, 300]];
    for (gap, posts) in gaps.iter().flat_map(|gap| [(gap, 1), (gap, 2), (gap, 7)]) {
        let next = foreign.number("SELECT last_value FROM topics_id_seq");
        let rows: Vec<_> = gap
            .iter()
            .map(|ahead| format!("({}, 1, 'imported')", next + ahead))
            .collect();
        foreign.run(&format!(
            "ALTER TABLE topics DISABLE TRIGGER USER; \
             INSERT INTO topics (id, board_id, comment) VALUES {}",
            rows.join(", ")
        ));
        foreign.run("ALTER TABLE topics ENABLE TRIGGER USER");
        let largest = foreign.number("SELECT max(id) FROM topics");
        for answer in run(futures((0..posts).map(|_| writer.write(post("a"))))) {
            let id = written_topic(answer).id.0;
            assert!(id > largest, "{gap:?}, {posts}: {id} after {largest}");
        }
    }
}

/// Columns `table.column` of ours that satisfy a condition.
fn columns(foreign: &mut Foreign, condition: &str) -> Vec<(String, String)> {
    let columns = foreign.ask(&format!(
        "SELECT string_agg(table_name || '.' || column_name, ' ' \
         ORDER BY table_name, ordinal_position) \
         FROM information_schema.columns WHERE table_schema = current_schema() \
         AND table_name IN ('boards', 'topics', 'tokens') AND {condition}"
    ));
    columns
        .split(' ')
        .map(|column| column.split_once('.').expect("a column"))
        .map(|(table, column)| (table.to_owned(), column.to_owned()))
        .collect()
}

#[track_caller]
fn assert_no_null(foreign: &mut Foreign, table: &str, column: &str) {
    let nulls = format!("SELECT count(*) FROM {table} WHERE {column} IS NULL");
    assert_eq!(foreign.ask(&nulls), "0", "{table}.{column}");
}

/// Each column that has a default, on its own and with NULL, by INSERT and by UPDATE.
#[test]
fn null_counts_as_not_given() {
    let (place, mut foreign) = place();
    let have_defaults = "is_nullable = 'NO' AND (column_default IS NOT NULL \
        OR is_identity = 'YES' OR column_name = 'board_id')";
    let all = columns(&mut foreign, have_defaults);
    for (n, (table, column)) in all.iter().enumerate() {
        let (required, values) = match table.as_str() {
            "boards" => ("name", format!("'b{n}'")),
            "topics" => ("comment", format!("'c{n}'")),
            _ => ("name, digest, scope", format!("'t{n}', 'd{n}', 'read'")),
        };
        foreign.run(&format!(
            "INSERT INTO {table} ({required}, {column}) VALUES ({values}, NULL)"
        ));
        assert_no_null(&mut foreign, table, column);
        if !matches!(column.as_str(), "id" | "board_id") {
            foreign.run(&format!("UPDATE {table} SET {column} = NULL"));
            assert_no_null(&mut foreign, table, column);
        }
    }
    assert!(!place.comments().is_empty());
}

#[test]
fn a_topic_without_a_board_is_refused_where_no_board_is_the_default() {
    let (_, mut foreign) = place();
    foreign.run("DELETE FROM identity WHERE key = 'default_board'");
    let error = foreign.refused("INSERT INTO topics (comment) VALUES ('nowhere')");
    assert!(error.contains("there is no default board"), "{error}");
}

/// Makes a change to a topic that was never edited. Returns when the database says that it was.
fn edited_by(foreign: &mut Foreign, change: &str) -> String {
    foreign.run(&format!(
        "UPDATE topics SET edited_at = NULL; UPDATE topics SET {change}"
    ));
    foreign.ask(
        "SELECT CASE WHEN edited_at IS NULL THEN 'never' \
        WHEN edited_at > now() - interval '1 minute' THEN 'now' ELSE edited_at::text END \
        FROM topics",
    )
}

#[test]
fn that_a_topic_was_edited_is_recorded_by_what_changed() {
    let (_, mut foreign) = place();
    foreign.run(
        "INSERT INTO topics (comment, created_at, updated_at) \
        VALUES ('a', now() - interval '1 day', now())",
    );
    for change in [
        "updated_at = now()",
        "comment = 'a'",
        "edited_at = '2020-01-01'",
        "archived = false",
        "revision = 7",
    ] {
        assert_eq!(edited_by(&mut foreign, change), "never", "{change}");
    }
    for change in [
        "comment = 'b'",
        "author = 'ann'",
        "comment = 'c', edited_at = '2020-01-01'",
        "author = NULL",
    ] {
        assert_eq!(edited_by(&mut foreign, change), "now", "{change}");
    }
}

/// No value of a time that some program could not read, whatever the column.
#[test]
fn times_out_of_range_are_refused() {
    let (place, mut foreign) = place();
    create(&place, "a");
    foreign.run("INSERT INTO tokens (name, digest, scope) VALUES ('t', 'd', 'read')");
    for (table, column) in columns(&mut foreign, "data_type LIKE 'timestamp%'") {
        // A written `edited_at` is not kept unless with the row.
        if column == "edited_at" {
            continue;
        }
        for value in [
            "infinity",
            "-infinity",
            "0044-03-15 BC",
            "10000-01-01",
            "294276-12-31",
        ] {
            foreign.refused(&format!("UPDATE {table} SET {column} = '{value}'"));
        }
    }
    foreign.refused("INSERT INTO topics (comment, edited_at) VALUES ('x', 'infinity')");
}

#[test]
fn every_time_has_a_zone() {
    let (_, mut foreign) = place();
    let columns = "SELECT count(*) FROM information_schema.columns \
        WHERE table_schema = current_schema() \
        AND data_type = 'timestamp without time zone' \
        AND table_name <> '__diesel_schema_migrations'";
    assert_eq!(foreign.ask(columns), "0");
    let functions = "SELECT count(*) FROM pg_proc \
        WHERE pronamespace = quote_ident(current_schema())::regnamespace AND prosrc LIKE '%timezone(%'";
    assert_eq!(
        foreign.ask(functions),
        "0",
        "a function writes a time without its zone"
    );
}

/// A session far away from UTC writes instants, and so do we, whatever the database's own zone is,
/// behind a pooler too.
#[test]
fn every_connection_means_the_same_instant() {
    let (place, mut foreign) = place();
    let (_, name) = place.url().rsplit_once('/').expect("a database");
    foreign.run(&format!(
        "ALTER DATABASE {name} SET timezone = 'Asia/Tokyo'"
    ));
    let pooler = std::env::var("KAIRANBAN_TEST_PGBOUNCER_URL")
        .expect("KAIRANBAN_TEST_PGBOUNCER_URL; scripts/test sets it");
    let pooled = format!(
        "{}/{name}",
        pooler.rsplit_once('/').expect("a URL with a database").0
    );
    for url in [place.url().to_owned(), pooled] {
        let again = Place::at(&url);
        for program in [&mut place.foreign(), &mut Foreign::postgres(&url)] {
            program.run(
                "INSERT INTO topics (comment) VALUES ('theirs'); UPDATE topics \
                 SET comment = 'edited' WHERE comment = 'theirs'",
            );
        }
        create(&again, "ours");
        for topic in again.load().snapshot.topics() {
            let age = chrono_seconds(&format!("{:?}", topic.created_at), &mut foreign);
            assert!((-5..60).contains(&age), "{url}: {topic:?} is {age} s old");
        }
    }
}

/// How long ago a moment was, by the database.
fn chrono_seconds(moment: &str, foreign: &mut Foreign) -> i64 {
    foreign.number(&format!(
        "SELECT extract(epoch FROM now() - '{moment}'::timestamptz)::bigint"
    ))
}
