//! What kairanban's own tables and functions refuse is no client's fault: 503, and named at
//! `/readyz` until it is mended.

use super::{REFUSED, TOPICS, await_readiness, before_insert, post};
use crate::{
    node::{Database, Node},
    wire::{self, Answer},
};

crate::on_both!(
    what_a_table_of_ours_refuses_is_an_outage,
    what_a_table_of_ours_drops_is_an_outage,
    a_key_that_was_not_stored_yields_no_topic,
);

/// A server with something to edit and delete, and the requests that write each of our tables.
struct Writer {
    node: Node,
    token: String,
    topics: Vec<String>,
}

impl Writer {
    fn new(database: Database) -> Self {
        let node = Node::start(database);
        let token = node.token(&["create", "--scope", "admin", "--name", "ann"]);
        let topics = (0..9).map(|n| format!("{TOPICS}/{}", node.post(&format!("topic {n}"))));
        Self {
            topics: topics.collect(),
            token,
            node,
        }
    }

    /// Sends a request that writes the table.
    fn send(&mut self, table: &str) -> Answer {
        let (node, token) = (&self.node, self.token.as_str());
        let topic = self.topics.last().expect("a topic").clone();
        match table {
            "idempotency" => keyed(node, &crate::start::unique("key")),
            "deleted_topics" => {
                let answer = node.send_as("DELETE", &topic, token, &[], "");
                if answer.status == 204 {
                    self.topics.pop();
                }
                answer
            }
            "tickets" => node.send_as("POST", "/api/v1/tickets", token, &[], r#"{"board":"main"}"#),
            "browser_sessions" => wire::request(
                node.address,
                "POST",
                "/login?next=/",
                &[
                    ("Content-Type", "application/x-www-form-urlencoded"),
                    ("Accept", "application/json"),
                ],
                format!("token={token}").as_bytes(),
            ),
            _ => {
                let text = format!(r#"{{"comment":"{}"}}"#, crate::start::unique("edited"));
                node.send_as("PATCH", &topic, token, &[], &text)
            }
        }
    }

    /// Each request fails as an outage while this stands in its way, and works afterwards.
    fn assert_outage(&mut self, table: &str, damage: &str, mend: &str) {
        self.node.database.sql(damage);
        for _ in 0..2 {
            let answer = self.send(table);
            assert_eq!(answer.status, 503, "{table}: {answer:?}");
        }
        await_readiness(&self.node, 503, table);
        self.node.database.sql(mend);
        await_readiness(&self.node, 200, "ready");
        let answer = self.send(table);
        assert!(answer.status < 400, "{table} afterwards: {answer:?}");
    }
}

fn keyed(node: &Node, key: &str) -> Answer {
    let headers = [("Content-Type", "text/plain"), ("Idempotency-Key", key)];
    wire::request(node.address, "POST", "/b/main", &headers, b"keyed")
}

/// A trigger on the table that raises, or drops the row without a word; and what drops it again.
fn trigger(database: &Database, table: &str, raises: bool) -> (String, String) {
    if database.is_postgres() {
        let body = if raises {
            "RAISE EXCEPTION 'no';"
        } else {
            "RETURN NULL;"
        };
        return (
            format!(
                "CREATE FUNCTION strange() RETURNS trigger LANGUAGE plpgsql AS $$ \
                 BEGIN {body} END $$; CREATE TRIGGER strange BEFORE INSERT ON {table} FOR EACH ROW \
                 EXECUTE FUNCTION strange();"
            ),
            format!("DROP TRIGGER strange ON {table}; DROP FUNCTION strange();"),
        );
    }
    let body = if raises {
        "RAISE(ABORT, 'no')"
    } else {
        "RAISE(IGNORE)"
    };
    (
        format!("CREATE TRIGGER strange BEFORE INSERT ON {table} BEGIN SELECT {body}; END;"),
        "DROP TRIGGER strange;".to_owned(),
    )
}

const WRITTEN: [&str; 5] = [
    "audit",
    "deleted_topics",
    "idempotency",
    "browser_sessions",
    "tickets",
];

fn what_a_table_of_ours_refuses_is_an_outage(database: Database) {
    let mut writer = Writer::new(database);
    for table in WRITTEN.into_iter().chain(["changes"]) {
        let (damage, mend) = trigger(&writer.node.database, table, true);
        writer.assert_outage(table, &damage, &mend);
        if writer.node.database.is_postgres() {
            let damage = format!("ALTER TABLE {table} ADD CONSTRAINT no CHECK (false) NOT VALID;");
            let mend = format!("ALTER TABLE {table} DROP CONSTRAINT no;");
            writer.assert_outage(table, &damage, &mend);
        }
    }
}

/// Postgres says where something failed in the language of the database.
#[test]
fn whose_fault_a_refusal_is_does_not_depend_on_the_language() {
    let mut writer = Writer::new(Database::japanese());
    for table in ["changes", "transactions", "audit", "tickets"] {
        let (damage, mend) = trigger(&writer.node.database, table, true);
        writer.assert_outage(table, &damage, &mend);
    }
    let missing = "INSERT INTO no_such_table VALUES (1);";
    before_insert(&writer.node.database, "owners", "", missing);
    let answer = post(&writer.node, "x");
    assert_eq!(answer.status, 422, "{answer:?}");
    assert_eq!(
        answer.json()["detail"].as_str(),
        Some(REFUSED),
        "{answer:?}"
    );
    await_readiness(&writer.node, 200, "owners()");
}

fn what_a_table_of_ours_drops_is_an_outage(database: Database) {
    let mut writer = Writer::new(database);
    for table in WRITTEN {
        let (damage, mend) = trigger(&writer.node.database, table, false);
        writer.assert_outage(table, &damage, &mend);
    }
}

/// The same key would be another topic each time.
fn a_key_that_was_not_stored_yields_no_topic(database: Database) {
    let node = Node::start(database);
    let (damage, mend) = trigger(&node.database, "idempotency", false);
    node.database.sql(&damage);
    for _ in 0..3 {
        assert_eq!(keyed(&node, "one").status, 503);
    }
    let count = "SELECT count(*) FROM topics WHERE comment = 'keyed';";
    assert_eq!(node.database.sql(count), "0");
    node.database.sql(&mend);
    for _ in 0..3 {
        assert!(keyed(&node, "one").status < 400);
    }
    assert_eq!(node.database.sql(count), "1");
}

/// Functions of the schema that were replaced: by one that logs nothing, and by ones that raise.
#[test]
fn a_function_of_ours_that_was_replaced_refuses_no_client() {
    let mut writer = Writer::new(Database::postgres());
    for (name, body, part) in [
        ("topics_updated", "RETURN NULL;", "topic.update"),
        ("topics_updated", "RAISE EXCEPTION 'x';", "topics_updated"),
        (
            "topics_before",
            "RAISE EXCEPTION 'x' USING ERRCODE = '22023';",
            "topics_before",
        ),
        (
            "transaction_stamped",
            "RAISE EXCEPTION 'x';",
            "transaction_stamped",
        ),
    ] {
        let database = &writer.node.database;
        let text = database.sql(&format!("SELECT pg_get_functiondef('{name}'::regproc);"));
        database.sql(&format!(
            "CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
             AS $$ BEGIN {body} END $$;"
        ));
        let answer = writer.send("changes");
        assert_eq!(answer.status, 503, "{name}: {answer:?}");
        let report = writer.node.get("/readyz").body;
        assert!(report.contains(part), "{name}: {report}");
        // Posts do not hide the edits.
        post(&writer.node, "beside");
        let report = writer.node.get("/readyz").body;
        assert!(report.contains(part), "{name}: {report}");
        writer.node.database.sql(&format!("{text};"));
        // Without a write there is no telling; and a write is refused until the check was good.
        let answer = writer.send("changes");
        assert_eq!(answer.status, 200, "{name} afterwards: {answer:?}");
        await_readiness(&writer.node, 200, "\"ready\"");
    }
}

/// How a database prints names decides nothing.
#[test]
fn a_table_of_ours_is_named_however_names_are_quoted() {
    let database = Database::postgres();
    database.set_for_all("quote_all_identifiers", "on");
    let node = Node::start(database);
    node.database.sql(
        "CREATE FUNCTION strange() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '23514'; END $$; \
         CREATE TRIGGER strange BEFORE INSERT ON changes FOR EACH ROW EXECUTE FUNCTION strange();",
    );
    assert_eq!(post(&node, "x").status, 503);
    await_readiness(&node, 503, "changes");
    node.database.sql("DROP TRIGGER strange ON changes;");
    await_readiness(&node, 200, "ready");
    node.post("after");
}
