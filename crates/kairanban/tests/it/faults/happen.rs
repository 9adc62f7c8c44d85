//! The faults, and how each is mended.

use std::{
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use super::drill::{FAULT, Scene};
use crate::{
    node::{Database, try_output},
    oracle::link,
};

/// For something that happens many times a second.
const SOON: Duration = Duration::from_secs(20);

fn wait() {
    thread::park_timeout(FAULT);
}

/// An owner's trigger refuses a neighbour's posts.
pub(super) fn spam(scene: &mut Scene<'_>) {
    let end = Instant::now() + FAULT;
    while Instant::now() < end {
        let status = link::post(scene.node.address, "spam");
        assert!(
            matches!(status, Some(400..=499)),
            "spam was answered with {status:?}"
        );
    }
}

/// The connections of the writers are cut all the time: posts are committed whose answers are lost.
pub(super) fn cut_clients(scene: &mut Scene<'_>) {
    cut_clients_and(scene, |_| ());
}

/// Cuts the clients off, and deletes what the database remembers of their keys, so that posts are
/// doubled: the measurement has to notice.
pub(super) fn cut_clients_and_delete_keys(scene: &mut Scene<'_>) {
    cut_clients_and(scene, |direct| drop(direct.sql("DELETE FROM idempotency;")));
}

fn cut_clients_and(scene: &mut Scene<'_>, besides: impl Fn(&Database)) {
    let end = Instant::now() + FAULT;
    while Instant::now() < end {
        thread::park_timeout(Duration::from_millis(50));
        scene.clients.as_ref().expect("a link").cut();
        besides(&scene.direct);
    }
}

/// The log is on a full disk from the start; here it is only checked that this is noticed.
pub(super) fn log_on_a_full_disk(scene: &mut Scene<'_>) {
    wait();
    scene.node.wait_for_readiness(SOON, |(status, _, reasons)| {
        *status == 200 && reasons.contains("the log cannot be written")
    });
}

pub(super) fn kill_node(scene: &mut Scene<'_>) {
    scene.node.kill();
    scene
        .incident
        .mend(|| scene.node.restart_at_the_same_address());
}

pub(super) fn terminate_node(scene: &mut Scene<'_>) {
    scene.node.terminate();
    let (_, code) = scene.node.end(Duration::from_secs(15));
    assert_eq!(code, Some(0), "SIGTERM");
    scene
        .incident
        .mend(|| scene.node.restart_at_the_same_address());
}

pub(super) fn full_disk(scene: &mut Scene<'_>) {
    let disk = scene.disk.expect("a small disk");
    disk.fill();
    wait();
    scene.incident.mend(|| {
        disk.make_room();
        // A Postgres that could not write its log has ended.
        if let Some(cluster) = scene.cluster.filter(|cluster| !cluster.is_up()) {
            cluster.up();
        }
    });
}

/// A backup is taken under load, and restored under load a while later.
pub(super) fn restore(scene: &mut Scene<'_>) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("backup");
    scene.incident.backup = Some(Instant::now());
    if scene.direct.is_postgres() {
        let mut dump = Command::new("pg_dump");
        try_output(
            dump.args(["-Fc", "-f"]).arg(&file).arg(scene.direct.url()),
            "",
        )
        .expect("a backup");
    } else {
        scene.direct.sql(&format!(".backup '{}'", file.display()));
    }
    thread::park_timeout(Duration::from_secs(2));
    scene.incident.began = Instant::now();
    let direct = scene.direct.twin();
    scene.incident.mend(|| put_back(&direct, &file));
}

/// In one transaction. It may be in the way of the server's own work: then nothing of it is done,
/// and one does it again.
fn put_back(database: &Database, file: &Path) {
    let failed: Vec<_> = (0..10)
        .map(|_| try_put_back(database, file))
        .take_while(Result::is_err)
        .collect();
    assert!(failed.len() < 10, "{failed:?}");
}

fn try_put_back(database: &Database, file: &Path) -> Result<String, String> {
    match database {
        Database::Postgres(url) => {
            let mut restore = Command::new("pg_restore");
            try_output(
                restore
                    .args(["--clean", "--if-exists", "-1", "-d", url])
                    .arg(file),
                "",
            )
        }
        Database::Sqlite(_) => database.try_sql(&format!(".restore '{}'", file.display())),
    }
}

pub(super) mod postgres {
    use super::*;

    pub(in super::super) fn stop_fast(scene: &mut Scene<'_>) {
        stop(scene, "fast");
    }

    pub(in super::super) fn stop_immediately(scene: &mut Scene<'_>) {
        stop(scene, "immediate");
    }

    fn stop(scene: &mut Scene<'_>, mode: &str) {
        let cluster = scene.cluster.expect("a cluster");
        cluster.down(mode);
        wait();
        scene.incident.mend(|| cluster.up());
    }

    const TERMINATE: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
        WHERE datname = current_database() AND pid <> pg_backend_pid();";

    pub(in super::super) fn terminate_sessions(scene: &mut Scene<'_>) {
        let end = Instant::now() + FAULT;
        while Instant::now() < end {
            scene.direct.sql(TERMINATE);
            thread::park_timeout(Duration::from_millis(500));
        }
    }

    /// Freezes the session that writes, before it has the lock that orders revisions.
    pub(in super::super) fn freeze_before_the_lock(scene: &mut Scene<'_>) {
        freeze_writer(scene, false);
    }

    /// The same with the lock held: no other session can commit a topic until it wakes.
    pub(in super::super) fn freeze_with_the_lock(scene: &mut Scene<'_>) {
        freeze_writer(scene, true);
    }

    fn freeze_writer(scene: &mut Scene<'_>, with_lock: bool) {
        let deadline = Instant::now() + SOON;
        let frozen = loop {
            assert!(
                Instant::now() < deadline,
                "no session was frozen in such a transaction"
            );
            if let Some(pid) = freeze_one(&scene.direct.url(), with_lock) {
                break pid;
            }
        };
        scene.incident.began = Instant::now();
        wait();
        scene.incident.mend(|| signal("-CONT", &frozen));
    }

    /// Freezes a session in the middle of a write; `None` if it had gone on by then.
    fn freeze_one(url: &str, with_lock: bool) -> Option<String> {
        let writers =
            "datname = current_database() AND pid <> pg_backend_pid() AND backend_xid IS NOT NULL";
        let pid = patient_sql(
            url,
            &format!("SELECT pid FROM pg_stat_activity WHERE {writers} LIMIT 1"),
        )?;
        if pid.is_empty() {
            return None;
        }
        signal("-STOP", &pid);
        // Not while it holds a lock of Postgres's own: then all of Postgres would stand still,
        // which is another fault.
        let still = format!(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE pid = {pid} AND locktype = 'relation' \
             AND granted AND mode NOT IN \
             ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock')) FROM pg_stat_activity \
             WHERE {writers} AND pid = {pid} \
             AND (wait_event_type IS NULL OR wait_event_type = 'Client')"
        );
        if patient_sql(url, &still).as_deref() == Some(if with_lock { "t" } else { "f" }) {
            return Some(pid);
        }
        signal("-CONT", &pid);
        None
    }

    /// A frozen session may hold what the statement needs: then there is no answer.
    fn patient_sql(url: &str, text: &str) -> Option<String> {
        try_output(
            Command::new("timeout").args(["2", "psql", "-qAtX", url, "-c", text]),
            "",
        )
        .ok()
    }

    fn signal(name: &str, pid: &str) {
        assert!(
            Command::new("kill")
                .args([name, pid])
                .status()
                .expect("kill")
                .success()
        );
    }

    pub(in super::super) fn lock_table(scene: &mut Scene<'_>) {
        let lock = scene.direct.lock("topics");
        wait();
        scene.incident.mend(|| drop(lock));
    }

    pub(in super::super) fn read_only(scene: &mut Scene<'_>) {
        let direct = scene.direct.twin();
        set_read_only(&direct, true);
        wait();
        scene.incident.mend(|| set_read_only(&direct, false));
    }

    fn set_read_only(direct: &Database, is_on: bool) {
        let url = direct.url();
        let (_, name) = url.rsplit_once('/').expect("a name");
        direct.sql(&format!(
            "SET default_transaction_read_only = off; ALTER DATABASE {name} \
             SET default_transaction_read_only = {is_on};"
        ));
        direct.sql(TERMINATE);
    }

    pub(in super::super) fn disable_triggers(scene: &mut Scene<'_>) {
        scene.direct.sql("ALTER TABLE topics DISABLE TRIGGER USER;");
        wait();
        scene
            .incident
            .mend(|| scene.direct.sql("ALTER TABLE topics ENABLE TRIGGER USER;"));
    }

    /// No connection is left for the role of the server.
    pub(in super::super) fn take_all_connections(scene: &mut Scene<'_>) {
        scene.direct.sql("ALTER ROLE board CONNECTION LIMIT 0;");
        scene.direct.sql(TERMINATE);
        wait();
        scene
            .incident
            .mend(|| scene.direct.sql("ALTER ROLE board CONNECTION LIMIT -1;"));
    }

    pub(in super::super) fn swallow_everything(scene: &mut Scene<'_>) {
        let relay = scene.relay.as_ref().expect("a relay");
        relay.swallow();
        // The transactions that the first node left open may hold up the second, but not for long.
        let beside = scene.beside.as_ref().expect("a second node").address;
        let began = Instant::now();
        for n in 0.. {
            if began.elapsed() > FAULT {
                break;
            }
            assert_eq!(
                link::post(beside, &format!("beside-{n}")),
                Some(201),
                "on the second node"
            );
            thread::park_timeout(Duration::from_millis(100));
        }
        scene.incident.mend(|| relay.heal());
    }
}

pub(super) mod sqlite {
    use super::*;

    pub(in super::super) fn hold_the_write_lock(scene: &mut Scene<'_>) {
        let lock = scene.direct.hold_the_write_lock();
        wait();
        scene.incident.mend(|| drop(lock));
    }

    /// Deletes what was acknowledged: the measurement has to notice.
    pub(in super::super) fn lose_a_topic(scene: &mut Scene<'_>) {
        scene
            .direct
            .sql("DELETE FROM topics WHERE id = (SELECT min(id) FROM topics);");
    }
}
