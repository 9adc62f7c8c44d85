//! A Postgres of one test's own, for what cannot be done to the one that all tests share: stop it,
//! fill its disk.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use crate::node::Database;

/// A running Postgres. Ended when dropped.
pub(crate) struct Cluster {
    folder: tempfile::TempDir,
    programs: PathBuf,
    port: u16,
    databases: AtomicU32,
}

impl Cluster {
    /// Makes a cluster and starts it; as the user `postgres` if this is root, which Postgres
    /// refuses.
    pub(crate) fn start() -> Self {
        Self::start_in(tempfile::tempdir().expect("a folder"))
    }

    /// Starts it in a folder of the caller's choice.
    pub(crate) fn start_in(folder: tempfile::TempDir) -> Self {
        let mut versions: Vec<_> = fs::read_dir("/usr/lib/postgresql")
            .expect("a Postgres; scripts/test installs it")
            .flatten()
            .collect();
        versions.sort_by_key(fs::DirEntry::file_name);
        let programs = versions.last().expect("a Postgres").path().join("bin");
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(folder.path()));
        }
        let port = free_port();
        let cluster = Self {
            folder,
            programs,
            port,
            databases: AtomicU32::new(0),
        };
        cluster.program(
            "initdb",
            &["-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync"],
        );
        cluster.up();
        cluster
    }

    /// Starts it again where it was.
    pub(crate) fn up(&self) {
        let folder = self.folder.path().display();
        let options = format!(
            "-p {} -k {folder} -c listen_addresses=127.0.0.1 -c max_connections=100",
            self.port
        );
        self.program(
            "pg_ctl",
            &[
                "-w",
                "-l",
                &format!("{folder}/log"),
                "-o",
                &options,
                "start",
            ],
        );
    }

    /// Ends it: `fast` or `immediate`, as `pg_ctl -m` has it.
    pub(crate) fn down(&self, mode: &str) {
        self.program("pg_ctl", &["-w", "-m", mode, "stop"]);
    }

    /// A new database in it.
    pub(crate) fn database(&self) -> Database {
        let name = format!("board_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        Database::Postgres(self.url("postgres")).sql(&format!("CREATE DATABASE {name};"));
        Database::Postgres(self.url(&name))
    }

    /// A new database that belongs to the role `board`, which is no superuser. Connects as that
    /// role.
    pub(crate) fn database_of_a_plain_role(&self) -> Database {
        let database = self.database();
        let url = database.url();
        let name = url.rsplit_once('/').expect("a name").1;
        database.sql(&format!(
            "CREATE ROLE board LOGIN; ALTER DATABASE {name} OWNER TO board;"
        ));
        Database::Postgres(url.replace("//postgres@", "//board@"))
    }

    /// Whether it runs; a server that found its disk full may have ended by itself.
    pub(crate) fn is_up(&self) -> bool {
        Database::Postgres(self.url("postgres"))
            .try_sql("SELECT 1;")
            .is_ok()
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    fn program(&self, name: &str, arguments: &[&str]) {
        let program = self.programs.join(name);
        let mut command = if is_root() {
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
        let data = self.folder.path().join("data");
        run(command
            .arg("-D")
            .arg(data)
            .args(arguments)
            .current_dir(Path::new("/")));
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.folder.path().join("data/postmaster.pid").exists() {
            self.down("immediate");
        }
    }
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a port")
        .port()
}

fn run(command: &mut Command) {
    // Not into pipes: the server would keep them open.
    let status = command
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
}
