//! One fault under load, from the calm before it to the calm after it.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{
    load::{Load, Record},
    outcome::Outcome,
    small_disk::SmallDisk,
    watch::Watch,
};
use crate::{
    cluster::Cluster,
    node::{Database, Node},
    relay::Relay,
};

/// How long a fault lasts.
pub(super) const FAULT: Duration = Duration::from_secs(5);
/// Load before a fault, and after it: at least this long, with at least this number of acknowledged
/// posts.
const CALM: Duration = Duration::from_millis(1_500);
const CALM_POSTS: usize = 150;
/// Of a board, by default.
const TOPICS_MAX: usize = 500;
/// For whatever should happen. Longer than any promise, so that a broken promise becomes a figure.
const PATIENCE: Duration = Duration::from_secs(60);
/// Heartbeats show that a stream is open; see `oracle::link`.
pub(super) const SETTINGS: [(&str, &str); 1] = [("STREAM__HEARTBEAT_S", "1")];

/// What is promised beyond what every fault must keep.
#[derive(Clone, Copy, Default)]
pub(super) struct Promise {
    /// Writing goes on while the fault lasts, after the time for one answer.
    pub(super) writing_goes_on: bool,
    /// The node ends, so that streams and answers break.
    pub(super) node_ends: bool,
    /// The clients' own connections are cut, so that answers are lost, while streams stay.
    pub(super) answers_break: bool,
    /// The database cannot be reached: streams are notified.
    pub(super) is_away: bool,
}

pub(super) type Fault = fn(&mut Scene<'_>);

/// A row of the table.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) promise: Promise,
    pub(super) fault: Fault,
}

impl Row {
    pub(super) const fn new(name: &'static str, promise: Promise, fault: Fault) -> Self {
        Self {
            name,
            promise,
            fault,
        }
    }
}

/// The times of a fault.
pub(super) struct Incident {
    pub(super) began: Instant,
    /// From the beginning of the mending to its end, which includes the start of what had ended.
    pub(super) mending: Option<(Instant, Instant)>,
    /// A backup was restored: when it was begun to be taken. What was acknowledged later is rightly
    /// lost.
    pub(super) backup: Option<Instant>,
}

impl Incident {
    fn begin() -> Self {
        Self {
            began: Instant::now(),
            mending: None,
            backup: None,
        }
    }

    /// Ends the fault. From here on the recovery is timed.
    pub(super) fn mend<T>(&mut self, how: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let done = how();
        self.mending = Some((began, Instant::now()));
        done
    }
}

/// Where a fault takes place. The load is on `node`.
pub(super) struct Scene<'a> {
    pub(super) node: Node,
    /// A second node on the same Postgres.
    pub(super) beside: Option<Node>,
    /// The node's database, past a relay and with an administrator's powers.
    pub(super) direct: Database,
    pub(super) cluster: Option<&'a Cluster>,
    /// Between the node and its database.
    pub(super) relay: Option<Relay>,
    /// Between the writers and the node.
    pub(super) clients: Option<Relay>,
    pub(super) disk: Option<&'a SmallDisk>,
    pub(super) incident: Incident,
}

impl<'a> Scene<'a> {
    /// Two nodes on a Postgres.
    pub(super) fn on_postgres(cluster: &'a Cluster) -> Self {
        let direct = cluster.database();
        let node = Node::start_with(direct.twin(), &SETTINGS);
        let beside = node.sibling();
        Self {
            beside: Some(beside),
            cluster: Some(cluster),
            ..Self::of(node, direct)
        }
    }

    /// A node on SQLite.
    pub(super) fn on_sqlite() -> Self {
        let direct = Database::sqlite();
        Self::of(Node::start_with(direct.twin(), &SETTINGS), direct)
    }

    pub(super) fn of(node: Node, direct: Database) -> Self {
        crate::oracle::moderate(&direct);
        Self {
            node,
            beside: None,
            direct,
            cluster: None,
            relay: None,
            clients: None,
            disk: None,
            incident: Incident::begin(),
        }
    }

    /// Causes the fault under load, and returns the outcome.
    pub(super) fn drill(mut self, row: &Row) -> Outcome {
        let nodes = [Some(&self.node), self.beside.as_ref()];
        let watches: Vec<_> = nodes
            .into_iter()
            .flatten()
            .map(|node| Watch::start(node.address))
            .collect();
        let address = self
            .clients
            .as_ref()
            .map_or(self.node.address, |relay| relay.address);
        let epoch = self.epoch();
        let load = Load::start(address, PATIENCE);
        assert!(
            load.go_on(CALM, CALM_POSTS),
            "{}: no load before the fault",
            row.name
        );
        self.incident = Incident::begin();
        (row.fault)(&mut self);
        if self.incident.mending.is_none() {
            self.incident.mend(|| ());
        }
        let next = load.next_after(self.kept_since());
        let goes_on = load.go_on(CALM, CALM_POSTS);
        let record = load.end();
        let settled = self.settle(&watches);
        let has_new_epoch = self.epoch() != epoch;
        let mut outcome = Outcome::new(row, &self, &record, next.as_ref(), &watches);
        (outcome.goes_on, outcome.settled, outcome.has_new_epoch) =
            (goes_on, settled, has_new_epoch);
        watches.into_iter().for_each(Watch::end);
        outcome
    }

    pub(super) fn epoch(&self) -> String {
        self.direct
            .sql("SELECT value FROM identity WHERE key = 'epoch';")
    }

    /// What was posted later is there, whether a backup was restored or not.
    fn kept_since(&self) -> Instant {
        let (began, ended) = self.mending();
        if self.incident.backup.is_some() {
            ended
        } else {
            began
        }
    }

    pub(super) fn mending(&self) -> (Instant, Instant) {
        self.incident.mending.expect("a mending")
    }

    /// Which acknowledged posts have to be there.
    pub(super) fn kept<'r>(&self, record: &'r Record) -> impl Iterator<Item = &'r str> {
        let (backup, since) = (self.incident.backup, self.kept_since());
        let kept = record.acknowledged.iter().filter(move |one| {
            backup.is_none_or(|backup| one.answered < backup || one.began >= since)
        });
        kept.map(|one| one.comment.as_str())
    }

    /// Puts a link between the writers and the node.
    pub(super) fn with_a_link_for_clients(self) -> Self {
        Self {
            clients: Some(Relay::to(self.node.address.to_string())),
            ..self
        }
    }

    /// Waits until every stream shows what the database holds. Returns whether it came to that.
    fn settle(&self, watches: &[Watch]) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let stored = self.direct.sql(
                "SELECT topics.id || ' ' || revision || ' ' || comment FROM topics \
                 JOIN boards ON boards.id = board_id \
                 WHERE name = 'main' AND NOT archived ORDER BY topics.id;",
            );
            let stored: Vec<_> = stored.lines().collect();
            if stored.len() <= TOPICS_MAX
                && watches
                    .iter()
                    .all(|watch| watch.list().is_some_and(|list| list == stored))
            {
                return true;
            }
            thread::park_timeout(Duration::from_millis(20));
        }
        false
    }
}
