//! Faults, one at a time, under load: how soon a write is answered with 503, how soon all is well
//! again, and whether anything that was acknowledged is lost or there twice. `scripts/faults`
//! prints the table of docs/RELIABILITY.md.

mod drill;
mod happen;
mod load;
mod outcome;
mod small_disk;
mod watch;

use std::{
    io::Write as _,
    panic::{AssertUnwindSafe, catch_unwind},
};

use crate::{
    cluster::Cluster,
    node::{Database, LogTo, Node},
    relay::relayed,
};
use drill::{Promise, Row, SETTINGS, Scene};
use happen::{postgres, sqlite};
use outcome::{HEAD, Outcome};
use small_disk::SmallDisk;

const ORDINARY: Promise = Promise {
    writing_goes_on: false,
    node_ends: false,
    answers_break: false,
    is_away: false,
};
const GOES_ON: Promise = Promise {
    writing_goes_on: true,
    ..ORDINARY
};
const AWAY: Promise = Promise {
    is_away: true,
    ..ORDINARY
};
const NODE_ENDS: Promise = Promise {
    node_ends: true,
    ..ORDINARY
};

const ANSWERS_BREAK: Promise = Promise {
    answers_break: true,
    ..GOES_ON
};

const ON_POSTGRES: [Row; 12] = [
    Row::new("Postgres: stopped (fast)", AWAY, postgres::stop_fast),
    Row::new(
        "Postgres: stopped (immediate)",
        AWAY,
        postgres::stop_immediately,
    ),
    Row::new(
        "Postgres: all sessions terminated again and again",
        ORDINARY,
        postgres::terminate_sessions,
    ),
    Row::new(
        "Postgres: the writer's session frozen before it has the lock that orders revisions",
        ORDINARY,
        postgres::freeze_before_the_lock,
    ),
    Row::new(
        "Postgres: the writer's session frozen with that lock",
        ORDINARY,
        postgres::freeze_with_the_lock,
    ),
    Row::new(
        "Postgres: `LOCK TABLE topics` elsewhere",
        ORDINARY,
        postgres::lock_table,
    ),
    Row::new("Postgres: read-only", ORDINARY, postgres::read_only),
    Row::new(
        "Postgres: triggers off",
        ORDINARY,
        postgres::disable_triggers,
    ),
    Row::new(
        "Postgres: a trigger refuses a neighbour's posts",
        GOES_ON,
        happen::spam,
    ),
    Row::new(
        "Postgres: the server killed (-9) and started",
        NODE_ENDS,
        happen::kill_node,
    ),
    Row::new(
        "Postgres: SIGTERM, and the server started",
        NODE_ENDS,
        happen::terminate_node,
    ),
    Row::new(
        "Postgres: a backup restored (`pg_restore --clean -1`)",
        ORDINARY,
        happen::restore,
    ),
];

const ON_SQLITE: [Row; 5] = [
    Row::new(
        "SQLite: `BEGIN IMMEDIATE` elsewhere",
        ORDINARY,
        sqlite::hold_the_write_lock,
    ),
    Row::new(
        "SQLite: a trigger refuses a neighbour's posts",
        GOES_ON,
        happen::spam,
    ),
    Row::new(
        "SQLite: the server killed (-9) and started",
        NODE_ENDS,
        happen::kill_node,
    ),
    Row::new(
        "SQLite: SIGTERM, and the server started",
        NODE_ENDS,
        happen::terminate_node,
    ),
    Row::new(
        "SQLite: a backup restored (`.restore`)",
        ORDINARY,
        happen::restore,
    ),
];

const CUT_POSTGRES: Row = Row::new(
    "Postgres: the writers' connections cut every 50 ms",
    ANSWERS_BREAK,
    happen::cut_clients,
);
const CUT_SQLITE: Row = Row::new(
    "SQLite: the writers' connections cut every 50 ms",
    ANSWERS_BREAK,
    happen::cut_clients,
);
const SWALLOWS: Row = Row::new(
    "Postgres: the link swallows everything",
    AWAY,
    postgres::swallow_everything,
);
const TAKEN: Row = Row::new(
    "Postgres: all connections taken",
    AWAY,
    postgres::take_all_connections,
);
const FULL_POSTGRES: Row = Row::new("Postgres: its disk is full", ORDINARY, happen::full_disk);
const FULL_SQLITE: Row = Row::new("SQLite: its disk is full", ORDINARY, happen::full_disk);
const FULL_LOG: Row = Row::new(
    "SQLite: the log's disk is full",
    GOES_ON,
    happen::log_on_a_full_disk,
);

fn behind_a_relay(cluster: &Cluster) -> Scene<'_> {
    let direct = cluster.database();
    let (relay, url) = relayed(&direct);
    let node = Node::start_with(Database::Postgres(url), &SETTINGS);
    let beside = Node::start_with(direct.twin(), &SETTINGS);
    Scene {
        beside: Some(beside),
        relay: Some(relay),
        ..Scene::of(node, direct)
    }
}

fn as_a_plain_role(cluster: &Cluster) -> Scene<'_> {
    let database = cluster.database_of_a_plain_role();
    let direct = Database::Postgres(database.url().replace("//board@", "//postgres@"));
    let node = Node::start_with(database, &SETTINGS);
    let beside = node.sibling();
    Scene {
        beside: Some(beside),
        ..Scene::of(node, direct)
    }
}

fn sqlite_on(disk: &SmallDisk) -> Scene<'_> {
    let direct = Database::Sqlite(disk.folder().into());
    let node = Node::start_with(direct.twin(), &SETTINGS);
    Scene {
        disk: Some(disk),
        ..Scene::of(node, direct)
    }
}

fn logging_to_a_full_disk() -> Scene<'static> {
    let direct = Database::sqlite();
    let everything = [SETTINGS[0]];
    let mut node = Node::start_as(direct.twin(), &everything, |command| {
        let full = std::fs::File::options()
            .write(true)
            .open("/dev/full")
            .expect("/dev/full");
        command.env("RUST_LOG", "debug").stderr(full);
    });
    node.log = LogTo::FullDisk;
    Scene::of(node, direct)
}

/// The rows of a run, and what went wrong.
#[derive(Default)]
struct Table {
    rows: String,
    broken: Vec<String>,
}

impl Table {
    /// Runs a row. One that fails does not end the run.
    fn run<'a>(&mut self, row: &Row, scene: impl FnOnce() -> Scene<'a>) {
        match catch_unwind(AssertUnwindSafe(|| scene().drill(row))) {
            Ok(outcome) => self.note(&outcome),
            Err(_) => self
                .broken
                .push(format!("{}: the run failed, see above", row.name)),
        }
    }

    fn note(&mut self, outcome: &Outcome) {
        self.rows.push_str(&outcome.row());
        self.broken.extend(outcome.broken());
    }

    /// Runs a row that needs a disk of its own.
    fn run_on_a_small_disk(
        &mut self,
        row: &Row,
        megabytes: u32,
        run: impl FnOnce(&mut Self, &SmallDisk),
    ) {
        match SmallDisk::mount(megabytes) {
            Some(disk) => run(self, &disk),
            None => self.rows.push_str(&format!(
                "| {} | not run: only root can mount a small disk |\n",
                row.name
            )),
        }
    }
}

#[test]
fn a_frozen_session_loses_and_doubles_nothing() {
    let cluster = Cluster::start();
    let row = Row::new("a frozen session", ORDINARY, postgres::freeze_with_the_lock);
    let outcome = Scene::on_postgres(&cluster).drill(&row);
    assert!(
        outcome.broken().is_empty(),
        "{:?}\n{}",
        outcome.broken(),
        outcome.row()
    );
}

/// The measurement itself: what is missing is counted.
#[test]
fn a_lost_post_is_counted() {
    let row = Row::new("planted", GOES_ON, sqlite::lose_a_topic);
    let outcome = Scene::on_sqlite().drill(&row);
    assert_eq!(
        outcome.broken(),
        ["planted: 1 acknowledged posts are lost"],
        "{}",
        outcome.row()
    );
}

/// The same of what is repeated, because the server lost the keys of posts whose answers were
/// lost.
#[test]
fn doubled_posts_are_counted() {
    let row = Row::new(
        "planted",
        ANSWERS_BREAK,
        happen::cut_clients_and_delete_keys,
    );
    let outcome = Scene::on_sqlite().with_a_link_for_clients().drill(&row);
    assert!(
        outcome.doubled > 0 && outcome.lost == 0,
        "{}",
        outcome.row()
    );
}

#[test]
#[ignore = "measures; scripts/faults runs it"]
fn each_fault_in_turn() {
    let cluster = Cluster::start();
    let mut table = Table::default();
    for row in &ON_POSTGRES {
        table.run(row, || Scene::on_postgres(&cluster));
    }
    table.run(&CUT_POSTGRES, || {
        Scene::on_postgres(&cluster).with_a_link_for_clients()
    });
    table.run(&SWALLOWS, || behind_a_relay(&cluster));
    table.run(&TAKEN, || as_a_plain_role(&cluster));
    drop(cluster);
    table.run_on_a_small_disk(&FULL_POSTGRES, 160, |table, disk| {
        let cluster = Cluster::start_in(disk.folder());
        table.run(&FULL_POSTGRES, || Scene {
            disk: Some(disk),
            ..Scene::on_postgres(&cluster)
        });
    });
    table.run(&CUT_SQLITE, || Scene::on_sqlite().with_a_link_for_clients());
    for row in &ON_SQLITE {
        table.run(row, Scene::on_sqlite);
    }
    table.run_on_a_small_disk(&FULL_SQLITE, 64, |table, disk| {
        table.run(&FULL_SQLITE, || sqlite_on(disk))
    });
    table.run(&FULL_LOG, logging_to_a_full_disk);
    // To stdout, for the nodes log to stderr.
    let text = format!("\n{HEAD}{}\n{}\n", table.rows, table.broken.join("\n"));
    std::io::stdout()
        .write_all(text.as_bytes())
        .expect("written");
    assert!(table.broken.is_empty(), "\n{}\n", table.broken.join("\n"));
}
