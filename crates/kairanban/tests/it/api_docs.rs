//! Every `curl` line of `docs/API.md` is answered as it says.

use std::process::Command;

use crate::node::{Database, Node};

crate::on_both!(every_line_of_the_document_works);

fn every_line_of_the_document_works(database: Database) {
    let node = Node::start(database);
    let token = node.token(&["create", "--scope", "admin"]);
    let document = include_str!("../../../../docs/API.md");
    let lines: Vec<_> = document
        .lines()
        .filter(|line| line.starts_with("curl "))
        .collect();
    assert!(lines.len() > 25, "the document has lost its lines");
    let mut wrong = Vec::new();
    for line in lines {
        let (command, status) = line
            .split_once("# → ")
            .unwrap_or_else(|| panic!("no status behind {line}"));
        let answered = run(&node, &token, command.trim());
        if answered != status.trim() {
            wrong.push(format!("{answered} for {line}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Runs a line of the document against a node. Returns the status of the answer.
fn run(node: &Node, token: &str, command: &str) -> String {
    let command = command.replace("http://127.0.0.1:8080", &format!("http://{}", node.address));
    // A stream does not end by itself; once its head is there, the status is known.
    let seconds = if command.contains(" -N ") { 1 } else { 10 };
    let script = format!("{command} -s -o /dev/null -w '%{{http_code}}' --max-time {seconds}");
    let output = Command::new("bash")
        .args(["-c", &script])
        .env("TOKEN", token)
        .output()
        .expect("bash and curl");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
