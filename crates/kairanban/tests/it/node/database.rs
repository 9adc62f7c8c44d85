//! A database of the test's own, and other programs that use it.

use std::{
    env,
    io::{BufRead as _, BufReader, Write as _},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

static DATABASES: AtomicU32 = AtomicU32::new(0);

pub(crate) enum Database {
    Sqlite(Arc<tempfile::TempDir>),
    Postgres(String),
}

/// Another program's transaction that holds up all others, until it is dropped.
pub(crate) struct Lock(Child);

impl Lock {
    /// Commits instead of rolling back. Returns when the transaction has ended.
    pub(crate) fn commit(self) {
        self.commit_after("SELECT");
    }

    /// Runs one more statement and commits. Returns when the transaction has ended.
    pub(crate) fn commit_after(mut self, statement: &str) {
        let input = self.0.stdin.as_mut().expect("a pipe");
        writeln!(input, "{statement}; COMMIT;").expect("written");
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
        for _ in 0..10 {
            let mut psql = Command::new("psql")
                .args(["-qAtX", "-v", "ON_ERROR_STOP=1", &self.url()])
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
            if !said.is_empty() {
                return Lock(psql);
            }
            // It has ended: Postgres chose it to end a deadlock with a server.
            psql.wait().expect("psql");
        }
        panic!("no transaction could run {statement}");
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

    /// Copies the handle, for another thread.
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

    /// Makes a Postgres that speaks Japanese.
    pub(crate) fn japanese() -> Self {
        let database = Self::postgres();
        database.set_for_all("lc_messages", "ja_JP.UTF-8");
        let said = database.try_sql("SELECT 1 / 0;").expect_err("an error");
        assert!(
            !said.is_ascii(),
            "no locale ja_JP.UTF-8 (scripts/setup): {said}"
        );
        database
    }

    /// Sets a parameter for all new connections to this Postgres.
    pub(crate) fn set_for_all(&self, name: &str, value: &str) {
        let url = self.url();
        let (_, database) = url.rsplit_once('/').expect("a database");
        self.sql(&format!(
            "ALTER DATABASE {database} SET {name} = '{value}';"
        ));
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

    /// Runs SQL by another program: `psql` or `sqlite3`. Returns what it printed.
    pub(crate) fn sql(&self, text: &str) -> String {
        self.try_sql(text).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Runs SQL by another program. Returns what it printed, or what it complained of if it failed.
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
