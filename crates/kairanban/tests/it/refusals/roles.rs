//! What the role of a server may not do or see: named at `/readyz`, and no client's fault.

use std::{thread, time::Duration};

use super::{TOPICS, await_readiness, post, shown};
use crate::{
    node::{Database, Node},
    wire,
};

/// A node of a role that has every right, and the node of the owner.
struct WriterRole {
    owner: Node,
    role: String,
    node: Node,
}

impl WriterRole {
    fn start() -> Self {
        let owner = Node::start(Database::postgres());
        let role = crate::start::unique("writer");
        owner.database.sql(&format!(
            "CREATE ROLE {role} LOGIN; GRANT ALL ON SCHEMA public TO {role}; GRANT ALL ON ALL \
             TABLES IN SCHEMA public TO {role}; GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO \
             {role}; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO {role};"
        ));
        let url = owner.database.url();
        let node = Node::start(Database::Postgres(
            url.replace("postgres@", &format!("{role}@")),
        ));
        node.post("before");
        Self { owner, role, node }
    }

    fn revoke(&self, right: &str) {
        self.owner
            .database
            .sql(&format!("REVOKE {right} FROM {};", self.role));
    }

    fn grant(&self, right: &str) {
        self.owner
            .database
            .sql(&format!("GRANT {right} TO {};", self.role));
        await_readiness(&self.node, 200, "ready");
    }

    fn set_row_security(&self, table: &str, how: &str) {
        self.owner
            .database
            .sql(&format!("ALTER TABLE {table} {how} ROW LEVEL SECURITY;"));
    }

    fn end(self) {
        drop(self.node);
        let role = self.role;
        self.owner
            .database
            .sql(&format!("DROP OWNED BY {role}; DROP ROLE {role};"));
    }
}

/// A role that has every right but one.
#[test]
fn a_missing_grant_is_named() {
    let writer = WriterRole::start();
    for (right, table) in [("INSERT", "topics"), ("SELECT", "boards")] {
        writer.revoke(&format!("{right} ON {table}"));
        assert_eq!(post(&writer.node, "x").status, 503, "{right} {table}");
        await_readiness(&writer.node, 503, table);
        writer.grant(&format!("{right} ON {table}"));
    }
    for right in ["INSERT ON audit", "DELETE ON deleted_topics"] {
        writer.revoke(right);
        writer.grant(right);
    }
    for table in ["topics", "changes", "identity"] {
        writer.revoke(&format!("SELECT ON {table}"));
        let grant = format!("GRANT SELECT ON public.{table} TO {}", writer.role);
        await_readiness(&writer.node, 503, &grant);
        writer.grant(&format!("SELECT ON {table}"));
    }
    writer.end();
}

/// The epoch that an answer is of.
fn epoch(answer: &wire::Answer) -> &str {
    let tag = answer.header("etag").expect("a tag");
    tag.split_once('-').expect("a cursor").0
}

/// Posts fail, and edits go on all the time: no balancer may take the node for a good one.
#[test]
fn what_one_kind_of_write_lacks_is_named_while_others_work() {
    let writer = WriterRole::start();
    let token = writer
        .owner
        .token(&["create", "--scope", "admin", "--name", "ann"]);
    let topic = format!("{TOPICS}/{}", writer.owner.post("to edit"));
    writer.revoke("INSERT ON topics");
    assert_eq!(post(&writer.node, "x").status, 503);
    for n in 0..40 {
        let edit = format!(r#"{{"comment":"edit {n}"}}"#);
        let answer = writer.node.send_as("PATCH", &topic, &token, &[], &edit);
        assert_eq!(answer.status, 200, "{answer:?}");
        let report = writer.node.get("/readyz");
        assert!(
            report.status == 503 && report.body.contains("INSERT ON public.topics"),
            "after {n} edits: {report:?}"
        );
        thread::park_timeout(Duration::from_millis(50));
    }
    writer.grant("INSERT ON topics");
    writer.end();
}

/// Row-level security that hides rows from the server: what it reads would be cut, so it reads
/// nothing, and what it cannot write is no client's fault.
#[test]
fn row_level_security_is_named_and_cuts_no_list() {
    let writer = WriterRole::start();
    let (before, list) = (writer.node.get(TOPICS), shown(&writer.node));
    for table in [
        "topics",
        "boards",
        "changes",
        "identity",
        "idempotency",
        "tokens",
    ] {
        writer.set_row_security(table, "ENABLE");
        // Only what a post needs.
        if ["topics", "boards", "changes", "idempotency"].contains(&table) {
            let headers = [("Content-Type", "text/plain"), ("Idempotency-Key", table)];
            let answer = wire::request(writer.node.address, "POST", "/", &headers, b"keyed");
            assert_eq!(answer.status, 503, "{table}: {answer:?}");
        }
        writer.node.get("/api/v1/boards");
        writer
            .node
            .send_as("GET", "/api/v1/audit", "kb_made_up", &[], "");
        await_readiness(
            &writer.node,
            503,
            &format!("{table} DISABLE ROW LEVEL SECURITY"),
        );
        let stale = writer.node.get(TOPICS);
        assert_eq!(stale.header("etag"), before.header("etag"), "{table}");
        assert_eq!(shown(&writer.node), list, "{table}");
        let checked = crate::node::program()
            .args([
                "--database-url",
                &writer.node.database.url(),
                "config",
                "check",
            ])
            .output()
            .expect("the program");
        assert!(!checked.status.success(), "{table}: {checked:?}");
        writer.set_row_security(table, "DISABLE");
        await_readiness(&writer.node, 200, "\"ready\"");
    }
    writer.node.post("after");
    assert_eq!(
        shown(&writer.node).last().map(String::as_str),
        Some("after")
    );
    let after = writer.node.get(TOPICS);
    assert_eq!(epoch(&before), epoch(&after));
    writer.end();
}
