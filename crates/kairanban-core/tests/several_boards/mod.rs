//! A reader of two boards, who has one cursor for both, on a node that cannot always read its
//! database.
//!
//! Generated histories: commits, polls and loads follow each other in any order, while the database
//! is away or one of the boards cannot be read; boards are deleted and made again, and become
//! private and public; the connection breaks between any two events. At each cursor that the reader
//! is sent, it has every change up to there of the boards that the cursor claims; and a board that
//! ended for it is not claimed until its list came again.

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

/// A commit on a board.
#[derive(Clone, Copy, Debug)]
struct Commit {
    board: usize,
    kind: CommitKind,
}

#[derive(Clone, Copy, Debug)]
enum CommitKind {
    /// Posts or edits a topic.
    Set(i64),
    /// Changes a topic like `Set`, and is logged as what no single row describes: followers have to
    /// read the board.
    Clear(i64),
    SetPrivate(bool),
    /// Deletes the board, or makes one of its name.
    SetThere(bool),
}

/// A board between its creation and its deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct BoardLife {
    named_at: u64,
    is_private: bool,
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
    /// The connection breaks after this number of further events.
    CutAfter(usize),
}

fn any_action() -> impl Strategy<Value = Action> {
    let kind = prop_oneof![
        8 => (1..4_i64).prop_map(CommitKind::Set),
        3 => (1..4_i64).prop_map(CommitKind::Clear),
        2 => any::<bool>().prop_map(CommitKind::SetPrivate),
        3 => any::<bool>().prop_map(CommitKind::SetThere),
    ];
    let commit =
        (0..2_usize, kind).prop_map(|(board, kind)| Action::Commit(Commit { board, kind }));
    prop_oneof![
        5 => commit,
        1 => any::<bool>().prop_map(Action::SetAway),
        2 => (0..2_usize, any::<bool>()).prop_map(|(at, is)| Action::SetUnreadable(at, is)),
        4 => Just(Action::Poll),
        2 => Just(Action::ReloadOutdated),
        2 => (0..2_usize).prop_map(Action::Get),
        6 => Just(Action::Join),
        3 => Just(Action::Receive),
        1 => (0..6_usize).prop_map(Action::CutAfter),
    ]
}

/// Returns what a board is at a revision, if there is one of its name.
fn life_at(log: &[Commit], board: usize, revision: u64) -> Option<BoardLife> {
    let mut life = Some(BoardLife {
        named_at: 0,
        is_private: false,
    });
    for (at, commit) in (1..=revision).zip(log) {
        match commit.kind {
            _ if commit.board != board => {}
            CommitKind::Set(_) | CommitKind::Clear(_) => {}
            CommitKind::SetPrivate(is_private) => {
                life.iter_mut()
                    .for_each(|life| life.is_private = is_private);
            }
            CommitKind::SetThere(is_there) => {
                life = is_there.then_some(BoardLife {
                    named_at: at,
                    is_private: false,
                });
            }
        }
    }
    life
}

/// Returns what a board shows at a revision.
fn list_at(log: &[Commit], board: usize, revision: u64) -> List {
    let mut list = List::new();
    for (at, commit) in (1..=revision).zip(log) {
        match commit.kind {
            _ if commit.board != board => {}
            CommitKind::Set(topic) | CommitKind::Clear(topic) => drop(list.insert(topic, at)),
            CommitKind::SetPrivate(_) => {}
            CommitKind::SetThere(_) => list.clear(),
        }
    }
    list
}

fn take(node: &mut Node, reader: &mut Reader, action: Action) {
    match action {
        Action::Commit(commit) => node.commit(commit),
        Action::SetAway(is_away) => node.is_away = is_away,
        Action::SetUnreadable(board, is) => node.is_unreadable[board] = is,
        Action::Poll => node.poll(),
        Action::ReloadOutdated => node.reload_outdated(),
        Action::Get(board) => node.get(board),
        Action::Join => reader.join(node),
        Action::Receive => reader.receive(node),
        Action::CutAfter(events) => reader.cut_after(events),
    }
}

/// Brings the reader up to date, with a database that can be read.
fn settle(node: &mut Node, reader: &mut Reader) {
    node.is_away = false;
    node.is_unreadable = [false; 2];
    node.poll();
    node.reload_outdated();
    reader.is_never_cut();
    while !reader.has_answer() {
        reader.join(node);
    }
    reader.receive(node);
    node.poll();
}

/// Reads on, over a new connection, which has all boards that can be read.
fn settle_on_a_new_connection(node: &mut Node, reader: &mut Reader) {
    reader.cut_after(0);
    settle(node, reader);
    reader.check_newest(node);
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
        reader.check_held(&node);
        // A reader that comes back with any cursor and its lists is brought to the newest lists.
        for mut earlier in reader.at_each_cursor() {
            settle_on_a_new_connection(&mut node, &mut earlier);
        }
        settle_on_a_new_connection(&mut node, &mut reader);
    }
}
