//! A board from the terminal: `kairanban post`, `kairanban tail`, and `curl` alone.

use std::{
    io::{BufRead as _, BufReader, Lines, Write as _},
    process::{Child, ChildStdout, Command, Stdio},
};

use crate::node::{Database, Node, program};

crate::on_both!(
    post_and_tail_follow_a_board_through_a_restart,
    the_text_of_another_program_does_not_drive_the_terminal,
    post_says_why_it_was_refused,
    tail_ends_when_its_board_becomes_private,
    an_administrator_needs_no_more_than_curl
);

struct Tail {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Tail {
    fn start(url: &str, arguments: &[&str], token: &str) -> Self {
        let mut command = program();
        command
            .args(["tail", "--url", url])
            .args(arguments)
            .env("KAIRANBAN_TOKEN", token)
            .stdout(Stdio::piped());
        let mut child = command.spawn().expect("the program");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        self.lines.next().expect("a line").expect("text")
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn post(node: &Node, arguments: &[&str], input: &str) -> (bool, String) {
    let url = format!("http://{}", node.address);
    let mut command = program();
    command
        .args(["post", "--url", &url])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program");
    child
        .stdin
        .take()
        .expect("a pipe")
        .write_all(input.as_bytes())
        .expect("written");
    let output = child.wait_with_output().expect("an end");
    let said = if output.status.success() {
        output.stdout
    } else {
        output.stderr
    };
    (
        output.status.success(),
        String::from_utf8(said).expect("text"),
    )
}

fn post_and_tail_follow_a_board_through_a_restart(database: Database) {
    let mut node = Node::start_with(
        database,
        &[
            ("STREAM__RETRY_MIN_MS", "50"),
            ("STREAM__RETRY_MAX_MS", "100"),
        ],
    );
    let first = node.post("there before");
    let url = format!("http://{}", node.address);
    let (mut tail, mut as_json) = (
        Tail::start(&url, &["main", "--verify"], ""),
        Tail::start(&url, &["main", "--json"], ""),
    );
    assert_eq!(tail.line(), format!("= {first}\tthere before"));
    assert!(as_json.line().starts_with(r#"{"event":"list","#));
    assert_eq!(
        post(&node, &["main", "-", "--author", "ann"], "two\nlines\n"),
        (true, "2\n".to_owned())
    );
    assert_eq!([tail.line(), tail.line()], ["+ 2\tann: two", "\tlines"]);
    let changed: serde_json::Value = serde_json::from_str(&as_json.line()).expect("JSON");
    assert_eq!(
        (&changed["ops"][0]["op"], &changed["ops"][0]["topic"]["id"]),
        (&"set".into(), &2.into()),
        "{changed}"
    );
    node.database.sql("DELETE FROM topics WHERE id = 1;");
    assert_eq!(tail.line(), "- 1");
    node.kill();
    node.restart_at_the_same_address();
    assert_eq!(
        post(&node, &["main", "after the crash"], ""),
        (true, "3\n".to_owned())
    );
    let next = std::iter::repeat_with(|| tail.line())
        .find(|line| !line.starts_with('!'))
        .expect("a line");
    assert_eq!(
        next, "+ 3\tafter the crash",
        "no list again: it came back with its cursor"
    );
}

fn the_text_of_another_program_does_not_drive_the_terminal(database: Database) {
    let node = Node::start(database);
    node.database.sql(&format!(
        "INSERT INTO topics (board_id, comment) VALUES (1, 'a{}[2J');",
        '\u{1b}'
    ));
    let mut tail = Tail::start(&format!("http://{}", node.address), &["main"], "");
    assert_eq!(tail.line(), "= 1\ta\u{FFFD}[2J");
    node.database.sql(&format!(
        "INSERT INTO topics (board_id, comment) VALUES (1, 'b{}[2J');",
        '\u{1b}'
    ));
    assert_eq!(tail.line(), "+ 2\tb\u{FFFD}[2J");
}

fn post_says_why_it_was_refused(database: Database) {
    let node = Node::start(database);
    let (good, said) = post(&node, &["nowhere", "x"], "");
    assert!(
        !good && said.contains("no board is named nowhere"),
        "{said}"
    );
    let (good, said) = post(&node, &["main", " "], "");
    assert!(!good && said.contains("must not be empty"), "{said}");
}

fn tail_ends_when_its_board_becomes_private(database: Database) {
    let node = Node::start(database);
    let first = node.post("there before");
    let admin = node.token(&["create", "--scope", "admin"]);
    let url = format!("http://{}", node.address);
    let mut tail = Tail::start(&url, &["main"], "");
    let shown = format!("= {first}\tthere before");
    assert_eq!(tail.line(), shown);
    let private = r#"{"read":"token"}"#;
    let answer = node.send_as("PATCH", "/api/v1/boards/main", &admin, &[], private);
    assert_eq!(answer.status, 200);
    assert!(
        !tail.child.wait().expect("an end").success(),
        "the board is closed to it, for good"
    );
    let mut insider = Tail::start(&url, &["main"], &admin);
    assert_eq!(insider.line(), shown);
}

/// One script, as in a shell. What the board showed meanwhile is read off a stream at the end.
fn an_administrator_needs_no_more_than_curl(database: Database) {
    let node = Node::start(database);
    let token = node.token(&["create", "--scope", "admin", "--name", "ann"]);
    let folder = tempfile::tempdir().expect("a folder");
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", include_str!("curl_session.sh")])
        .env("ADMIN", token)
        .env("API", format!("http://{}/api/v1", node.address))
        .env("SITE", format!("http://{}", node.address))
        .current_dir(folder.path())
        .output()
        .expect("bash and curl");
    let (said, complained) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{said}\n{complained}");
    assert_eq!(said.lines().last(), Some("done"), "{said}\n{complained}");
}
