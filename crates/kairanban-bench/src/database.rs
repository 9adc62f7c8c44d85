//! A Postgres of its own for the benchmark, with the default settings: it flushes each commit to
//! the disk.

use std::{
    cell::Cell,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::process::free_address;

/// A cluster of Postgres. It is stopped when dropped.
pub struct Postgres {
    folder: TempDir,
    programs: PathBuf,
    port: u16,
    databases: Cell<u32>,
}

impl Postgres {
    /// Creates a cluster and starts it: as the user `postgres` if this is root, which Postgres
    /// refuses to run as.
    ///
    /// # Errors
    /// If Postgres is not installed or does not start.
    pub fn start() -> Result<Self> {
        let programs = programs()?;
        let folder = tempfile::tempdir()?;
        run(Command::new("chmod").arg("777").arg(folder.path()))?;
        let port = free_address()?.port();
        let postgres = Self {
            folder,
            programs,
            port,
            databases: Cell::new(0),
        };
        let data = postgres.data();
        postgres.run(
            "initdb",
            &["-D", &data, "-A", "trust", "-U", "postgres", "-E", "UTF8"],
        )?;
        let options = format!(
            "-p {port} -k {data} -c listen_addresses=127.0.0.1 -c max_connections=200 -c \
             track_commit_timestamp=on"
        );
        let log = postgres.folder.path().join("log").display().to_string();
        postgres.run(
            "pg_ctl",
            &["-D", &data, "-w", "-l", &log, "-o", &options, "start"],
        )?;
        Ok(postgres)
    }

    /// Creates an empty database and returns its URL.
    ///
    /// # Errors
    /// If it cannot be created.
    pub fn create_database(&self) -> Result<String> {
        self.databases.set(self.databases.get() + 1);
        let name = format!("bench_{}", self.databases.get());
        self.sql("postgres", &format!("CREATE DATABASE {name}"))?;
        Ok(self.url(&name))
    }

    /// Runs SQL in a database, which is named by its URL or its name, and returns what it prints.
    ///
    /// # Errors
    /// If it fails.
    pub fn sql(&self, database: &str, sql: &str) -> Result<String> {
        let url = if database.contains("://") {
            database.to_owned()
        } else {
            self.url(database)
        };
        let output =
            run(Command::new("psql").args(["-qAtX", "-v", "ON_ERROR_STOP=1", "-c", sql, &url]))?;
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    fn data(&self) -> String {
        self.folder.path().join("data").display().to_string()
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<()> {
        let program = self.programs.join(program);
        let is_root = fs::metadata("/proc/self")
            .is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
        let mut command = if is_root {
            let mut command = Command::new("setpriv");
            command
                .args([
                    "--reuid=postgres",
                    "--regid=postgres",
                    "--init-groups",
                    "--",
                ])
                .arg(&program);
            command
        } else {
            Command::new(&program)
        };
        run(command.args(arguments).current_dir(Path::new("/"))).map(drop)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ = self.run("pg_ctl", &["-D", &self.data(), "-m", "immediate", "stop"]);
    }
}

/// Returns the folder with the programs of the newest Postgres that is installed.
fn programs() -> Result<PathBuf> {
    let absent = "Postgres is not installed in /usr/lib/postgresql";
    let versions = fs::read_dir("/usr/lib/postgresql").context(absent)?;
    let names = versions.flatten().map(|version| version.path());
    Ok(names.max().context(absent)?.join("bin"))
}

fn run(command: &mut Command) -> Result<Output> {
    let output = command
        .output()
        .with_context(|| format!("cannot start {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output)
}
