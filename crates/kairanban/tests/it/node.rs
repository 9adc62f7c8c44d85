//! A database of the test's own, and the program running on it.

mod database;
mod process;

use std::{
    fs::File,
    net::SocketAddr,
    path::Path,
    process::{Child, Command},
    time::{Duration, Instant},
};

use crate::{
    sse::Reader,
    wire::{self, Answer},
};
pub(crate) use database::{Database, Lock, run_psql, try_output};
pub(crate) use process::program;
use process::{serving, spawn, start};

/// Where the program's log goes.
#[derive(Clone, Copy)]
pub(crate) enum LogTo {
    /// Where the test's own output goes.
    Stderr,
    FullDisk,
}

/// The program, running. Killed when dropped.
pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    pub(crate) database: Database,
    /// Counts from the next start on.
    pub(crate) log: LogTo,
    child: Child,
    environment: Vec<(String, String)>,
    data: tempfile::TempDir,
}

impl Node {
    pub(crate) fn start(database: Database) -> Self {
        Self::start_with(database, &[])
    }

    /// `settings` as in `("STREAM__HEARTBEAT_S", "1")`.
    pub(crate) fn start_with(database: Database, settings: &[(&str, &str)]) -> Self {
        Self::start_as(database, settings, |_| {})
    }

    /// Starts the program with these settings, after `adjust` has changed how it is called.
    pub(crate) fn start_as(
        database: Database,
        settings: &[(&str, &str)],
        adjust: impl FnOnce(&mut Command),
    ) -> Self {
        let environment = settings
            .iter()
            .map(|(name, value)| (format!("KAIRANBAN_{name}"), (*value).to_owned()))
            .collect();
        Self::start_in_as(database, environment, adjust)
    }

    /// With these variables, by their whole names.
    pub(crate) fn start_in(database: Database, environment: Vec<(String, String)>) -> Self {
        Self::start_in_as(database, environment, |_| {})
    }

    fn start_in_as(
        database: Database,
        environment: Vec<(String, String)>,
        adjust: impl FnOnce(&mut Command),
    ) -> Self {
        let data = tempfile::tempdir().expect("a folder");
        let mut command = serving(
            SocketAddr::from(([127, 0, 0, 1], 0)),
            &database.url(),
            data.path(),
            &environment,
        );
        adjust(&mut command);
        let (child, address) = start(&mut command);
        Self {
            address,
            database,
            log: LogTo::Stderr,
            child,
            environment,
            data,
        }
    }

    /// Another process on the same database.
    pub(crate) fn sibling(&self) -> Self {
        Self::start_in(self.shared_database(), self.environment.clone())
    }

    /// Another process on the same database, with other settings.
    pub(crate) fn sibling_with(&self, settings: &[(&str, &str)]) -> Self {
        Self::start_with(self.shared_database(), settings)
    }

    fn shared_database(&self) -> Database {
        assert!(self.database.is_postgres(), "one server per SQLite file");
        self.database.twin()
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        wire::request(self.address, "GET", path, &[], b"")
    }

    pub(crate) fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        wire::request(self.address, "GET", path, headers, b"")
    }

    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: impl AsRef<[u8]>,
    ) -> Answer {
        wire::request(
            self.address,
            method,
            path,
            &[("Content-Type", content_type)],
            body.as_ref(),
        )
    }

    /// Posts a comment to the default board, as `curl -d` does. Returns the topic's id.
    pub(crate) fn post(&self, comment: &str) -> u64 {
        let answer = self.send("POST", "/", "text/plain", comment);
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()["id"].as_u64().expect("an id")
    }

    /// Runs `kairanban token …` beside the server, by another process. Returns what it printed.
    pub(crate) fn token(&self, arguments: &[&str]) -> String {
        let output = program()
            .args(["--database-url", &self.database.url(), "token"])
            .args(arguments)
            .output()
            .expect("the program");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout)
            .expect("text")
            .trim()
            .to_owned()
    }

    /// Sends JSON with a token.
    pub(crate) fn send_as(
        &self,
        method: &str,
        path: &str,
        token: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let authorization = format!("Bearer {token}");
        let ours = [
            ("Authorization", authorization.as_str()),
            ("Content-Type", "application/json"),
        ];
        wire::request(
            self.address,
            method,
            path,
            &[&ours, headers].concat(),
            body.as_bytes(),
        )
    }

    pub(crate) fn stream(&self, path: &str) -> Reader {
        Reader::open(self.address, path, &[])
    }

    pub(crate) fn resume(&self, path: &str, cursor: &str) -> Reader {
        Reader::open(self.address, path, &[("Last-Event-ID", cursor)])
    }

    /// Where the program keeps what it has seen.
    pub(crate) fn data(&self) -> &Path {
        self.data.path()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
    }

    /// Starts the program again after it ended, at another port.
    pub(crate) fn restart(&mut self) {
        (self.child, self.address) =
            spawn(&self.database.url(), self.data.path(), &self.environment);
    }

    /// Starts the program again after it ended, at another port, with its log in a file.
    pub(crate) fn restart_logging_to(&mut self, log: File) {
        let mut command = serving(
            SocketAddr::from(([127, 0, 0, 1], 0)),
            &self.database.url(),
            self.data.path(),
            &self.environment,
        );
        (self.child, self.address) = start(command.stderr(log));
    }

    /// Starts the program again where it was, for those who come back by themselves.
    pub(crate) fn restart_at_the_same_address(&mut self) {
        let mut command = serving(
            self.address,
            &self.database.url(),
            self.data.path(),
            &self.environment,
        );
        if matches!(self.log, LogTo::FullDisk) {
            command.stderr(
                File::options()
                    .write(true)
                    .open("/dev/full")
                    .expect("/dev/full"),
            );
        }
        (self.child, self.address) = start(&mut command);
    }

    pub(crate) fn terminate(&self) {
        self.signal("-TERM");
    }

    /// Sends a signal, as in `-HUP`.
    pub(crate) fn signal(&self, signal: &str) {
        assert!(
            Command::new("kill")
                .args([signal, &self.pid().to_string()])
                .status()
                .expect("kill")
                .success()
        );
    }

    /// What `/readyz` says: status code, status and reasons.
    pub(crate) fn readiness(&self) -> (u16, String, String) {
        let answer = self.get("/readyz");
        let report = answer.json();
        (
            answer.status,
            report["status"].as_str().expect("a status").to_owned(),
            report["reasons"].to_string(),
        )
    }

    /// Waits until `/readyz` says what is wanted.
    pub(crate) fn wait_for_readiness(
        &self,
        patience: Duration,
        wanted: impl Fn(&(u16, String, String)) -> bool,
    ) {
        let began = Instant::now();
        loop {
            let readiness = self.readiness();
            if wanted(&readiness) {
                return;
            }
            assert!(
                began.elapsed() < patience,
                "after {patience:?}: {readiness:?}"
            );
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// The exit code, if it has ended. For tests with failpoints, which only debug builds have.
    #[cfg(debug_assertions)]
    pub(crate) fn has_ended(&mut self) -> Option<Option<i32>> {
        self.child
            .try_wait()
            .expect("a status")
            .map(|status| status.code())
    }

    /// Waits for the end. Returns how long it took, and the exit code.
    pub(crate) fn end(&mut self, patience: Duration) -> (Duration, Option<i32>) {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a status") {
                return (began.elapsed(), status.code());
            }
            assert!(
                began.elapsed() < patience,
                "still running after {patience:?}"
            );
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// Threads of the process.
    pub(crate) fn threads(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/task", self.pid()))
            .expect("/proc")
            .count()
    }

    /// CPU time of the process so far.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("/proc");
        let fields: Vec<&str> = stat
            .rsplit_once(')')
            .expect("a name")
            .1
            .split_whitespace()
            .collect();
        // utime and stime, in ticks of 10 ms.
        let ticks: u64 = fields[11].parse::<u64>().expect("a number")
            + fields[12].parse::<u64>().expect("a number");
        Duration::from_millis(ticks * 10)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
