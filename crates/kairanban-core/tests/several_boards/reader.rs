//! The reader: how a node serves it, and what it holds then.

use kairanban_core::{
    Delivery, LogBounds, MultiBoardPosition, OpenedBoard, Opening, Patch, Revision, Snapshot,
    StartAt, Subscription, is_future, merge_openings, plan_opening,
};

use super::{List, list_at, node::Node};
use crate::values::{apply, cursor, listed, revision};

/// The state of the reader's connection.
#[derive(Default)]
enum Link {
    #[default]
    Off,
    /// Everything up to a revision was published before the first board was opened.
    Joining(u64, Vec<(Subscription, OpenedBoard)>),
    Open(Vec<Subscription>, MultiBoardPosition),
}

#[derive(Default)]
pub(super) struct Reader {
    link: Link,
    cursor: Option<u64>,
    /// The list of each board, with its revision.
    lists: [(u64, List); 2],
    /// Each cursor that it was sent, with the lists of that moment.
    earlier: Vec<(u64, [(u64, List); 2])>,
}

/// The part of the node.
impl Reader {
    pub(super) const fn is_open(&self) -> bool {
        matches!(self.link, Link::Open(..))
    }

    pub(super) fn cut(&mut self) {
        self.link = Link::Off;
    }

    /// Takes the next step towards an open stream, as `BoardService::watch_many` does.
    pub(super) fn join(&mut self, node: &Node) {
        self.link = match std::mem::take(&mut self.link) {
            // It waits for the follower.
            Link::Off
                if (self.cursor.map(cursor))
                    .is_some_and(|seen| is_future(&seen, &cursor(node.published))) =>
            {
                Link::Off
            }
            Link::Off => Link::Joining(node.published, Vec::new()),
            Link::Joining(published, opened) if opened.len() == 2 => {
                self.begin(node, published, opened)
            }
            Link::Joining(published, mut opened) => match self.open(node, opened.len()) {
                Some(board) => {
                    opened.push(board);
                    Link::Joining(published, opened)
                }
                None => Link::Off,
            },
            open @ Link::Open(..) => open,
        };
    }

    fn start(&self) -> StartAt {
        self.cursor
            .map_or(StartAt::List, |at| StartAt::Cursor(cursor(at)))
    }

    fn open(&self, node: &Node, board: usize) -> Option<(Subscription, OpenedBoard)> {
        let subscription = node.hub.subscribe(&super::node::name(board));
        let channel = node.load(board)?;
        let live = channel.live();
        let log = LogBounds {
            published: revision(node.published),
            trimmed_to: Revision::ZERO,
        };
        let plan = plan_opening(&self.start(), &live, log)?;
        Some((subscription, OpenedBoard::new(plan.opening, &live)?))
    }

    fn begin(
        &mut self,
        node: &Node,
        published: u64,
        opened: Vec<(Subscription, OpenedBoard)>,
    ) -> Link {
        let (subscriptions, boards) = opened.into_iter().unzip();
        let merged = merge_openings(&self.start(), cursor(published), boards).expect("one epoch");
        assert_eq!(merged.reset, None, "a reset without a cause");
        for (at, board) in merged.boards.iter().enumerate() {
            match &board.opening {
                Opening::Nothing => {}
                Opening::Patch(patch) => self.apply(node, at, patch),
                Opening::SnapshotSince(_) | Opening::Snapshot { .. } => {
                    self.show(node, at, &board.snapshot);
                }
            }
        }
        self.advance(node, merged.cursor.revision.get());
        Link::Open(subscriptions, MultiBoardPosition::new(&merged))
    }

    /// Does what a stream does when it is woken.
    pub(super) fn receive(&mut self, node: &Node) {
        let Link::Open(mut subscriptions, mut position) = std::mem::take(&mut self.link) else {
            return;
        };
        let published = cursor(node.published);
        let mut is_woken = false;
        for (at, subscription) in subscriptions.iter_mut().enumerate() {
            while let Some(event) = subscription.try_next() {
                is_woken = true;
                let step = position.on(at, event, || subscription.channel.live());
                match step.delivery {
                    Delivery::Nothing => {}
                    Delivery::Patch(update) => self.apply(node, at, &update.patch),
                    Delivery::List(update) => self.show(node, at, &update.snapshot),
                    Delivery::Snapshot { snapshot, .. } => self.show(node, at, &snapshot),
                    Delivery::End => panic!("the board is there"),
                }
            }
        }
        if is_woken && position.advance(&published) {
            self.advance(node, published.revision.get());
        }
        self.link = Link::Open(subscriptions, position);
    }
}

/// The client's part, as in `docs/PROTOCOL.md`.
impl Reader {
    fn show(&mut self, node: &Node, board: usize, snapshot: &Snapshot) {
        self.lists[board] = (snapshot.revision().get(), listed(snapshot));
        self.check_list(node, board);
    }

    fn apply(&mut self, node: &Node, board: usize, patch: &Patch) {
        let (at, list) = &mut self.lists[board];
        let reached = (*at).max(self.cursor.unwrap_or(0));
        if patch.to.revision.get() <= reached {
            return;
        }
        assert!(patch.from.get() <= reached, "a patch over a gap: {patch:?}");
        apply(list, &patch.ops);
        *at = patch.to.revision.get();
        self.check_list(node, board);
    }

    fn check_list(&self, node: &Node, board: usize) {
        let (at, list) = &self.lists[board];
        assert_eq!(*list, list_at(&node.log, board, *at), "at {at}");
    }

    /// Takes a cursor, which claims both boards.
    fn advance(&mut self, node: &Node, claimed: u64) {
        assert!(Some(claimed) >= self.cursor, "never back");
        for (board, (at, list)) in self.lists.iter().enumerate() {
            let expected = list_at(&node.log, board, claimed.max(*at));
            assert_eq!(
                *list, expected,
                "board {board} at {at}, with the cursor {claimed}"
            );
        }
        self.cursor = Some(claimed);
        self.earlier.push((claimed, self.lists.clone()));
    }

    /// Returns the reader as it was at each cursor, without a connection.
    pub(super) fn at_each_cursor(&self) -> Vec<Self> {
        let earlier = self.earlier.iter().cloned();
        earlier
            .map(|(cursor, lists)| Self {
                cursor: Some(cursor),
                lists,
                ..Self::default()
            })
            .collect()
    }

    pub(super) fn check_newest(&self, node: &Node) {
        for (board, (_, list)) in self.lists.iter().enumerate() {
            assert_eq!(*list, list_at(&node.log, board, node.head()), "the newest");
        }
    }
}
