//! The program as a process: its command, and the address that it prints.

use std::{
    env,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
};

/// The program as it is called, on a port of the system's choice.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kairanban"));
    command
        .env_remove("DATABASE_URL")
        .env_remove("PORT")
        .env_remove("RUST_LOG");
    // What is meant for the tests is unknown to the program, which would refuse to start.
    for (name, _) in env::vars_os() {
        let for_tests = [
            "KAIRANBAN_TEST_",
            "KAIRANBAN_ORACLE_",
            "KAIRANBAN_MODEL_",
            "KAIRANBAN_BENCH_",
            "KAIRANBAN_INTERLEAVINGS",
        ];
        if name
            .to_str()
            .is_some_and(|name| for_tests.iter().any(|start| name.starts_with(start)))
        {
            command.env_remove(name);
        }
    }
    command
}

pub(super) fn spawn(
    url: &str,
    data: &Path,
    environment: &[(String, String)],
) -> (Child, SocketAddr) {
    spawn_at(
        SocketAddr::from(([127, 0, 0, 1], 0)),
        url,
        data,
        environment,
    )
}

fn spawn_at(
    address: SocketAddr,
    url: &str,
    data: &Path,
    environment: &[(String, String)],
) -> (Child, SocketAddr) {
    start(&mut serving(address, url, data, environment))
}

pub(super) fn serving(
    address: SocketAddr,
    url: &str,
    data: &Path,
    environment: &[(String, String)],
) -> Command {
    let mut command = program();
    command
        .args(["--listen", &address.to_string(), "--database-url", url])
        .env("KAIRANBAN_SERVER__DATA_DIR", data)
        .env("RUST_LOG", "warn,actix_http=off")
        .stdout(Stdio::piped());
    // The tests are one client, and a busy one.
    command.env("KAIRANBAN_LIMITS__POSTS_PER_CLIENT_BURST", "1000000");
    command.env("KAIRANBAN_LIMITS__READS_PER_CLIENT_BURST", "1000000");
    command.env("KAIRANBAN_LIMITS__READS_PER_CLIENT_MAX", "1000");
    command.env("KAIRANBAN_LIMITS__EDITS_PER_TOKEN_BURST", "1000000");
    // The hosts of the tests' own requests.
    command.env("KAIRANBAN_SERVER__HOSTS", "x");
    command.env("KAIRANBAN_LIMITS__CONNECTIONS_PER_CLIENT_MAX", "1000000");
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    command
}

pub(super) fn start(command: &mut Command) -> (Child, SocketAddr) {
    let mut child = command.spawn().expect("the program");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let first = lines
        .next()
        .and_then(Result::ok)
        .unwrap_or_else(|| panic!("the program ended: {:?}", child.wait()));
    let address = first
        .split("http://")
        .nth(1)
        .and_then(|rest| rest.split_whitespace().next())
        .expect("an address");
    (child, address.parse().expect("an address"))
}
