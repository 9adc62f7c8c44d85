//! What happens to a database: it is restored, rows change past the triggers, a session freezes.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{Run, writers::Posted};
use crate::node::{Database, Node};

/// For every node to show what is there after the database was restored.
const NOTICE_MAX: Duration = Duration::from_secs(5);
/// What a busy machine may take longer.
const SLACK: Duration = Duration::from_secs(5);

/// A backup of the database, and what had been acknowledged when it was taken.
pub(super) struct Backup {
    path: PathBuf,
    posted: Posted,
}

impl Backup {
    /// Takes one. No write may be under way.
    pub(super) fn take(run: &Run, database: &Database, folder: &std::path::Path) -> Self {
        let path = folder.join(format!("{}.backup", fastrand::u64(..)));
        match database {
            Database::Postgres(url) => ok(Command::new("pg_dump")
                .args(["-Fc", "-f"])
                .arg(&path)
                .arg(url)),
            Database::Sqlite(_) => drop(database.sql(&format!(".backup '{}'", path.display()))),
        }
        Self {
            path,
            posted: run.posted.lock().expect("a lock").clone(),
        }
    }

    /// Puts it back, in the way that the database's manual says, or with all nodes stopped.
    pub(super) fn restore(&self, run: &Run, nodes: &mut [Node], stopped: bool) {
        let database = nodes[0].database.twin();
        if stopped {
            nodes.iter_mut().for_each(Node::kill);
        }
        match &database {
            Database::Postgres(url) => {
                // It may be in the way of a server's own work: then nothing of it is done, and one
                // does it again.
                let mut restore = Command::new("pg_restore");
                restore
                    .args(["--clean", "--if-exists", "-1", "-d", url])
                    .arg(&self.path);
                let tries: Vec<_> = (0..5)
                    .map(|_| output(&mut restore))
                    .take_while(Result::is_err)
                    .collect();
                assert!(tries.len() < 5, "{tries:?}");
            }
            Database::Sqlite(_) if stopped => {
                for ending in ["-wal", "-shm"] {
                    let mut beside = database.file().into_os_string();
                    beside.push(ending);
                    // There is no such file after a clean end.
                    let _ = fs::remove_file(beside);
                }
                fs::copy(&self.path, database.file())
                    .map(drop)
                    .expect("copied");
            }
            Database::Sqlite(_) => {
                drop(database.sql(&format!(".restore '{}'", self.path.display())))
            }
        }
        if stopped {
            nodes.iter_mut().for_each(Node::restart_at_the_same_address);
        }
        run.posted.lock().expect("a lock").clone_from(&self.posted);
    }
}

/// Changes rows past the triggers, as a bulk load with triggers off does.
pub(super) fn change_past_the_triggers(database: &Database, name: &str) {
    let changes = format!(
        "INSERT INTO topics (board_id, comment) VALUES ((SELECT id FROM boards \
         WHERE name = 'main'), '{name}'); \
         UPDATE topics SET comment = comment || 'y' WHERE id = (SELECT max(id) FROM topics \
         WHERE comment LIKE 'p%'); \
         DELETE FROM topics WHERE id = (SELECT min(id) FROM topics WHERE comment LIKE 'p%' \
         AND NOT archived);"
    );
    if database.is_postgres() {
        database.sql(&format!(
            "BEGIN; ALTER TABLE topics DISABLE TRIGGER USER; {changes} \
             ALTER TABLE topics ENABLE TRIGGER USER; COMMIT;"
        ));
        return;
    }
    let triggers = database.sql(
        "SELECT sql || ';' FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'topics';",
    );
    let names = database
        .sql("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'topics';");
    let drops: String = names
        .lines()
        .map(|name| format!("DROP TRIGGER {name};\n"))
        .collect();
    database.sql(&format!(
        "BEGIN IMMEDIATE;\n{drops}{changes}\n{triggers}\nCOMMIT;"
    ));
}

/// Whether rows that replication brings are logged again: triggers that were turned off and on do
/// not fire for them.
pub(super) fn triggers_are_restored(database: &Database) -> bool {
    !database.is_postgres()
        || database.sql("SELECT tgenabled FROM pg_trigger WHERE tgname = 'topics_applied';") == "R"
}

/// Stops one of the server's sessions for a while, as a frozen machine or link does. Postgres only.
pub(super) fn freeze_a_session(database: &Database, random: &mut fastrand::Rng, time: Duration) {
    let sessions = database.sql(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() \
         AND pid <> pg_backend_pid() AND backend_type = 'client backend' ORDER BY pid;",
    );
    let sessions: Vec<_> = sessions.lines().collect();
    let Some(session) = sessions.get(random.usize(..sessions.len().max(1))) else {
        return;
    };
    // It may have ended meanwhile.
    signal("-STOP", session);
    thread::park_timeout(time);
    signal("-CONT", session);
}

fn signal(name: &str, process: &str) {
    let mut kill = Command::new("kill");
    drop(kill.args([name, process]).stderr(Stdio::null()).status());
}

/// Waits until every node shows what the database holds. Returns how long that took.
pub(super) fn wait_for_all(
    run: &Run,
    nodes: &[Node],
    is_right: impl Fn(&Node) -> bool,
    most: Duration,
    what: &str,
) -> Duration {
    let began = Instant::now();
    while !nodes.iter().all(&is_right) {
        if began.elapsed() > most + SLACK {
            run.fault(format!(
                "{what}: not every node shows what the database holds after {:?}",
                began.elapsed()
            ));
            break;
        }
        thread::park_timeout(Duration::from_millis(50));
    }
    began.elapsed()
}

/// Waits until a restored database is noticed by every node: there is an epoch that never was
/// before, and its list.
pub(super) fn wait_for_new_epoch(run: &Run, nodes: &[Node], before: &[String]) -> Duration {
    let database = &nodes[0].database;
    wait_for_all(
        run,
        nodes,
        |node| {
            let epoch = database
                .try_sql("SELECT value FROM identity WHERE key = 'epoch';")
                .unwrap_or_default();
            !before.contains(&epoch) && shows(node, Some(&epoch))
        },
        NOTICE_MAX,
        "restored",
    )
}

/// Whether a node's list of every board is the database's, of this epoch.
pub(super) fn shows(node: &Node, epoch: Option<&str>) -> bool {
    super::BOARDS
        .iter()
        .all(|board| shows_board(node, board, epoch))
}

fn shows_board(node: &Node, board: &str, epoch: Option<&str>) -> bool {
    let Some((head, body)) =
        super::link::get(node.address, &format!("/api/v1/boards/{board}/topics"))
    else {
        return false;
    };
    let tag = head
        .lines()
        .find_map(|line| line.strip_prefix("etag: "))
        .unwrap_or_default()
        .to_owned();
    if epoch.is_some_and(|epoch| !tag.contains(epoch)) {
        return false;
    }
    let Ok(body) = serde_json::from_str::<serde_json::Value>(&body) else {
        return false;
    };
    let shown: Vec<_> = body["topics"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|topic| {
            format!(
                "{} {} {}",
                topic["id"],
                topic["revision"],
                topic["comment"].as_str().unwrap_or_default()
            )
        })
        .collect();
    let stored = node.database.sql(&format!(
        "SELECT topics.id || ' ' || revision || ' ' || comment FROM topics \
         JOIN boards ON boards.id = board_id \
         WHERE name = '{board}' AND NOT archived ORDER BY topics.id;"
    ));
    let stored: Vec<_> = stored.lines().collect();
    stored.ends_with(&shown.iter().map(String::as_str).collect::<Vec<_>>())
}

fn ok(command: &mut Command) {
    output(command).unwrap_or_else(|error| panic!("{error}"));
}

fn output(command: &mut Command) -> Result<(), String> {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}; scripts/test installs it"));
    if output.status.success() {
        Ok(())
    } else {
        Err(format!(
            "{command:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        ))
    }
}
