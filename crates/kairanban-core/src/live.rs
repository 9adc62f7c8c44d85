//! The state of one board in memory: what the cache keeps and the follower changes.
//!
//! This is where order is kept, so it is plain data and plain functions: no lock, no channel, no
//! clock. [`Hub`](crate::Hub) puts the lock around it.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use thiserror::Error;

use crate::{
    Applied, BoardChanges, BoardId, Cursor, Epoch, Op, Patch, Policies, Revision, Snapshot, Tail,
    TopicId, Update,
};

/// A board as it was read from the database.
#[derive(Debug)]
pub struct Loaded {
    /// The board's key.
    pub board_id: BoardId,
    /// Who may do what there.
    pub policies: Policies,
    /// Its live list.
    pub snapshot: Snapshot,
    /// Its newest history, up to the snapshot.
    pub tail: Tail,
    /// The name has meant this board since this revision.
    pub named_at: Revision,
}

/// The follower saw a newer change while the board was being read: read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the board changed while it was read")]
pub struct Outdated;

/// How a reader with a cursor is brought up to date.
#[derive(Debug)]
pub enum Resume {
    /// It is.
    UpToDate,
    /// By what changed since.
    Patch(Patch),
    /// By the whole list.
    Snapshot(Arc<Snapshot>),
    /// By the whole list, because the name meant another board at the cursor.
    OtherBoard(Arc<Snapshot>),
}

/// What has to be read of a board's log so that a reader who comes back is sent only what changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The board.
    pub board_id: BoardId,
    /// Where the reader stands, or further back.
    pub after: Revision,
    /// The revision of the list that it is to be brought to.
    pub upto: Revision,
    /// How many topics that list shows.
    pub shown: usize,
    /// The first of them.
    pub first: Option<TopicId>,
}

/// One board in memory.
#[derive(Debug, Default)]
pub struct LiveBoard {
    ready: Option<Ready>,
    /// The newest change that the follower saw and could not apply. A snapshot from before it was
    /// read too early.
    missed: Revision,
    /// A board was renamed or deleted while this one was being read: it may have been this one.
    doubted: bool,
    /// The epoch that readings must be of, once a new one has begun.
    epoch: Option<Epoch>,
    /// A new epoch has begun, and the audience has not been sent its list yet.
    restarted: bool,
    /// Since when it has been impossible to read the board, although it changed.
    stale_since: Option<DateTime<Utc>>,
}

#[derive(Debug)]
struct Ready {
    board_id: BoardId,
    policies: Policies,
    snapshot: Arc<Snapshot>,
    tail: Tail,
    named_at: Revision,
    /// How far back the log was looked through, if it was.
    searched: Option<Revision>,
    loaded_at: Instant,
    /// A change came while nobody watched, so it was not applied.
    stale: bool,
}

/// What the follower's changes came to.
#[derive(Debug)]
pub(crate) enum Change {
    /// Nothing to tell: nobody watches, or the list shows the same.
    None,
    /// Tell everybody.
    Update(Arc<Update>),
    /// Send everybody the list of a new epoch.
    Anew(Arc<Snapshot>),
    /// Read the board again.
    Reload,
    /// The database shows something else at the same revision.
    Differs,
}

impl LiveBoard {
    /// The snapshot, if it is the newest: kept by the follower while somebody watches (a watched
    /// snapshot never expires), for `ttl` after the load otherwise.
    #[must_use]
    pub fn current(&self, watched: bool, now: Instant, ttl: Duration) -> Option<&Arc<Snapshot>> {
        let ready = self.ready.as_ref()?;
        let expired = !watched && now.saturating_duration_since(ready.loaded_at) >= ttl;
        (!ready.stale && !expired && self.stale_since.is_none()).then_some(&ready.snapshot)
    }

    /// The snapshot, unless it is known to be overtaken.
    pub(crate) fn newest(&self) -> Option<&Arc<Snapshot>> {
        let is_stale = self.stale_since.is_some();
        self.ready
            .as_ref()
            .filter(|ready| !ready.stale && !is_stale)
            .map(|ready| &ready.snapshot)
    }

    /// The last snapshot that was known, newest or not: all there is while the database is away.
    #[must_use]
    pub fn last_known(&self) -> Option<&Arc<Snapshot>> {
        self.ready.as_ref().map(|ready| &ready.snapshot)
    }

    /// The board's key, once it was read.
    #[must_use]
    pub fn board_id(&self) -> Option<BoardId> {
        self.ready.as_ref().map(|ready| ready.board_id)
    }

    /// Who may do what there, once it was read.
    #[must_use]
    pub fn policies(&self) -> Option<Policies> {
        self.ready.as_ref().map(|ready| ready.policies)
    }

    /// Since when it has been impossible to read the board, if it has.
    #[must_use]
    pub const fn stale_since(&self) -> Option<DateTime<Utc>> {
        self.stale_since
    }

    /// Whether there is nothing worth keeping for a board that nobody watches.
    #[must_use]
    pub fn is_spent(&self, now: Instant, ttl: Duration) -> bool {
        self.current(false, now, ttl).is_none()
    }

    /// Takes what was read from the database, never stepping back behind what is shown already.
    /// If a snapshot that still counts is replaced, its readers have to be told the difference.
    ///
    /// # Errors
    /// [`Outdated`] if a change that the follower could not apply is missing from it.
    pub(crate) fn install(
        &mut self,
        loaded: Loaded,
        now: Instant,
        topics_max: usize,
    ) -> Result<Change, Outdated> {
        let Loaded {
            board_id,
            policies,
            snapshot,
            tail,
            named_at,
        } = loaded;
        let is_of_another_epoch = self
            .epoch
            .as_ref()
            .is_some_and(|epoch| *epoch != snapshot.cursor().epoch);
        if std::mem::take(&mut self.doubted)
            || is_of_another_epoch
            || snapshot.revision() < self.missed
        {
            return Err(Outdated);
        }
        self.stale_since = None;
        let Some(ready) = self.ready.as_mut().filter(|ready| !ready.stale) else {
            let snapshot = Arc::new(snapshot);
            let anew = std::mem::take(&mut self.restarted).then(|| Arc::clone(&snapshot));
            self.ready = Some(Ready {
                board_id,
                policies,
                snapshot,
                tail,
                named_at,
                searched: None,
                loaded_at: now,
                stale: false,
            });
            return Ok(anew.map_or(Change::None, Change::Anew));
        };
        (ready.loaded_at, ready.policies, ready.named_at) =
            (now, policies, ready.named_at.max(named_at));
        let (shown, found) = (ready.snapshot.revision(), snapshot.revision());
        if found <= shown {
            let differs = found == shown && ready.snapshot.topics() != snapshot.topics();
            return Ok(if differs {
                Change::Differs
            } else {
                Change::None
            });
        }
        // What was read knows its own history; ours has a gap before it.
        (ready.tail, ready.searched) = (tail, None);
        if shown < ready.tail.floor() {
            return Ok(ready.restate(snapshot));
        }
        Ok(ready.show(ready.snapshot.replaced_by(snapshot, topics_max)))
    }

    /// Takes what changed. A board that nobody watches is only marked stale.
    pub(crate) fn apply(
        &mut self,
        changes: &BoardChanges,
        watched: bool,
        topics_max: usize,
    ) -> Change {
        match &mut self.ready {
            Some(ready) if changes.revision() <= ready.snapshot.revision() => Change::None,
            // It has to be read first.
            Some(_) if self.stale_since.is_some() => {
                self.missed = self.missed.max(changes.revision());
                Change::None
            }
            Some(ready) if watched && !ready.stale => ready.follow(changes, topics_max),
            ready => {
                ready.iter_mut().for_each(|ready| ready.stale = true);
                self.missed = self.missed.max(changes.revision());
                Change::None
            }
        }
    }

    /// Marks a board that changed more than is worth following.
    pub(crate) fn miss(&mut self, revision: Revision) {
        if let Some(ready) = &mut self.ready {
            ready.stale = true;
        }
        self.missed = self.missed.max(revision);
    }

    /// Notes that the board could not be read since then, although it changed up to `revision`. What is
    /// shown stays, and counts as overtaken until it is read.
    pub(crate) fn become_stale(&mut self, since: DateTime<Utc>, revision: Revision) {
        self.stale_since.get_or_insert(since);
        self.missed = self.missed.max(revision);
    }

    /// Forgets everything, because a new epoch has begun: only readings of it count from here on.
    pub(crate) fn restart(&mut self, epoch: Epoch) {
        *self = Self {
            epoch: Some(epoch),
            restarted: true,
            ..Self::default()
        };
    }

    /// Forgets what was read, because the name means another board now.
    pub(crate) fn forget(&mut self) {
        self.ready = None;
    }

    /// Takes the policies that the board has from `revision` on, and since when it has had its name, if that
    /// changed. A reading from before does not count.
    pub(crate) fn govern(
        &mut self,
        policies: Policies,
        revision: Revision,
        named_at: Option<Revision>,
    ) {
        if let Some(ready) = &mut self.ready {
            ready.policies = policies;
            ready.named_at = ready.named_at.max(named_at.unwrap_or_default());
        }
        self.missed = self.missed.max(revision);
    }

    /// Has a reading that is under way done again.
    pub(crate) fn doubt(&mut self) {
        self.doubted = true;
    }

    /// What the log should be asked before a reader at `revision` is sent the whole list: at most twice for
    /// each reading of the board, for the first such reader and, all the way, for the first one from before.
    #[must_use]
    pub fn gap(&self, revision: Revision) -> Option<Gap> {
        let Ready {
            board_id,
            snapshot,
            tail,
            searched,
            named_at,
            ..
        } = self.ready.as_ref()?;
        if revision < *named_at {
            return None;
        }
        let after = match searched {
            None => revision,
            Some(searched) if revision < *searched => Revision::ZERO,
            Some(_) => return None,
        };
        let first = snapshot.topics().first().map(|topic| topic.id);
        let gap = Gap {
            board_id: *board_id,
            after,
            upto: snapshot.revision(),
            shown: snapshot.topics().len(),
            first,
        };
        (revision < tail.floor()).then_some(gap)
    }

    /// Takes what the log was asked for.
    pub fn bridge(&mut self, gap: &Gap, history: &Tail) {
        if let Some(ready) = self
            .ready
            .as_mut()
            .filter(|ready| ready.board_id == gap.board_id)
        {
            ready.searched = Some(gap.after);
            ready.tail.deepen(history, gap.upto);
        }
    }

    /// The cursor, but not from before the board had its name.
    #[must_use]
    pub fn within_its_name(&self, cursor: Cursor) -> Cursor {
        let named_at = self
            .ready
            .as_ref()
            .map_or(Revision::ZERO, |ready| ready.named_at);
        Cursor {
            revision: cursor.revision.max(named_at),
            ..cursor
        }
    }

    /// How to bring a reader that holds the list at `cursor` up to date, or `None` while nothing
    /// is loaded. The caller has checked the epoch.
    #[must_use]
    pub fn resume(&self, cursor: &Cursor) -> Option<Resume> {
        let Ready {
            snapshot,
            tail,
            named_at,
            ..
        } = self.ready.as_ref()?;
        if cursor.revision < *named_at {
            return Some(Resume::OtherBoard(Arc::clone(snapshot)));
        }
        if cursor.revision >= snapshot.revision() {
            return Some(Resume::UpToDate);
        }
        let changed = tail
            .since(cursor.revision)
            .filter(|changed| changed.len() <= snapshot.topics().len().max(1));
        let Some(changed) = changed else {
            return Some(Resume::Snapshot(Arc::clone(snapshot)));
        };
        let op = |id| match snapshot.topic(id) {
            Some(topic) => Op::Set(Arc::clone(topic)),
            None => Op::Delete {
                id,
                archived: false,
            },
        };
        Some(Resume::Patch(Patch {
            board: snapshot.board().clone(),
            from: cursor.revision,
            to: snapshot.cursor().clone(),
            digest: snapshot.digest(),
            ops: changed.into_iter().map(op).collect(),
        }))
    }
}

impl Ready {
    /// Takes changes that follow on the snapshot, and remembers them for readers that come back.
    fn follow(&mut self, changes: &BoardChanges, topics_max: usize) -> Change {
        let (before, end) = (self.snapshot.revision(), changes.revision());
        let applied = self.snapshot.apply(changes, topics_max);
        if matches!(applied, Applied::Reload) {
            return Change::Reload;
        }
        let touched = changes.touched_after(before);
        // Between the first and the last of several revisions the list may have been full.
        let may_have_been_full = self.snapshot.topics().len() + touched.len() >= topics_max;
        let first = changes.first_after(before).unwrap_or(end);
        // What changed on the list without being touched was pushed out of it.
        let ids: BTreeSet<_> = touched.iter().map(|(_, id)| *id).collect();
        let pushed_out: Vec<_> = match &applied {
            Applied::Updated(update) => update
                .patch
                .ops
                .iter()
                .map(Op::topic_id)
                .filter(|id| !ids.contains(id))
                .collect(),
            _ => Vec::new(),
        };
        self.tail.record(
            touched
                .iter()
                .copied()
                .chain(pushed_out.into_iter().map(|id| (end, id))),
        );
        if may_have_been_full && first < end {
            self.tail.leave_hole(first, end);
        }
        self.show(applied)
    }

    /// Shows a list whose history does not reach back to what was shown: rows may have changed without a revision meanwhile,
    /// and readers at one revision hold different lists. So each is sent the whole list, by a patch that fits no reader.
    fn restate(&mut self, snapshot: Snapshot) -> Change {
        let (board, to, digest) = (
            snapshot.board().clone(),
            snapshot.cursor().clone(),
            snapshot.digest(),
        );
        let patch = Patch {
            board,
            from: to.revision,
            to,
            digest,
            ops: Vec::new(),
        };
        let newest = self.snapshot.topics().last().map(|topic| topic.id);
        let posted = snapshot
            .topics()
            .iter()
            .filter(|topic| Some(topic.id) > newest)
            .map(Arc::clone)
            .collect();
        self.snapshot = Arc::new(snapshot);
        Change::Update(Arc::new(Update::new(
            Arc::clone(&self.snapshot),
            patch,
            posted,
        )))
    }

    fn show(&mut self, applied: Applied) -> Change {
        match applied {
            Applied::Reload => Change::Reload,
            Applied::Same(snapshot) => {
                self.snapshot = snapshot;
                Change::None
            }
            Applied::Updated(update) => {
                self.snapshot = Arc::clone(&update.snapshot);
                Change::Update(update)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::snapshot::tests::{changes, changes_as_of, snapshot};

    const TTL: Duration = Duration::from_secs(60);

    const FULL: usize = 500;

    fn loaded(revision: u64, topics: &[(i64, u64)]) -> Loaded {
        let snapshot = snapshot(revision, topics);
        let tail = Tail::new(snapshot.revision(), [], 8);
        Loaded {
            board_id: BoardId(1),
            policies: Policies::default(),
            snapshot,
            tail,
            named_at: Revision::ZERO,
        }
    }

    fn ready(revision: u64, topics: &[(i64, u64)]) -> (LiveBoard, Instant) {
        let (mut board, now) = (LiveBoard::default(), Instant::now());
        board
            .install(loaded(revision, topics), now, FULL)
            .expect("nothing missed");
        (board, now)
    }

    #[test]
    fn a_list_without_a_history_before_it_is_sent_whole() {
        let (mut board, now) = ready(5, &[(1, 1), (2, 2)]);
        // The log says that rows may have changed without a revision, up to 7.
        let found = Loaded {
            tail: Tail::new(snapshot(7, &[]).revision(), [], 8),
            ..loaded(7, &[(1, 1), (2, 2)])
        };
        let Ok(Change::Update(update)) = board.install(found, now, FULL) else {
            panic!("readers may hold another list")
        };
        assert!(
            update.patch.from > snapshot(5, &[]).revision() && update.patch.ops.is_empty(),
            "{update:?}"
        );
        assert_eq!(update.snapshot.topics().len(), 2);
    }

    fn shown(board: &LiveBoard) -> u64 {
        board
            .last_known()
            .map_or(0, |snapshot| snapshot.revision().get())
    }

    #[test]
    fn a_change_between_load_and_install_is_not_lost() {
        let mut board = LiveBoard::default();
        assert!(matches!(
            board.apply(&changes(&[(8, 1, true)]), true, FULL),
            Change::None
        ));
        assert!(board.install(loaded(7, &[]), Instant::now(), FULL).is_err());
        assert!(
            board
                .install(loaded(8, &[(1, 8)]), Instant::now(), FULL)
                .is_ok()
        );
    }

    #[test]
    fn a_board_that_may_have_been_renamed_while_it_was_read_is_read_again() {
        let (mut board, now) = (LiveBoard::default(), Instant::now());
        board.doubt();
        assert!(board.install(loaded(7, &[]), now, FULL).is_err());
        assert!(board.install(loaded(7, &[]), now, FULL).is_ok());
    }

    #[test]
    fn a_late_load_does_not_open_a_board_that_was_made_private_meanwhile() {
        let (mut board, now) = ready(7, &[(1, 7)]);
        let private = Policies {
            read: crate::ReadPolicy::Token,
            ..Policies::default()
        };
        board.govern(private, Revision::new(8).expect("a revision"), None);
        assert!(
            board.install(loaded(7, &[(1, 7)]), now, FULL).is_err(),
            "read before"
        );
        assert_eq!(board.policies(), Some(private));
        assert!(
            board.install(loaded(8, &[(1, 7)]), now, FULL).is_ok(),
            "read after"
        );
    }

    #[test]
    fn a_burst_is_told_by_what_each_commit_touched() {
        let (mut board, _) = ready(1, &[]);
        board.apply(
            &changes(&[(2, 1, true), (3, 2, true), (4, 3, true)]),
            true,
            FULL,
        );
        let Some(Resume::Patch(patch)) = board.resume(&"e-3".parse().expect("a cursor")) else {
            panic!("a patch")
        };
        assert_eq!(
            patch
                .ops
                .iter()
                .map(|op| op.topic_id().0)
                .collect::<Vec<_>>(),
            [3],
            "and not the whole burst"
        );
    }

    #[test]
    fn a_late_load_never_steps_back() {
        let (mut board, now) = ready(7, &[(1, 7)]);
        assert!(matches!(
            board.apply(&changes(&[(8, 2, true)]), true, FULL),
            Change::Update(_)
        ));
        assert!(matches!(
            board.install(loaded(7, &[(1, 7)]), now, FULL),
            Ok(Change::None)
        ));
        assert_eq!(shown(&board), 8);
    }

    #[test]
    fn a_load_that_overtakes_the_follower_tells_the_readers() {
        let (mut board, now) = ready(7, &[(1, 7)]);
        assert!(matches!(
            board.install(loaded(8, &[(1, 7), (2, 8)]), now, FULL),
            Ok(Change::Update(_))
        ));
        assert!(
            matches!(
                board.apply(&changes(&[(8, 2, true)]), true, FULL),
                Change::None
            ),
            "told already"
        );
    }

    #[test]
    fn unwatched_it_lives_for_the_ttl_and_dies_by_a_change() {
        let (mut board, now) = ready(7, &[(1, 7)]);
        assert!(
            board
                .current(false, now + TTL - Duration::from_millis(1), TTL)
                .is_some()
        );
        assert!(board.current(false, now + TTL, TTL).is_none());
        assert!(
            board.current(true, now + TTL, TTL).is_some(),
            "the follower keeps a watched board"
        );
        board.apply(&changes(&[(8, 2, true)]), false, FULL);
        assert!(board.current(false, now, TTL).is_none());
        assert!(
            board.last_known().is_some(),
            "still the last word while the database is away"
        );
        assert!(board.install(loaded(7, &[(1, 7)]), now, FULL).is_err());
    }

    #[test]
    fn resumes_by_what_changed_and_by_the_list_when_that_is_too_far() {
        let (mut board, _) = ready(7, &[(1, 3), (2, 7)]);
        board.apply(&changes(&[(8, 1, false), (9, 3, true)]), true, FULL);
        let at = |revision: u64| format!("e-{revision}").parse().expect("a cursor");
        assert!(matches!(board.resume(&at(9)), Some(Resume::UpToDate)));
        assert!(matches!(board.resume(&at(6)), Some(Resume::Snapshot(_))));
        let Some(Resume::Patch(patch)) = board.resume(&at(7)) else {
            panic!("a patch")
        };
        assert_eq!((patch.from.get(), patch.to.revision.get()), (7, 9));
        assert!(matches!(patch.ops[..], [Op::Delete { .. }, Op::Set(_)]));
    }

    #[test]
    fn a_cursor_from_before_the_board_had_its_name_is_no_base_for_a_patch() {
        let (mut board, now) = (LiveBoard::default(), Instant::now());
        let named_at = Revision::new(5).expect("a revision");
        let tail = Tail::new(Revision::ZERO, [(named_at, TopicId(1))], 8);
        board
            .install(
                Loaded {
                    named_at,
                    tail,
                    ..loaded(7, &[(1, 7)])
                },
                now,
                FULL,
            )
            .expect("nothing missed");
        for (at, is_other) in [(0, true), (4, true), (5, false), (7, false)] {
            let resumed = board.resume(&format!("e-{at}").parse().expect("a cursor"));
            assert_eq!(
                matches!(resumed, Some(Resume::OtherBoard(_))),
                is_other,
                "at {at}: {resumed:?}"
            );
        }
        board.govern(
            Policies::default(),
            Revision::new(9).expect("a revision"),
            Revision::new(9),
        );
        assert!(
            matches!(
                board.resume(&"e-7".parse().expect("a cursor")),
                Some(Resume::OtherBoard(_))
            ),
            "named again"
        );
    }

    #[test]
    fn another_list_at_the_same_revision_is_found_out() {
        let (mut board, now) = ready(7, &[(1, 7)]);
        assert!(matches!(
            board.install(loaded(7, &[(1, 7)]), now, FULL),
            Ok(Change::None)
        ));
        assert!(matches!(
            board.install(loaded(7, &[(1, 7), (2, 0)]), now, FULL),
            Ok(Change::Differs)
        ));
        assert_eq!(
            board.last_known().map(|shown| shown.topics().len()),
            Some(1),
            "one list at one cursor"
        );
        assert!(
            matches!(
                board.apply(&changes(&[(8, 0, false)]), true, FULL),
                Change::Reload
            ),
            "until the log says so"
        );
        assert!(matches!(
            board.install(loaded(8, &[(1, 7), (2, 0)]), now, FULL),
            Ok(Change::Update(_))
        ));
    }

    #[test]
    fn a_board_that_cannot_be_read_is_stale_until_it_is() {
        let (mut board, now) = ready(7, &[(1, 7)]);
        board.become_stale(DateTime::UNIX_EPOCH, Revision::new(8).expect("a revision"));
        assert!(board.current(true, now, TTL).is_none() && board.last_known().is_some());
        assert!(matches!(
            board.apply(&changes(&[(9, 2, true)]), true, FULL),
            Change::None
        ));
        assert!(
            board.install(loaded(8, &[(1, 7)]), now, FULL).is_err(),
            "read before the last change"
        );
        assert!(board.stale_since().is_some());
        assert!(
            matches!(
                board.install(loaded(9, &[(1, 7), (2, 9)]), now, FULL),
                Ok(Change::Update(_))
            ),
            "its readers hear of it"
        );
        assert!(board.stale_since().is_none() && board.current(true, now, TTL).is_some());
    }

    #[test]
    fn a_new_epoch_begins_with_its_list_however_early_that_is() {
        let (mut board, now) = ready(7, &[(1, 7)]);
        board.restart("f".parse().expect("an epoch"));
        assert!(board.last_known().is_none());
        assert!(
            board.install(loaded(9, &[(1, 7)]), now, FULL).is_err(),
            "of the old epoch"
        );
        let restored = || Loaded {
            snapshot: of_epoch_f(3, &[(1, 3)]),
            ..loaded(3, &[])
        };
        assert!(matches!(
            board.install(restored(), now, FULL),
            Ok(Change::Anew(_))
        ));
        assert!(
            matches!(board.install(restored(), now, FULL), Ok(Change::None)),
            "once"
        );
        assert!(
            board.install(loaded(9, &[(1, 7)]), now, FULL).is_err(),
            "also later"
        );
    }

    fn of_epoch_f(revision: u64, topics: &[(i64, u64)]) -> Snapshot {
        let listed = snapshot(revision, topics);
        let cursor = Cursor {
            epoch: "f".parse().expect("an epoch"),
            revision: listed.revision(),
        };
        Snapshot::new(listed.board().clone(), cursor, listed.topics().to_vec())
    }

    proptest! {
        /// A reader from another node, at any revision there was, ends up with what the database
        /// shows, however this node's readings cut the commits into pieces.
        #[test]
        fn any_cursor_leads_to_the_list(
            commits in proptest::collection::vec((1_i64..12, proptest::bool::weighted(0.6)), 1..40),
            cuts in proptest::collection::vec(1_usize..6, 1..40),
            topics_max in 2_usize..8,
        ) {
            // What the database shows after each commit: the newest `topics_max` of all topics.
            let mut all = BTreeMap::new();
            let mut shown = vec![Vec::new()];
            for (n, (id, set)) in commits.iter().enumerate() {
                if *set { all.insert(*id, n as u64 + 1); } else { all.remove(id); }
                let newest: Vec<_> = all.iter().rev().take(topics_max).map(|(id, at)| (*id, *at)).collect();
                shown.push(newest.into_iter().rev().collect());
            }
            let (mut board, now) = ready(0, &[]);
            let mut at = 0;
            for cut in cuts {
                let upto = (at + cut).min(commits.len());
                if upto == at { break }
                let batch: Vec<_> = (at..upto)
                    .map(|n| {
                        let (id, _) = commits[n];
                        // The topic as it stands at the end of the reading.
                        let state = commits[..upto].iter().rposition(|(other, _)| *other == id).map(|last| (last as u64 + 1, commits[last].1));
                        (n as u64 + 1, id, state.expect("touched"))
                    })
                    .collect();
                if matches!(board.apply(&changes_as_of(&batch), true, topics_max), Change::Reload) {
                    board.install(loaded(upto as u64, &shown[upto]), now, topics_max).expect("nothing missed");
                }
                at = upto;
                for (revision, list) in shown.iter().enumerate().take(at + 1) {
                    let cursor = format!("e-{revision}").parse().expect("a cursor");
                    let reader: BTreeMap<_, _> = match board.resume(&cursor).expect("ready") {
                        Resume::UpToDate => list.iter().copied().collect(),
                        Resume::Snapshot(snapshot) | Resume::OtherBoard(snapshot) => snapshot.topics().iter().map(|topic| (topic.id.0, topic.revision.get())).collect(),
                        Resume::Patch(patch) => {
                            let mut reader: BTreeMap<_, _> = list.iter().copied().collect();
                            for op in patch.ops {
                                match op {
                                    Op::Set(topic) => drop(reader.insert(topic.id.0, topic.revision.get())),
                                    Op::Delete { id, .. } => drop(reader.remove(&id.0)),
                                }
                            }
                            reader
                        }
                    };
                    let truth: BTreeMap<_, _> = shown[at].iter().copied().collect();
                    prop_assert_eq!(&reader, &truth, "from {} to {}", revision, at);
                }
            }
        }
    }
}
