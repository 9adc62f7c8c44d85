//! News on its way round the readers of one worker.
//!
//! A board's channel has one subscriber for each stream, and one more for each worker: the carrier of its
//! [`Round`]. When there is news the carrier calls on the worker's streams of that board one after the other, and each
//! takes what its own subscription holds, then and there. No stream queues to be woken, which would cost more than
//! all else that a delivery takes of us; and the socket that was written to is the next thing in the processor's cache.
//! After every few calls the worker's other tasks have their turn.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashMap},
    fmt,
    ops::Bound::{self, Excluded, Unbounded},
    rc::{Rc, Weak},
    sync::Arc,
};

use actix_web::rt;
use kairanban_core::{BoardChannel, BoardName, Subscription};
use tokio::task::{AbortHandle, yield_now};

use crate::{failpoint, supervise::Supervisor};

/// Calls between which nobody else has a turn.
const CALLS: usize = 64;

/// Who is called on when there is news.
pub trait Member {
    /// There may be news. Must not wait, nor leave the round.
    fn call(&self);
}

/// The rounds of one worker, a board each. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Rounds(Rc<All>);

#[derive(Debug, Default)]
struct All {
    rounds: RefCell<HashMap<BoardName, Weak<Round>>>,
    supervisor: Supervisor,
}

/// The round of one board. It ends when the last member has left.
struct Round {
    channel: Arc<BoardChannel>,
    /// In the order in which they came.
    members: RefCell<BTreeMap<Number, Weak<dyn Member>>>,
    joined: Cell<Number>,
    carrier: RefCell<Option<AbortHandle>>,
    all: Rounds,
}

/// What a member is known by within its round.
type Number = u64;

/// A place in a round. Dropping it leaves.
#[derive(Debug)]
pub struct Seat {
    round: Rc<Round>,
    number: Number,
}

impl Rounds {
    /// No round goes yet.
    #[must_use]
    pub fn new(supervisor: Supervisor) -> Self {
        Self(Rc::new(All {
            rounds: RefCell::default(),
            supervisor,
        }))
    }

    /// Joins the board's round. Who has subscribed before and looks for news once afterwards misses none.
    #[must_use]
    pub fn join(&self, channel: &Arc<BoardChannel>, member: Weak<dyn Member>) -> Seat {
        let round = self.of(channel);
        let number = round.joined.get();
        round.joined.set(number + 1);
        round.members.borrow_mut().insert(number, member);
        Seat { round, number }
    }

    fn of(&self, channel: &Arc<BoardChannel>) -> Rc<Round> {
        let mut rounds = self.0.rounds.borrow_mut();
        let round = rounds.get(&channel.board).and_then(Weak::upgrade);
        // A board that ended and came again has another channel.
        if let Some(round) = round.filter(|round| Arc::ptr_eq(&round.channel, channel)) {
            return round;
        }
        let round = Rc::new(Round {
            channel: Arc::clone(channel),
            members: RefCell::default(),
            joined: Cell::default(),
            carrier: RefCell::default(),
            all: self.clone(),
        });
        rounds.insert(channel.board.clone(), Rc::downgrade(&round));
        let (supervisor, mut subscription, of) = (
            self.0.supervisor.clone(),
            channel.subscribe(),
            Rc::downgrade(&round),
        );
        let carrier = rt::spawn(async move {
            let mut broke_off = false;
            let run = async || {
                carry(
                    &mut subscription,
                    &of,
                    std::mem::replace(&mut broke_off, true),
                )
                .await
            };
            supervisor.to_the_end("carrier", run).await;
        });
        *round.carrier.borrow_mut() = Some(carrier.abort_handle());
        round
    }
}

/// `broke_off`: the last round did, so some have not been called.
async fn carry(subscription: &mut Subscription, round: &Weak<Round>, mut broke_off: bool) {
    let mut calls = Vec::with_capacity(CALLS);
    loop {
        // What it was, the members find out for themselves, even if it was too much for the carrier.
        if !std::mem::take(&mut broke_off) {
            let _ = subscription.next().await;
        }
        failpoint::pass("carrier");
        while subscription.try_next().is_some() {}
        let mut after = Unbounded;
        loop {
            let Some(round) = round.upgrade() else { return };
            after = round.after(after, &mut calls);
            drop(round);
            if calls.is_empty() {
                break;
            }
            calls.drain(..).for_each(|member| member.call());
            yield_now().await;
        }
    }
}

impl Round {
    /// Puts the next members into `calls`, and gives the place behind them.
    fn after(&self, place: Bound<Number>, calls: &mut Vec<Rc<dyn Member>>) -> Bound<Number> {
        let members = self.members.borrow();
        let next = members
            .range((place, Unbounded))
            .filter_map(|(number, member)| Some((*number, member.upgrade()?)));
        next.take(CALLS).fold(place, |_, (number, member)| {
            calls.push(member);
            Excluded(number)
        })
    }
}

impl Drop for Round {
    fn drop(&mut self) {
        if let Some(carrier) = self.carrier.take() {
            carrier.abort();
        }
        // Another round of a board of this name may have begun.
        let mut rounds = self.all.0.rounds.borrow_mut();
        if rounds
            .get(&self.channel.board)
            .is_some_and(|round| round.strong_count() == 0)
        {
            rounds.remove(&self.channel.board);
        }
    }
}

impl fmt::Debug for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Round")
            .field("board", &self.channel.board)
            .finish_non_exhaustive()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.round.members.borrow_mut().remove(&self.number);
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

    impl Member for Counting {
        fn call(&self) {
            self.0.set(self.0.get() + 1);
        }
    }

    fn join(
        rounds: &Rounds,
        channel: &Arc<BoardChannel>,
        count: usize,
    ) -> Vec<(Rc<Counting>, Seat)> {
        let member = |_| {
            let member = Rc::<Counting>::default();
            let weak: Weak<dyn Member> = Rc::<Counting>::downgrade(&member);
            (member, rounds.join(channel, weak))
        };
        (0..count).map(member).collect()
    }

    fn calls(members: &[(Rc<Counting>, Seat)]) -> Vec<usize> {
        members.iter().map(|(member, _)| member.0.get()).collect()
    }

    /// Gives way until it is so.
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
        let (rounds, hub) = (Rounds::default(), hub(64));
        let members = join(&rounds, &hub.channel(&board()), CALLS * 3);
        (2..5).for_each(|revision| post(&hub, revision));
        let called = || calls(&members).iter().sum::<usize>();
        until(|| called() > 0).await;
        assert!(called() < members.len(), "this task had no turn");
        until(|| called() >= members.len()).await;
        assert_eq!(calls(&members), vec![1; members.len()]);
        post(&hub, 5);
        until(|| calls(&members).iter().all(|calls| *calls == 2)).await;
    }

    #[actix_web::test]
    async fn who_left_is_not_called_and_the_last_one_ends_the_round() {
        let (rounds, hub) = (Rounds::default(), hub(64));
        let channel = hub.channel(&board());
        let mut members = join(&rounds, &channel, 3);
        let (left, seat) = members.remove(1);
        drop(seat);
        post(&hub, 2);
        until(|| calls(&members) == [1, 1]).await;
        assert_eq!(left.0.get(), 0);
        members.clear();
        assert!(rounds.0.rounds.borrow().is_empty());
        until(|| !channel.is_watched()).await;
    }

    #[actix_web::test]
    async fn a_board_that_came_again_has_a_round_of_its_own() {
        let (rounds, hub) = (Rounds::default(), hub(64));
        let before = join(&rounds, &hub.channel(&board()), 1);
        // Another board has its name.
        let id = hub.channel(&board()).live().board_id().expect("a board");
        let gone = BoardChange {
            revision: Revision::new(2).expect("a revision"),
            standing: None,
            named_at: None,
        };
        assert_eq!(hub.govern(&HashMap::from([(id, gone)])), 1);
        load(&hub);
        let after = join(&rounds, &hub.channel(&board()), 1);
        until(|| calls(&before) == [1]).await;
        post(&hub, 2);
        until(|| calls(&after) == [1]).await;
        drop(before);
        assert_eq!(rounds.0.rounds.borrow().len(), 1, "the newer one goes on");
    }
}
