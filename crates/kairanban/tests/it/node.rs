//! A database of the test's own, and the program running on it.

use std::{
    env,
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    sse::Reader,
    wire::{self, Answer},
};

static DATABASES: AtomicU32 = AtomicU32::new(0);

pub(crate) enum Database {
    Sqlite(Arc<tempfile::TempDir>),
    Postgres(String),
}

/// Another program's transaction that holds up everybody, until it is dropped.
pub(crate) struct Lock(Child);

impl Lock {
    /// Commits instead of rolling back. Returns when the transaction has ended.
    pub(crate) fn commit(mut self) {
        writeln!(self.0.stdin.as_mut().expect("a pipe"), "COMMIT;").expect("written");
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // At the end of its input it rolls back and ends.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

impl Database {
    /// Locks tables of a Postgres.
    pub(crate) fn lock(&self, tables: &str) -> Lock {
        self.hold(&format!("LOCK TABLE {tables}"))
    }

    /// Keeps others from making a table of this name in a Postgres.
    pub(crate) fn lock_out_tables(&self, name: &str) -> Lock {
        self.hold(&format!("CREATE TABLE {name} ()"))
    }

    /// Keeps a transaction open on a Postgres that has run a statement.
    pub(crate) fn hold(&self, statement: &str) -> Lock {
        let mut command = Command::new("psql");
        let mut psql = command
            .args(["-qAtX", &self.url()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("psql");
        let input = psql.stdin.as_mut().expect("a pipe");
        writeln!(input, "BEGIN; {statement}; SELECT 'locked';").expect("written");
        let mut said = String::new();
        BufReader::new(psql.stdout.as_mut().expect("a pipe"))
            .read_line(&mut said)
            .expect("a line");
        Lock(psql)
    }

    /// Holds SQLite's write lock.
    pub(crate) fn hold_the_write_lock(&self) -> Lock {
        let mut command = Command::new("sqlite3");
        let command = command
            .arg("-batch")
            .arg(self.file())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut sqlite = command.spawn().expect("sqlite3");
        let input = sqlite.stdin.as_mut().expect("a pipe");
        writeln!(input, ".timeout 5000\nBEGIN IMMEDIATE; SELECT 'locked';").expect("written");
        let mut said = String::new();
        BufReader::new(sqlite.stdout.as_mut().expect("a pipe"))
            .read_line(&mut said)
            .expect("a line");
        Lock(sqlite)
    }

    /// The same, for another thread.
    pub(crate) fn twin(&self) -> Self {
        match self {
            Self::Postgres(url) => Self::Postgres(url.clone()),
            Self::Sqlite(folder) => Self::Sqlite(Arc::clone(folder)),
        }
    }

    pub(crate) fn sqlite() -> Self {
        Self::Sqlite(Arc::new(tempfile::tempdir().expect("a folder")))
    }

    pub(crate) fn postgres() -> Self {
        let server = env::var("KAIRANBAN_TEST_POSTGRES_URL")
            .expect("KAIRANBAN_TEST_POSTGRES_URL; scripts/test sets it");
        let name = format!(
            "node_{}_{}",
            std::process::id(),
            DATABASES.fetch_add(1, Ordering::Relaxed)
        );
        run_psql(&server, &format!("CREATE DATABASE {name}"));
        let (base, _) = server.rsplit_once('/').expect("a URL with a database");
        Self::Postgres(format!("{base}/{name}"))
    }

    pub(crate) fn is_postgres(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }

    pub(crate) fn url(&self) -> String {
        match self {
            Self::Sqlite(folder) => {
                format!("sqlite://{}", folder.path().join("board.db").display())
            }
            Self::Postgres(url) => url.clone(),
        }
    }

    pub(crate) fn file(&self) -> PathBuf {
        match self {
            Self::Sqlite(folder) => folder.path().join("board.db"),
            Self::Postgres(url) => panic!("{url} is no file"),
        }
    }

    /// Runs SQL by another program: `psql` or `sqlite3`. Gives what it printed.
    pub(crate) fn sql(&self, text: &str) -> String {
        self.try_sql(text).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same; gives what it complained of if it failed.
    pub(crate) fn try_sql(&self, text: &str) -> Result<String, String> {
        match self {
            Self::Postgres(url) => try_psql(url, text),
            Self::Sqlite(_) => try_output(
                Command::new("sqlite3")
                    .args(["-batch", "-bail"])
                    .arg(self.file()),
                &format!(".timeout 5000\n{text}\n"),
            ),
        }
    }
}

pub(crate) fn run_psql(url: &str, text: &str) {
    try_psql(url, text).unwrap_or_else(|error| panic!("{error}"));
}

fn try_psql(url: &str, text: &str) -> Result<String, String> {
    // From a file, so that each statement is a transaction unless the text says otherwise.
    try_output(
        Command::new("psql").args(["-qAtX", "-v", "ON_ERROR_STOP=1", "-f", "-", url]),
        text,
    )
}

pub(crate) fn try_output(command: &mut Command, input: &str) -> Result<String, String> {
    let command = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}; scripts/test installs it"));
    // It may have given up before the end.
    let _ = child
        .stdin
        .take()
        .expect("a pipe")
        .write_all(input.as_bytes());
    let output = child.wait_with_output().expect("an end");
    if !output.status.success() {
        return Err(format!(
            "{command:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    Ok(String::from_utf8(output.stdout)
        .expect("text")
        .trim()
        .to_owned())
}

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

    /// The same; `adjust` says how the program is called besides.
    pub(crate) fn start_as(
        database: Database,
        settings: &[(&str, &str)],
        adjust: impl FnOnce(&mut Command),
    ) -> Self {
        let setting =
            |(name, value): &(&str, &str)| (format!("KAIRANBAN_{name}"), (*value).to_owned());
        Self::start_in_as(database, settings.iter().map(setting).collect(), adjust)
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

    /// The same, with other settings.
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

    /// Posts a comment to the default board, as `curl -d` does. Gives the topic's id.
    pub(crate) fn post(&self, comment: &str) -> u64 {
        let answer = self.send("POST", "/", "text/plain", comment);
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()["id"].as_u64().expect("an id")
    }

    /// Runs `kairanban token …` beside the server, by another process; gives what it printed.
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

    /// The same. Its log goes to a file.
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

    /// Waits for the end; gives how long it took and the exit code.
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

fn spawn(url: &str, data: &Path, environment: &[(String, String)]) -> (Child, SocketAddr) {
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

fn serving(
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
    command.env("KAIRANBAN_LIMITS__CONNECTIONS_PER_CLIENT_MAX", "1000000");
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    command
}

fn start(command: &mut Command) -> (Child, SocketAddr) {
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
