//! Every `curl` line of `docs/API.md` is answered as it says.

use std::process::Command;

use crate::node::{Database, Node, program};

crate::on_both!(every_line_of_the_document_works);

fn every_line_of_the_document_works(database: Database) {
    let node = Node::start(database);
    let made = program()
        .args([
            "--database-url",
            &node.database.url(),
            "token",
            "create",
            "--scope",
            "admin",
        ])
        .output();
    let token = String::from_utf8(made.expect("the program").stdout).expect("text");
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
        let command = command.replace("http://127.0.0.1:8080", &format!("http://{}", node.address));
        // A stream does not end by itself; once its head is there, the status is known.
        let end = if command.contains(" -N ") {
            "--max-time 1"
        } else {
            "--max-time 10"
        };
        let script = format!(
            "{} -s -o /dev/null -w '%{{http_code}}' {end}",
            command.trim()
        );
        let output = Command::new("bash")
            .args(["-c", &script])
            .env("TOKEN", token.trim())
            .output()
            .expect("bash and curl");
        let answered = String::from_utf8_lossy(&output.stdout).into_owned();
        if answered != status.trim() {
            wrong.push(format!("{answered} for {line}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
