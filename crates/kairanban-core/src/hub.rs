//! The fan-out point in memory: every board that somebody watches, or that was asked for lately.
//!
//! Per board there is one `broadcast` channel and one [`LiveBoard`]. The follower publishes; a
//! stream subscribes **first** and asks for the snapshot second, so that no update can fall
//! between the two. An update that the snapshot already holds is skipped by its revision.

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use dashmap::DashMap;
use tokio::sync::Mutex as AsyncMutex;

use crate::{
    BoardChange, BoardChanges, BoardId, BoardName, Epoch, LiveBoard, Loaded, Outdated, Policies,
    ReadPolicy, Revision, Snapshot, Update,
    live::Change,
    sync::{
        Mutex, MutexGuard,
        broadcast::{self, error::TryRecvError},
    },
};

/// All boards in memory. A guard of the map is never held across a lock or an await: callers get
/// an [`Arc`].
#[derive(Debug)]
pub struct Hub {
    boards: DashMap<BoardName, Arc<BoardChannel>>,
    topics_max: usize,
    lag_max: usize,
}

/// What a board's audience is told.
#[derive(Clone, Debug)]
pub enum News {
    /// The list changed.
    Update(Arc<Update>),
    /// The board takes a token from now on: whoever has none must leave.
    Closing,
    /// The board is gone.
    Gone,
    /// A new epoch has begun: what was shown is of another history, and this is the list now.
    Anew(Arc<Snapshot>),
    /// The board changed, and cannot be read for now.
    Stale(DateTime<Utc>),
    /// The board could be read again.
    Fresh,
}

/// One board: its channel and its state.
#[derive(Debug)]
pub struct BoardChannel {
    /// Its name. A board that is called otherwise has another channel.
    pub board: BoardName,
    sender: broadcast::Sender<News>,
    live: Mutex<LiveBoard>,
    /// How much was sent, counted just before it is.
    told: AtomicU64,
    /// Held by whoever reads the board from the database, so that readers who arrive together
    /// cost one read.
    pub loading: AsyncMutex<()>,
}

/// A place in a board's audience, and the news from then on. Dropping it leaves.
#[derive(Debug)]
pub struct Subscription {
    /// The board.
    pub channel: Arc<BoardChannel>,
    receiver: broadcast::Receiver<News>,
    /// How much of what the channel was told has been taken, or missed.
    heard: u64,
}

/// A board in memory, as it is shown.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Its key.
    pub board_id: BoardId,
    /// Who may do what there.
    pub policies: Policies,
    /// Its list.
    pub snapshot: Arc<Snapshot>,
}

/// A subscriber fell so far behind that it missed some news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missed;

/// What came of publishing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// Nobody had to be told.
    Nothing,
    /// So many streams were sent the update.
    Sent(usize),
    /// The board has to be read again before anything can be said; see [`Hub::install`].
    Reload,
    /// The database shows something else at the same revision: rows were changed behind the triggers' back.
    Differs,
}

impl Hub {
    /// A hub for live lists of `topics_max`, whose readers may fall `lag_max` updates behind.
    #[must_use]
    pub fn new(topics_max: usize, lag_max: usize) -> Self {
        Self {
            boards: DashMap::new(),
            topics_max,
            lag_max,
        }
    }

    /// The board's channel, made on first use.
    #[must_use]
    pub fn channel(&self, board: &BoardName) -> Arc<BoardChannel> {
        if let Some(channel) = self.boards.get(board) {
            return Arc::clone(&channel);
        }
        Arc::clone(
            &self
                .boards
                .entry(board.clone())
                .or_insert_with(|| Arc::new(BoardChannel::new(board.clone(), self.lag_max))),
        )
    }

    /// Joins the board's audience. Ask for the snapshot afterwards, never before.
    #[must_use]
    pub fn subscribe(&self, board: &BoardName) -> Subscription {
        self.channel(board).subscribe()
    }

    /// Hands a board's changes to its audience, in the follower's order.
    pub fn publish(&self, board: &BoardName, changes: &BoardChanges) -> Published {
        let Some(channel) = self.get(board) else {
            return Published::Nothing;
        };
        let mut live = channel.live();
        let change = live.apply(changes, channel.is_watched(), self.topics_max);
        channel.send(change, &live)
    }

    /// The same by somebody who knows the board by a name that it may not bear any more. `None` if the board of that name is
    /// not in memory, or is another one: then nothing was published, and what happened has to be read.
    pub fn publish_if(
        &self,
        board: &BoardName,
        is: BoardId,
        changes: &BoardChanges,
    ) -> Option<Published> {
        let channel = self.get(board)?;
        let mut live = channel.live();
        if live.board_id() != Some(is) {
            return None;
        }
        let change = live.apply(changes, channel.is_watched(), self.topics_max);
        Some(channel.send(change, &live))
    }

    /// Takes a board that was read from the database; if that overtook the follower, the board's
    /// audience is told.
    ///
    /// # Errors
    /// [`Outdated`] if it was read too early: read again.
    pub fn install(
        &self,
        channel: &BoardChannel,
        loaded: Loaded,
        now: Instant,
    ) -> Result<Published, Outdated> {
        let mut live = channel.live();
        if live.board_id().is_some_and(|id| id != loaded.board_id) {
            // The name means another board now. Readers of the one before leave; who comes later finds the new one.
            live.forget();
            channel.tell(News::Gone, &live);
            drop(live);
            self.boards.remove_if(&channel.board, |_, current| {
                std::ptr::eq(Arc::as_ptr(current), channel)
            });
            return Err(Outdated);
        }
        let was_stale = live.stale_since().is_some();
        let change = live.install(loaded, now, self.topics_max)?;
        let published = channel.send(change, &live);
        if was_stale {
            channel.tell(News::Fresh, &live);
        }
        Ok(published)
    }

    /// Notes that a board changed up to `revision` in ways that were not followed, and tells
    /// whether somebody watches it, so that it has to be read again.
    pub fn miss(&self, board: &BoardName, revision: Revision) -> bool {
        let Some(channel) = self.get(board) else {
            return false;
        };
        let mut live = channel.live();
        let watched = channel.is_watched();
        if !watched || live.last_known().is_none() {
            live.miss(revision);
        }
        watched
    }

    /// Notes that a board could not be read although it changed up to `revision`; its audience hears of it.
    pub fn become_stale(&self, board: &BoardName, since: DateTime<Utc>, revision: Revision) {
        let Some(channel) = self.get(board) else {
            return;
        };
        let mut live = channel.live();
        let was_stale = live.stale_since().is_some();
        live.become_stale(since, revision);
        if !was_stale {
            channel.tell(News::Stale(since), &live);
        }
    }

    /// Takes how boards stand now that they were changed. Streams of boards that were deleted or renamed, or whose name went
    /// to another board, end; those of boards that take a token now look for theirs.
    /// Gives how many boards were retired.
    pub fn govern(&self, boards: &HashMap<BoardId, BoardChange>) -> usize {
        if boards.is_empty() {
            return 0;
        }
        let taken: HashMap<&BoardName, BoardId> = boards
            .iter()
            .filter_map(|(id, change)| Some((&change.standing.as_ref()?.name, *id)))
            .collect();
        let retired = self.all().into_iter().filter(|(name, channel)| {
            let mut live = channel.live();
            let Some(id) = live.board_id() else {
                // It may be one of these, read as it stood before.
                live.doubt();
                return false;
            };
            let Some(change) = boards.get(&id) else {
                return taken.get(name).is_some_and(|other| *other != id);
            };
            match &change.standing {
                Some(now) if now.name == *name => {
                    live.govern(now.policies, change.revision, change.named_at);
                    if now.policies.read == ReadPolicy::Token {
                        channel.tell(News::Closing, &live);
                    }
                    false
                }
                _ => true,
            }
        });
        retired
            .map(|(name, channel)| self.end(&name, &channel, News::Gone))
            .count()
    }

    /// Forgets what is known of every board, because a new epoch has begun. Gives the boards that somebody watches: their
    /// audience is sent the new list with the next reading.
    pub fn restart(&self, epoch: &Epoch) -> Vec<BoardName> {
        let all = self.all().into_iter();
        // Before the look at who watches: later readers load the board themselves.
        let watched = all
            .inspect(|(_, channel)| channel.live().restart(epoch.clone()))
            .filter(|(_, channel)| channel.is_watched());
        watched.map(|(name, _)| name).collect()
    }

    /// Forgets boards that nobody watches and whose snapshot is no longer worth anything.
    pub fn evict(&self, now: Instant, ttl: Duration) {
        // A count of one says that only the map holds it, and the map is locked here.
        self.boards.retain(|_, channel| {
            Arc::strong_count(channel) > 1
                || channel.is_watched()
                || !channel.live().is_spent(now, ttl)
        });
    }

    /// Forgets a board that turned out not to exist, unless others are still waiting for it: they
    /// may find that it has been made meanwhile.
    pub fn forget(&self, board: &BoardName, channel: &Arc<BoardChannel>) {
        // Two holders: the map and the caller.
        let unused = |current: &Arc<BoardChannel>| {
            Arc::ptr_eq(current, channel) && Arc::strong_count(current) <= 2
        };
        self.boards
            .remove_if(board, |_, current| unused(current) && !current.is_watched());
    }

    /// How many boards are in memory.
    #[must_use]
    pub fn len(&self) -> usize {
        self.boards.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.boards.is_empty()
    }

    /// Each board in memory whose list counts, to compare it with the database.
    #[must_use]
    pub fn shown(&self) -> Vec<Shown> {
        let shown = |channel: &BoardChannel| {
            let live = channel.live();
            Some(Shown {
                board_id: live.board_id()?,
                policies: live.policies()?,
                snapshot: Arc::clone(live.newest()?),
            })
        };
        self.all()
            .iter()
            .filter_map(|(_, channel)| shown(channel))
            .collect()
    }

    /// Collected first, so that no guard of the map is held while a board is locked.
    fn all(&self) -> Vec<(BoardName, Arc<BoardChannel>)> {
        self.boards
            .iter()
            .map(|entry| (entry.key().clone(), Arc::clone(entry.value())))
            .collect()
    }

    fn get(&self, board: &BoardName) -> Option<Arc<BoardChannel>> {
        self.boards.get(board).map(|channel| Arc::clone(&channel))
    }

    fn end(&self, name: &BoardName, channel: &Arc<BoardChannel>, news: News) {
        self.boards
            .remove_if(name, |_, current| Arc::ptr_eq(current, channel));
        channel.tell(news, &channel.live());
    }
}

impl BoardChannel {
    fn new(board: BoardName, lag_max: usize) -> Self {
        let sender = broadcast::Sender::new(lag_max);
        Self {
            board,
            sender,
            live: Mutex::default(),
            told: AtomicU64::new(0),
            loading: AsyncMutex::new(()),
        }
    }

    /// The board's state, locked. Held for moments only: nothing in [`LiveBoard`] waits.
    pub fn live(&self) -> MutexGuard<'_, LiveBoard> {
        // No function of `LiveBoard` leaves it half changed, so a panic elsewhere costs nothing here.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody watches.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.sender.receiver_count() > 0
    }

    /// Joins the board's audience.
    #[must_use]
    pub fn subscribe(self: &Arc<Self>) -> Subscription {
        // What is sent is counted already or will be heard, and never neither.
        let _live = self.live();
        let heard = self.told.load(Ordering::Acquire);
        Subscription {
            channel: Arc::clone(self),
            receiver: self.sender.subscribe(),
            heard,
        }
    }

    /// Sends what came of a change, still under the lock of the state: whoever subscribed before
    /// looking at the state sees every update in one place or the other.
    fn send(&self, change: Change, live: &MutexGuard<'_, LiveBoard>) -> Published {
        match change {
            Change::None => Published::Nothing,
            Change::Anew(snapshot) => Published::Sent(self.tell(News::Anew(snapshot), live)),
            Change::Reload => Published::Reload,
            Change::Differs => Published::Differs,
            Change::Update(update) => Published::Sent(self.tell(News::Update(update), live)),
        }
    }

    /// Tells the audience, and how many that were.
    fn tell(&self, news: News, _live: &MutexGuard<'_, LiveBoard>) -> usize {
        self.told.fetch_add(1, Ordering::Release);
        // An error says that nobody listens.
        self.sender.send(news).unwrap_or(0)
    }
}

impl Subscription {
    /// What came next, if anything did. While nothing did this costs no more than a look at a number: the channel's lock is
    /// everybody's.
    pub fn try_next(&mut self) -> Option<Result<News, Missed>> {
        if self.heard == self.channel.told.load(Ordering::Acquire) {
            return None;
        }
        match self.receiver.try_recv() {
            Ok(news) => Some(self.heard(Ok(news))),
            Err(TryRecvError::Lagged(missed)) => Some(self.heard(Err(missed))),
            // It is counted, and sent in a moment. The channel is held here, so it is never closed.
            Err(TryRecvError::Empty | TryRecvError::Closed) => None,
        }
    }

    /// Waits for what comes next. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`Missed`], if that was too much.
    #[cfg(not(feature = "interleavings"))]
    pub async fn next(&mut self) -> Result<News, Missed> {
        let next = self.receiver.recv().await.map_err(|error| match error {
            broadcast::error::RecvError::Lagged(missed) => missed,
            // The channel is held here.
            broadcast::error::RecvError::Closed => 0,
        });
        self.heard(next)
    }

    fn heard(&mut self, next: Result<News, u64>) -> Result<News, Missed> {
        self.heard += next.as_ref().err().copied().unwrap_or(1);
        next.map_err(|_| Missed)
    }
}

#[cfg(test)]
#[cfg(not(feature = "interleavings"))]
mod tests {
    use super::*;
    use crate::{
        Standing, Tail,
        snapshot::tests::{changes, snapshot},
    };

    const TTL: Duration = Duration::from_secs(60);

    fn name() -> BoardName {
        "main".parse().expect("a name")
    }

    fn at_2(standing: Option<Standing>) -> BoardChange {
        BoardChange {
            revision: Revision::new(2).expect("a revision"),
            standing,
            named_at: None,
        }
    }

    fn hub_with(revision: u64, topics: &[(i64, u64)]) -> Hub {
        let hub = Hub::new(500, 2);
        let snapshot = snapshot(revision, topics);
        let tail = Tail::new(snapshot.revision(), [], 8);
        let loaded = Loaded {
            board_id: BoardId(1),
            policies: Policies::default(),
            tail,
            named_at: Revision::ZERO,
            snapshot,
        };
        hub.install(&hub.channel(&name()), loaded, Instant::now())
            .expect("nothing missed");
        hub
    }

    #[tokio::test]
    async fn every_subscriber_is_sent_the_same_update() {
        let hub = hub_with(1, &[]);
        let mut readers = [hub.subscribe(&name()), hub.subscribe(&name())];
        assert_eq!(
            hub.publish(&name(), &changes(&[(2, 1, true)])),
            Published::Sent(2)
        );
        let [first, second] = &mut readers;
        let (first, second) = (first.next().await, second.next().await);
        let (Ok(News::Update(first)), Ok(News::Update(second))) = (first, second) else {
            panic!("an update each")
        };
        assert!(Arc::ptr_eq(&first, &second), "shared, not copied");
    }

    #[tokio::test]
    async fn a_reader_that_fell_behind_finds_the_newest_snapshot() {
        let hub = hub_with(1, &[]);
        let mut reader = hub.subscribe(&name());
        for revision in 2..9 {
            hub.publish(&name(), &changes(&[(revision, 1, true)]));
        }
        assert!(matches!(reader.next().await, Err(Missed)));
        assert_eq!(
            reader
                .channel
                .live()
                .last_known()
                .map(|newest| newest.revision().get()),
            Some(8)
        );
    }

    #[tokio::test]
    async fn a_deleted_board_ends_its_streams_and_a_renamed_one_too() {
        for now in [None, Some("other".parse().expect("a name"))] {
            let hub = hub_with(1, &[]);
            let mut reader = hub.subscribe(&name());
            let standing = now.map(|name| Standing {
                name,
                policies: Policies::default(),
            });
            assert_eq!(hub.govern(&[(BoardId(1), at_2(standing))].into()), 1);
            assert!(matches!(reader.next().await, Ok(News::Gone)));
        }
    }

    #[tokio::test]
    async fn a_name_that_went_to_another_board_ends_the_streams_of_the_one_before() {
        let hub = hub_with(1, &[]);
        let mut reader = hub.subscribe(&name());
        let standing = Some(Standing {
            name: name(),
            policies: Policies::default(),
        });
        assert_eq!(hub.govern(&[(BoardId(2), at_2(standing))].into()), 1);
        assert!(matches!(reader.next().await, Ok(News::Gone)));

        let hub = hub_with(1, &[]);
        let mut reader = hub.subscribe(&name());
        let (snapshot, now) = (snapshot(2, &[(1, 2)]), Instant::now());
        let tail = Tail::new(snapshot.revision(), [], 8);
        let other = Loaded {
            board_id: BoardId(2),
            policies: Policies::default(),
            tail,
            named_at: snapshot.revision(),
            snapshot,
        };
        assert!(
            hub.install(&reader.channel, other, now).is_err(),
            "a reading that overtakes the follower"
        );
        assert!(matches!(reader.next().await, Ok(News::Gone)));
        assert!(hub.is_empty());
    }

    #[tokio::test]
    async fn a_board_that_takes_a_token_now_tells_its_audience() {
        let hub = hub_with(1, &[]);
        let mut reader = hub.subscribe(&name());
        let policies = Policies {
            read: ReadPolicy::Token,
            ..Policies::default()
        };
        let now = Some(Standing {
            name: name(),
            policies,
        });
        assert_eq!(
            hub.govern(&[(BoardId(1), at_2(now)), (BoardId(2), at_2(None))].into()),
            0
        );
        assert!(matches!(reader.next().await, Ok(News::Closing)));
        assert_eq!(reader.channel.live().policies(), Some(policies));
    }

    #[test]
    fn forgets_only_what_nobody_needs() {
        let (hub, now) = (hub_with(1, &[]), Instant::now());
        hub.evict(now, TTL);
        assert_eq!(hub.boards.len(), 1, "still fresh");
        let reader = hub.subscribe(&name());
        hub.evict(now + TTL * 2, TTL);
        assert_eq!(hub.boards.len(), 1, "watched");
        drop(reader);
        hub.evict(now + TTL * 2, TTL);
        assert_eq!(hub.boards.len(), 0);
    }

    #[test]
    fn a_name_that_somebody_made_up_is_forgotten_unless_others_wait_for_it() {
        let hub = Hub::new(500, 2);
        let (mine, other) = (hub.channel(&name()), hub.subscribe(&name()));
        hub.forget(&name(), &mine);
        assert_eq!(hub.boards.len(), 1, "somebody waits");
        drop(other);
        hub.forget(&name(), &mine);
        assert_eq!(hub.boards.len(), 0);
    }
}
