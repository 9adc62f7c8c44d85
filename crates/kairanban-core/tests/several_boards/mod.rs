//! A reader of two boards, who has one cursor for both, on a node that cannot always read its
//! database.
//!
//! Generated histories: commits, polls and loads follow each other in any order, while the database
//! is away or one of the boards cannot be read. At each cursor that the reader is sent, it has
//! every change of both boards up to there.

mod node;
mod reader;

use std::collections::BTreeMap;

use proptest::prelude::*;

use node::Node;
use reader::Reader;

const BOARDS: [&str; 2] = ["red", "blue"];
/// More than there are: nothing is archived.
const TOPICS_MAX: usize = 10;
/// Updates that a reader may fall behind.
const LAG_MAX: usize = 2;

/// A list, as the ids and revisions of its topics.
type List = BTreeMap<i64, u64>;

/// A commit, which posts or edits a topic.
#[derive(Clone, Copy, Debug)]
struct Commit {
    board: usize,
    topic: i64,
    /// It is logged as what no single row describes: followers have to read the board.
    is_clear: bool,
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Commit(Commit),
    /// The database goes away, or comes back.
    SetAway(bool),
    /// A board cannot be read, or can be read again.
    SetUnreadable(usize, bool),
    /// The follower reads the log, and publishes it.
    Poll,
    /// The follower reads the boards again that miss a change.
    ReloadOutdated,
    /// A request reads the list of a board.
    Get(usize),
    /// The reader connects, with its cursor if it has one; one step at a time.
    Join,
    /// The stream takes its events.
    Receive,
    Cut,
}

fn any_action() -> impl Strategy<Value = Action> {
    let commit = (0..2_usize, 1..4_i64, proptest::bool::weighted(0.3)).prop_map(
        |(board, topic, is_clear)| {
            Action::Commit(Commit {
                board,
                topic,
                is_clear,
            })
        },
    );
    prop_oneof![
        4 => commit,
        1 => any::<bool>().prop_map(Action::SetAway),
        2 => (0..2_usize, any::<bool>()).prop_map(|(at, is)| Action::SetUnreadable(at, is)),
        4 => Just(Action::Poll),
        2 => Just(Action::ReloadOutdated),
        2 => (0..2_usize).prop_map(Action::Get),
        6 => Just(Action::Join),
        3 => Just(Action::Receive),
        1 => Just(Action::Cut),
    ]
}

/// Returns what a board shows at a revision.
fn list_at(log: &[Commit], board: usize, revision: u64) -> List {
    (1..=revision)
        .zip(log)
        .filter(|(_, commit)| commit.board == board)
        .map(|(at, commit)| (commit.topic, at))
        .collect()
}

fn take(node: &mut Node, reader: &mut Reader, action: Action) {
    match action {
        Action::Commit(commit) => node.log.push(commit),
        Action::SetAway(is_away) => node.is_away = is_away,
        Action::SetUnreadable(board, is) => node.is_unreadable[board] = is,
        Action::Poll => node.poll(),
        Action::ReloadOutdated => node.reload_outdated(),
        Action::Get(board) => drop(node.load(board)),
        Action::Join => reader.join(node),
        Action::Receive => reader.receive(node),
        Action::Cut => reader.cut(),
    }
}

/// Brings the reader up to date, with a database that can be read.
fn settle(node: &mut Node, reader: &mut Reader) {
    node.is_away = false;
    node.is_unreadable = [false; 2];
    node.poll();
    node.reload_outdated();
    while !reader.is_open() {
        reader.join(node);
    }
    reader.receive(node);
    node.poll();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn a_cursor_never_claims_what_the_lists_do_not_hold(
        actions in proptest::collection::vec(any_action(), 1..60),
    ) {
        let (mut node, mut reader) = (Node::default(), Reader::default());
        for action in actions {
            take(&mut node, &mut reader, action);
        }
        settle(&mut node, &mut reader);
        // A reader that comes back with any cursor and its lists is brought to the newest lists.
        for mut earlier in reader.at_each_cursor() {
            settle(&mut node, &mut earlier);
            earlier.check_newest(&node);
        }
        reader.check_newest(&node);
    }
}
