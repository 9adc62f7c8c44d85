//! What happens to nodes and database while clients write and read.

use std::{
    fmt, thread,
    time::{Duration, Instant},
};

use super::{
    Run,
    accidents::{self, Backup},
    truth::Truth,
};
use crate::node::{LogTo, Node};

/// Between two comparisons of memory with the database.
const RECONCILE: Duration = Duration::from_secs(2);

/// What happens to nodes and database.
pub(super) struct Trouble<'a> {
    run: &'a Run,
    nodes: &'a mut [Node],
    pub(super) truth: Truth,
    epochs: Vec<String>,
    backup: Backup,
    folder: tempfile::TempDir,
    pub(super) done: Done,
}

/// How often what happened, and how long it took at the longest until every node showed what is
/// there.
#[derive(Default)]
pub(super) struct Done {
    restarts: u32,
    freezes: u32,
    restores: u32,
    noticed: Duration,
    changes_past_triggers: u32,
    reconciled: Duration,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            restarts,
            freezes,
            restores,
            noticed,
            changes_past_triggers,
            reconciled,
        } = self;
        write!(
            f,
            "{restarts} restarts, {freezes} frozen sessions, {restores} restores shown within \
             {noticed:.1?}, "
        )?;
        write!(
            f,
            "{changes_past_triggers} changes past the triggers shown within {reconciled:.1?}"
        )
    }
}

#[derive(Clone, Copy)]
enum TroubleKind {
    Restart,
    Freeze,
    Restore,
    ChangePastTriggers,
}

impl<'a> Trouble<'a> {
    pub(super) fn new(run: &'a Run, nodes: &'a mut [Node], truth: Truth) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let backup = Backup::take(run, &nodes[0].database, folder.path());
        let epochs = vec![truth.epoch().to_owned()];
        Self {
            run,
            nodes,
            truth,
            epochs,
            backup,
            folder,
            done: Done::default(),
        }
    }

    /// Makes trouble until the time is over; each kind at least once, if there is time.
    pub(super) fn go_on(&mut self, random: &mut fastrand::Rng, time: Duration) {
        let end = Instant::now() + time;
        let mut first = vec![
            TroubleKind::Restart,
            TroubleKind::Restore,
            TroubleKind::ChangePastTriggers,
            TroubleKind::Freeze,
        ];
        random.shuffle(&mut first);
        loop {
            let pause = Duration::from_millis(random.u64(1_000..4_000));
            if Instant::now() + pause > end {
                thread::park_timeout(end.saturating_duration_since(Instant::now()));
                return;
            }
            thread::park_timeout(pause);
            let rest = [
                TroubleKind::Restart,
                TroubleKind::Restart,
                TroubleKind::Restart,
                TroubleKind::Freeze,
                TroubleKind::Restore,
                TroubleKind::ChangePastTriggers,
            ];
            match first
                .pop()
                .unwrap_or_else(|| rest[random.usize(..rest.len())])
            {
                TroubleKind::Restart => self.restart(random),
                TroubleKind::Freeze if self.nodes[0].database.is_postgres() => {
                    let time = Duration::from_millis(random.u64(1_000..5_000));
                    accidents::freeze_a_session(&self.nodes[0].database, random, time);
                    self.done.freezes += 1;
                }
                TroubleKind::Freeze => {}
                TroubleKind::Restore => self.restore(random),
                TroubleKind::ChangePastTriggers => self.change_past_triggers(random),
            }
        }
    }

    /// Kills or stops a node, and starts it where it was.
    fn restart(&mut self, random: &mut fastrand::Rng) {
        let node = random.usize(..self.nodes.len());
        let node = &mut self.nodes[node];
        if random.f64() < 0.7 {
            node.kill();
        } else {
            node.terminate();
            node.end(Duration::from_secs(15));
        }
        node.log = if random.bool() {
            LogTo::FullDisk
        } else {
            LogTo::Stderr
        };
        node.restart_at_the_same_address();
        self.done.restarts += 1;
    }

    fn restore(&mut self, random: &mut fastrand::Rng) {
        let run = self.run;
        let _writes_are_held = run.accident.write().expect("a lock");
        let database = self.nodes[0].database.twin();
        self.truth.replay(&database);
        self.backup.restore(run, self.nodes, random.bool());
        let took = accidents::wait_for_new_epoch(run, self.nodes, &self.epochs);
        self.truth.restored(&database);
        self.epochs.push(self.truth.epoch().to_owned());
        self.done.restores += 1;
        self.done.noticed = self.done.noticed.max(took);
        // Sometimes the same is restored again.
        if random.bool() {
            self.backup = Backup::take(run, &database, self.folder.path());
        }
    }

    fn change_past_triggers(&mut self, random: &mut fastrand::Rng) {
        let run = self.run;
        let _writes_are_held = run.accident.write().expect("a lock");
        let database = self.nodes[0].database.twin();
        self.truth.replay(&database);
        accidents::change_past_the_triggers(&database, &format!("off{}", random.u32(..)));
        self.truth.allow_what_the_tables_hold(&database);
        let took = accidents::wait_for_all(
            run,
            self.nodes,
            |node| accidents::shows(node, None) && accidents::triggers_are_restored(&database),
            RECONCILE,
            "changed past the triggers",
        );
        self.truth.resume(&database);
        self.done.changes_past_triggers += 1;
        self.done.reconciled = self.done.reconciled.max(took);
        if random.bool() {
            self.backup = Backup::take(run, &database, self.folder.path());
        }
    }
}
