//! Slips in the file and in variables: named by their place, without what stands there.

use std::fs;

use super::NO_WAIT;
use crate::logged::Logged;

const URL: &str = "postgres://ann:canary@127.0.0.1:1/d";

/// Reads a file whose `[database]` section begins with these lines, in each way that reads the
/// file. The error has these words in it, and no piece of the URL.
fn assert_slip_is_named(lines: &str, expected: &str) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), format!("[database]\n{lines}\n")).expect("written");
    let path = file.path().to_string_lossy().into_owned();
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().to_string_lossy().into_owned();
    let mut environment = vec![NO_WAIT, ("RUST_LOG", "trace")];
    // Either would take the place of what the file says.
    if !lines.contains("data_dir") {
        environment.push(("KAIRANBAN_SERVER__DATA_DIR", data.as_str()));
    }
    let mut commands = vec![vec!["config", "check", "--config", &path]];
    if !lines.contains("listen") {
        commands.push(vec!["--listen", "127.0.0.1:0", "--config", &path]);
    }
    for command in commands {
        let (code, said) = Logged::ended(&command, &environment);
        assert!(
            code != Some(0) && said.contains(expected),
            "{lines}: {said}"
        );
        assert!(!said.to_lowercase().contains("canary"), "{lines}: {said}");
    }
}

#[test]
fn a_slip_in_the_file_is_named_by_line_and_key_alone() {
    for (lines, expected) in [
        (format!("url = \"{URL}"), "line 2: this is not TOML"),
        (format!("url = {URL}"), "line 2: this is not TOML"),
        (format!("url \"{URL}\""), "line 2: this is not TOML"),
        (
            format!("url = \"{URL}\" \"canary\""),
            "line 2: this is not TOML",
        ),
        (
            format!("url = \"{URL}\"\nurl = \"{URL}\""),
            "line 3: this is not TOML",
        ),
        (format!("url = \"{URL}\\q\""), "line 2: this is not TOML"),
        (
            format!("\"{URL}\" = 1"),
            "line 2: [database] has no key of this name",
        ),
        (
            format!("urll = \"{URL}\""),
            "line 2: [database] has no key of this name; did you mean url?",
        ),
        (
            format!("[\"{URL}\"]\na = 1"),
            "line 2: there is no section of this name",
        ),
        (
            "[databse]\nurl = \"canary\"".to_owned(),
            "line 2: there is no section of this name; did you mean database?",
        ),
    ] {
        assert_slip_is_named(&lines, expected);
    }
}

#[test]
fn a_value_that_its_key_does_not_take_is_named_by_line_and_key_alone() {
    for (lines, expected) in [
        (
            format!("url = [\"{URL}\"]"),
            "line 2: database.url must be a text, in quotes",
        ),
        (
            format!("url = {{ a = \"{URL}\" }}"),
            "line 2: database.url must be a text, in quotes",
        ),
        (
            format!("pool_max = \"{URL}\""),
            "line 2: database.pool_max must be a whole number",
        ),
        (
            format!("migrate = \"{URL}\""),
            "line 2: database.migrate must be true or false",
        ),
        ("pool_max = 0".to_owned(), "line 2: database.pool_max: "),
        ("pool_max = -1".to_owned(), "line 2: database.pool_max: "),
        (
            "pool_max = 1.5".to_owned(),
            "line 2: database.pool_max must be a whole number",
        ),
    ] {
        assert_slip_is_named(&lines, expected);
    }
}

#[test]
fn a_text_that_its_key_does_not_take_is_named_by_line_and_key_alone() {
    for (section, key, expected) in [
        ("server", "listen", "line 3: server.listen: "),
        ("server", "data_dir", "line 3: server.data_dir: "),
        ("board", "default", "line 3: board.default: "),
        ("board", "topic_template", "board.topic_template: "),
        ("backplane", "kind", "line 3: backplane.kind: "),
    ] {
        assert_slip_is_named(&format!("[{section}]\n{key} = \"{URL}\""), expected);
    }
    for (section, key, expected) in [
        ("cors", "origins", "line 3: cors.origins: entry 1"),
        (
            "limits",
            "trusted_proxies",
            "line 3: limits.trusted_proxies[0]: ",
        ),
    ] {
        assert_slip_is_named(&format!("[{section}]\n{key} = [\"{URL}\"]"), expected);
    }
}

/// Whatever the names, the first line that is wrong is named, and each time the same nearest name.
#[test]
fn of_several_slips_the_first_is_named() {
    let slips = [
        ("[stream]", "heartbeat = 1", "heartbeat_s"),
        ("[board]", "topic_max = 1", "topics_max"),
        ("[limits]", "stream_max = 1", "streams_max"),
        ("[database]", "pol_max = 1", "pool_max"),
    ];
    for first in 0..slips.len() {
        let mut lines: Vec<_> = slips.to_vec();
        lines.rotate_left(first);
        let text: String = lines
            .iter()
            .map(|(section, slip, _)| format!("{section}\n{slip}\n"))
            .collect();
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), &text).expect("written");
        let path = file.path().to_string_lossy();
        let (code, said) = Logged::ended(&["config", "check", "--config", &path], &[]);
        let (_, _, nearest) = lines[0];
        assert!(
            code == Some(78)
                && said.contains("line 2: ")
                && said.contains(&format!("did you mean {nearest}?")),
            "{text}: {said}"
        );
    }
}

/// Checks the configuration with one variable more. Returns the exit code, and what was said.
fn check_with(name: &str, value: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().to_string_lossy().into_owned();
    let environment = [("KAIRANBAN_SERVER__DATA_DIR", data.as_str()), (name, value)];
    Logged::ended(&["config", "check"], &environment)
}

#[test]
fn a_variable_that_is_unknown_is_refused_with_the_nearest() {
    for (name, nearest) in [
        (
            "KAIRANBAN_LIMITS__STREAM_MAX",
            "KAIRANBAN_LIMITS__STREAMS_MAX",
        ),
        (
            "KAIRANBAN_LIMITS_STREAMS_MAX",
            "KAIRANBAN_LIMITS__STREAMS_MAX",
        ),
        ("KAIRANBAN_DATABASE_URL", "KAIRANBAN_DATABASE__URL"),
        ("KAIRANBAN_CONFG", "KAIRANBAN_CONFIG"),
        ("KAIRANBAN_TOKENS", "KAIRANBAN_TOKEN"),
        ("KAIRANBAN_CONFIG_FIL", "KAIRANBAN_CONFIG"),
        ("KAIRANBAN_DATABASE__UR_FILE", "KAIRANBAN_DATABASE__URL"),
    ] {
        let (code, said) = check_with(name, "canary");
        assert!(
            code == Some(78) && said.contains(&format!("{name}: is not a variable")),
            "{said}"
        );
        assert!(
            said.contains(&format!("did you mean {nearest}")) && !said.contains("canary"),
            "{said}"
        );
    }
    for name in [
        "KAIRANBAN_",
        "KAIRANBAN_X",
        "KAIRANBAN_MAX",
        "KAIRANBAN_REDIS_SERVICE_HOST",
    ] {
        let (code, said) = check_with(name, "x");
        assert!(
            code == Some(78) && !said.contains("did you mean"),
            "{name}: {said}"
        );
    }
}

#[test]
fn a_variable_that_other_programs_set_is_ignored() {
    for (name, value) in [
        ("KAIRANBAN_SERVICE_HOST", "10.0.0.1"),
        ("KAIRANBAN_SERVICE_PORT_HTTP", "80"),
        ("KAIRANBAN_TEST_POSTGRES_URL", "postgres://localhost/any"),
        ("KAIRANBAN_PORT", "tcp://10.0.0.1:80"),
        ("KAIRANBAN_PORT_80_TCP_ADDR", "10.0.0.1"),
        ("KAIRANBAN_URL", "http://h"),
        ("KAIRANBAN_TOKEN", "x"),
        ("KAIRANBAN_CONFIG", ""),
        ("OTHER_THING", "x"),
    ] {
        let (code, said) = check_with(name, value);
        assert_eq!(code, Some(0), "{name}: {said}");
    }
}

#[test]
fn a_variable_whose_value_is_wrong_is_named() {
    for (name, value, expected) in [
        (
            "KAIRANBAN_LIMITS__STREAMS_MAX",
            "many",
            "KAIRANBAN_LIMITS__STREAMS_MAX: limits.streams_max must be a whole number",
        ),
        (
            "KAIRANBAN_STREAM__DETACHED",
            "1",
            "KAIRANBAN_STREAM__DETACHED: stream.detached must be true or false",
        ),
        (
            "KAIRANBAN_BOARD__DEFAULT",
            "A",
            "KAIRANBAN_BOARD__DEFAULT: board.default: ",
        ),
        (
            "KAIRANBAN_BOARD__TOPICS_MAX",
            "0",
            "KAIRANBAN_BOARD__TOPICS_MAX: board.topics_max: ",
        ),
    ] {
        let (code, said) = check_with(name, value);
        assert!(code == Some(78) && said.contains(expected), "{said}");
    }
}
