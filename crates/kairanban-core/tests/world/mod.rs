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

/// Time stands still: the model does not cover what depends on it.
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
    /// The result of the steps: the state of the hub, and the events that wait in the reader's
    /// channel.
    result: String,
    /// The number of events that wait in the reader's channel.
    waiting: usize,
    /// The revision that the follower has published.
    position: u64,
    /// The revision of a load of the board that is not installed yet.
    reading: Option<u64>,
    /// The newest commit that this node acknowledged to its writer.
    acknowledged: u64,
}

/// Compares the results, whichever steps led there.
impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Node {
    fn key(&self) -> impl PartialEq + Hash {
        (&self.result, self.position, self.reading, self.acknowledged)
    }
}

impl Hash for Node {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

/// The state of the reader's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Link {
    Off,
    /// Subscribed at a node, and not sent its opening yet.
    Joining(usize),
    /// Sent all changes up to a revision.
    Open(usize, u64),
}

impl Link {
    const fn node(self) -> Option<usize> {
        match self {
            Self::Off => None,
            Self::Joining(at) | Self::Open(at, _) => Some(at),
        }
    }
}

/// What the reader shows, checked at each event.
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
    /// An effect of the last action that has to occur in some state.
    seen: Option<Seen>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Patch,
    Lag,
    OutdatedLoad,
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Commit(Commit),
    Poll(usize),
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
    fn add_node_actions(self, state: &State, at: usize, actions: &mut Vec<Action>) {
        let node = &state.nodes[at];
        if node.position < state.head() {
            actions.push(Action::Poll(at));
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

    /// Returns whether a reader can fall behind; the first commit is there before it.
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
            actions.extend(state.possible_commits().map(Action::Commit));
        }
        for at in 0..NODES {
            self.add_node_actions(state, at, actions);
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
                "what is shown was committed, in one order, without a gap",
                |_, state: &State| state.reader.fault.is_none(),
            ),
            Property::always(
                "a reader at rest shows what the database shows",
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
                state.seen == Some(Seen::OutdatedLoad)
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
    fn key(&self) -> impl PartialEq + Hash {
        (
            &self.log,
            &self.nodes,
            &self.reader,
            self.readings,
            self.cuts,
            self.crashes,
        )
    }

    /// Returns the commits that may come next: of each topic that was there, and of a new one.
    fn possible_commits(&self) -> impl Iterator<Item = Commit> {
        let newest = self.log.iter().map(|commit| commit.topic()).max();
        let new = 1 + newest.unwrap_or(0);
        let existing = (1..new).flat_map(|id| [Commit::Set(id), Commit::Delete(id)]);
        existing.chain([Commit::Set(new)])
    }

    /// Does an action. Returns `None` if it is not possible in this state.
    fn take(&mut self, action: Action) -> Option<()> {
        let head = self.head();
        self.seen = None;
        match action {
            Action::Commit(commit) => self.commit_next(commit)?,
            Action::Poll(at) => {
                self.step(at, Step::Poll(self.nodes[at].position, head));
                self.nodes[at].position = head;
            }
            Action::Read(at) => {
                self.step(at, Step::Ask);
                self.nodes[at].reading = Some(head);
                self.readings += 1;
            }
            Action::Install(at) => {
                let reading = self.nodes[at].reading.take()?;
                let is_outdated_load = self.step(at, Step::Install(reading)).is_outdated_load;
                self.seen = is_outdated_load.then_some(Seen::OutdatedLoad);
            }
            Action::Join(at) => {
                self.step(at, Step::Subscribe);
                self.reader.link = Link::Joining(at);
            }
            Action::Begin => self.begin()?,
            Action::Receive => self.receive()?,
            Action::Cut => self.cut(),
            Action::Crash(at) => self.crash(at),
        }
        Some(())
    }

    fn commit_next(&mut self, commit: Commit) -> Option<()> {
        if let Commit::Delete(id) = commit
            && !self.topics_at(self.head()).contains_key(&id)
        {
            return None;
        }
        self.log.push(commit);
        // All commits are written through the first node, which acknowledges them; the second only
        // follows.
        self.nodes[0].acknowledged = self.head();
        Some(())
    }

    fn cut(&mut self) {
        if let Some(at) = self.reader.link.node() {
            self.step(at, Step::Leave);
        }
        self.reader.link = Link::Off;
        self.cuts += 1;
    }

    fn crash(&mut self, at: usize) {
        if self.reader.link.node() == Some(at) {
            self.reader.link = Link::Off;
        }
        // It restarts at the head, with empty memory.
        self.nodes[at] = Node {
            position: self.head(),
            ..Node::default()
        };
        self.crashes += 1;
    }

    /// Returns whether the reader is connected and there is nothing left to send.
    fn is_at_rest(&self) -> bool {
        let Link::Open(at, _) = self.reader.link else {
            return false;
        };
        self.nodes[at].waiting == 0 && self.nodes[at].position == self.head()
    }
}
