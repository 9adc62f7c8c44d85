//! The channel of one board: the events that its readers are sent, and the lock around its state.

use std::sync::{
    Arc, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use chrono::{DateTime, Utc};
use tokio::sync::Mutex as AsyncMutex;

use crate::{
    BoardName, BoardState, Snapshot, Update,
    board_state::StateChange,
    sync::{
        Mutex, MutexGuard,
        broadcast::{self, error::TryRecvError},
    },
};

/// Notifies the readers of a board of what happened to it.
#[derive(Clone, Debug)]
pub enum BoardEvent {
    /// The live list changed.
    Update(Arc<Update>),
    /// The board is private from now on: the stream of a reader without a token ends.
    PolicyChanged,
    /// The board was deleted, or its name means another board now.
    Gone,
    /// A new epoch has begun: what was shown is of another history, and this is the list now.
    HistoryReset(Arc<Snapshot>),
    /// The board changed, and cannot be read for now.
    Stale(DateTime<Utc>),
    /// The board could be read again.
    Fresh,
}

/// One board: its channel and its state.
#[derive(Debug)]
pub struct BoardChannel {
    /// The board's name. A renamed board has another channel.
    pub board: BoardName,
    sender: broadcast::Sender<BoardEvent>,
    live: Mutex<BoardState>,
    /// Number of events sent. Incremented just before each is sent.
    sent: AtomicU64,
    /// Held while the board is read from the database, so that readers who arrive together cost one
    /// read.
    pub loading: AsyncMutex<()>,
}

/// Receives the events of a board from the subscription on. Dropping it ends the subscription.
#[derive(Debug)]
pub struct Subscription {
    /// The channel of the board.
    pub channel: Arc<BoardChannel>,
    receiver: broadcast::Receiver<BoardEvent>,
    /// Number of events of the channel that were received or missed.
    received: u64,
}

/// A subscriber fell so far behind that it missed some events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lagged;

/// The result of publishing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// The readers were sent what changed for them, if anything did.
    Done,
    /// The board has to be read again before anything can be sent; see
    /// [`Hub::install`](crate::Hub::install).
    Reload,
    /// The database shows what its log does not say: rows were changed without the triggers. If
    /// the list is newer than what was shown, the readers were sent it.
    Differs,
}

impl BoardChannel {
    pub(super) fn new(board: BoardName, lag_max: usize) -> Self {
        let sender = broadcast::Sender::new(lag_max);
        Self {
            board,
            sender,
            live: Mutex::default(),
            sent: AtomicU64::new(0),
            loading: AsyncMutex::new(()),
        }
    }

    /// Locks the board's state. The lock is held briefly: nothing in [`BoardState`] waits.
    pub fn live(&self) -> MutexGuard<'_, BoardState> {
        // No function of `BoardState` leaves it half changed, so a panic elsewhere costs nothing
        // here.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether the board has subscribers.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.sender.receiver_count() > 0
    }

    /// Subscribes to the board's events.
    #[must_use]
    pub fn subscribe(self: &Arc<Self>) -> Subscription {
        // Holding the lock here guarantees that each event is either counted or received.
        let _live = self.live();
        let received = self.sent.load(Ordering::Acquire);
        Subscription {
            channel: Arc::clone(self),
            receiver: self.sender.subscribe(),
            received,
        }
    }

    /// Sends the result of a change, still under the lock of the state: a reader that subscribed
    /// before it read the state finds every update in one place or the other.
    pub(super) fn send(&self, change: StateChange, live: &MutexGuard<'_, BoardState>) -> Published {
        let (event, published) = match change {
            StateChange::None => (None, Published::Done),
            StateChange::HistoryReset(snapshot) => {
                (Some(BoardEvent::HistoryReset(snapshot)), Published::Done)
            }
            StateChange::Update(update) => (Some(BoardEvent::Update(update)), Published::Done),
            StateChange::Reload => (None, Published::Reload),
            StateChange::Differs(update) => (update.map(BoardEvent::Update), Published::Differs),
        };
        if let Some(event) = event {
            self.broadcast(event, live);
        }
        published
    }

    /// Makes readers check their permission again, if the policies that the board has now do not
    /// let everyone read it.
    pub(super) fn announce_policies(&self, live: &MutexGuard<'_, BoardState>) {
        if live.policies().is_some_and(|now| !now.is_public()) {
            self.broadcast(BoardEvent::PolicyChanged, live);
        }
    }

    /// Sends an event to all subscribers.
    pub(super) fn broadcast(&self, event: BoardEvent, _live: &MutexGuard<'_, BoardState>) {
        self.sent.fetch_add(1, Ordering::Release);
        // An error means that there are no subscribers.
        let _ = self.sender.send(event);
    }
}

impl Subscription {
    /// Returns the next event, if there is one. Without one this only reads a counter, since the
    /// channel's lock is shared by all subscribers.
    pub fn try_next(&mut self) -> Option<Result<BoardEvent, Lagged>> {
        if self.received == self.channel.sent.load(Ordering::Acquire) {
            return None;
        }
        match self.receiver.try_recv() {
            Ok(event) => Some(self.count(Ok(event))),
            Err(TryRecvError::Lagged(missed)) => Some(self.count(Err(missed))),
            // The counter is incremented, but the send has not completed yet. The channel is held
            // here, so it is never closed.
            Err(TryRecvError::Empty | TryRecvError::Closed) => None,
        }
    }

    /// Waits for the next event. Cancel safe: dropping the future loses no event.
    ///
    /// # Errors
    /// [`Lagged`] if events were missed.
    #[cfg(not(feature = "interleavings"))]
    pub async fn next(&mut self) -> Result<BoardEvent, Lagged> {
        let next = self.receiver.recv().await.map_err(|error| match error {
            broadcast::error::RecvError::Lagged(missed) => missed,
            // The channel is held here.
            broadcast::error::RecvError::Closed => 0,
        });
        self.count(next)
    }

    /// Counts an event, or the events that were missed.
    fn count(&mut self, next: Result<BoardEvent, u64>) -> Result<BoardEvent, Lagged> {
        self.received += next.as_ref().err().copied().unwrap_or(1);
        next.map_err(|_| Lagged)
    }
}
