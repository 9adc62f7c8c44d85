//! What the database refuses is refused to that write alone; what it cannot do now is no refusal.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    node::{Database, Node},
    wire::{self, Answer},
};

crate::on_both!(
    a_moderating_trigger_refuses_one_post_and_no_other,
    a_spammer_costs_the_neighbours_nothing,
    a_dropped_row_is_refused,
    a_post_that_a_trigger_archives_is_shown_nowhere,
    what_an_administrator_does_is_refused_alone,
    a_constraint_that_fails_at_the_commit_refuses_its_row_alone,
    a_missing_column_is_an_outage_that_readyz_names,
    a_post_that_draws_no_revision_is_rolled_back,
    what_cannot_be_read_is_named,
    ids_that_are_used_up_are_an_outage_that_says_what_to_do,
    what_is_wrong_with_the_log_is_an_outage,
    text_that_cannot_be_searched_for_is_refused,
);

const TOPICS: &str = "/api/v1/boards/main/topics";

pub(crate) fn post(node: &Node, comment: &str) -> Answer {
    node.send(
        "POST",
        TOPICS,
        "application/json",
        serde_json::json!({ "comment": comment }).to_string(),
    )
}

/// Posts everything at once. Returns the answers in the same order.
fn post_together(node: &Node, comments: &[String]) -> Vec<Answer> {
    thread::scope(|scope| {
        let posts: Vec<_> = comments
            .iter()
            .map(|comment| scope.spawn(move || post(node, comment)))
            .collect();
        posts
            .into_iter()
            .map(|post| post.join().expect("an answer"))
            .collect()
    })
}

pub(crate) fn shown(node: &Node) -> Vec<String> {
    let list = node.get(TOPICS).json();
    let topics = list["topics"].as_array().expect("topics").iter();
    topics
        .map(|topic| topic["comment"].as_str().expect("a comment").to_owned())
        .collect()
}

/// One bad post among good ones, a few times: the good ones are all written and shown, the bad one is answered like this.
fn among_neighbours(node: &Node, bad: &str, status: u16, code: &str, detail: Option<&str>) {
    for round in 0..2 {
        let comments: Vec<_> = (0..8)
            .map(|n| {
                if n == 3 {
                    bad.to_owned()
                } else {
                    format!("good {round} {n} beside {bad}")
                }
            })
            .collect();
        for (comment, answer) in comments.iter().zip(post_together(node, &comments)) {
            if comment != bad {
                assert_eq!(answer.status, 201, "{comment}: {answer:?}");
                continue;
            }
            assert_eq!(
                (answer.status, answer.json()["code"].as_str()),
                (status, Some(code)),
                "{comment}: {answer:?}"
            );
            if let Some(detail) = detail {
                assert_eq!(answer.json()["detail"].as_str(), Some(detail), "{answer:?}");
            }
        }
        let shown = shown(node);
        for comment in comments {
            assert_eq!(
                shown.iter().filter(|there| **there == comment).count(),
                usize::from(comment != bad),
                "{comment}"
            );
        }
    }
}

/// Until `/readyz` says this.
pub(crate) fn await_readiness(node: &Node, status: u16, part: &str) {
    let end = Instant::now() + Duration::from_secs(8);
    loop {
        let answer = node.get("/readyz");
        let text = &answer.body;
        if answer.status == status && text.contains(part) {
            return;
        }
        assert!(Instant::now() < end, "{} {text}", answer.status);
        thread::park_timeout(Duration::from_millis(50));
    }
}

/// Lets a trigger run `body` before each insert of a topic whose comment begins with `word`.
fn before_insert(database: &Database, name: &str, word: &str, body: &str) {
    database.sql(&if database.is_postgres() {
        format!(
            "CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} RETURN NEW; END $$;
             CREATE TRIGGER {name} BEFORE INSERT ON topics FOR EACH ROW WHEN (NEW.comment LIKE '{word}%') EXECUTE FUNCTION {name}();"
        )
    } else {
        format!("CREATE TRIGGER {name} BEFORE INSERT ON topics WHEN NEW.comment LIKE '{word}%' BEGIN {body} END;")
    });
}

/// What is wrong with our own tables is no topic's fault: a client that is told to give up would lose its post.
fn what_is_wrong_with_the_log_is_an_outage(database: Database) {
    let node = Node::start(database);
    node.post("before");
    let (spoil, mend) = if node.database.is_postgres() {
        (
            "SELECT setval('revision_seq', 9007199254740991);",
            "TRUNCATE changes; SELECT setval('revision_seq', 1000);",
        )
    } else {
        (
            "UPDATE revisions SET newest = 9007199254740991;",
            "DELETE FROM changes; UPDATE revisions SET newest = 1000;",
        )
    };
    node.database.sql(spoil);
    assert_eq!(post(&node, "x").status, 503);
    await_readiness(&node, 503, "the revisions are used up");
    node.database.sql(mend);
    let migrated = crate::node::program()
        .args([
            "--database-url",
            &node.database.url(),
            "migrate",
            "--new-epoch",
        ])
        .output();
    assert!(migrated.expect("the program").status.success());
    await_readiness(&node, 200, "ready");
    node.post("after");
    assert!(shown(&node).contains(&"after".to_owned()));
}

/// A rule takes the place of each insert.
#[test]
fn a_rule_that_swallows_topics_is_named() {
    let node = Node::start(Database::postgres());
    node.database
        .sql("CREATE RULE none AS ON INSERT TO topics DO INSTEAD NOTHING;");
    assert_eq!(post(&node, "x").status, 503);
    await_readiness(&node, 503, "RETURNING");
    node.database.sql("DROP RULE none ON topics;");
    await_readiness(&node, 200, "ready");
    node.post("after");
}

/// Every class of SQLSTATE, as a trigger of the owner's own raises it.
#[test]
fn every_class_of_sqlstate_is_answered_as_what_it_is() {
    let node = Node::start(Database::postgres());
    before_insert(
        &node.database,
        "raise_it",
        "raise ",
        "RAISE EXCEPTION 'not this' USING ERRCODE = substr(NEW.comment, 7, 5);",
    );
    let refused = [
        "09000", "20000", "21000", "22000", "22001", "22P02", "23000", "23001", "23502", "23503",
        "23505", "23514", "23P01", "27000", "2F005", "38000", "39000", "44000", "54000", "54001",
        "P0000", "P0002", "P0003", "P0004",
    ];
    for state in refused {
        let detail = "the database refuses this; sending it again will not help";
        among_neighbours(
            &node,
            &format!("raise {state}"),
            422,
            "refused",
            Some(detail),
        );
    }
    // The owner's own words, under the code of RAISE and codes of their own.
    for state in ["P0001", "KB001", "U0001"] {
        among_neighbours(
            &node,
            &format!("raise {state}"),
            422,
            "refused",
            Some("not this"),
        );
    }
    let again = [
        "08000", "08001", "08003", "08006", "0A000", "2200H", "25000", "25006", "28000", "40001",
        "40P01", "42501", "42601", "42703", "42883", "42P01", "53000", "53100", "53200", "53300",
        "55000", "55006", "55P03", "57014", "57P01", "57P03", "58000", "58030", "XX000", "XX001",
    ];
    for state in again {
        among_neighbours(&node, &format!("raise {state}"), 503, "unavailable", None);
    }
    await_readiness(&node, 200, "ready");
}

/// The languages of a trigger's ways to refuse a row.
fn a_moderating_trigger_refuses_one_post_and_no_other(database: Database) {
    let node = Node::start(database);
    if node.database.is_postgres() {
        before_insert(
            &node.database,
            "moderate",
            "spam",
            "RAISE EXCEPTION 'no advertisements, %', NEW.author;",
        );
        before_insert(
            &node.database,
            "cast_it",
            "cast",
            "PERFORM NEW.comment::int;",
        );
        among_neighbours(&node, "spam", 422, "refused", Some("no advertisements, "));
        among_neighbours(
            &node,
            "cast",
            422,
            "refused",
            Some("the database refuses this; sending it again will not help"),
        );
        node.database
            .sql("ALTER TABLE topics ADD CONSTRAINT clean CHECK (comment NOT LIKE 'dirt%');");
        among_neighbours(&node, "dirt", 422, "refused", None);
    } else {
        for action in ["ABORT", "FAIL", "ROLLBACK"] {
            before_insert(
                &node.database,
                &action.to_lowercase(),
                action,
                &format!("SELECT RAISE({action}, 'not ''this''');"),
            );
            among_neighbours(&node, action, 422, "refused", Some("not 'this'"));
        }
        node.database.sql(
            "CREATE TABLE once (word TEXT NOT NULL PRIMARY KEY CHECK (word <> 'check me')) STRICT;",
        );
        before_insert(
            &node.database,
            "check_it",
            "check",
            "INSERT INTO once VALUES (NEW.comment);",
        );
        before_insert(
            &node.database,
            "null_it",
            "null",
            "INSERT INTO once VALUES (NULL);",
        );
        before_insert(
            &node.database,
            "type_it",
            "type",
            "INSERT INTO once VALUES (x'00');",
        );
        before_insert(
            &node.database,
            "json_it",
            "json",
            "SELECT json(NEW.comment);",
        );
        node.database.sql("INSERT INTO once VALUES ('unique');");
        before_insert(
            &node.database,
            "unique_it",
            "unique",
            "INSERT INTO once VALUES (NEW.comment);",
        );
        for bad in ["check me", "null", "type", "json", "unique"] {
            among_neighbours(
                &node,
                bad,
                422,
                "refused",
                Some("the database refuses this; sending it again will not help"),
            );
        }
    }
    await_readiness(&node, 200, "ready");
}

/// One of four posters is always refused: the other three do not notice.
fn a_spammer_costs_the_neighbours_nothing(database: Database) {
    let node = Node::start(database);
    let body = if node.database.is_postgres() {
        "RAISE EXCEPTION 'no';"
    } else {
        "SELECT RAISE(ABORT, 'no');"
    };
    before_insert(&node.database, "moderate", "spam", body);
    thread::scope(|scope| {
        for poster in 0..4 {
            let node = &node;
            scope.spawn(move || {
                for n in 0..20 {
                    let (comment, expected) = if poster == 0 {
                        ("spam".to_owned(), 422)
                    } else {
                        (format!("{poster}-{n}"), 201)
                    };
                    let answer = post(node, &comment);
                    assert_eq!(answer.status, expected, "{comment}: {answer:?}");
                }
            });
        }
    });
    let shown = shown(&node);
    assert_eq!(shown.len(), 60);
    assert!((1..4).all(|poster| (0..20).all(|n| shown.contains(&format!("{poster}-{n}")))));
}

fn a_dropped_row_is_refused(database: Database) {
    let node = Node::start(database);
    let body = if node.database.is_postgres() {
        "RETURN NULL;"
    } else {
        "SELECT RAISE(IGNORE);"
    };
    before_insert(&node.database, "drop_it", "drop", body);
    among_neighbours(&node, "drop me", 422, "refused", None);
    // And one that goes again as soon as it is there.
    node.database.sql(&if node.database.is_postgres() {
        "CREATE FUNCTION take() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM topics WHERE id = NEW.id; RETURN NULL; END $$;
         CREATE TRIGGER take AFTER INSERT ON topics FOR EACH ROW WHEN (NEW.comment = 'take me') EXECUTE FUNCTION take();"
            .to_owned()
    } else {
        "CREATE TRIGGER take AFTER INSERT ON topics WHEN NEW.comment = 'take me' BEGIN DELETE FROM topics WHERE id = NEW.id; END;"
            .to_owned()
    });
    among_neighbours(&node, "take me", 422, "refused", None);
}

/// A moderator that puts posts away at once: the node that took them shows what every other one shows.
fn a_post_that_a_trigger_archives_is_shown_nowhere(database: Database) {
    let node = Node::start(database);
    // One server for a SQLite file.
    let other = node.database.is_postgres().then(|| node.sibling());
    if node.database.is_postgres() {
        before_insert(&node.database, "put_away", "spam", "NEW.archived := true;");
    } else {
        let put_away = "CREATE TRIGGER put_away AFTER INSERT ON topics WHEN NEW.comment LIKE 'spam%' BEGIN \
            UPDATE topics SET archived = 1 WHERE id = NEW.id; END;";
        node.database.sql(put_away);
    }
    let mut stream = node.stream("/b/main/stream?format=list");
    assert_eq!(stream.event().json()["contents"], serde_json::json!([]));
    assert_eq!(post(&node, "spam").status, 201);
    let id = node.post("fine");
    for node in std::iter::once(&node).chain(&other) {
        assert_eq!(shown(node), ["fine"]);
    }
    let contents = serde_json::json!([{ "id": id, "comment": "fine" }]);
    while stream.event().json()["contents"] != contents {}
}

/// Each statement of each command, refused by a trigger.
fn what_an_administrator_does_is_refused_alone(database: Database) {
    let node = Node::start(database);
    let token = node.token(&["create", "--scope", "admin", "--name", "ann"]);
    let send = |method: &str, path: &str, body: &str| node.send_as(method, path, &token, &[], body);
    let (id, gone) = (node.post("a"), node.post("gone"));
    let (kept, deleted) = (format!("{TOPICS}/{id}"), format!("{TOPICS}/{gone}"));
    assert_eq!(
        send("POST", "/api/v1/boards", r#"{"name":"old"}"#).status,
        201
    );
    assert_eq!(send("DELETE", &deleted, "").status, 204);
    let made = send("POST", "/api/v1/tokens", r#"{"name":"t","scope":"post"}"#);
    assert_eq!(made.status, 201, "{made:?}");
    let revoke = format!("/api/v1/tokens/{}", made.json()["id"]);
    let restore = format!("{deleted}/restore");
    let commands = [
        (
            "topics",
            "UPDATE",
            "PATCH",
            kept.as_str(),
            r#"{"comment":"b"}"#,
            200,
        ),
        ("topics", "DELETE", "DELETE", &kept, "", 204),
        ("topics", "INSERT", "POST", &restore, "", 200),
        ("deleted_topics", "INSERT", "DELETE", &deleted, "", 204),
        (
            "boards",
            "INSERT",
            "POST",
            "/api/v1/boards",
            r#"{"name":"newer"}"#,
            201,
        ),
        (
            "boards",
            "UPDATE",
            "PATCH",
            "/api/v1/boards/old",
            r#"{"title":"t"}"#,
            200,
        ),
        ("boards", "DELETE", "DELETE", "/api/v1/boards/old", "", 204),
        (
            "tokens",
            "INSERT",
            "POST",
            "/api/v1/tokens",
            r#"{"name":"n","scope":"post"}"#,
            201,
        ),
        ("tokens", "UPDATE", "DELETE", &revoke, "", 204),
        (
            "audit",
            "INSERT",
            "POST",
            "/api/v1/boards",
            r#"{"name":"audited"}"#,
            201,
        ),
    ];
    for (table, operation, method, path, body, good) in commands {
        let (refuse, allow) = if node.database.is_postgres() {
            (
                format!(
                    "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                     IF to_jsonb(OLD) ->> 'revision' IS DISTINCT FROM to_jsonb(NEW) ->> 'revision' AND TG_OP = 'UPDATE'
                     THEN RETURN NEW; END IF; RAISE EXCEPTION 'not {table}'; END $$;
                     CREATE TRIGGER refuse BEFORE {operation} ON {table} FOR EACH ROW EXECUTE FUNCTION refuse();"
                ),
                format!("DROP TRIGGER refuse ON {table}; DROP FUNCTION refuse();"),
            )
        } else {
            let of = if (table, operation) == ("topics", "UPDATE") {
                "UPDATE OF comment"
            } else {
                operation
            };
            let of = if (table, operation) == ("tokens", "UPDATE") {
                "UPDATE OF revoked_at"
            } else {
                of
            };
            (
                format!(
                    "CREATE TRIGGER refuse BEFORE {of} ON {table} BEGIN SELECT RAISE(ABORT, 'not {table}'); END;"
                ),
                "DROP TRIGGER refuse;".to_owned(),
            )
        };
        node.database.sql(&refuse);
        let neighbours: Vec<_> = (0..4)
            .map(|n| format!("beside {table} {operation} {n}"))
            .collect();
        let answer = thread::scope(|scope| {
            let refused = scope.spawn(|| send(method, path, body));
            if (table, operation) != ("topics", "INSERT") {
                let answers = post_together(&node, &neighbours);
                assert!(
                    answers.iter().all(|answer| answer.status == 201),
                    "{table} {operation}: {answers:?}"
                );
            }
            refused.join().expect("an answer")
        });
        assert_eq!(
            (answer.status, answer.json()["code"].as_str()),
            (422, Some("refused")),
            "{table} {operation}: {answer:?}"
        );
        assert_eq!(
            answer.json()["detail"].as_str(),
            Some(format!("not {table}").as_str())
        );
        node.database.sql(&allow);
        let answer = send(method, path, body);
        assert_eq!(
            answer.status, good,
            "{table} {operation} afterwards: {answer:?}"
        );
    }
}

fn a_constraint_that_fails_at_the_commit_refuses_its_row_alone(database: Database) {
    let node = Node::start(database);
    if node.database.is_postgres() {
        node.database.sql(
            "CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'too late'; END $$;
             CREATE CONSTRAINT TRIGGER late AFTER INSERT ON topics DEFERRABLE INITIALLY DEFERRED
                 FOR EACH ROW WHEN (NEW.comment = 'late') EXECUTE FUNCTION late();",
        );
        among_neighbours(&node, "late", 422, "refused", Some("too late"));
    } else {
        node.database.sql(
            "CREATE TABLE known (word TEXT PRIMARY KEY);
             CREATE TABLE said (word TEXT REFERENCES known DEFERRABLE INITIALLY DEFERRED);",
        );
        before_insert(
            &node.database,
            "say",
            "late",
            "INSERT INTO said VALUES (NEW.comment);",
        );
        among_neighbours(&node, "late", 422, "refused", None);
    }
}

/// What the server itself needs: never a 4xx, or clients would throw their posts away.
fn a_missing_column_is_an_outage_that_readyz_names(database: Database) {
    let node = Node::start(database);
    node.post("before");
    let steps = [
        (
            "ALTER TABLE idempotency RENAME TO away;",
            "ALTER TABLE away RENAME TO idempotency;",
            "idempotency",
        ),
        (
            "ALTER TABLE idempotency RENAME COLUMN request TO away;",
            "ALTER TABLE idempotency RENAME COLUMN away TO request;",
            "request",
        ),
    ];
    for (take, give, name) in steps {
        node.database.sql(take);
        let answer = wire::request(
            node.address,
            "POST",
            "/",
            &[("Content-Type", "text/plain"), ("Idempotency-Key", name)],
            b"keyed",
        );
        assert_eq!(answer.status, 503, "{answer:?}");
        await_readiness(&node, 503, name);
        node.database.sql(give);
        // Without any write.
        await_readiness(&node, 200, "ready");
    }
    node.post("after");
}

/// By what is missing, and not as a database that is away; also if only some requests read it.
fn what_cannot_be_read_is_named(database: Database) {
    let node = Node::start(database);
    node.post("before");
    for (table, column) in [
        ("changes", "kind"),
        ("topics", "author"),
        ("tokens", "scope"),
    ] {
        node.database.sql(&format!(
            "ALTER TABLE {table} RENAME COLUMN {column} TO away;"
        ));
        node.send_as("GET", "/api/v1/tokens", "kb_made_up", &[], "");
        node.get(&format!("{TOPICS}?q=before"));
        await_readiness(&node, 503, column);
        let text = node.get("/readyz").body;
        assert!(
            text.contains("kairanban migrate") && !text.contains("is away"),
            "{table}: {text}"
        );
        node.database.sql(&format!(
            "ALTER TABLE {table} RENAME COLUMN away TO {column};"
        ));
        await_readiness(&node, 200, "ready");
    }
    node.post("after");
}

/// Never a 4xx: each post would fare the same until the owner moves the sequence.
fn ids_that_are_used_up_are_an_outage_that_says_what_to_do(database: Database) {
    let node = Node::start(database);
    node.post("before");
    let ends: &[&str] = if node.database.is_postgres() {
        &["SELECT setval('topics_id_seq', 9007199254740991);"]
    } else {
        &[
            "UPDATE sqlite_sequence SET seq = 9007199254740991 WHERE name = 'topics';",
            "UPDATE sqlite_sequence SET seq = 9223372036854775807 WHERE name = 'topics';",
        ]
    };
    let back = if node.database.is_postgres() {
        "SELECT setval('topics_id_seq', max(id)) FROM topics;"
    } else {
        "UPDATE sqlite_sequence SET seq = (SELECT max(id) FROM topics) WHERE name = 'topics';"
    };
    for end in ends {
        node.database.sql(end);
        for answer in post_together(&node, &["a".to_owned(), "b".to_owned(), "c".to_owned()]) {
            assert_eq!(answer.status, 503, "{answer:?}");
        }
        await_readiness(&node, 503, "the ids are used up");
        // And it stays so while nothing is written.
        thread::park_timeout(Duration::from_millis(1500));
        await_readiness(&node, 503, "the ids are used up");
        node.database.sql(back);
        await_readiness(&node, 200, "ready");
        node.post("after");
    }
}

/// The sessions that read go on, and the one that writes cannot be opened again.
#[test]
fn a_writer_that_cannot_connect_is_named() {
    let owner = Node::start(Database::postgres());
    let role = crate::start::unique("limited");
    owner.database.sql(&format!(
        "CREATE ROLE {role} LOGIN; GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}; \
         GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}; GRANT ALL ON ALL FUNCTIONS IN SCHEMA public TO {role};"
    ));
    let url = owner.database.url();
    let (scheme, rest) = url.split_once("://").expect("a URL");
    let as_role = format!(
        "{scheme}://{role}@{}",
        rest.split_once('@').expect("a user").1
    );
    for with_posts in [true, false] {
        let node = Node::start_with(
            Database::Postgres(as_role.clone()),
            &[("DATABASE__MIGRATE", "false")],
        );
        node.post("before");
        owner.database.sql(&format!(
            "ALTER ROLE {role} CONNECTION LIMIT 1; SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
             WHERE usename = '{role}' AND query LIKE '%COMMIT%';"
        ));
        let deadline = Instant::now() + Duration::from_secs(8);
        while node.get("/readyz").status == 200 {
            assert!(Instant::now() < deadline, "{}", node.get("/readyz").body);
            if with_posts {
                assert_eq!(post(&node, "x").status, 503);
            }
            thread::park_timeout(Duration::from_millis(50));
        }
        owner
            .database
            .sql(&format!("ALTER ROLE {role} CONNECTION LIMIT -1;"));
        await_readiness(&node, 200, "ready");
        node.post("after");
    }
    drop(
        owner
            .database
            .try_sql(&format!("DROP OWNED BY {role}; DROP ROLE {role};")),
    );
}

/// As a database is after a failover, also before anything is written.
#[test]
fn a_database_that_became_read_only_is_named_without_a_write() {
    let node = Node::start(Database::postgres());
    await_readiness(&node, 200, "ready");
    let name = node.database.sql("SELECT current_database();");
    let end_sessions = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() \
                        AND pid <> pg_backend_pid();";
    node.database.sql(&format!(
        "ALTER DATABASE {name} SET default_transaction_read_only = on; {end_sessions}"
    ));
    await_readiness(&node, 503, "read-only");
    node.database.sql(&format!(
        "SET default_transaction_read_only = off; ALTER DATABASE {name} RESET default_transaction_read_only; {end_sessions}"
    ));
    await_readiness(&node, 200, "ready");
    node.post("after");
}

/// A post that no reader would be shown is not acknowledged.
fn a_post_that_draws_no_revision_is_rolled_back(database: Database) {
    let node = Node::start(database);
    node.post("before");
    let (off, on) = if node.database.is_postgres() {
        (
            "ALTER TABLE topics DISABLE TRIGGER USER;".to_owned(),
            "ALTER TABLE topics ENABLE TRIGGER USER;".to_owned(),
        )
    } else {
        let text = node
            .database
            .sql("SELECT sql FROM sqlite_schema WHERE name = 'topics_inserted';");
        (
            "DROP TRIGGER topics_inserted;".to_owned(),
            format!("{text};"),
        )
    };
    node.database.sql(&off);
    let answer = post(&node, "unseen");
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(
        node.database
            .sql("SELECT count(*) FROM topics WHERE comment = 'unseen';"),
        "0"
    );
    await_readiness(&node, 503, "triggers");
    node.database.sql(&on);
    await_readiness(&node, 200, "ready");
    node.post("after");
    assert_eq!(shown(&node), ["before", "after"]);
}

/// Another program took the next ids; only it knew of them.
#[test]
fn an_import_with_ids_of_its_own_costs_no_post() {
    let node = Node::start(Database::postgres());
    // As the schema has it.
    node.database.sql(
        "DO $do$ BEGIN IF to_regproc('move_topic_ids') IS NULL THEN
           CREATE FUNCTION move_topic_ids() RETURNS void LANGUAGE sql SECURITY DEFINER AS
             $f$ SELECT setval(pg_get_serial_sequence('topics', 'id'), max(id)) FROM topics $f$;
         END IF; END $do$;",
    );
    for first in [1, 300] {
        node.database.sql(&format!(
            "INSERT INTO topics (id, board_id, comment) SELECT g, 1, 'imported ' || g FROM generate_series({first}, {first} + 99) g;
             SELECT setval(pg_get_serial_sequence('topics', 'id'), {first});"
        ));
        let comments: Vec<_> = (0..12).map(|n| format!("after {first} {n}")).collect();
        for answer in post_together(&node, &comments) {
            assert_eq!(answer.status, 201, "{answer:?}");
            assert!(
                answer.json()["id"].as_i64().expect("an id") > first + 99,
                "{answer:?}"
            );
        }
    }
}

/// A role that has every right but one; and a policy for rows, which has the same SQLSTATE.
#[test]
fn a_missing_grant_is_named_and_a_row_policy_refuses_the_row() {
    let owner = Node::start(Database::postgres());
    let role = format!("writer_{}_{}", std::process::id(), owner.address.port());
    owner.database.sql(&format!(
        "CREATE ROLE {role} LOGIN; GRANT ALL ON SCHEMA public TO {role}; GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}; GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role};
         GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO {role};"
    ));
    let url = owner
        .database
        .url()
        .replace("postgres@", &format!("{role}@"));
    let node = Node::start(Database::Postgres(url));
    node.post("before");
    for (right, table) in [
        ("INSERT", "topics"),
        ("SELECT", "boards"),
        ("INSERT", "audit"),
        ("DELETE", "deleted_topics"),
    ] {
        owner
            .database
            .sql(&format!("REVOKE {right} ON {table} FROM {role};"));
        if table != "audit" && table != "deleted_topics" {
            assert_eq!(post(&node, "x").status, 503, "{right} {table}");
            await_readiness(&node, 503, table);
        }
        owner
            .database
            .sql(&format!("GRANT {right} ON {table} TO {role};"));
        await_readiness(&node, 200, "ready");
    }
    for table in ["topics", "changes", "identity"] {
        owner
            .database
            .sql(&format!("REVOKE SELECT ON {table} FROM {role};"));
        await_readiness(
            &node,
            503,
            &format!("GRANT SELECT ON public.{table} TO {role}"),
        );
        owner
            .database
            .sql(&format!("GRANT SELECT ON {table} TO {role};"));
        await_readiness(&node, 200, "ready");
    }
    owner.database.sql(
        "ALTER TABLE topics ENABLE ROW LEVEL SECURITY; CREATE POLICY seen ON topics FOR ALL USING (true) WITH CHECK (comment <> 'hidden');",
    );
    among_neighbours(&node, "hidden", 422, "refused", None);
    drop(node);
    owner
        .database
        .sql(&format!("DROP OWNED BY {role}; DROP ROLE {role};"));
}

/// As a database is after a failover.
#[test]
fn a_read_only_database_is_named() {
    let node = Node::start(Database::postgres());
    node.post("before");
    let name = node.database.sql("SELECT current_database();");
    let end_sessions = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() \
                        AND pid <> pg_backend_pid();";
    node.database.sql(&format!(
        "ALTER DATABASE {name} SET default_transaction_read_only = on; {end_sessions}"
    ));
    let posted = || post(&node, "x").status;
    assert_eq!(posted(), 503);
    await_readiness(&node, 503, "read-only");
    node.database.sql(&format!(
        "SET default_transaction_read_only = off; ALTER DATABASE {name} RESET default_transaction_read_only; {end_sessions}"
    ));
    await_readiness(&node, 200, "ready");
    node.post("after");
}

fn text_that_cannot_be_searched_for_is_refused(database: Database) {
    let node = Node::start(database);
    node.post("a");
    let long = "x".repeat(50_000);
    for wrong in ["%00", "a%00b", &"x".repeat(201), &long] {
        let answer = node.get(&format!("{TOPICS}?q={wrong}"));
        assert_eq!(
            (answer.status, answer.json()["path"].as_str()),
            (400, Some("q")),
            "{wrong:.9}: {answer:?}"
        );
    }
    let found = node.get(&format!("{TOPICS}?q={}", "%25".repeat(200)));
    assert_eq!(
        (
            found.status,
            found.json()["topics"].as_array().map(Vec::len)
        ),
        (200, Some(0))
    );
}
