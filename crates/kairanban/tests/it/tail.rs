//! `kairanban tail`: every change once, whatever happens to the server, the connection or the
//! command; and what it prints where.

use std::{
    io::{BufRead as _, BufReader, Lines},
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::node::{Database, Node, program};

mod ends;
mod options;

crate::on_both!(
    each_change_is_shown_once_through_a_restart,
    a_list_that_comes_as_a_whole_is_compared_with_what_was_shown,
    the_next_start_continues_where_the_last_one_ended,
    a_command_has_the_topic_and_no_shell_reads_it,
    it_ends_when_its_board_becomes_private,
);

/// Settings with which streams reconnect at once.
const QUICK: [(&str, &str); 2] = [
    ("STREAM__RETRY_MIN_MS", "50"),
    ("STREAM__RETRY_MAX_MS", "100"),
];
/// A command that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// The command, running. Killed when dropped.
struct Tail {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// The lines of stderr, which end with it.
    complaints: Receiver<String>,
}

fn tail(url: &str, arguments: &[&str]) -> Command {
    let mut command = program();
    command
        .args(["tail", "main", "--url", url])
        .args(arguments)
        .env("TZ", "UTC")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

impl Tail {
    fn start(url: &str, arguments: &[&str]) -> Self {
        Self::run(&mut tail(url, arguments))
    }

    fn run(command: &mut Command) -> Self {
        let mut child = command.spawn().expect("the program");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        let (line, complaints) = mpsc::channel();
        thread::spawn(move || {
            let lines = stderr.lines().map_while(Result::ok);
            // The test may have ended.
            lines.for_each(|text| drop(line.send(text)));
        });
        Self {
            child,
            lines,
            complaints,
        }
    }

    fn line(&mut self) -> String {
        self.lines.next().expect("a line").expect("text")
    }

    /// Reads a line without its time.
    fn timeless(&mut self) -> String {
        let line = self.line();
        let fields: Vec<_> = line.splitn(3, '\t').collect();
        match fields[..] {
            [mark, _, text] if !mark.is_empty() => format!("{mark}\t{text}"),
            _ => line,
        }
    }

    fn json(&mut self) -> Value {
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    fn complaint(&self) -> String {
        self.complaints.recv_timeout(PATIENCE).expect("a message")
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status();
        assert!(sent.expect("kill").success());
    }

    /// Waits for its end. Returns the exit code, and what it printed on stderr.
    fn end(mut self) -> (Option<i32>, String) {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a status") {
                break status;
            }
            assert!(began.elapsed() < PATIENCE, "still running");
            thread::park_timeout(Duration::from_millis(5));
        };
        let complaints: Vec<_> = self.complaints.iter().collect();
        (status.code(), complaints.join("\n"))
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs it to its end. Returns the exit code, stdout and stderr.
fn output(url: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = tail(url, arguments).output().expect("the program");
    let [out, err] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("text"));
    (output.status.code(), out, err)
}

fn url(node: &Node) -> String {
    format!("http://{}", node.address)
}

fn name_and_id(event: &Value) -> String {
    format!(
        "{} {}",
        event["event"].as_str().expect("a name"),
        event["id"]
    )
}

fn each_change_is_shown_once_through_a_restart(database: Database) {
    let mut node = Node::start_with(database, &QUICK);
    node.post("there before");
    let (mut lines, mut objects) = (
        Tail::start(&url(&node), &["--verify"]),
        Tail::start(&url(&node), &["--verify", "--json"]),
    );
    assert_eq!(lines.timeless(), "= 1\tthere before");
    assert_eq!(objects.json()["event"], "listed");
    assert_eq!(objects.json()["event"], "live");
    node.post("two\nlines");
    assert_eq!(
        [lines.timeless(), lines.timeless()],
        ["+ 2\ttwo", "\tlines"]
    );
    node.database
        .sql("UPDATE topics SET comment = 'better' WHERE id = 2;");
    assert_eq!(lines.timeless(), "~ 2\tbetter");
    node.database.sql("DELETE FROM topics WHERE id = 1;");
    assert_eq!(lines.line(), "- 1");
    for expected in ["new 2", "edited 2", "deleted 1"] {
        assert_eq!(name_and_id(&objects.json()), expected);
    }
    node.kill();
    // Seen only after the restart.
    node.database.sql(
        "INSERT INTO topics (board_id, comment) VALUES (1, 'meanwhile'); \
         UPDATE topics SET comment = 'best' WHERE id = 2;",
    );
    let address = url(&node);
    let lost = lines.complaint();
    assert!(
        lost.starts_with(&format!(
            "kairanban: {address}: the server cannot be reached"
        )),
        "{lost}"
    );
    node.restart_at_the_same_address();
    assert_eq!(node.post("after the crash"), 4);
    let mut after: Vec<_> = (0..3).map(|_| lines.timeless()).collect();
    after.sort();
    assert_eq!(
        after,
        ["+ 3\tmeanwhile", "+ 4\tafter the crash", "~ 2\tbest"]
    );
    let mut after: Vec<_> = (0..3).map(|_| name_and_id(&objects.json())).collect();
    after.sort();
    assert_eq!(after, ["edited 2", "new 3", "new 4"]);
    lines.signal("-INT");
    let (code, complaints) = lines.end();
    assert_eq!(code, Some(130), "{complaints}");
    let back = format!("kairanban: {address}: back again after ");
    assert!(
        complaints.starts_with(&back) && complaints.lines().count() == 1,
        "{complaints}"
    );
}

fn a_list_that_comes_as_a_whole_is_compared_with_what_was_shown(database: Database) {
    let mut node = Node::start_with(database, &QUICK);
    for comment in ["gone", "edited", "kept"] {
        node.post(comment);
    }
    let mut tail = Tail::start(&url(&node), &["--verify", "-n", "1"]);
    assert_eq!(tail.timeless(), "= 3\tkept");
    node.kill();
    node.database.sql(
        "DELETE FROM topics WHERE id = 1; UPDATE topics SET comment = 'new text' WHERE id = 2; \
         INSERT INTO topics (board_id, comment) VALUES (1, 'new');",
    );
    let migrated = program()
        .args([
            "migrate",
            "--new-epoch",
            "--database-url",
            &node.database.url(),
        ])
        .output();
    assert!(migrated.expect("the program").status.success());
    node.restart_at_the_same_address();
    assert_eq!(
        [tail.timeless(), tail.timeless(), tail.timeless()],
        ["- 1", "~ 2\tnew text", "+ 4\tnew"]
    );
    node.post("at last");
    assert_eq!(tail.timeless(), "+ 5\tat last");
}

fn the_next_start_continues_where_the_last_one_ended(database: Database) {
    let node = Node::start(database);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("state").display().to_string();
    let once = |arguments: &[&str]| {
        let all = [&["--no-follow", "--state", &file], arguments].concat();
        let (code, out, err) = output(&url(&node), &all);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
        let marks = out.lines().filter_map(|line| line.split('\t').next());
        marks.map(str::to_owned).collect::<Vec<_>>()
    };
    for comment in ["a", "b", "c"] {
        node.post(comment);
    }
    assert_eq!(once(&["-n", "1"]), ["= 3"]);
    assert_eq!(once(&[]), [""; 0], "nothing happened");
    node.database
        .sql("DELETE FROM topics WHERE id = 1; UPDATE topics SET comment = 'x' WHERE id = 2;");
    node.post("d");
    assert_eq!(once(&[]), ["- 1", "~ 2", "+ 4"]);
    // It ends in the middle of following, without a word.
    let mut tail = Tail::start(&url(&node), &["--state", &file]);
    node.post("e");
    assert!(tail.line().starts_with("+ 5\t"));
    tail.signal("-KILL");
    tail.end();
    node.post("f");
    let marks = once(&[]);
    // What was printed just before a kill may be printed again, and is never left out.
    assert!(marks == ["+ 6"] || marks == ["+ 5", "+ 6"], "{marks:?}");
    let (code, _, err) = output(&url(&node), &["--state", "/proc/none/state"]);
    assert!(code == Some(1) && err.contains("/proc/none/state"), "{err}");
}

fn a_command_has_the_topic_and_no_shell_reads_it(database: Database) {
    let node = Node::start(database);
    let folder = tempfile::tempdir().expect("a folder");
    let touched = folder.path().join("touched");
    let hostile = format!(
        "'; touch {0}; $(touch {0}) `touch {0}` \"",
        touched.display()
    );
    node.post("there before");
    let script = "printf '%s|%s|%s|%s|' \"$TOPIC_EVENT\" \"$TOPIC_ID\" \"$TOPIC_AUTHOR\" \
                  \"$TOPIC_COMMENT\"; cat; exit \"$((TOPIC_ID - 2))\"";
    let mut tail = Tail::start(
        &url(&node),
        &[
            "--exec",
            script,
            "--events",
            "new,edited,deleted",
            "-n",
            "1",
        ],
    );
    assert_eq!(tail.line(), "listed|1||there before|there before");
    let author = "'\"$(kill $$)`kill $$`;";
    let body = serde_json::json!({"comment": hostile, "author": author});
    let posted = node.send(
        "POST",
        "/api/v1/boards/main/topics",
        "application/json",
        body.to_string(),
    );
    assert_eq!(posted.status, 201);
    assert_eq!(tail.line(), format!("new|2|{author}|{hostile}|{hostile}"));
    node.post("third");
    assert_eq!(tail.line(), "new|3||third|third");
    node.database
        .sql("UPDATE topics SET comment = 'more' WHERE id = 3;");
    assert_eq!(tail.line(), "edited|3||more|more");
    node.database.sql("DELETE FROM topics WHERE id = 3;");
    node.post("fourth");
    assert_eq!(tail.line(), "deleted|3|||new|4||fourth|fourth");
    tail.signal("-TERM");
    let (code, complaints) = tail.end();
    assert_eq!(code, Some(143), "{complaints}");
    assert!(
        complaints.contains("the command for topic 3 ended with exit status: 1"),
        "{complaints}"
    );
    assert!(!touched.exists(), "the shell read what a topic says");
}

fn it_ends_when_its_board_becomes_private(database: Database) {
    let node = Node::start(database);
    node.post("there before");
    let admin = node.token(&["create", "--scope", "admin"]);
    let mut stranger = Tail::start(&url(&node), &[]);
    assert_eq!(stranger.timeless(), "= 1\tthere before");
    let private = r#"{"read":"token"}"#;
    let answer = node.send_as("PATCH", "/api/v1/boards/main", &admin, &[], private);
    assert_eq!(answer.status, 200);
    let (code, complaints) = stranger.end();
    assert_eq!(code, Some(1), "closed to it, for good");
    let reason = format!("kairanban: {}: no board is named main", url(&node));
    assert!(
        complaints.starts_with(&reason) && complaints.contains("--token"),
        "{complaints}"
    );
    let mut insider = Tail::run(tail(&url(&node), &[]).env("KAIRANBAN_TOKEN", admin));
    assert_eq!(insider.timeless(), "= 1\tthere before");
}
