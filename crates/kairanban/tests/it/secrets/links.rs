//! No symbolic link is followed to the database or its folder, unless asked.

use std::{fs, path::Path};

use super::*;

fn link(folder: &Path, to: &str, name: &str) {
    std::os::unix::fs::symlink(folder.join(to), folder.join(name)).expect("a link");
}

#[track_caller]
fn assert_nothing_written(folder: &Path) {
    let mut entries = fs::read_dir(folder).expect("a folder");
    assert!(
        entries.next().is_none(),
        "nothing was written through a link"
    );
}

#[test]
fn no_link_to_the_folder_of_a_server_on_postgres_is_followed() {
    let database = Database::postgres();
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("real")).expect("a folder");
    std::os::unix::fs::symlink("real", folder.path().join("linked")).expect("a link");
    let data = folder.path().join("linked").to_string_lossy().into_owned();
    let environment = [
        ("KAIRANBAN_SERVER__DATA_DIR", &*data),
        ("DATABASE_URL", &database.url()),
    ];
    let (code, said) = Logged::ended(&[], &environment);
    assert!(
        code == Some(78) && said.contains("is a symbolic link"),
        "{said}"
    );
    assert_nothing_written(&folder.path().join("real"));
}

/// A folder with an empty folder `real`, and the folders `linked`, `files` and `wal` that lead
/// there by a link.
fn folder_with_links() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["real", "files", "wal"] {
        fs::create_dir(folder.path().join(name)).expect("a folder");
    }
    link(folder.path(), "real", "linked");
    link(folder.path(), "real/elsewhere.db", "files/kairanban.db");
    link(folder.path(), "real/elsewhere.wal", "wal/kairanban.db-wal");
    folder
}

#[test]
fn no_symbolic_link_is_followed_unless_asked() {
    let folder = folder_with_links();
    for name in ["linked", "files", "wal"] {
        let data = folder.path().join(name).to_string_lossy().into_owned();
        for command in [
            &["migrate"][..],
            &["config", "check"],
            &["--listen", "127.0.0.1:0"],
            &["token", "list"],
        ] {
            let (code, said) = Logged::ended(command, &[("KAIRANBAN_SERVER__DATA_DIR", &data)]);
            assert!(
                code == Some(78)
                    && said.contains("is a symbolic link")
                    && said.contains("follow_symlinks"),
                "{name}: {said}"
            );
        }
    }
    assert_nothing_written(&folder.path().join("real"));
    for name in ["linked", "files"] {
        let data = folder.path().join(name).to_string_lossy().into_owned();
        let environment = [
            ("KAIRANBAN_SERVER__DATA_DIR", data.as_str()),
            ("KAIRANBAN_DATABASE__FOLLOW_SYMLINKS", "true"),
        ];
        let (code, said) = Logged::ended(&["migrate"], &environment);
        assert_eq!(code, Some(0), "{said}");
    }
}
