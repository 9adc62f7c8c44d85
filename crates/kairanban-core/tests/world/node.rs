//! A node: the real hub, rebuilt by replaying everything that happened in it.

use kairanban_core::{BoardEvent, Hub, Lagged, Published, Subscription};

use super::{LAG_MAX, NOW, State, TOPICS_MAX};
use crate::values::board;

/// One thing that happened in a node since it started. Replaying all of them rebuilds the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// A client asked for the board, and loads it from the database; the hub has a channel for it
    /// from now on.
    Ask,
    /// The board as of that revision was installed in memory, unless a newer change was missed.
    Install(u64),
    /// The follower read the log from one revision to another.
    Poll(u64, u64),
    /// The reader subscribed to the board.
    Subscribe,
    /// The reader dropped its subscription.
    Leave,
    /// The reader took the next event of its channel.
    Receive,
}

pub(super) struct Replayed {
    hub: Hub,
    pub(super) subscription: Option<Subscription>,
    pub(super) is_outdated_load: bool,
    pub(super) received: Option<Result<BoardEvent, Lagged>>,
}

impl Replayed {
    fn install(&mut self, state: &State, at: u64) {
        let channel = self.hub.channel(&board());
        self.is_outdated_load = self.hub.install(&channel, state.loaded(at), *NOW).is_err();
    }
}

impl State {
    /// Adds a step to a node, and returns the node after it.
    pub(super) fn step(&mut self, node: usize, step: Step) -> Replayed {
        self.nodes[node].steps.push(step);
        let (replayed, mut counted) = (self.replay(node), self.replay(node));
        let mut waiting = Vec::new();
        while let Some(next) = counted
            .subscription
            .as_mut()
            .and_then(Subscription::try_next)
        {
            match next {
                Ok(BoardEvent::Update(update)) => waiting.push(format!("{:?}", update.patch)),
                other => waiting.push(format!("{other:?}")),
            }
        }
        let hub = replayed.hub.channel(&board());
        self.nodes[node].result = format!("{:?} {waiting:?}", hub.live());
        self.nodes[node].waiting = waiting.len();
        replayed
    }

    /// Replays the steps of a node, and returns its hub and the reader's subscription.
    pub(super) fn replay(&self, node: usize) -> Replayed {
        let mut replayed = Replayed {
            hub: Hub::new(TOPICS_MAX, LAG_MAX),
            subscription: None,
            is_outdated_load: false,
            received: None,
        };
        for step in &self.nodes[node].steps {
            match *step {
                Step::Ask => drop(replayed.hub.channel(&board())),
                Step::Install(at) => replayed.install(self, at),
                Step::Poll(after, upto) => {
                    let changes = self.changes(after, upto);
                    if replayed.hub.publish(&board(), None, &changes) == Some(Published::Reload) {
                        replayed.install(self, upto);
                    }
                }
                Step::Subscribe => replayed.subscription = Some(replayed.hub.subscribe(&board())),
                Step::Leave => replayed.subscription = None,
                Step::Receive => {
                    let subscription = replayed.subscription.as_mut().expect("a reader");
                    replayed.received = subscription.try_next();
                }
            }
        }
        replayed
    }
}
