//! The commands of administrators, each of whose statements an owner's trigger refuses.

use std::thread;

use super::{TOPICS, await_readiness, post_together};
use crate::{
    node::{Database, Node},
    sign_in::sign_in,
    wire::Answer,
};

crate::on_both!(what_an_administrator_does_is_refused_alone);

/// A command of an administrator, and the statement in it that is refused.
struct Refused<'a> {
    table: &'static str,
    operation: &'static str,
    method: &'static str,
    path: &'a str,
    body: &'static str,
    /// The status once nothing refuses it.
    good: u16,
}

impl Refused<'_> {
    fn name(&self) -> String {
        format!("{} {}", self.table, self.operation)
    }

    fn send(&self, node: &Node, token: &str) -> Answer {
        node.send_as(self.method, self.path, token, &[], self.body)
    }

    /// SQL that makes a trigger which refuses the statement, and SQL that drops it again.
    fn trigger(&self, database: &Database) -> (String, String) {
        let Self {
            table, operation, ..
        } = self;
        if database.is_postgres() {
            return (
                format!(
                    "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                     IF to_jsonb(OLD) ->> 'revision' IS DISTINCT FROM to_jsonb(NEW) ->> 'revision' \
                     AND TG_OP = 'UPDATE'
                     THEN RETURN NEW; END IF; RAISE EXCEPTION 'not {table}'; END $$;
                     CREATE TRIGGER refuse BEFORE {operation} ON {table} FOR EACH ROW \
                     EXECUTE FUNCTION refuse();"
                ),
                format!("DROP TRIGGER refuse ON {table}; DROP FUNCTION refuse();"),
            );
        }
        let event = match (*table, *operation) {
            ("topics", "UPDATE") => "UPDATE OF comment",
            ("tokens", "UPDATE") => "UPDATE OF revoked_at",
            (_, operation) => operation,
        };
        (
            format!(
                "CREATE TRIGGER refuse BEFORE {event} ON {table} BEGIN \
                 SELECT RAISE(ABORT, 'not {table}'); END;"
            ),
            "DROP TRIGGER refuse;".to_owned(),
        )
    }
}

/// A server with what the commands need: a topic, a deleted topic, a board, a token and a session.
struct Prepared {
    node: Node,
    token: String,
    kept: String,
    deleted: String,
    restore: String,
    revoke: String,
    end: String,
}

impl Prepared {
    fn new(database: Database) -> Self {
        let node = Node::start(database);
        let token = node.token(&["create", "--scope", "admin", "--name", "ann"]);
        let [kept, deleted] = ["a", "gone"].map(|text| format!("{TOPICS}/{}", node.post(text)));
        let board = node.send_as("POST", "/api/v1/boards", &token, &[], r#"{"name":"old"}"#);
        assert_eq!(board.status, 201, "{board:?}");
        assert_eq!(
            node.send_as("DELETE", &deleted, &token, &[], "").status,
            204
        );
        let body = r#"{"name":"t","scope":"post"}"#;
        let made = node.send_as("POST", "/api/v1/tokens", &token, &[], body);
        assert_eq!(made.status, 201, "{made:?}");
        sign_in(&node, &token);
        let listed = node.send_as("GET", "/api/v1/sessions", &token, &[], "");
        Self {
            end: format!("/api/v1/sessions/{}", listed.json()["sessions"][0]["id"]),
            revoke: format!("/api/v1/tokens/{}", made.json()["id"]),
            restore: format!("{deleted}/restore"),
            node,
            token,
            kept,
            deleted,
        }
    }

    /// The commands, in an order in which each can be done.
    fn commands(&self) -> Vec<Refused<'_>> {
        let (boards, old, tokens) = ("/api/v1/boards", "/api/v1/boards/old", "/api/v1/tokens");
        let edit = r#"{"comment":"b"}"#;
        let newer = r#"{"name":"newer"}"#;
        let title = r#"{"title":"t"}"#;
        let another = r#"{"name":"n","scope":"post"}"#;
        let audited = r#"{"name":"audited"}"#;
        [
            ("topics", "UPDATE", "PATCH", self.kept.as_str(), edit, 200),
            ("topics", "DELETE", "DELETE", &self.kept, "", 204),
            ("topics", "INSERT", "POST", &self.restore, "", 200),
            ("deleted_topics", "INSERT", "DELETE", &self.deleted, "", 204),
            ("boards", "INSERT", "POST", boards, newer, 201),
            ("boards", "UPDATE", "PATCH", old, title, 200),
            ("boards", "DELETE", "DELETE", old, "", 204),
            ("tokens", "INSERT", "POST", tokens, another, 201),
            ("tokens", "UPDATE", "DELETE", &self.revoke, "", 204),
            ("browser_sessions", "DELETE", "DELETE", &self.end, "", 204),
            ("audit", "INSERT", "POST", boards, audited, 201),
        ]
        .map(|(table, operation, method, path, body, good)| Refused {
            table,
            operation,
            method,
            path,
            body,
            good,
        })
        .into()
    }

    /// Sends a command that is refused, and posts beside it, which are not.
    fn send_beside_posts(&self, command: &Refused<'_>) -> Answer {
        let name = command.name();
        let neighbours: Vec<_> = (0..4).map(|n| format!("beside {name} {n}")).collect();
        thread::scope(|scope| {
            let refused = scope.spawn(|| command.send(&self.node, &self.token));
            // There a post would be refused, too.
            if (command.table, command.operation) != ("topics", "INSERT") {
                let answers = post_together(&self.node, &neighbours);
                assert!(
                    answers.iter().all(|answer| answer.status == 201),
                    "{name}: {answers:?}"
                );
            }
            refused.join().expect("an answer")
        })
    }
}

/// Each statement of each command, refused by a trigger.
fn what_an_administrator_does_is_refused_alone(database: Database) {
    let prepared = Prepared::new(database);
    let database = &prepared.node.database;
    for command in prepared.commands() {
        let name = command.name();
        let (refuse, allow) = command.trigger(database);
        database.sql(&refuse);
        let answer = prepared.send_beside_posts(&command);
        // No client is refused by tables that are ours alone.
        if ["audit", "deleted_topics", "browser_sessions"].contains(&command.table) {
            assert_eq!(answer.status, 503, "{name}: {answer:?}");
            // A check tries no deletion.
            if command.operation == "INSERT" {
                await_readiness(&prepared.node, 503, command.table);
            }
        } else {
            assert_eq!(
                (answer.status, answer.json()["code"].as_str()),
                (422, Some("refused")),
                "{name}: {answer:?}"
            );
            assert_eq!(
                answer.json()["detail"].as_str(),
                Some(format!("not {}", command.table).as_str())
            );
        }
        database.sql(&allow);
        let answer = command.send(&prepared.node, &prepared.token);
        assert_eq!(answer.status, command.good, "{name} afterwards: {answer:?}");
    }
}
