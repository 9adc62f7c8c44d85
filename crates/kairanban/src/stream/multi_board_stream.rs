//! A stream of several boards, with one cursor for all of them.
//!
//! What one transaction did to several boards is sent together. The cursor follows in an event of
//! its own, once everything up to there was sent, of every board.

use std::{
    rc::Weak,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_util::{FutureExt as _, future::BoxFuture};
use kairanban_core::{
    BoardEvent, Delivery, Lagged, MultiBoardOpening, MultiBoardPosition, OpenedBoard, Opening,
    ResetReason, Snapshot, Subscription,
};

use super::{
    StreamDeps, StreamReader, UpdateSource,
    dispatcher::{Registration, Subscriber, WorkerDispatchers},
    lifetime::{EventStream, StreamLifetime},
};
use crate::{
    encode::{Bye, Chunk, Encoder},
    metrics::{StreamEnd, StreamMetrics},
    service::CATCH_UP,
};

/// An open stream of several boards.
pub struct MultiBoardStream {
    life: StreamLifetime,
    /// The subscriptions of the boards, in the order of the positions.
    subscriptions: Vec<Subscription>,
    position: MultiBoardPosition,
    /// An event that waits for what was committed together with it.
    together: Option<BoxFuture<'static, (usize, Result<BoardEvent, Lagged>)>>,
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
        let mut life = StreamLifetime::new(encoder, deps, reader);
        let void = opening.reset.map(|reason| Opening::Snapshot {
            reset: Some(reason),
        });
        let openings = opening.boards.iter().map(|board| &board.opening);
        life.deps.metrics.began(void.iter().chain(openings));
        life.push(life.encoder.retry(life.deps.timing.retry()));
        if let Some(reason) = opening.reset {
            life.push_reset(reason, None, life.encoder.reset(reason));
        }
        for OpenedBoard {
            opening, snapshot, ..
        } in &opening.boards
        {
            match opening {
                Opening::Nothing => {}
                Opening::Patch(patch) => {
                    life.push(life.encoder.board_missed(patch, snapshot));
                }
                Opening::SnapshotSince(_) | Opening::Snapshot { .. } => {
                    life.push(life.encoder.board_snapshot(snapshot));
                }
            }
        }
        life.push(life.encoder.cursor(&opening.cursor));
        let position = MultiBoardPosition::new(opening);
        life.set_board_stale(position.staleness().since);
        Self {
            life,
            subscriptions,
            position,
            together: None,
        }
    }

    /// Returns the next event of any board, with the index of the board.
    fn next_event(&mut self) -> Option<(usize, Result<BoardEvent, Lagged>)> {
        self.subscriptions
            .iter_mut()
            .enumerate()
            .find_map(|(at, subscription)| subscription.try_next().map(|event| (at, event)))
    }

    fn take(&mut self, at: usize, event: Result<BoardEvent, Lagged>) {
        if event.is_err() {
            self.life.deps.metrics.lagged();
        }
        let channel = &self.subscriptions[at].channel;
        let step = self.position.on(at, event, || channel.live());
        match self.prepare(step) {
            Delivery::Nothing => {}
            Delivery::Patch(update) => self.life.push(self.life.encoder.board_update(&update)),
            Delivery::List(update) => self.push_snapshot(&update.snapshot, None),
            Delivery::Snapshot {
                snapshot, reset, ..
            } => self.push_snapshot(&snapshot, reset),
            Delivery::End => self.life.end(Bye::Gone),
        }
    }

    fn push_snapshot(&mut self, snapshot: &Snapshot, reset: Option<ResetReason>) {
        if let Some(reason) = reset {
            let (board, encoder) = (snapshot.board(), &self.life.encoder);
            let reset = if reason.is_of_all_boards() {
                encoder.reset(reason)
            } else {
                encoder.board_reset(board, reason)
            };
            self.life.push_reset(reason, Some(board), reset);
        }
        let list = self.life.encoder.board_snapshot(snapshot);
        self.life.push(list);
    }
}

impl EventStream for MultiBoardStream {
    fn life(&mut self) -> &mut StreamLifetime {
        &mut self.life
    }

    fn may_go_on(&self) -> bool {
        let caller = &self.life.reader.caller;
        self.subscriptions
            .iter()
            .all(|subscription| caller.may_read(&subscription.channel))
    }

    /// Takes the events of all boards, once everything that was committed together is there.
    fn poll_events(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.together.is_none() {
            self.together = self.next_event().map(|(at, event)| {
                let follower = self.life.deps.follower.clone();
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
        let published = self.life.deps.follower.cursor();
        self.take(at, event);
        while let Some((at, event)) = self.next_event() {
            self.take(at, event);
        }
        if !self.life.has_ended() && self.position.advance(&published) {
            self.life.push(self.life.encoder.cursor(&published));
        }
        Poll::Ready(())
    }
}

impl UpdateSource for MultiBoardStream {
    type Registrations = Vec<Registration>;

    fn join(
        &self,
        dispatchers: &WorkerDispatchers,
        subscriber: Weak<dyn Subscriber>,
    ) -> Vec<Registration> {
        self.subscriptions
            .iter()
            .map(|subscription| dispatchers.join(&subscription.channel, subscriber.clone()))
            .collect()
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Vec<Chunk>>> {
        self.poll_chunks(cx)
    }

    fn cut(&mut self, end: StreamEnd) {
        self.life.cut(end);
    }

    fn metrics(&self) -> &StreamMetrics {
        &self.life.deps.metrics
    }
}
