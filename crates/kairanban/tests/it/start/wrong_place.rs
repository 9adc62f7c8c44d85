//! A database URL that points to something else: each command ends at once, with exit code 78 and
//! the same sentence.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::{fs::PermissionsExt as _, net::UnixListener, process::CommandExt as _},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use crate::{
    logged::Logged,
    node::{Database, Node, program},
    start::migrate,
};

crate::on_both!(
    a_database_of_another_program_is_refused_as_it_is,
    a_database_of_another_program_without_our_names_is_shared,
    a_table_of_migrations_of_another_program_is_refused,
);

pub(super) const COMMANDS: [&[&str]; 3] = [
    &["config", "check"],
    &["migrate"],
    &["--listen", "127.0.0.1:0"],
];

/// Runs a command. Returns the exit code and the sentence that it ends with.
pub(super) fn ended(command: Command) -> (Option<i32>, String) {
    let began = Instant::now();
    let (code, said) = Logged::run(command).end();
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "not at once: {said}"
    );
    let sentence = said.split_once("kairanban: ");
    (
        code,
        sentence.map_or(said.as_str(), |(_, said)| said).to_owned(),
    )
}

/// Checks that each command refuses the database, with these parts in what is said.
#[track_caller]
pub(super) fn refused(url: &str, parts: &[&str]) {
    refused_as(url, parts, |_| {});
}

#[track_caller]
fn refused_as(url: &str, parts: &[&str], adjust: impl Fn(&mut Command)) {
    let mut sentences = BTreeSet::new();
    for arguments in COMMANDS {
        let mut command = program();
        command.args(arguments).envs([("DATABASE_URL", url)]);
        adjust(&mut command);
        let (code, said) = ended(command);
        assert!(
            code == Some(78) && parts.iter().all(|part| said.contains(part)),
            "{arguments:?}: {code:?} {said}"
        );
        sentences.insert(said);
    }
    assert_eq!(sentences.len(), 1, "{sentences:#?}");
}

fn a_database_of_another_program_is_refused_as_it_is(database: Database) {
    for table in ["topics", "audit"] {
        database.sql(&format!("CREATE TABLE {table} (subject TEXT);"));
        refused(&database.url(), &[&format!("a table `{table}`")]);
        database.sql(&format!("DROP TABLE {table};"));
    }
}

fn a_database_of_another_program_without_our_names_is_shared(database: Database) {
    database.sql("CREATE TABLE users (id INTEGER);");
    // As another program with diesel leaves it.
    database.sql(
        "CREATE TABLE __diesel_schema_migrations (version VARCHAR(50) PRIMARY KEY NOT NULL,
         run_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP);
         INSERT INTO __diesel_schema_migrations (version) VALUES ('20200101000000');",
    );
    let node = Node::start(database);
    node.post("beside others");
}

fn a_table_of_migrations_of_another_program_is_refused(database: Database) {
    const TABLE: &str = "__diesel_schema_migrations";
    let makes = [
        "CREATE TABLE $ (id INTEGER PRIMARY KEY, name TEXT)",
        "CREATE TABLE $ (version TEXT, program TEXT NOT NULL)",
        "CREATE VIEW $ AS SELECT '1' AS version",
        // Another program's, whose version is that of one of ours.
        "CREATE TABLE $ (version TEXT PRIMARY KEY, run_on TEXT DEFAULT '');
         INSERT INTO $ (version) VALUES ('20261123000000')",
    ];
    for make in makes {
        database.sql(&format!("{};", make.replace('$', TABLE)));
        refused(&database.url(), &[TABLE, "another"]);
        let kind = if make.contains("VIEW") {
            "VIEW"
        } else {
            "TABLE"
        };
        database.sql(&format!("DROP {kind} {TABLE};"));
    }
}

/// Each kind of object that takes a name; the store's tests try all names.
#[test]
fn a_name_that_is_taken_is_refused() {
    for (make, taken) in [
        ("CREATE VIEW boards AS SELECT 1;", "view `boards`"),
        ("CREATE TYPE topics AS ENUM ();", "type `topics`"),
        // Its calls would be casts.
        (
            "CREATE TYPE lock_to_migrate AS ENUM ();",
            "type `lock_to_migrate`",
        ),
        (
            "CREATE TABLE x (y INT); CREATE INDEX changes ON x (y);",
            "index `changes`",
        ),
        (
            "CREATE FUNCTION topics_before() RETURNS INT LANGUAGE sql AS 'SELECT 1';",
            "function `topics_before`",
        ),
    ] {
        let database = Database::postgres();
        database.sql(make);
        refused(&database.url(), &[taken, "a schema of its own"]);
    }
    let database = Database::sqlite();
    database.sql(
        "CREATE TABLE x (y); CREATE TRIGGER topics_inserted AFTER INSERT ON x BEGIN SELECT 1; END;",
    );
    refused(
        &database.url(),
        &["trigger `topics_inserted`", "name another file"],
    );
}

#[test]
fn a_url_that_names_a_folder_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().display();
    refused(
        &format!("sqlite://{path}"),
        &["is a folder", "/kairanban.db"],
    );
    refused(
        &format!("sqlite://{path}/none/"),
        &["is a folder", "/none/kairanban.db"],
    );
    fs::write(folder.path().join("file"), "").expect("a file");
    refused(&format!("sqlite://{path}/file/a.db"), &["not a folder"]);
}

#[test]
fn a_path_of_something_else_than_a_file_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let fifo = Command::new("mkfifo").arg(path("fifo")).status();
    assert!(fifo.expect("mkfifo").success());
    let _socket = UnixListener::bind(path("socket")).expect("a socket");
    for (name, kind) in [("fifo", "FIFO"), ("socket", "socket")] {
        let url = format!("sqlite://{}", path(name).display());
        refused(&url, &[name, kind, "name another path"]);
        // Beside the file, and in place of its folder.
        let beside = path(&format!("beside-{name}.db"));
        std::os::unix::fs::symlink(path(name), path(&format!("beside-{name}.db-wal")))
            .expect("a link");
        refused_as(
            &format!("sqlite://{}", beside.display()),
            &["-wal", kind],
            |command| {
                command.env("KAIRANBAN_DATABASE__FOLLOW_SYMLINKS", "true");
            },
        );
        refused(&format!("{url}/a.db"), &["not a folder", kind]);
    }
    for device in ["/dev/null", "/dev/zero"] {
        refused(&format!("sqlite://{device}"), &["device"]);
    }
    fs::write(
        path("text"),
        "no database, but a text that is long enough".repeat(9),
    )
    .expect("file");
    refused(
        &format!("sqlite://{}", path("text").display()),
        &["not a SQLite database"],
    );
}

#[test]
fn a_url_that_is_no_path_is_refused() {
    for (url, part) in [
        ("mysql://h/d", "postgres:// or sqlite://"),
        ("data/a.db", "postgres:// or sqlite://"),
        ("sqlite://", "postgres:// or sqlite://"),
        ("sqlite://a.db?mode=ro", "no parameters"),
        ("sqlite://a\nb.db", "no control characters"),
        ("sqlite://a\u{7f}.db", "no control characters"),
        ("sqlite://:memory:", "neither :memory:"),
        ("sqlite:file:a.db", "nor file:"),
    ] {
        refused(url, &[part]);
    }
}

/// Characters that are special elsewhere are part of the name of the file.
#[test]
fn a_path_with_odd_characters_is_that_of_the_file() {
    for name in [
        "a b.db",
        "%20.db",
        "a#b.db",
        "'\"`.db",
        "回覧板.db",
        "-a.db",
        "a\\b.db",
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join(name);
        let url = format!("sqlite://{}", file.display());
        let (code, said) = Logged::ended(&["migrate"], &[("DATABASE_URL", &url)]);
        assert!(code == Some(0) && file.is_file(), "{name}: {said}");
        let (code, said) = Logged::ended(&["config", "check"], &[("DATABASE_URL", &url)]);
        assert!(code == Some(0), "{name}: {said}");
    }
}

/// Runs it as a user without rights, in place of root, who may write everything.
fn without_rights(command: &mut Command, data: &Path) {
    command.env("KAIRANBAN_SERVER__DATA_DIR", data);
    if fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0) {
        command.uid(65_534).gid(65_534);
    }
}

#[test]
fn a_file_that_may_not_be_written_is_refused() {
    let set = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
    };
    let part_of = |ending: &str| format!("board.db{ending} cannot be written");
    for read_only in ["folder", "", "-wal", "-shm", "none"] {
        let root = tempfile::tempdir().expect("a folder");
        set(root.path(), 0o777);
        let folder = root.path().join("folder");
        fs::create_dir(&folder).expect("a folder");
        let file = folder.join("board.db");
        let url = format!("sqlite://{}", file.display());
        let part = match read_only {
            // The folder of a file that is still to be made.
            "none" => "folder cannot be written".to_owned(),
            "folder" => {
                fs::write(&file, "").expect("a file");
                "folder cannot be written".to_owned()
            }
            ending => part_of(ending),
        };
        set(
            &folder,
            if part.starts_with("folder") {
                0o555
            } else {
                0o777
            },
        );
        if read_only != "none" {
            for ending in ["", "-wal", "-shm"] {
                let path = folder.join(format!("board.db{ending}"));
                fs::write(&path, "").expect("a file");
                set(&path, if ending == read_only { 0o444 } else { 0o666 });
            }
        }
        refused_as(&url, &[&part, "chown"], |command| {
            without_rights(command, root.path());
        });
        set(&folder, 0o777);
    }
}

#[test]
fn a_postgres_that_takes_no_writes_is_refused_with_what_helps() {
    const SETTING: &str = "default_transaction_read_only";
    for migrated in [false, true] {
        let database = Database::postgres();
        if migrated {
            migrate(&database);
        }
        let url = database.url();
        let (_, name) = url.rsplit_once('/').expect("a database");
        let of_database = format!("ALTER DATABASE {name}");
        let of_both = format!("ALTER ROLE postgres IN DATABASE {name}");
        for alter in [&of_database, &of_both] {
            database.sql(&format!("{alter} SET {SETTING} = on;"));
            refused(&url, &["read-only", &format!("{alter} RESET {SETTING}")]);
            let writable = Database::Postgres(format!("{url}?options=-c{SETTING}%3Doff"));
            writable.sql(&format!("{alter} RESET {SETTING};"));
        }
        refused(
            &format!("{url}?options=-c{SETTING}%3Don"),
            &["read-only", "out of the database URL"],
        );
        migrate(&database);
    }
}
