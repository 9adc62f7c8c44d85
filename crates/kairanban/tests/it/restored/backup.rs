//! Backups, and each way to put one back.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use crate::node::{Node, run_psql, try_output};

/// How a backup is put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RestoreWay {
    /// SQLite: another file is moved to the place.
    FileReplaced,
    /// SQLite: the same, with the `-wal` and `-shm` of the file before left where they are.
    FileReplacedAlone,
    /// SQLite: the file is deleted, and a copy put there a while later.
    FileDeleted,
    /// SQLite: `.restore`, into the same file.
    Restore,
    /// Postgres: `pg_restore --clean` into the same database.
    PgRestoreClean,
    /// Postgres: the database is dropped, made again, and filled by `psql`.
    DropCreate,
    /// Postgres: a copy and the database exchange their names.
    Exchanged,
    /// Every table that a restore would fill is put back row by row, in one transaction.
    Rows,
}

pub(super) const OF_SQLITE: [RestoreWay; 5] = [
    RestoreWay::FileReplaced,
    RestoreWay::FileDeleted,
    RestoreWay::Restore,
    RestoreWay::Rows,
    RestoreWay::FileReplacedAlone,
];

pub(super) const OF_POSTGRES: [RestoreWay; 4] = [
    RestoreWay::PgRestoreClean,
    RestoreWay::DropCreate,
    RestoreWay::Exchanged,
    RestoreWay::Rows,
];

/// Without what references others first.
const TABLES: [&str; 3] = ["changes", "topics", "identity"];

pub(super) struct Backup {
    way: RestoreWay,
    pub(super) folder: tempfile::TempDir,
}

impl Backup {
    pub(super) fn take(node: &Node, way: RestoreWay) -> Self {
        let backup = Self {
            way,
            folder: tempfile::tempdir().expect("a folder"),
        };
        let file = backup.file().display().to_string();
        match way {
            RestoreWay::FileReplaced
            | RestoreWay::FileReplacedAlone
            | RestoreWay::FileDeleted
            | RestoreWay::Restore => drop(node.database.sql(&format!("VACUUM INTO '{file}';"))),
            RestoreWay::PgRestoreClean => {
                run("pg_dump", &["-Fc", "-f", &file, &node.database.url()])
            }
            RestoreWay::DropCreate => run("pg_dump", &["-f", &file, &node.database.url()]),
            RestoreWay::Exchanged => {
                let (base, name) = base_and_name(node);
                run_psql(
                    &format!("{base}/postgres"),
                    &format!("CREATE DATABASE {name}_copy"),
                );
                run("pg_dump", &["-f", &file, &node.database.url()]);
                fill(&file, &format!("{base}/{name}_copy"));
            }
            RestoreWay::Rows => {
                let copies = TABLES
                    .map(|table| format!("CREATE TABLE {table}_kept AS SELECT * FROM {table};"))
                    .concat();
                node.database.sql(&copies);
            }
        }
        backup
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("backup")
    }

    pub(super) fn put_back(&self, node: &Node) {
        let file = self.file().display().to_string();
        let url = node.database.url();
        match self.way {
            RestoreWay::FileReplaced | RestoreWay::FileReplacedAlone | RestoreWay::FileDeleted => {
                self.replace_file(node)
            }
            RestoreWay::Restore => drop(node.database.sql(&format!(".restore '{file}'"))),
            RestoreWay::PgRestoreClean => run(
                "pg_restore",
                &["--clean", "--if-exists", "-1", "-d", &url, &file],
            ),
            RestoreWay::DropCreate => {
                let (base, name) = base_and_name(node);
                run_psql(
                    &format!("{base}/postgres"),
                    &format!("DROP DATABASE {name} WITH (FORCE); CREATE DATABASE {name};"),
                );
                fill(&file, &url);
            }
            RestoreWay::Exchanged => exchange(node),
            RestoreWay::Rows => put_rows_back(node),
        }
    }

    fn replace_file(&self, node: &Node) {
        let file = node.database.file();
        let left = self.way == RestoreWay::FileReplacedAlone;
        for suffix in ["-wal", "-shm"].iter().filter(|_| !left) {
            // There is no such file if the server is away.
            let _ = fs::remove_file(beside(&file, suffix));
        }
        let copy = beside(&file, ".new");
        fs::copy(self.file(), &copy).expect("copied");
        if self.way == RestoreWay::FileDeleted {
            fs::remove_file(&file).expect("removed");
            std::thread::park_timeout(Duration::from_millis(300));
        }
        fs::rename(&copy, &file).expect("moved");
    }
}

pub(super) fn beside(file: &Path, suffix: &str) -> PathBuf {
    format!("{}{suffix}", file.display()).into()
}

/// Runs a dump against a database, in one transaction.
fn fill(dump: &str, url: &str) {
    let stop = "ON_ERROR_STOP=1";
    run("psql", &["-qX", "-1", "-v", stop, "-f", dump, url]);
}

/// Lets two databases exchange their names, while servers try to come in.
fn exchange(node: &Node) {
    let (base, name) = base_and_name(node);
    let server = format!("{base}/postgres");
    rename(&server, &name, &format!("{name}_old"));
    rename(&server, &format!("{name}_copy"), &name);
    run_psql(
        &server,
        &format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true;"),
    );
}

fn rename(server: &str, from: &str, to: &str) {
    let end =
        format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{from}';");
    let deadline = Instant::now() + Duration::from_secs(10);
    let text = format!(
        "ALTER DATABASE {from} ALLOW_CONNECTIONS false; {end} SELECT pg_sleep(0.1); \
         ALTER DATABASE {from} RENAME TO {to};"
    );
    while let Err(error) = try_output(
        Command::new("psql").args(["-qAtX", "-v", "ON_ERROR_STOP=1", "-f", "-", server]),
        &text,
    ) {
        assert!(Instant::now() < deadline, "{error}");
    }
}

fn put_rows_back(node: &Node) {
    let postgres = node.database.is_postgres();
    let (before, after) = if postgres {
        (
            "SET session_replication_role = replica;",
            "SELECT setval('revision_seq', (SELECT max(revision) FROM changes));",
        )
    } else {
        (
            "UPDATE revisions SET newest = 0;",
            "UPDATE revisions SET newest = (SELECT max(revision) FROM changes_kept), batch = 0;",
        )
    };
    // SQLite's triggers cannot be turned off: what they log goes with the rest.
    let order = ["topics", "changes", "identity"];
    let rows: String = order
        .map(|table| {
            let overriding = if postgres && table != "identity" {
                "OVERRIDING SYSTEM VALUE"
            } else {
                ""
            };
            format!(
                "DELETE FROM {table}; INSERT INTO {table} {overriding} SELECT * FROM {table}_kept;"
            )
        })
        .concat();
    let log = if postgres {
        ""
    } else {
        "DELETE FROM changes; INSERT INTO changes SELECT * FROM changes_kept;"
    };
    node.database
        .sql(&format!("BEGIN; {before} {rows} {log} {after} COMMIT;"));
}

pub(super) fn base_and_name(node: &Node) -> (String, String) {
    let url = node.database.url();
    let (base, name) = url.rsplit_once('/').expect("a URL with a database");
    (base.to_owned(), name.to_owned())
}

fn run(name: &str, arguments: &[&str]) {
    try_output(Command::new(name).args(arguments), "").unwrap_or_else(|error| panic!("{error}"));
}
