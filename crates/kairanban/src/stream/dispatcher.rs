//! Notifies the streams of one worker of what happens on their boards.
//!
//! A board's channel has one subscription for each stream, and one more for each worker: that of
//! the task of its [`Dispatcher`]. When an event arrives, the task calls the worker's streams of
//! that board one after the other, and each sends what its own subscription holds, at once. No
//! stream is queued to be woken, which would cost more than the rest of a delivery (ADR 10); and
//! the socket that was written to is the next thing in the processor's cache. After every few calls
//! the worker's other tasks run.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashMap},
    fmt,
    ops::Bound::{self, Excluded, Unbounded},
    rc::{Rc, Weak},
    sync::Arc,
};

use actix_web::rt;
use kairanban_core::{BoardChannel, BoardEvent, BoardName, KnownSince, Lagged, Subscription};
use tokio::task::{AbortHandle, yield_now};

use crate::{
    failpoint,
    metrics::{Sent, StreamMetrics},
    supervise::Supervisor,
};

/// Calls in a row before other tasks of the worker run.
const CALLS: usize = 64;

/// A stream that is notified of events.
pub trait Subscriber {
    /// Takes the events, if there are any, and adds to `sent` what was sent at once. Must not
    /// block. May leave the dispatcher that calls it.
    fn notify(&self, sent: &mut Sent);
}

/// The dispatchers of one worker, one for each board. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct WorkerDispatchers(Rc<All>);

#[derive(Debug, Default)]
struct All {
    dispatchers: RefCell<HashMap<BoardName, Weak<Dispatcher>>>,
    supervisor: Supervisor,
    metrics: StreamMetrics,
}

/// Calls the subscribers of one board. It ends when the last of them has left.
struct Dispatcher {
    channel: Arc<BoardChannel>,
    /// The subscribers, in the order in which they joined.
    subscribers: RefCell<BTreeMap<SubscriberNumber, Weak<dyn Subscriber>>>,
    joined: Cell<SubscriberNumber>,
    task: RefCell<Option<AbortHandle>>,
    all: WorkerDispatchers,
}

/// The key of a subscriber within its dispatcher.
type SubscriberNumber = u64;

/// The membership of one subscriber in a dispatcher. Dropping it leaves.
#[derive(Debug)]
pub struct Registration {
    dispatcher: Rc<Dispatcher>,
    number: SubscriberNumber,
}

impl WorkerDispatchers {
    /// Creates an empty set. The supervisor restarts a dispatcher that panics; `metrics` count what
    /// it sends.
    #[must_use]
    pub fn new(supervisor: Supervisor, metrics: StreamMetrics) -> Self {
        Self(Rc::new(All {
            dispatchers: RefCell::default(),
            supervisor,
            metrics,
        }))
    }

    /// Joins the board's dispatcher. A stream that subscribes before and looks for events once
    /// after misses none.
    #[must_use]
    pub fn join(
        &self,
        channel: &Arc<BoardChannel>,
        subscriber: Weak<dyn Subscriber>,
    ) -> Registration {
        let dispatcher = self.of(channel);
        let number = dispatcher.joined.get();
        dispatcher.joined.set(number + 1);
        dispatcher
            .subscribers
            .borrow_mut()
            .insert(number, subscriber);
        Registration { dispatcher, number }
    }

    fn of(&self, channel: &Arc<BoardChannel>) -> Rc<Dispatcher> {
        let mut dispatchers = self.0.dispatchers.borrow_mut();
        let dispatcher = dispatchers.get(&channel.board).and_then(Weak::upgrade);
        // A board that ended and was created again has another channel.
        if let Some(dispatcher) =
            dispatcher.filter(|dispatcher| Arc::ptr_eq(&dispatcher.channel, channel))
        {
            return dispatcher;
        }
        let dispatcher = Rc::new(Dispatcher {
            channel: Arc::clone(channel),
            subscribers: RefCell::default(),
            joined: Cell::default(),
            task: RefCell::default(),
            all: self.clone(),
        });
        dispatchers.insert(channel.board.clone(), Rc::downgrade(&dispatcher));
        let (supervisor, metrics, mut subscription, of) = (
            self.0.supervisor.clone(),
            self.0.metrics.clone(),
            channel.subscribe(),
            Rc::downgrade(&dispatcher),
        );
        let task = rt::spawn(async move {
            let mut broke_off = false;
            supervisor
                .run_to_completion("dispatcher", async || {
                    let broke_off = std::mem::replace(&mut broke_off, true);
                    dispatch_loop(&mut subscription, &of, &metrics, broke_off).await;
                })
                .await;
        });
        *dispatcher.task.borrow_mut() = Some(task.abort_handle());
        dispatcher
    }
}

/// Calls the subscribers after each event. With `broke_off` the task panicked before, so some have
/// not been called.
async fn dispatch_loop(
    subscription: &mut Subscription,
    dispatcher: &Weak<Dispatcher>,
    metrics: &StreamMetrics,
    mut broke_off: bool,
) {
    let mut calls = Vec::with_capacity(CALLS);
    loop {
        // The subscribers read the events themselves, also those that this subscription was too
        // slow for.
        let mut known_since = None;
        if !std::mem::take(&mut broke_off) {
            known_since = time_of(&subscription.next().await);
        }
        failpoint::pass("dispatcher");
        // Of events that are sent together the first one waited longest.
        while let Some(event) = subscription.try_next() {
            known_since = known_since.or_else(|| time_of(&event));
        }
        let mut after = Unbounded;
        loop {
            let Some(dispatcher) = dispatcher.upgrade() else {
                return;
            };
            after = dispatcher.after(after, &mut calls);
            drop(dispatcher);
            if calls.is_empty() {
                break;
            }
            let mut sent = Sent::default();
            calls
                .drain(..)
                .for_each(|subscriber| subscriber.notify(&mut sent));
            metrics.updates_sent(sent, known_since);
            yield_now().await;
        }
    }
}

/// Returns since when the server has known of an update.
fn time_of(event: &Result<BoardEvent, Lagged>) -> Option<KnownSince> {
    match event {
        Ok(BoardEvent::Update(update)) => update.known_since,
        _ => None,
    }
}

impl Dispatcher {
    /// Puts the next subscribers after `position` into `calls`, and returns the position of the
    /// last of them.
    fn after(
        &self,
        position: Bound<SubscriberNumber>,
        calls: &mut Vec<Rc<dyn Subscriber>>,
    ) -> Bound<SubscriberNumber> {
        let subscribers = self.subscribers.borrow();
        let next = subscribers
            .range((position, Unbounded))
            .filter_map(|(number, subscriber)| Some((*number, subscriber.upgrade()?)));
        next.take(CALLS).fold(position, |_, (number, subscriber)| {
            calls.push(subscriber);
            Excluded(number)
        })
    }
}

impl Drop for Dispatcher {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
        // There may be a new dispatcher for a board of this name.
        let mut dispatchers = self.all.0.dispatchers.borrow_mut();
        if dispatchers
            .get(&self.channel.board)
            .is_some_and(|dispatcher| dispatcher.strong_count() == 0)
        {
            dispatchers.remove(&self.channel.board);
        }
    }
}

impl fmt::Debug for Dispatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatcher")
            .field("board", &self.channel.board)
            .finish_non_exhaustive()
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.dispatcher
            .subscribers
            .borrow_mut()
            .remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use kairanban_core::{BoardChange, Revision};

    use super::{
        super::testing::{board, hub, load, post},
        *,
    };

    #[derive(Default)]
    struct Counting(Cell<usize>);

    impl Subscriber for Counting {
        fn notify(&self, _: &mut Sent) {
            self.0.set(self.0.get() + 1);
        }
    }

    fn join(
        dispatchers: &WorkerDispatchers,
        channel: &Arc<BoardChannel>,
        count: usize,
    ) -> Vec<(Rc<Counting>, Registration)> {
        let subscribers = (0..count).map(|_| {
            let subscriber = Rc::<Counting>::default();
            let weak: Weak<dyn Subscriber> = Rc::<Counting>::downgrade(&subscriber);
            (subscriber, dispatchers.join(channel, weak))
        });
        subscribers.collect()
    }

    fn calls(subscribers: &[(Rc<Counting>, Registration)]) -> Vec<usize> {
        subscribers
            .iter()
            .map(|(subscriber, _)| subscriber.0.get())
            .collect()
    }

    fn calls_in_all(subscribers: &[(Rc<Counting>, Registration)]) -> usize {
        calls(subscribers).iter().sum()
    }

    /// Lets other tasks run until `is_so`.
    async fn until(mut is_so: impl FnMut() -> bool) {
        for _ in 0..1_000 {
            if is_so() {
                return;
            }
            yield_now().await;
        }
        panic!("it never came");
    }

    #[actix_web::test]
    async fn what_comes_together_is_one_call_for_each_and_others_have_their_turn_between() {
        let (dispatchers, hub) = (WorkerDispatchers::default(), hub(64));
        let subscribers = join(&dispatchers, &hub.channel(&board()), CALLS * 3);
        (2..5).for_each(|revision| post(&hub, revision));
        until(|| calls_in_all(&subscribers) > 0).await;
        assert!(
            calls_in_all(&subscribers) < subscribers.len(),
            "this task had no turn"
        );
        until(|| calls_in_all(&subscribers) >= subscribers.len()).await;
        assert_eq!(calls(&subscribers), vec![1; subscribers.len()]);
        post(&hub, 5);
        until(|| calls(&subscribers).iter().all(|calls| *calls == 2)).await;
    }

    #[actix_web::test]
    async fn who_left_is_not_called_and_the_last_one_ends_the_dispatcher() {
        let (dispatchers, hub) = (WorkerDispatchers::default(), hub(64));
        let channel = hub.channel(&board());
        let mut subscribers = join(&dispatchers, &channel, 3);
        let (left, registration) = subscribers.remove(1);
        drop(registration);
        post(&hub, 2);
        until(|| calls(&subscribers) == [1, 1]).await;
        assert_eq!(left.0.get(), 0);
        subscribers.clear();
        assert!(dispatchers.0.dispatchers.borrow().is_empty());
        until(|| !channel.is_watched()).await;
    }

    #[actix_web::test]
    async fn a_board_that_came_again_has_a_dispatcher_of_its_own() {
        let (dispatchers, hub) = (WorkerDispatchers::default(), hub(64));
        let before = join(&dispatchers, &hub.channel(&board()), 1);
        // Another board has its name.
        let id = hub.channel(&board()).live().board_id().expect("a board");
        let gone = BoardChange {
            revision: Revision::new(2).expect("a revision"),
            info: None,
            named_at: None,
        };
        hub.apply_policies(&HashMap::from([(id, gone)]));
        load(&hub);
        let after = join(&dispatchers, &hub.channel(&board()), 1);
        until(|| calls(&before) == [1]).await;
        post(&hub, 2);
        until(|| calls(&after) == [1]).await;
        drop(before);
        assert_eq!(
            dispatchers.0.dispatchers.borrow().len(),
            1,
            "the newer one goes on"
        );
    }
}
