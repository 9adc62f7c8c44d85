//! The rules of the house, read off the tree: who may know whom, and how long things may be.

use std::{
    fs,
    path::{Path, PathBuf},
};

const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 400;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the checkout")
}

/// Source files of a crate, without what stands after their unit tests begin.
fn sources(of: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join("crates").join(of).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&entry).expect("a file");
                let net = text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
                found.push((entry.strip_prefix(root()).expect("inside").display().to_string(), net));
            }
        }
    }
    assert!(!found.is_empty(), "no sources in {of}");
    found
}

fn forbid(of: &str, within: impl Fn(&str) -> bool, words: &[&str]) {
    for (file, text) in sources(of).into_iter().filter(|(file, _)| within(file)) {
        for word in words {
            let line = text.lines().find(|line| line.contains(word) && !line.trim_start().starts_with("//"));
            assert!(line.is_none(), "{file} must not know {word}: {line:?}");
        }
    }
}

#[test]
fn the_core_touches_no_outside_world() {
    forbid(
        "kairanban-core",
        |_| true,
        &["actix", "diesel", "std::fs", "std::net", "std::env", "tokio::time", "tokio::net", "Instant::now", "Utc::now"],
    );
}

#[test]
fn the_store_knows_no_network_and_one_file_knows_which_database_it_is() {
    forbid("kairanban-store", |_| true, &["actix", "std::net", "tokio::time"]);
    // Row times are the database's.
    forbid("kairanban-store", |_| true, &["Utc::now", "Local::now", "SystemTime::now"]);
    let allowed = ["connection.rs", "connection/dialect.rs", "migrate.rs"];
    forbid(
        "kairanban-store",
        |file| !allowed.iter().any(|name| file.ends_with(name)),
        &["AnyConnection::Postgres", "AnyConnection::Sqlite"],
    );
}

#[test]
fn the_client_knows_nothing_of_the_server() {
    forbid("kairanban-client", |_| true, &["actix", "diesel", "kairanban_store", "std::fs"]);
    forbid("kairanban", |file| !file.contains("/cli"), &["kairanban_client"]);
    forbid("kairanban-conformance", |_| true, &["actix", "diesel", "kairanban_store", "kairanban_client"]);
}

#[test]
fn inside_the_server_dependencies_point_down() {
    forbid("kairanban", |_| true, &["diesel::"]);
    let upper = ["routes.rs", "server.rs", "lib.rs", "http.rs"];
    forbid("kairanban", |file| !file.contains("/http/") && !upper.iter().any(|name| file.ends_with(name)), &["crate::http"]);
    forbid("kairanban", |file| file.contains("/src/bulletin") || file.ends_with("follower.rs"), &["actix"]);
    forbid("kairanban", |file| !file.ends_with("server.rs"), &["Store::open", "Hub::new", "Writer::start"]);
}

#[test]
fn functions_and_files_are_short() {
    for of in ["kairanban-core", "kairanban-store", "kairanban-client", "kairanban-conformance", "kairanban"] {
        for (file, text) in sources(of) {
            assert!(text.lines().count() <= FILE_LINES_MAX, "{file} has {} lines", text.lines().count());
            let lines: Vec<&str> = text.lines().collect();
            for (start, line) in lines.iter().enumerate() {
                let body = line.trim_start();
                let indent = line.len() - body.len();
                let is_function = [
                    "fn ",
                    "pub fn ",
                    "async fn ",
                    "pub async fn ",
                    "const fn ",
                    "pub const fn ",
                    "pub(crate) fn ",
                    "pub(super) fn ",
                ];
                if is_function.iter().any(|start| body.starts_with(start)) && !body.ends_with(';') {
                    let end = format!("{}}}", " ".repeat(indent));
                    let length = lines[start..].iter().position(|line| *line == end).unwrap_or(0);
                    assert!(length <= FUNCTION_LINES_MAX, "{file}:{} has {length} lines", start + 1);
                }
            }
        }
    }
}

#[test]
fn main_is_a_page_at_most() {
    let main = fs::read_to_string(root().join("crates/kairanban/src/main.rs")).expect("main");
    assert!(main.lines().count() <= 30);
}

#[test]
fn both_databases_have_the_same_migrations() {
    let names = |database: &str| {
        let folder = fs::read_dir(root().join("migrations").join(database)).expect("migrations");
        let mut names: Vec<_> = folder.map(|entry| entry.expect("an entry").file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names("postgres"), names("sqlite"));
}
