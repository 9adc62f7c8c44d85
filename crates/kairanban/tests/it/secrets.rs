//! Passwords, files and variables: what must not be said, seen or mistaken.

#[cfg(unix)]
mod links;
mod places;
mod slips;

use std::{fs, path::Path, process::Command};

use crate::{
    logged::Logged,
    node::{Database, program},
    wire,
};

const NO_WAIT: (&str, &str) = ("KAIRANBAN_DATABASE__START_WAIT_S", "0");

/// Runs it in each way that reads the configuration, with everything logged; none of it may hold
/// the password.
fn says_no_password(what: &str, arguments: &[&str], environment: &[(&str, &str)]) {
    let environment = [environment, &[NO_WAIT, ("RUST_LOG", "trace")]].concat();
    for command in [&["config", "check"][..], &["migrate"]] {
        let (code, said) = Logged::ended(&[command, arguments].concat(), &environment);
        assert!(!said.to_lowercase().contains("canary"), "{what}: {said}");
        assert!(code != Some(0), "{what} was taken: {said}");
    }
}

/// Connection strings that are wrong, each with a password `canary`.
fn wrong_urls() -> Vec<String> {
    let mut urls = Vec::new();
    for special in [
        "%", "?", "/", "@", "#", " ", "'", "\"", "&", "=", ":", "\\", "[", "%zz", "%00", "\n", "回",
    ] {
        for password in [format!("canary{special}canary"), format!("{special}canary")] {
            urls.push(format!("postgres://ann:{password}@127.0.0.1:1/d"));
        }
    }
    for scheme in [
        "mysql", "postgre", "Postgres", "sqlite", "redis", "http", "",
    ] {
        urls.push(format!("{scheme}://ann:canary@127.0.0.1:1/d"));
    }
    urls.extend(
        [
            "postgres:ann:canary@h/d",
            "postgres://ann:canary/d",
            "postgres://ann:canary",
            "host=h user=ann password=canary",
            "canary",
            "postgres://127.0.0.1:1/d?password=canary",
            "postgres://127.0.0.1:1/d?password=can ary&canary",
            "postgres://127.0.0.1:1/d?canary",
            "postgres://ann@127.0.0.1:1/d?sslmode=require&password=canary#x",
            "sqlite://ann:canary@h/d",
            "sqlite://h/d?password=canary",
            "postgres://127.0.0.1:1/d?pasword=canary",
            "postgres://127.0.0.1:1/d?canary=1",
            "postgres://127.0.0.1:1/d?sslkey=/canary&sslcert=/canary",
            "postgres://127.0.0.1:1/d?sslmode=canary",
            "postgres://127.0.0.1:1/d?sslmode=verify-full&sslrootcert=/canary/ca.pem",
            "postgres://127.0.0.1:1/d?connect_timeout=canary",
            "postgres://127.0.0.1:1/d?options=-c%20canary%3D1",
            "postgres://127.0.0.1:1/d?service=canary",
        ]
        .map(str::to_owned),
    );
    urls
}

const GOOD_URL: (&str, &str) = ("DATABASE_URL", "postgres://127.0.0.1:1/d");

#[test]
fn no_piece_of_a_connection_string_is_said() {
    for (number, url) in wrong_urls().iter().enumerate() {
        // Each place in turn.
        match number % 3 {
            0 => says_no_password(url, &[], &[("DATABASE_URL", url)]),
            1 => says_no_password(url, &[], &[("KAIRANBAN_DATABASE__URL", url)]),
            _ => says_no_password(
                url,
                &[],
                &[GOOD_URL, ("KAIRANBAN_DATABASE__LISTEN_URL", url)],
            ),
        }
        match number % 4 {
            0 => says_no_password(url, &["--database-url", url], &[]),
            1 => {
                let file = tempfile::NamedTempFile::new().expect("a file");
                fs::write(file.path(), format!("{url}\n")).expect("written");
                let path = file.path().to_string_lossy();
                says_no_password(url, &[], &[("DATABASE_URL_FILE", &path)]);
            }
            2 => says_no_password(url, &[], &[("KAIRANBAN_DATABASE__URL_FILE", url)]),
            _ => {
                let redis = url.replace("postgres", "redis");
                let environment = [
                    GOOD_URL,
                    ("KAIRANBAN_BACKPLANE__KIND", "redis"),
                    ("KAIRANBAN_BACKPLANE__REDIS_URL", redis.as_str()),
                ];
                says_no_password(&redis, &[], &environment);
            }
        }
    }
}

/// A server repeats parts of what it does not like, on both kinds of connections.
#[test]
fn no_value_of_a_url_is_said_in_the_words_of_a_server() {
    let database = Database::postgres();
    migrate(&database);
    let wrong = format!("{}?options=-c%20canary%3D1", database.url());
    says_no_password(&wrong, &[], &[("DATABASE_URL", &wrong)]);
    let mut server = Logged::serve(&[
        ("DATABASE_URL", &database.url()),
        ("KAIRANBAN_DATABASE__LISTEN_URL", &wrong),
        ("KAIRANBAN_DATABASE__MIGRATE", "false"),
        ("RUST_LOG", "trace"),
    ]);
    server.until("LISTEN is refused", |server| {
        server.err().contains("no messages by LISTEN")
    });
    let said = server.out() + &server.err();
    assert!(
        said.contains("unrecognized configuration parameter") && !said.contains("canary"),
        "{said}"
    );
}

/// Writes a file. Returns its path.
fn write(folder: &Path, name: &str, bytes: &[u8]) -> String {
    let path = folder.join(name);
    fs::write(&path, bytes).expect("written");
    path.to_string_lossy().into_owned()
}

/// Checks the configuration with a file for the URL of the database.
fn check_with_url_file(path: &str, data: &Path) -> (Option<i32>, String) {
    let environment = [
        ("KAIRANBAN_DATABASE__URL_FILE", path),
        ("KAIRANBAN_SERVER__DATA_DIR", &data.to_string_lossy()),
    ];
    Logged::ended(&["config", "check"], &environment)
}

#[test]
fn a_wrong_file_for_a_secret_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let lines = b"postgres://ann:canary@h/d\nPASSWORD=canary";
    for (path, expected) in [
        (folder.to_string_lossy().into_owned(), "cannot be read"),
        ("/nowhere/canary".to_owned(), "cannot be read"),
        (write(folder, "binary", b"canary\xff"), "cannot be read"),
        (write(folder, "long", &[b'c'; 70_000]), "too long"),
        (write(folder, "lines", lines), "percent-encoded"),
    ] {
        let (code, said) = check_with_url_file(&path, &folder.join("data"));
        assert!(
            code == Some(78)
                && said.contains(expected)
                && said.contains("KAIRANBAN_DATABASE__URL_FILE"),
            "{path}: {said}"
        );
        assert!(
            !said.replace("/nowhere/canary", "").contains("canary"),
            "{said}"
        );
    }
}

#[test]
fn a_secret_that_is_given_twice_is_named() {
    let both = [
        ("DATABASE_URL", "postgres://h/d"),
        ("DATABASE_URL_FILE", "/etc/hostname"),
    ];
    let (code, said) = Logged::ended(&["config", "check"], &both);
    assert!(
        code == Some(78) && said.contains("DATABASE_URL_FILE: is set beside DATABASE_URL"),
        "{said}"
    );
}

/// What a server with a wrong password for Redis logs, too.
#[test]
fn a_server_that_runs_logs_no_password() {
    let redis = std::env::var("KAIRANBAN_TEST_REDIS_URL").expect("KAIRANBAN_TEST_REDIS_URL");
    let redis = redis.replace("redis://", "redis://ann:canary@");
    let database = Database::postgres();
    let url = database.url().replace("postgres@", "postgres:canary@");
    let environment = [
        ("DATABASE_URL", url.as_str()),
        ("KAIRANBAN_BACKPLANE__KIND", "redis"),
        ("KAIRANBAN_BACKPLANE__REDIS_URL", &redis),
        ("KAIRANBAN_BACKPLANE__REDIS_KEY", "canary-canary-canary"),
        ("RUST_LOG", "trace"),
    ];
    let mut server = Logged::serve(&environment);
    let address = server.address();
    assert_eq!(wire::request(address, "GET", "/", &[], b"").status, 200);
    server.until("Redis refuses", |server| {
        server.err().contains("no messages by Redis")
    });
    assert!(
        !(server.out() + &server.err()).contains("canary"),
        "{}",
        server.err()
    );
    let (code, said) = Logged::ended(&["config", "check"], &environment);
    assert!(code == Some(0) && !said.contains("canary"), "{said}");
}

#[cfg(unix)]
fn mode(path: &Path) -> u32 {
    std::os::unix::fs::MetadataExt::mode(
        &fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())),
    ) & 0o777
}

#[cfg(unix)]
#[test]
fn the_embedded_database_is_its_owners_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("deep/data");
    let mut server = serve_from(&data);
    assert_eq!(wire::post(server.address(), "x").status, 201);
    assert_eq!(mode(&data), 0o700);
    for entry in fs::read_dir(&data).expect("a folder") {
        let path = entry.expect("an entry").path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    assert!(
        ["", "-wal", "-shm"]
            .iter()
            .all(|end| data.join(format!("kairanban.db{end}")).exists())
    );
    assert!(
        !server.err().contains("open to other users"),
        "{}",
        server.err()
    );
}

#[cfg(unix)]
fn serve_from(data: &Path) -> Logged {
    Logged::serve(&[("KAIRANBAN_SERVER__DATA_DIR", &data.to_string_lossy())])
}

/// A database that its owner opened to others on purpose stays as it is, with a warning.
#[cfg(unix)]
#[test]
fn an_embedded_database_that_is_open_to_others_is_named() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("deep/data");
    serve_from(&data).address();
    let file = data.join("kairanban.db");
    for (path, mode) in [(&file, 0o660), (&data, 0o755)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
    }
    let mut server = serve_from(&data);
    server.address();
    assert!(
        server.err().contains("chmod 600") && server.err().contains("chmod 700"),
        "{}",
        server.err()
    );
    assert_eq!((mode(&file), mode(&data)), (0o660, 0o755));
}

fn migrate(database: &Database) {
    let (code, said) = Logged::ended(&["migrate"], &[("DATABASE_URL", &database.url())]);
    assert_eq!(code, Some(0), "{said}");
}

/// A token that was not printed is of no use to its owner, and must be of none to others.
#[cfg(unix)]
#[test]
fn a_token_that_cannot_be_printed_does_not_stay() {
    for database in [Database::sqlite(), Database::postgres()] {
        migrate(&database);
        let url = database.url();
        for redirect in [">/dev/full", ">&-", ">/dev/null", "| true"] {
            let quoted = program().get_program().to_string_lossy().into_owned();
            // With `| true` the reader is gone before the program writes.
            let line = format!(
                "set -o pipefail; (while kill -0 $PPID 2>/dev/null && [ -e /nowhere ]; do :; done; \
                 exec '{quoted}' token create --scope admin) {redirect}"
            );
            let mut shell = Command::new("bash");
            shell.args(["-c", &line]).env("DATABASE_URL", &url);
            for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("KAIRANBAN_")) {
                shell.env_remove(name);
            }
            let output = shell.output().expect("bash");
            assert!(!output.status.success(), "{redirect}: {output:?}");
            let good = database.sql("SELECT count(*) FROM tokens WHERE revoked_at IS NULL;");
            assert_eq!(good, "0", "{redirect}: {output:?}");
        }
        let (code, out) = Logged::ended(
            &["token", "create", "--scope", "read"],
            &[("DATABASE_URL", &url), ("RUST_LOG", "off")],
        );
        assert!(code == Some(0) && out.starts_with("kairanban_"), "{out}");
    }
}

#[test]
fn a_token_that_would_be_dead_at_birth_is_refused() {
    let database = Database::sqlite();
    migrate(&database);
    let url = database.url();
    for days in ["0", "4294967295", "3000000", "-1"] {
        let (code, said) = Logged::ended(
            &["token", "create", "--scope", "read", "--days", days],
            &[("DATABASE_URL", &url)],
        );
        assert!(
            !matches!(code, Some(0) | None) && !said.contains("panicked"),
            "{days}: {code:?} {said}"
        );
    }
    assert_eq!(database.sql("SELECT count(*) FROM tokens;"), "0");
}
