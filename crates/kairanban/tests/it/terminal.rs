//! A board from the terminal: `kairanban post`, `kairanban boards`, and `curl` alone.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use crate::{
    node::{Database, Node, program},
    wire::Answer,
};

crate::on_both!(
    post_says_why_it_was_refused,
    boards_are_listed_for_people_and_for_programs,
    pages_are_lists_for_curl,
    the_text_of_another_program_does_not_drive_a_terminal,
    an_administrator_needs_no_more_than_curl
);

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

fn post_says_why_it_was_refused(database: Database) {
    let node = Node::start(database);
    let address = format!("http://{}: ", node.address);
    let (good, said) = post(&node, &["nowhere", "x"], "");
    assert!(
        !good && said.contains(&format!("{address}no board is named nowhere")),
        "{said}"
    );
    let (good, said) = post(&node, &["main", " "], "");
    assert!(!good && said.contains("must not be empty"), "{said}");
    let (good, said) = post(&node, &["main", "-", "--author", "ann"], "two\nlines\n");
    assert_eq!((good, said.as_str()), (true, "1\n"));
}

fn boards(node: &Node, arguments: &[&str], token: &str) -> String {
    let output = program()
        .args(["boards", "--url", &format!("http://{}", node.address)])
        .args(arguments)
        .env("KAIRANBAN_TOKEN", token)
        .output()
        .expect("the program");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

fn boards_are_listed_for_people_and_for_programs(database: Database) {
    let node = Node::start_with(database, &[("REST__PAGE_MAX", "2")]);
    node.post("hello");
    for name in ["a", "c", "d", "hidden"] {
        let read = if name == "hidden" { "token" } else { "open" };
        node.database.sql(&format!(
            "INSERT INTO boards (name, title, read) VALUES ('{name}', 'Board {name}', '{read}');"
        ));
    }
    let seen = "a\t0\topen\topen\tBoard a\nc\t0\topen\topen\tBoard c\n\
                d\t0\topen\topen\tBoard d\n";
    let main = "main\t1\topen\topen\t\n";
    assert_eq!(boards(&node, &[], ""), format!("{seen}{main}"));
    let admin = node.token(&["create", "--scope", "admin"]);
    assert_eq!(
        boards(&node, &[], &admin),
        format!("{seen}hidden\t0\ttoken\topen\tBoard hidden\n{main}")
    );
    let as_json = boards(&node, &["--json"], "");
    let last = as_json.lines().last().expect("a line");
    assert!(
        last.starts_with(r#"{"event":"board","name":"main","title":"","read":"open""#),
        "{last}"
    );
}

/// Asks as curl does, which names no form that it wants.
fn curl(node: &Node, path: &str) -> Answer {
    let output = Command::new("curl")
        .args(["-si", &format!("http://{}{path}", node.address)])
        .output()
        .expect("curl");
    let text = String::from_utf8(output.stdout).expect("text");
    let (head, body) = text.split_once("\r\n\r\n").expect("an answer");
    Answer {
        head: head.to_owned(),
        body: body.to_owned(),
        status: head[9..12].parse().expect("a status"),
    }
}

fn pages_are_lists_for_curl(database: Database) {
    let node = Node::start_with(database, &[("BOARD__TIME_ZONE", "Asia/Tokyo")]);
    let address = node.address;
    node.database.sql(
        "INSERT INTO boards (name) VALUES ('none-yet'); \
         INSERT INTO topics (board_id, comment, author, created_at) \
         VALUES (1, 'two\nlines', 'ann', '2026-11-24 15:30:00');",
    );
    let line = "1\t2026-11-25 00:30\tann: two\n\tlines\n";
    for path in [
        "/",
        "/b/main",
        "/b/main/topics",
        "/b/main/topics/1",
        "/b/main/topics?q=LINES",
    ] {
        let answer = curl(&node, path);
        assert_eq!((answer.status, answer.body.as_str()), (200, line), "{path}");
        let vary = answer.header("vary").expect("vary");
        assert!(vary.contains("User-Agent"), "{path}: {vary}");
    }
    assert_eq!(
        curl(&node, "/b/none-yet").body,
        format!(
            "# none-yet is empty. To post: curl -d comment=hello http://{address}/b/none-yet\n"
        )
    );
    assert_eq!(
        curl(&node, "/boards").body,
        "main\t1\t2026-11-25 00:30\t\nnone-yet\t0\t\t\n"
    );
    assert_eq!(
        curl(&node, "/b/nowhere").body,
        "404 Not Found: no board is named nowhere\n"
    );
    // A browser, and a program that asks for a page, are sent one.
    for headers in [
        &[("Accept", "text/html"), ("User-Agent", "curl/8.0")][..],
        &[("Accept", "*/*"), ("User-Agent", "Mozilla/5.0")],
    ] {
        for path in ["/", "/boards", "/b/main/topics", "/b/main/topics/1"] {
            let page = node.get_with(path, headers);
            assert!(
                page.body.starts_with("<!doctype html>"),
                "{path}: {}",
                page.body
            );
        }
    }
}

fn the_text_of_another_program_does_not_drive_a_terminal(database: Database) {
    let node = Node::start(database);
    let escape = '\u{1b}';
    node.database.sql(&format!(
        "INSERT INTO topics (board_id, comment, author) \
         VALUES (1, 'a{escape}[2J\u{202E}b', 'x{escape}c');"
    ));
    let list = curl(&node, "/").body;
    assert!(
        list.ends_with("\tx\u{FFFD}c: a\u{FFFD}[2J\u{FFFD}b\n"),
        "{list:?}"
    );
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
