//! A node: the real hub, with everything that happened in it played again.

use kairanban_core::{BoardEvent, Hub, Lagged, Published, Subscription};

use super::{LAG_MAX, NOW, State, TOPICS_MAX};
use crate::values::board;

/// What happened in a node since it came up; played again, it is the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// Somebody asked for the board, and reads it from the database; from here on the hub knows of it.
    Ask,
    /// The board, as it was at that revision, was put into memory, unless something newer was missed.
    Install(u64),
    /// The follower read the log from one revision to another.
    Look(u64, u64),
    /// The reader joined.
    Subscribe,
    /// The reader left.
    Leave,
    /// The reader took the next of its channel.
    Receive,
}

pub(super) struct Played {
    hub: Hub,
    pub(super) subscription: Option<Subscription>,
    pub(super) outdated: bool,
    pub(super) received: Option<Result<BoardEvent, Lagged>>,
}

impl Played {
    fn install(&mut self, state: &State, at: u64) {
        let channel = self.hub.channel(&board());
        self.outdated = self.hub.install(&channel, state.loaded(at), *NOW).is_err();
    }
}

impl State {
    /// One thing more happens in a node.
    pub(super) fn step(&mut self, node: usize, step: Step) -> Played {
        self.nodes[node].steps.push(step);
        let (played, mut counted) = (self.play(node), self.play(node));
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
        let hub = played.hub.channel(&board());
        self.nodes[node].came_to = format!("{:?} {waiting:?}", hub.live());
        self.nodes[node].waiting = waiting.len();
        played
    }

    /// The real hub of a node, with the reader's place in it: everything that happened there, once more.
    pub(super) fn play(&self, node: usize) -> Played {
        let mut played = Played {
            hub: Hub::new(TOPICS_MAX, LAG_MAX),
            subscription: None,
            outdated: false,
            received: None,
        };
        for step in &self.nodes[node].steps {
            match *step {
                Step::Ask => drop(played.hub.channel(&board())),
                Step::Install(at) => played.install(self, at),
                Step::Look(after, upto) => {
                    if played.hub.publish(&board(), &self.changes(after, upto)) == Published::Reload
                    {
                        played.install(self, upto);
                    }
                }
                Step::Subscribe => played.subscription = Some(played.hub.subscribe(&board())),
                Step::Leave => played.subscription = None,
                Step::Receive => {
                    let subscription = played.subscription.as_mut().expect("a reader");
                    played.received = subscription.try_next();
                }
            }
        }
        played
    }
}
