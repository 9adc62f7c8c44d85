//! The reader: how a node serves it, and what it holds then.

use std::sync::Arc;

use kairanban_core::{
    BoardEnd, BoardName, Delivery, LogBounds, MultiBoardCursor, MultiBoardPosition, OpenedBoard,
    Opening, Patch, ResetReason, Revision, Snapshot, StartAt, Subscription, is_future,
    merge_openings, plan_opening,
};

use super::{
    BOARDS, List, list_at,
    node::{Node, Refusal, may_read, name},
};
use crate::values::{apply, cursor, listed, revision};

/// The state of the reader's connection.
#[derive(Default)]
enum Link {
    #[default]
    Off,
    Joining(Joining),
    /// The subscription of each board that was opened, until it ends.
    Open(Vec<Option<Subscription>>, MultiBoardPosition),
    /// There was no board to read.
    Refused,
}

/// A stream that is being opened, one board after the other.
struct Joining {
    /// Everything up to here was published before the first board was opened.
    published: u64,
    opened: Vec<(Subscription, OpenedBoard)>,
    gone: Vec<BoardName>,
}

/// What the reader is sent.
enum Sent {
    Reset,
    List(Arc<Snapshot>),
    Patch(Patch),
    Cursor(MultiBoardCursor),
    Bye(BoardName),
    /// The end of the stream, because its last board ended.
    End,
}

#[derive(Default)]
pub(super) struct Reader {
    link: Link,
    /// The number of events after which the connection breaks.
    cut_after: Option<usize>,
    held: Held,
    /// What it held at each cursor that it was sent.
    earlier: Vec<Held>,
}

/// What the client holds.
#[derive(Clone, Default)]
struct Held {
    cursor: Option<MultiBoardCursor>,
    /// The list of each board, with its revision.
    lists: [Option<(u64, List)>; 2],
}

/// The part of the node.
impl Reader {
    /// Returns whether the stream is open, or was refused.
    pub(super) const fn has_answer(&self) -> bool {
        matches!(self.link, Link::Open(..) | Link::Refused)
    }

    pub(super) fn cut_after(&mut self, events: usize) {
        self.cut_after = Some(events);
        if events == 0 {
            self.cut();
        }
    }

    pub(super) const fn is_never_cut(&mut self) {
        self.cut_after = None;
    }

    fn cut(&mut self) {
        (self.link, self.cut_after) = (Link::Off, None);
    }

    /// Takes the next step towards an open stream, as `BoardService::watch_many` does.
    pub(super) fn join(&mut self, node: &Node) {
        self.link = match std::mem::take(&mut self.link) {
            // It waits for the follower.
            Link::Off | Link::Refused
                if (self.start().cursor())
                    .is_some_and(|seen| is_future(seen, &cursor(node.published))) =>
            {
                Link::Off
            }
            Link::Off | Link::Refused => Link::Joining(Joining {
                published: node.published,
                opened: Vec::new(),
                gone: Vec::new(),
            }),
            Link::Joining(joining) => self.go_on(node, joining),
            open @ Link::Open(..) => open,
        };
    }

    fn start(&self) -> StartAt {
        let cursor = self.held.cursor.clone();
        cursor.map_or(StartAt::List, StartAt::after)
    }

    fn go_on(&mut self, node: &Node, mut joining: Joining) -> Link {
        let next = joining.opened.len() + joining.gone.len();
        if next < BOARDS.len() {
            match self.open(node, next) {
                Ok(board) => joining.opened.push(board),
                Err(Refusal::Gone) => joining.gone.push(name(next)),
                Err(Refusal::Unavailable) => return Link::Off,
            }
            Link::Joining(joining)
        } else if joining.opened.is_empty() {
            self.held = Held::default();
            Link::Refused
        } else {
            self.begin(node, joining)
        }
    }

    fn open(&self, node: &Node, board: usize) -> Result<(Subscription, OpenedBoard), Refusal> {
        let subscription = node.hub.subscribe(&name(board));
        let channel = Arc::clone(&subscription.channel);
        if let Err(refusal) = node.load(board, &channel) {
            drop(subscription);
            return Err(refusal);
        }
        let live = channel.live();
        let log = LogBounds {
            published: revision(node.published),
            trimmed_to: Revision::ZERO,
        };
        let plan = plan_opening(&self.start(), &live, log).ok_or(Refusal::Unavailable)?;
        let opened = OpenedBoard::new(plan.opening, &live).ok_or(Refusal::Unavailable)?;
        drop(live);
        Ok((subscription, opened))
    }

    fn begin(&mut self, node: &Node, joining: Joining) -> Link {
        let Joining {
            published,
            opened,
            gone,
        } = joining;
        let (subscriptions, boards): (Vec<_>, _) = opened.into_iter().unzip();
        let merged = merge_openings(&self.start(), cursor(published), boards, gone);
        let merged = merged.expect("one epoch");
        let mut events = Vec::new();
        if let Some(reason) = merged.reset {
            assert_eq!(
                reason,
                ResetReason::Trimmed,
                "of a board that was made again"
            );
            events.push(Sent::Reset);
        }
        for board in &merged.boards {
            match &board.opening {
                Opening::Nothing => {}
                Opening::Patch(patch) => events.push(Sent::Patch(patch.clone())),
                Opening::SnapshotSince(_) | Opening::Snapshot { .. } => {
                    events.push(Sent::List(Arc::clone(&board.snapshot)));
                }
            }
        }
        events.push(Sent::Cursor(merged.cursor.clone()));
        events.extend(merged.cursor.without.iter().cloned().map(Sent::Bye));
        let subscriptions = subscriptions.into_iter().map(Some).collect();
        let open = Link::Open(subscriptions, MultiBoardPosition::new(&merged));
        if self.send(node, events) {
            open
        } else {
            Link::Off
        }
    }

    /// Does what a stream does when it is woken.
    pub(super) fn receive(&mut self, node: &Node) {
        let Link::Open(mut subscriptions, mut position) = std::mem::take(&mut self.link) else {
            return;
        };
        let published = cursor(node.published);
        let (mut events, mut is_woken) = (Vec::new(), false);
        for (at, slot) in subscriptions.iter_mut().enumerate() {
            let before = events.len();
            while let Some(subscription) = slot
                && let Some(event) = subscription.try_next()
            {
                is_woken = true;
                let channel = &subscription.channel;
                let step = position.on(at, event, || channel.live());
                let is_closed = step.check_permission && !may_read(channel);
                if is_closed {
                    events.truncate(before);
                }
                match step.delivery {
                    Delivery::End => {}
                    _ if is_closed => {}
                    Delivery::Nothing => continue,
                    Delivery::Patch(update) => {
                        events.push(Sent::Patch(update.patch.clone()));
                        continue;
                    }
                    Delivery::List(update) => {
                        events.push(Sent::List(Arc::clone(&update.snapshot)));
                        continue;
                    }
                    Delivery::Snapshot { snapshot, .. } => {
                        events.push(Sent::List(snapshot));
                        continue;
                    }
                }
                *slot = None;
                match position.end(at).expect("it has not ended before") {
                    BoardEnd::OfStream => events.push(Sent::End),
                    BoardEnd::OfBoard { board, cursor } => {
                        events.extend(cursor.map(Sent::Cursor));
                        events.push(Sent::Bye(board));
                    }
                }
            }
        }
        let has_ended = subscriptions.iter().all(Option::is_none);
        if is_woken && !has_ended && position.advance(&published) {
            events.push(Sent::Cursor(position.cursor().clone()));
        }
        if self.send(node, events) && !has_ended {
            self.link = Link::Open(subscriptions, position);
        }
    }

    /// Sends events, unless the connection breaks before.
    fn send(&mut self, node: &Node, events: Vec<Sent>) -> bool {
        for event in events {
            if self.cut_after == Some(0) {
                self.cut();
                return false;
            }
            self.cut_after = self.cut_after.map(|left| left - 1);
            self.take(node, event);
        }
        true
    }
}

fn index(board: &BoardName) -> usize {
    let at = BOARDS.iter().position(|name| *name == board.as_str());
    at.expect("a board of the request")
}

/// The client's part, as in `docs/PROTOCOL.md`.
impl Reader {
    fn take(&mut self, node: &Node, event: Sent) {
        match event {
            Sent::Reset | Sent::End => self.held = Held::default(),
            Sent::List(snapshot) => {
                let board = index(snapshot.board());
                self.held.lists[board] = Some((snapshot.revision().get(), listed(&snapshot)));
                self.check_list(node, board);
            }
            Sent::Patch(patch) => self.apply(node, &patch),
            Sent::Cursor(cursor) => self.advance(node, cursor),
            Sent::Bye(board) => {
                assert!(
                    !self.is_claimed(&board),
                    "the cursor claims {board}, which ended"
                );
                self.held.lists[index(&board)] = None;
            }
        }
    }

    fn is_claimed(&self, board: &BoardName) -> bool {
        let cursor = self.held.cursor.as_ref();
        cursor.is_some_and(|cursor| !cursor.without.contains(board))
    }

    fn claimed(&self) -> u64 {
        let cursor = self.held.cursor.as_ref();
        cursor.map_or(0, |cursor| cursor.cursor.revision.get())
    }

    fn apply(&mut self, node: &Node, patch: &Patch) {
        let (board, claimed) = (index(&patch.board), self.claimed());
        let (at, list) = self.held.lists[board]
            .as_mut()
            .expect("a patch for a board that it holds");
        let reached = (*at).max(claimed);
        if patch.to.revision.get() <= reached {
            return;
        }
        assert!(patch.from.get() <= reached, "a patch over a gap: {patch:?}");
        apply(list, &patch.ops);
        *at = patch.to.revision.get();
        self.check_list(node, board);
    }

    fn check_list(&self, node: &Node, board: usize) {
        let (at, list) = self.held.lists[board].as_ref().expect("a list");
        assert_eq!(*list, list_at(&node.log, board, *at), "at {at}");
    }

    /// Takes a cursor, which claims all boards but those that it names.
    fn advance(&mut self, node: &Node, cursor: MultiBoardCursor) {
        let claimed = cursor.cursor.revision.get();
        // A list that comes back may be older, while the database is away.
        let comes_back = |board: &BoardName| !cursor.without.contains(board);
        let held = self.held.cursor.as_ref();
        assert!(
            claimed >= self.claimed()
                || held.is_some_and(|held| held.without.iter().any(comes_back)),
            "never back"
        );
        for (board, held) in self.held.lists.iter().enumerate() {
            if cursor.without.contains(&name(board)) {
                continue;
            }
            let (at, list) = held.as_ref().expect("a claim for a list that it holds");
            let expected = list_at(&node.log, board, claimed.max(*at));
            assert_eq!(
                *list, expected,
                "board {board} at {at}, with the cursor {cursor}"
            );
        }
        self.held.cursor = Some(cursor);
        self.earlier.push(self.held.clone());
    }

    /// Returns the reader as it was at each cursor, without a connection.
    pub(super) fn at_each_cursor(&self) -> Vec<Self> {
        let earlier = self.earlier.iter().cloned();
        earlier
            .map(|held| Self {
                held,
                ..Self::default()
            })
            .collect()
    }

    /// Checks that it holds only what it may read, at its newest.
    pub(super) fn check_held(&self, node: &Node) {
        for (board, held) in self.held.lists.iter().enumerate() {
            let Some((_, list)) = held else { continue };
            assert!(node.is_readable(board), "{board} ended");
            assert_eq!(*list, list_at(&node.log, board, node.head()), "the newest");
        }
    }

    /// Checks that it holds all that it may read, at its newest.
    pub(super) fn check_newest(&self, node: &Node) {
        self.check_held(node);
        for (board, held) in self.held.lists.iter().enumerate() {
            assert_eq!(held.is_some(), node.is_readable(board), "{board}");
        }
    }
}
