//! The command line, and how the program starts.

use std::{path::Path, process::Output};

use crate::node::{Database, Node, program};

fn run(arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = program()
        .args(arguments)
        .envs(environment.iter().copied())
        .output()
        .expect("the program");
    let [out, err] = [stdout, stderr].map(|bytes| String::from_utf8(bytes).expect("text"));
    (status.code(), out, err)
}

#[test]
fn migrate_is_repeatable_and_its_epoch_voids_cursors() {
    for database in [Database::sqlite(), Database::postgres()] {
        let url = database.url();
        let (code, out, _) = run(&["migrate", "--database-url", &url], &[]);
        assert!(code == Some(0) && out.contains("was migrated"), "{out}");
        let (code, out, _) = run(&["migrate"], &[("DATABASE_URL", &url)]);
        assert!(code == Some(0) && out.contains("is up to date"), "{out}");
        let mut node = Node::start(database);
        let cursor = node
            .stream("/b/main/stream?format=patch")
            .event()
            .id
            .expect("an id");
        node.kill();
        assert_eq!(
            run(&["migrate", "--new-epoch", "--database-url", &url], &[]).0,
            Some(0)
        );
        node.restart();
        assert_eq!(
            node.resume("/b/main/stream?format=patch", &cursor)
                .event()
                .json()["reason"],
            "epoch"
        );
    }
}

#[test]
fn nodes_that_start_together_migrate_once() {
    let database = Database::postgres();
    let url = database.url();
    let starts: Vec<_> = (0..4)
        .map(|_| {
            let url = url.clone();
            std::thread::spawn(move || run(&["migrate", "--database-url", &url], &[]))
        })
        .collect();
    let ended: Vec<_> = starts
        .into_iter()
        .map(|start| start.join().expect("an end"))
        .collect();
    assert!(ended.iter().all(|(code, ..)| *code == Some(0)), "{ended:?}");
    assert_eq!(
        ended
            .iter()
            .filter(|(_, out, _)| out.contains("was migrated"))
            .count(),
        1,
        "{ended:?}"
    );
}

#[test]
fn configuration_is_printed_checked_and_keeps_secrets() {
    let (code, out, _) = run(&["config", "default"], &[]);
    assert_eq!(
        (code, out.as_str()),
        (Some(0), include_str!("../../../../config/default.toml"))
    );
    let (code, out, err) = run(
        &["config", "check"],
        &[("DATABASE_URL", "postgres://ann:secret@h.invalid/d")],
    );
    assert!(
        code == Some(78)
            && err.contains("postgres://h.invalid/d")
            && !format!("{out}{err}").contains("secret"),
        "{out}{err}"
    );
    let (code, _, err) = run(&["config", "check"], &[("KAIRANBAN_LIMITS__NOTHING", "1")]);
    assert!(
        code == Some(78) && err.contains("KAIRANBAN_LIMITS__NOTHING"),
        "{err}"
    );
}

/// As after `head -1`: every command that prints ends quietly, and what it does is done.
#[test]
fn a_reader_that_has_gone_is_no_error() {
    let node = Node::start(Database::sqlite());
    let (database, server) = (node.database.url(), format!("http://{}", node.address));
    node.token(&["create", "--scope", "read"]);
    for arguments in [
        &["config", "default"][..],
        &["config", "check"],
        &["migrate"],
        &["token", "list"],
        &["token", "revoke", "1"],
        &["post", "main", "hello", "--url", &server],
        &["tail", "main", "--url", &server],
        &["help"],
        &["token", "--help"],
        &["--version"],
    ] {
        let (gone, closed) = std::io::pipe().expect("a pipe");
        drop(gone);
        let output = program()
            .args(arguments)
            .env("DATABASE_URL", &database)
            .stdout(closed)
            .output()
            .expect("the program");
        let err = String::from_utf8(output.stderr).expect("text");
        assert!(
            output.status.code() == Some(0) && !err.contains("pipe") && !err.contains("panicked"),
            "{arguments:?}: {} {err}",
            output.status
        );
    }
    assert_eq!(
        node.database.sql(
            "SELECT (SELECT count(*) FROM topics) + (SELECT count(*) FROM tokens \
             WHERE revoked_at IS NOT NULL);"
        ),
        "2"
    );
}

#[test]
fn a_number_that_is_negative_or_none_is_answered_with_what_to_write() {
    for value in ["-1", "0", "1.5", "many", "-99999999999999999999"] {
        for (arguments, hint) in [
            (
                &["token", "create", "--scope=read", "--days", value][..],
                "--days <DAYS>: write a whole number of days, at least 1",
            ),
            (
                &["token", "revoke", value],
                "<ID>: write the number that `kairanban token list` prints",
            ),
        ] {
            let (code, _, err) = run(arguments, &[]);
            assert!(
                code == Some(2) && err.contains(hint),
                "{arguments:?}: {err}"
            );
        }
    }
}

#[test]
fn checking_the_configuration_makes_nothing() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "[board]\ntopics_max = 7\n").expect("written");
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite://{}", folder.path().join("a.db").display());
    let path = file.path().to_string_lossy();
    let arguments = ["config", "check", "--config", &path, "--database-url", &url];
    let (code, out, _) = run(&arguments, &[]);
    assert_empty(folder.path());
    assert!(code == Some(0) && out.contains("topics_max: 7"), "{out}");
}

#[track_caller]
fn assert_empty(folder: &Path) {
    let mut entries = std::fs::read_dir(folder).expect("a folder");
    assert!(entries.next().is_none(), "something was made");
}

#[test]
fn what_keeps_it_from_starting_is_said_without_the_password() {
    let (code, _, err) = run(
        &[],
        &[
            ("DATABASE_URL", "postgres://ann:secret@127.0.0.1:1/d"),
            ("KAIRANBAN_DATABASE__START_WAIT_S", "0"),
        ],
    );
    assert!(
        code == Some(1) && err.contains("postgres://127.0.0.1:1/d") && !err.contains("secret"),
        "{err}"
    );
    let node = Node::start(Database::sqlite());
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite://{}", folder.path().join("a.db").display());
    let (code, _, err) = run(
        &[
            "--listen",
            &node.address.to_string(),
            "--database-url",
            &url,
        ],
        &[],
    );
    assert!(
        code == Some(1) && err.contains("cannot listen on") && err.contains("with --listen"),
        "{err}"
    );
}

#[test]
fn a_mistake_in_the_address_is_answered_with_what_to_write() {
    for (arguments, environment, hint) in [
        (
            &["--listen", "localhost:8080"][..],
            None,
            "as in 127.0.0.1:8080",
        ),
        (
            &[],
            Some(("KAIRANBAN_LISTEN", "127.0.0.1:0")),
            "did you mean KAIRANBAN_SERVER__LISTEN?",
        ),
        (
            &["post", "main", "hello", "--url", "http://127.0.0.1:1"],
            None,
            "http://127.0.0.1:1",
        ),
    ] {
        let (code, _, err) = run(arguments, environment.as_slice());
        assert!(
            code != Some(0) && err.contains(hint),
            "{arguments:?}: {err}"
        );
    }
}

#[test]
fn a_command_for_tokens_makes_no_database() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.db").display().to_string();
    let url = format!("sqlite://{path}");
    let create = [
        &["token", "create", "--scope", "admin"][..],
        &["--database-url", &url],
    ]
    .concat();
    let (code, out, err) = run(&create, &[]);
    assert!(
        code == Some(78) && out.is_empty() && err.contains(&path) && err.contains("no such file"),
        "{err}"
    );
    assert_empty(folder.path());
    assert_eq!(
        run(&["migrate", "--database-url", &url], &[]).0,
        Some(0),
        "then there is one"
    );
    let (code, out, err) = run(&create, &[]);
    assert!(
        code == Some(0) && out.lines().count() == 1 && err.contains(&path),
        "{out}{err}"
    );
}

#[test]
fn a_command_for_tokens_does_not_migrate_a_database() {
    let database = Database::postgres();
    let (code, _, err) = run(&["token", "list", "--database-url", &database.url()], &[]);
    assert!(
        code == Some(78) && err.contains("kairanban migrate"),
        "{err}"
    );
}

#[test]
fn a_private_board_is_hinted_at_to_those_without_a_token() {
    let node = Node::start(Database::sqlite());
    node.database
        .sql("INSERT INTO boards (name, read) VALUES ('hidden', 'token');");
    let url = format!("http://{}", node.address);
    for command in [
        &["post", "hidden", "hello", "--url", &url][..],
        &["tail", "hidden", "--url", &url],
    ] {
        let (code, _, err) = run(command, &[]);
        assert!(code == Some(1) && err.contains("--token"), "{err}");
        let (_, _, err) = run(command, &[("KAIRANBAN_TOKEN", "kb_wrong")]);
        assert!(!err.contains("--token"), "{err}");
    }
}

/// An operator who cannot wait for the drain asks again.
#[test]
fn a_second_signal_ends_it_at_once() {
    let mut node = Node::start_with(
        Database::sqlite(),
        &[("SERVER__DRAIN_S", "60"), ("LIMITS__BODY_WAIT_S", "60")],
    );
    // A request that does not end holds up the drain.
    let mut stream = node.stream("/topic_stream/");
    let mut held = crate::wire::connect(node.address);
    std::io::Write::write_all(
        &mut held,
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\r\nhalf",
    )
    .expect("sent");
    stream.event();
    node.terminate();
    let bye = std::iter::repeat_with(|| stream.event()).find(|event| event.name == "bye");
    assert_eq!(
        bye.expect("bye").json()["reason"],
        "shutdown",
        "the first is heard"
    );
    node.terminate();
    let (took, code) = node.end(std::time::Duration::from_secs(10));
    assert!(took < std::time::Duration::from_secs(5), "{took:?}");
    assert_eq!(code, Some(0));
}
