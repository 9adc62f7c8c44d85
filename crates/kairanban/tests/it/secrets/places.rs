//! A secret in every place where one can be put by mistake. Nothing that the program says, or logs
//! at `trace`, holds it.

use std::fs;

use super::NO_WAIT;
use crate::logged::Logged;

/// What an operator may paste into the wrong place.
const PASTED: [&str; 7] = [
    "postgres://ann:canary@127.0.0.1:1/d",
    "postgres://127.0.0.1:1/d?password=canary",
    "redis://:canary@127.0.0.1:1/0",
    "host=127.0.0.1 user=ann password=canary",
    "kairanban_canary0123456789abcdef",
    "canary canary\ncanary",
    "-canary",
];

/// Arguments with `$` for what is pasted.
const ARGUMENTS: [&[&str]; 30] = [
    &["$"],
    &["--", "$"],
    &["--$"],
    &["--$=1"],
    &["--frob=$"],
    &["--databse-url=$"],
    &["--databse-url", "$"],
    &["--token", "$"],
    &["--config", "$", "config", "check"],
    &["--config=$", "config", "check"],
    &["--listen=$", "config", "check"],
    &["--database-url=$", "config", "check"],
    &["serve", "$"],
    &["migrate", "$"],
    &["migrate", "--new-epoch=$"],
    &["config", "$"],
    &["config", "check", "$"],
    &["token", "$"],
    &["token", "list", "$"],
    &["token", "revoke", "$"],
    &["token", "create", "--scope=$"],
    &["token", "create", "--scope=read", "--scope=$"],
    &["token", "create", "--scope=read", "--board=$"],
    &["token", "create", "--scope=read", "--days=$"],
    &["token", "create", "--scope=read", "--name", "x", "$"],
    &["tail", "$", "--url=none"],
    &["tail", "main", "--json=$"],
    &["tail", "main", "--url=$:none"],
    &["post", "$", "x", "--url=none"],
    &["post", "main", "x", "$"],
];

/// Runs the program to its end, with a folder of its own. Returns what it said.
fn said(arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().to_string_lossy().into_owned();
    let mut all = vec![NO_WAIT, ("RUST_LOG", "trace")];
    if !environment
        .iter()
        .any(|(name, _)| *name == "KAIRANBAN_SERVER__DATA_DIR")
    {
        all.push(("KAIRANBAN_SERVER__DATA_DIR", &data));
    }
    all.extend(environment);
    Logged::ended(arguments, &all).1
}

#[track_caller]
fn assert_hidden(what: &str, said: &str) {
    assert!(!said.to_lowercase().contains("canary"), "{what}: {said}");
}

#[test]
fn no_argument_is_repeated() {
    for pasted in PASTED {
        for arguments in ARGUMENTS {
            let arguments: Vec<_> = arguments
                .iter()
                .map(|argument| argument.replace('$', pasted))
                .collect();
            let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
            assert_hidden(&format!("{arguments:?}"), &said(&arguments, &[]));
        }
    }
}

/// The keys of the configuration, each with its section.
fn keys() -> Vec<(String, String)> {
    let defaults: toml::Table = include_str!("../../../../../config/default.toml")
        .parse()
        .expect("TOML");
    let sections = defaults.iter().map(|(section, keys)| {
        let keys = keys.as_table().expect("a section").keys();
        keys.map(move |key| (section.clone(), key.clone()))
    });
    sections.flatten().collect()
}

#[test]
fn no_variable_is_repeated() {
    let keys = keys()
        .into_iter()
        .map(|(section, key)| format!("KAIRANBAN_{section}__{key}").to_uppercase());
    let others = [
        "DATABASE_URL",
        "DATABASE_URL_FILE",
        "PORT",
        "KAIRANBAN_CONFIG",
        "KAIRANBAN_URL",
        "KAIRANBAN_TOKEN",
        "KAIRANBAN_DATABASE_URL",
    ];
    for name in keys.chain(others.map(str::to_owned)) {
        for name in [name.clone(), format!("{name}_FILE")] {
            for pasted in &PASTED[..3] {
                let said = said(&["config", "check"], &[(&name, pasted)]);
                assert_hidden(&format!("{name}={pasted}"), &said);
            }
        }
    }
}

#[test]
fn no_value_and_no_key_of_the_file_is_repeated() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().to_string_lossy().into_owned();
    let check = |lines: &str| {
        fs::write(file.path(), lines).expect("written");
        assert_hidden(lines, &said(&["config", "check", "--config", &path], &[]));
    };
    for pasted in &PASTED[..3] {
        for (section, key) in keys() {
            check(&format!("[{section}]\n{key} = \"{pasted}\"\n"));
            check(&format!("[{section}]\n{key} = [\"{pasted}\"]\n"));
        }
    }
    for slip in [
        "canary = 1",
        "urlcanary = 1",
        "[canary]\na = 1",
        "[database.canary]\na = 1",
        "canary",
        "= canary",
        "url = canary",
        "url = \"\"\"canary",
        "url = 'canary\nurl = 'canary'",
        "url = \"a\" # canary\nurl = \"canary\"",
        "pool_max = 12345canary",
    ] {
        check(&format!("[database]\n{slip}\n"));
        check(&format!("{slip}\n"));
    }
}

/// A number may be one, too.
#[test]
fn no_number_is_repeated() {
    for (section, key) in keys() {
        let name = format!("KAIRANBAN_{section}__{key}").to_uppercase();
        for number in ["-987654321987", "987654321987654"] {
            let (code, said) = Logged::ended(&["config", "check"], &[(&name, number), NO_WAIT]);
            // One that is valid is shown with the others.
            assert!(
                code == Some(0) || !said.contains("98765432"),
                "{name}={number}: {said}"
            );
        }
    }
}

/// What is secret, as it is set; and the default that would take its place.
const SECRETS: [&str; 5] = [
    "DATABASE_URL",
    "KAIRANBAN_DATABASE__URL",
    "KAIRANBAN_DATABASE__LISTEN_URL",
    "KAIRANBAN_BACKPLANE__REDIS_URL",
    "KAIRANBAN_BACKPLANE__REDIS_KEY",
];

/// As after a mount that failed: a server that went on would serve an empty board.
#[test]
fn a_secret_that_is_empty_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let data = data.to_string_lossy();
    let file = folder.path().join("secret");
    let path = file.to_string_lossy();
    for empty in ["", " ", "\n", " \n\n"] {
        fs::write(&file, empty).expect("written");
        let of_files = SECRETS.map(|name| (format!("{name}_FILE"), path.as_ref()));
        let of_values = SECRETS.map(|name| (name.to_owned(), empty));
        for (name, value) in of_files.into_iter().chain(of_values) {
            for command in [&["config", "check"][..], &["migrate"], &[]] {
                let environment = [("KAIRANBAN_SERVER__DATA_DIR", &*data), (&name, value)];
                let (code, said) = Logged::ended(command, &environment);
                assert!(
                    code == Some(78) && said.contains(&name) && said.contains("to nothing"),
                    "{name}={empty:?}: {code:?} {said}"
                );
            }
        }
        let flag = ["config", "check", "--database-url", empty];
        let (code, said) = Logged::ended(&flag, &[("KAIRANBAN_SERVER__DATA_DIR", &data)]);
        assert!(
            code == Some(78) && said.contains("--database-url"),
            "{said}"
        );
    }
    assert!(!fs::exists(&*data).expect("known"), "nothing was made");
}

/// A deployment may pass on a variable that it did not set.
#[test]
fn an_empty_variable_beside_its_file_does_not_count() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), "postgres://127.0.0.1:1/d\n").expect("written");
    let path = file.path().to_string_lossy();
    for name in ["DATABASE_URL", "KAIRANBAN_DATABASE__URL"] {
        let by_file = format!("{name}_FILE");
        let said = said(&["config", "check"], &[(name, ""), (&by_file, &path)]);
        assert!(said.contains("postgres://127.0.0.1:1/d"), "{said}");
    }
}
