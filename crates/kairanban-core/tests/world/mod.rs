//! The state of the model, and everything that may happen to it.

mod database;
mod node;
mod reader;

use std::{
    collections::BTreeMap,
    hash::{Hash, Hasher},
    sync::LazyLock,
    time::Instant,
};

use stateright::{Model, Property};

use node::Step;

const TOPICS_MAX: usize = 2;
/// Updates that a reader may fall behind.
const LAG_MAX: usize = 1;
const NODES: usize = 2;

/// Time stands still: what depends on it is no part of this.
static NOW: LazyLock<Instant> = LazyLock::new(Instant::now);

/// What a commit does to a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Commit {
    Set(i64),
    Delete(i64),
}

#[derive(Clone, Debug, Default)]
struct Node {
    steps: Vec<Step>,
    /// What they came to: all that the hub holds, and all that waits in the reader's channel.
    came_to: String,
    /// How much waits there.
    waiting: usize,
    /// How far the follower is.
    position: u64,
    /// A reading of the board that has begun and is not yet put into memory.
    reading: Option<u64>,
    /// The newest commit that this node acknowledged to its writer.
    acknowledged: u64,
}

/// Compares what happened came to, whichever steps led there.
impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        let key = |node: &Self| {
            (
                node.came_to.clone(),
                node.position,
                node.reading,
                node.acknowledged,
            )
        };
        key(self) == key(other)
    }
}

impl Hash for Node {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (
            &self.came_to,
            self.position,
            self.reading,
            self.acknowledged,
        )
            .hash(state);
    }
}

/// Where the reader is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Link {
    Off,
    /// Subscribed at a node, and not yet sent the first thing.
    Joining(usize),
    /// Sent everything up to a revision.
    Open(usize, u64),
}

/// What the reader holds, checked at each event.
#[derive(Clone, Debug, PartialEq, Hash)]
struct Reader {
    link: Link,
    /// Its cursor, once it has one.
    revision: Option<u64>,
    list: BTreeMap<i64, u64>,
    fault: Option<&'static str>,
}

#[derive(Clone, Debug)]
pub(crate) struct State {
    log: Vec<Commit>,
    nodes: [Node; NODES],
    reader: Reader,
    readings: u8,
    cuts: u8,
    crashes: u8,
    /// What the last action brought about that ought to happen sometimes.
    seen: Option<Seen>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Patch,
    Lag,
    StaleLoad,
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        let key = |state: &Self| (state.log.clone(), state.nodes.clone(), state.reader.clone());
        key(self) == key(other)
            && (self.readings, self.cuts, self.crashes)
                == (other.readings, other.cuts, other.crashes)
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (
            &self.log,
            &self.nodes,
            &self.reader,
            self.readings,
            self.cuts,
            self.crashes,
        )
            .hash(state);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Commit(Commit),
    Look(usize),
    Read(usize),
    Install(usize),
    Join(usize),
    Begin,
    Receive,
    Cut,
    Crash(usize),
}

/// Bounds how much may happen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct World {
    pub(crate) commits: usize,
    pub(crate) readings: u8,
    pub(crate) cuts: u8,
    pub(crate) crashes: u8,
}

impl World {
    /// Whether that is enough for a reader to fall behind: it is there for the first commit.
    const fn has_lag(self) -> bool {
        self.commits > LAG_MAX + 1
    }
}

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let reader = Reader {
            link: Link::Off,
            revision: None,
            list: BTreeMap::new(),
            fault: None,
        };
        let nodes = Default::default();
        vec![State {
            log: vec![Commit::Set(1)],
            nodes,
            reader,
            readings: 0,
            cuts: 0,
            crashes: 0,
            seen: None,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.log.len() < self.commits {
            let new = 1 + state
                .log
                .iter()
                .map(|commit| commit.topic())
                .max()
                .unwrap_or(0);
            let commits = (1..new)
                .flat_map(|id| [Commit::Set(id), Commit::Delete(id)])
                .chain([Commit::Set(new)]);
            actions.extend(commits.map(Action::Commit));
        }
        for (at, node) in state.nodes.iter().enumerate() {
            if node.position < state.head() {
                actions.push(Action::Look(at));
            }
            if node.reading.is_some() {
                actions.push(Action::Install(at));
            } else if state.readings < self.readings {
                actions.push(Action::Read(at));
            }
            if state.reader.link == Link::Off {
                actions.push(Action::Join(at));
            }
            if state.crashes < self.crashes {
                actions.push(Action::Crash(at));
            }
        }
        match state.reader.link {
            Link::Joining(_) => actions.push(Action::Begin),
            Link::Open(..) => actions.push(Action::Receive),
            Link::Off => {}
        }
        if state.reader.link != Link::Off && state.cuts < self.cuts {
            actions.push(Action::Cut);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        state.take(action)?;
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(
                "what is shown was committed, in one order, without a hole",
                |_, state: &State| state.reader.fault.is_none(),
            ),
            Property::always(
                "who has read everything stands where the database stands",
                |_, state: &State| {
                    !state.is_at_rest() || state.reader.list == state.list_at(state.head())
                },
            ),
            Property::sometimes("a reader comes back by a patch", |_, state: &State| {
                state.seen == Some(Seen::Patch)
            }),
            Property::sometimes("a reader falls behind", |world: &Self, state: &State| {
                state.seen == Some(Seen::Lag) || !world.has_lag()
            }),
            Property::sometimes("a reading comes too early", |_, state: &State| {
                state.seen == Some(Seen::StaleLoad)
            }),
        ]
    }
}

impl Commit {
    const fn topic(self) -> i64 {
        match self {
            Self::Set(id) | Self::Delete(id) => id,
        }
    }
}

impl State {
    fn take(&mut self, action: Action) -> Option<()> {
        let head = self.head();
        self.seen = None;
        match action {
            Action::Commit(commit) => {
                if matches!(commit, Commit::Delete(id) if !self.topics_at(head).contains_key(&id)) {
                    return None;
                }
                self.log.push(commit);
                // The first node's own writers are waited for; the second hears of it like of anybody's.
                self.nodes[0].acknowledged = self.head();
            }
            Action::Look(at) => {
                self.step(at, Step::Look(self.nodes[at].position, head));
                self.nodes[at].position = head;
            }
            Action::Read(at) => {
                self.step(at, Step::Ask);
                self.nodes[at].reading = Some(head);
                self.readings += 1;
            }
            Action::Install(at) => {
                let reading = self.nodes[at].reading.take()?;
                self.seen = self
                    .step(at, Step::Install(reading))
                    .outdated
                    .then_some(Seen::StaleLoad);
            }
            Action::Join(at) => {
                self.step(at, Step::Subscribe);
                self.reader.link = Link::Joining(at);
            }
            Action::Begin => self.begin()?,
            Action::Receive => self.receive()?,
            Action::Cut => {
                if let Link::Joining(at) | Link::Open(at, _) = self.reader.link {
                    self.step(at, Step::Leave);
                }
                self.reader.link = Link::Off;
                self.cuts += 1;
            }
            Action::Crash(at) => {
                if matches!(self.reader.link, Link::Joining(node) | Link::Open(node, _) if node == at)
                {
                    self.reader.link = Link::Off;
                }
                // It comes up at the head, with nothing in memory.
                self.nodes[at] = Node {
                    position: head,
                    ..Node::default()
                };
                self.crashes += 1;
            }
        }
        Some(())
    }

    /// Whether the reader is connected and there is nothing left to be told.
    fn is_at_rest(&self) -> bool {
        matches!(self.reader.link, Link::Open(at, _) if self.nodes[at].waiting == 0 && self.nodes[at].position == self.head())
    }
}
