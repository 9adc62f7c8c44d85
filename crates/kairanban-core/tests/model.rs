//! A model of the protocol, around the real thing: `Hub`, `LiveBoard`, `Snapshot`, `Tail` and tokio's channel
//! are the program's own; what the model adds is everything that may happen around them, in every order.
//!
//! Writers commit, on a board that shows two topics; nodes look at the log late and at once (a message between
//! nodes says only "look", so that one that is lost, doubled or reordered is a look that comes late, twice or
//! early); they read the board while others write; a reader subscribes, falls behind, is cut off between any
//! two events, comes back to either node with its cursor; a node crashes and comes up with nothing. No state
//! that can be reached shows a list that was not committed, or steps back, or rests on an old one.
//!
//! The small worlds are checked with every test run, bigger ones by `scripts/model`.

mod values;

use std::{
    collections::BTreeMap,
    env,
    hash::{Hash, Hasher},
    io::Write as _,
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use kairanban_core::{
    BoardChanges, BoardId, Change, ChangeKind, Hub, Loaded, Missed, News, Patch, Policies,
    Published, Resume, Snapshot, Standing, Subscription, Tail, TopicId,
};
use stateright::{Checker as _, Model, Property};
use values::{apply, board, cursor, listed, revision, topic};

const TOPICS_MAX: usize = 2;
/// Updates that a reader may fall behind.
const LAG_MAX: usize = 1;
const NODES: usize = 2;

/// Time stands still: what depends on it is no part of this.
static NOW: LazyLock<Instant> = LazyLock::new(Instant::now);

/// What a commit does to a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Commit {
    Set(i64),
    Delete(i64),
}

/// What happened in a node since it came up; played again, it is the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Step {
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

/// However it came about.
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
struct State {
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
    Outdated,
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
enum Action {
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

/// How much may happen.
#[derive(Clone, Copy, Debug)]
struct World {
    commits: usize,
    readings: u8,
    cuts: u8,
    crashes: u8,
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
                state.seen == Some(Seen::Outdated)
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

/// The database.
impl State {
    fn head(&self) -> u64 {
        self.log.len() as u64
    }

    fn commit(&self, revision: u64) -> Commit {
        self.log[usize::try_from(revision).expect("a revision") - 1]
    }

    /// All topics after a revision, with the revision of each.
    fn topics_at(&self, revision: u64) -> BTreeMap<i64, u64> {
        let mut topics = BTreeMap::new();
        for at in 1..=revision {
            match self.commit(at) {
                Commit::Set(id) => drop(topics.insert(id, at)),
                Commit::Delete(id) => drop(topics.remove(&id)),
            }
        }
        topics
    }

    /// What the board shows at a revision: the truth.
    fn list_at(&self, revision: u64) -> BTreeMap<i64, u64> {
        self.topics_at(revision)
            .into_iter()
            .rev()
            .take(TOPICS_MAX)
            .collect()
    }

    /// What a reading of the board at a revision gives, with as much of its history as tells everything.
    fn loaded(&self, at: u64) -> Loaded {
        let floor = (0..=at)
            .rev()
            .find(|at| self.list_at(*at).len() >= TOPICS_MAX)
            .unwrap_or(0);
        let entries = (floor + 1..=at).map(|at| (revision(at), TopicId(self.commit(at).topic())));
        let topics = self
            .list_at(at)
            .into_iter()
            .map(|(id, at)| topic(id, at))
            .collect();
        Loaded {
            board_id: BoardId(1),
            policies: Policies::default(),
            tail: Tail::new(revision(floor), entries, 8),
            snapshot: Snapshot::new(board(), cursor(at), topics),
            named_at: revision(0),
        }
    }

    /// What a look at the log finds, each topic as it stands at the head.
    fn changes(&self, after: u64, upto: u64) -> BoardChanges {
        let now = self.topics_at(upto);
        let mut changes = BoardChanges::default();
        for at in after + 1..=upto {
            let id = self.commit(at).topic();
            changes.push(&Change {
                revision: revision(at),
                kind: if matches!(self.commit(at), Commit::Set(_)) {
                    ChangeKind::Set
                } else {
                    ChangeKind::Delete
                },
                board_id: BoardId(1),
                board: Some(Standing {
                    name: board(),
                    policies: Policies::default(),
                }),
                names_board: false,
                topic_id: Some(TopicId(id)),
                topic: now.get(&id).map(|at| topic(id, *at)),
            });
        }
        changes
    }
}

/// What happens.
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
                    .then_some(Seen::Outdated);
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

    /// One thing more happens in a node.
    fn step(&mut self, node: usize, step: Step) -> Played {
        self.nodes[node].steps.push(step);
        let (played, mut counted) = (self.play(node), self.play(node));
        let mut waiting = Vec::new();
        while let Some(next) = counted
            .subscription
            .as_mut()
            .and_then(Subscription::try_next)
        {
            match next {
                Ok(News::Update(update)) => waiting.push(format!("{:?}", update.patch)),
                other => waiting.push(format!("{other:?}")),
            }
        }
        let hub = played.hub.channel(&board());
        self.nodes[node].came_to = format!("{:?} {waiting:?}", hub.live());
        self.nodes[node].waiting = waiting.len();
        played
    }

    /// The real hub of a node, with the reader's place in it: everything that happened there, once more.
    fn play(&self, node: usize) -> Played {
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

    /// The first thing that a reader is sent, once the node has come as far as it must.
    fn begin(&mut self) -> Option<()> {
        let Link::Joining(at) = self.reader.link else {
            return None;
        };
        let (position, acknowledged) = (self.nodes[at].position, self.nodes[at].acknowledged);
        if position < acknowledged.max(self.reader.revision.unwrap_or(0)) {
            // It waits for the follower; for a cursor that it does not know, until it has asked the database.
            return None;
        }
        let played = self.play(at);
        let channel = &played.subscription.as_ref().expect("a reader").channel;
        let live = channel.live();
        let snapshot = Arc::clone(live.current(true, *NOW, Duration::MAX)?);
        match self.reader.revision {
            None => self.show(&snapshot),
            Some(held) => match live.resume(&cursor(held))? {
                Resume::UpToDate => {}
                Resume::Snapshot(snapshot) | Resume::OtherBoard(snapshot) => self.show(&snapshot),
                Resume::Patch(patch) => {
                    self.seen = Some(Seen::Patch);
                    self.apply(&patch);
                }
            },
        }
        if self.reader.revision < Some(acknowledged)
            && self.reader.list != self.list_at(acknowledged)
        {
            self.reader.fault = Some("shown less than the node acknowledged");
        }
        self.reader.link = Link::Open(at, snapshot.revision().get());
        Some(())
    }

    /// What a stream does with the next of its channel.
    fn receive(&mut self) -> Option<()> {
        let Link::Open(at, mut sent) = self.reader.link else {
            return None;
        };
        if self.nodes[at].waiting == 0 {
            return None;
        }
        let played = self.step(at, Step::Receive);
        match played.received.expect("just taken") {
            Ok(News::Update(update)) if update.revision().get() > sent => {
                // A patch from later than where the reader stands would leave a hole.
                if update.patch.from.get() > sent {
                    self.show(&update.snapshot)
                } else {
                    self.apply(&update.patch)
                }
                sent = update.revision().get();
            }
            Ok(_) => {}
            Err(Missed) => {
                self.seen = Some(Seen::Lag);
                let channel = &played.subscription.as_ref().expect("a reader").channel;
                let newest = channel.live().last_known().map(Arc::clone);
                if let Some(newest) = newest.filter(|newest| newest.revision().get() > sent) {
                    self.show(&newest);
                    sent = newest.revision().get();
                }
            }
        }
        self.reader.link = Link::Open(at, sent);
        Some(())
    }

    /// Whether the reader is connected and there is nothing left to be told.
    fn is_at_rest(&self) -> bool {
        matches!(self.reader.link, Link::Open(at, _) if self.nodes[at].waiting == 0 && self.nodes[at].position == self.head())
    }
}

/// What a client does, by `docs/PROTOCOL.md`.
impl State {
    fn show(&mut self, snapshot: &Snapshot) {
        self.reader.list = listed(snapshot);
        self.complete(snapshot.revision().get());
    }

    fn apply(&mut self, patch: &Patch) {
        let at = self.reader.revision.unwrap_or(0);
        if patch.to.revision.get() <= at {
            return;
        }
        if patch.from.get() > at {
            self.reader.fault = Some("a patch from later than the reader stands");
        }
        apply(&mut self.reader.list, &patch.ops);
        self.complete(patch.to.revision.get());
    }

    fn complete(&mut self, revision: u64) {
        if Some(revision) < self.reader.revision {
            self.reader.fault = Some("the revision fell");
        } else if self.reader.list != self.list_at(revision) {
            self.reader.fault = Some("a list that never was");
        }
        self.reader.revision = Some(revision);
    }
}

struct Played {
    hub: Hub,
    subscription: Option<Subscription>,
    outdated: bool,
    received: Option<Result<News, Missed>>,
}

impl Played {
    fn install(&mut self, state: &State, at: u64) {
        let channel = self.hub.channel(&board());
        self.outdated = self.hub.install(&channel, state.loaded(at), *NOW).is_err();
    }
}

fn check(world: World) {
    let checker = world.checker().threads(2).spawn_bfs().join();
    let (all, different, depth) = (
        checker.state_count(),
        checker.unique_state_count(),
        checker.max_depth(),
    );
    // Also when all is well: this is what was looked at.
    let report = format!(
        "model: {world:?}: {all} states, {different} of them different, at most {depth} steps deep\n"
    );
    std::io::stderr()
        .write_all(report.as_bytes())
        .expect("written");
    checker.assert_properties();
}

#[test]
fn nothing_breaks_a_promise_while_nodes_crash() {
    check(World {
        commits: 2,
        readings: 2,
        cuts: 2,
        crashes: 1,
    });
}

#[test]
fn nothing_breaks_a_promise_while_readers_fall_behind() {
    check(World {
        commits: 3,
        readings: 2,
        cuts: 1,
        crashes: 0,
    });
}

#[test]
#[ignore = "takes long; scripts/model runs it"]
fn nothing_breaks_a_promise_in_a_bigger_world() {
    let number = |name: &str, otherwise: u8| {
        env::var(name)
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(otherwise)
    };
    check(World {
        commits: number("KAIRANBAN_MODEL_COMMITS", 4).into(),
        readings: number("KAIRANBAN_MODEL_READINGS", 2),
        cuts: number("KAIRANBAN_MODEL_CUTS", 1),
        crashes: number("KAIRANBAN_MODEL_CRASHES", 0),
    });
}
