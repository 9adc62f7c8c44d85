//! A stream of several boards, with one cursor for all of them.
//!
//! What one transaction did to several boards is sent together. The cursor follows in an event of
//! its own, once everything up to there was sent, of every board.
//!
//! A board that ends, or that the reader may no longer read, ends alone: the stream leaves its
//! channel, and goes on with the others. With the last board it ends as a stream of one.

use std::{
    rc::Weak,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_util::{FutureExt as _, future::BoxFuture};
use kairanban_core::{
    BoardEnd, BoardEvent, Cursor, Delivery, Lagged, MultiBoardOpening, MultiBoardPosition,
    OpenedBoard, Opening, ResetReason, Snapshot, Subscription,
};

use super::{
    StreamDeps, StreamReader, UpdateSource,
    dispatcher::{Registration, Subscriber, WorkerDispatchers},
    lifetime::{EventStream, QueueMark, StreamLifetime},
};
use crate::{
    encode::{Bye, Chunk, Encoder},
    metrics::{StreamEnd, StreamMetrics},
    service::CATCH_UP,
};

/// An open stream of several boards.
pub struct MultiBoardStream {
    lifetime: StreamLifetime,
    /// The boards, in the order of the positions; `None` for one that ended.
    boards: Vec<Option<FollowedBoard>>,
    position: MultiBoardPosition,
    /// An event that waits for what was committed together with it.
    together: Option<BoxFuture<'static, (usize, Result<BoardEvent, Lagged>)>>,
}

struct FollowedBoard {
    subscription: Subscription,
    /// Where the stream is notified of its events, once it is.
    registration: Option<Registration>,
}

impl MultiBoardStream {
    /// Creates a stream that begins with `opening`, whose boards are in the order of the
    /// subscriptions.
    #[must_use]
    pub fn new(
        opening: &MultiBoardOpening,
        subscriptions: Vec<Subscription>,
        encoder: Encoder,
        deps: Arc<StreamDeps>,
        reader: StreamReader,
    ) -> Self {
        let mut lifetime = StreamLifetime::new(encoder, deps, reader);
        let void = opening.reset.map(|reason| Opening::Snapshot {
            reset: Some(reason),
        });
        let openings = opening.boards.iter().map(|board| &board.opening);
        lifetime.deps.metrics.began(void.iter().chain(openings));
        lifetime.push(lifetime.encoder.retry(lifetime.deps.timing.retry()));
        if let Some(reason) = opening.reset {
            lifetime.push_reset(reason, None, lifetime.encoder.reset(reason));
        }
        for OpenedBoard {
            opening, snapshot, ..
        } in &opening.boards
        {
            match opening {
                Opening::Nothing => {}
                Opening::Patch(patch) => {
                    lifetime.push(lifetime.encoder.board_missed(patch, snapshot));
                }
                Opening::SnapshotSince(_) | Opening::Snapshot { .. } => {
                    lifetime.push(lifetime.encoder.board_snapshot(snapshot));
                }
            }
        }
        lifetime.push(lifetime.encoder.cursor(&opening.cursor));
        for board in &opening.cursor.without {
            lifetime.push(lifetime.encoder.board_bye(board, Bye::Gone));
        }
        let position = MultiBoardPosition::new(opening);
        lifetime.set_board_stale(position.staleness().since);
        let boards = subscriptions.into_iter().map(|subscription| {
            Some(FollowedBoard {
                subscription,
                registration: None,
            })
        });
        Self {
            lifetime,
            boards: boards.collect(),
            position,
            together: None,
        }
    }

    /// Returns the next event of the board at index `at`.
    fn next_event(&mut self, at: usize) -> Option<Result<BoardEvent, Lagged>> {
        self.boards[at].as_mut()?.subscription.try_next()
    }

    /// Returns the next event of any board, with the index of the board.
    fn next_event_of_any(&mut self) -> Option<(usize, Result<BoardEvent, Lagged>)> {
        (0..self.boards.len()).find_map(|at| self.next_event(at).map(|event| (at, event)))
    }

    /// Takes an event of the board at index `at`. What was queued since `before` is of this board.
    fn take(&mut self, at: usize, event: Result<BoardEvent, Lagged>, before: QueueMark) {
        let Some(board) = &self.boards[at] else {
            return;
        };
        if event.is_err() {
            self.lifetime.deps.metrics.lagged();
        }
        let channel = &board.subscription.channel;
        let step = self.position.on(at, event, || channel.live());
        if step.check_permission && !self.may_read(at) {
            self.lifetime.rewind(before);
            return self.end(at, Bye::Auth);
        }
        if let Some(staleness) = step.staleness {
            self.lifetime.set_board_stale(staleness.since);
        }
        match step.delivery {
            Delivery::Nothing => {}
            Delivery::Patch(update) => self
                .lifetime
                .push(self.lifetime.encoder.board_update(&update)),
            Delivery::List(update) => self.push_snapshot(&update.snapshot, None),
            Delivery::Snapshot {
                snapshot, reset, ..
            } => self.push_snapshot(&snapshot, reset),
            Delivery::End => self.end(at, Bye::Gone),
        }
    }

    /// Returns whether the reader may still read the board at index `at`, if it has not ended.
    fn may_read(&self, at: usize) -> bool {
        let caller = &self.lifetime.reader.caller;
        self.boards[at]
            .as_ref()
            .is_none_or(|board| caller.may_read(&board.subscription.channel))
    }

    /// Ends the board at index `at`, and the stream if it was the last.
    fn end(&mut self, at: usize, reason: Bye) {
        self.boards[at] = None;
        match self.position.end(at) {
            None => {}
            Some(BoardEnd::OfStream) => self.lifetime.end(reason),
            Some(BoardEnd::OfBoard { board, cursor }) => {
                if let Some(cursor) = cursor {
                    self.lifetime.push(self.lifetime.encoder.cursor(&cursor));
                }
                self.lifetime
                    .push(self.lifetime.encoder.board_bye(&board, reason));
                self.lifetime
                    .set_board_stale(self.position.staleness().since);
            }
        }
    }

    /// Sends the cursor, if all boards have come to `published`.
    fn advance(&mut self, published: &Cursor) {
        if !self.lifetime.has_ended() && self.position.advance(published) {
            let cursor = self.lifetime.encoder.cursor(self.position.cursor());
            self.lifetime.push(cursor);
        }
    }

    fn push_snapshot(&mut self, snapshot: &Snapshot, reset: Option<ResetReason>) {
        if let Some(reason) = reset {
            let (board, encoder) = (snapshot.board(), &self.lifetime.encoder);
            let reset = if reason.is_of_all_boards() {
                encoder.reset(reason)
            } else {
                encoder.board_reset(board, reason)
            };
            self.lifetime.push_reset(reason, Some(board), reset);
        }
        let list = self.lifetime.encoder.board_snapshot(snapshot);
        self.lifetime.push(list);
    }
}

impl EventStream for MultiBoardStream {
    fn lifetime(&mut self) -> &mut StreamLifetime {
        &mut self.lifetime
    }

    /// Ends the boards that the reader may no longer read. Nothing is queued when this is called.
    fn check_permission(&mut self) {
        for at in 0..self.boards.len() {
            if !self.may_read(at) {
                self.end(at, Bye::Auth);
            }
        }
    }

    /// Takes the events of all boards, once everything that was committed together is there: those
    /// of one board after the other, so that what one must not be sent any more can be taken back.
    fn poll_events(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.together.is_none() {
            self.together = self.next_event_of_any().map(|(at, event)| {
                let follower = self.lifetime.deps.follower.clone();
                async move {
                    if let Ok(BoardEvent::Update(update)) = &event {
                        follower
                            .wait_for_revision(update.revision(), CATCH_UP)
                            .await;
                    }
                    (at, event)
                }
                .boxed()
            });
        }
        let Some(together) = &mut self.together else {
            return Poll::Pending;
        };
        let (at, event) = ready!(together.poll_unpin(cx));
        self.together = None;
        // Before looking: what is published up to here lies in the channels.
        let published = self.lifetime.deps.follower.cursor();
        let mut first = Some(event);
        for board in 0..self.boards.len() {
            let before = self.lifetime.mark();
            if board == at
                && let Some(event) = first.take()
            {
                self.take(board, event, before);
            }
            while let Some(event) = self.next_event(board) {
                self.take(board, event, before);
            }
        }
        self.advance(&published);
        Poll::Ready(())
    }
}

impl UpdateSource for MultiBoardStream {
    /// Each goes with its board.
    type Registrations = ();

    fn join(&mut self, dispatchers: &WorkerDispatchers, subscriber: Weak<dyn Subscriber>) {
        for board in self.boards.iter_mut().flatten() {
            let channel = &board.subscription.channel;
            board.registration = Some(dispatchers.join(channel, subscriber.clone()));
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Vec<Chunk>>> {
        self.poll_chunks(cx)
    }

    fn cut(&mut self, end: StreamEnd) {
        self.lifetime.cut(end);
    }

    fn metrics(&self) -> &StreamMetrics {
        &self.lifetime.deps.metrics
    }
}
