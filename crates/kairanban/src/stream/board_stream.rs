//! Sends the updates of one board.

use std::{
    rc::Weak,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use kairanban_core::{
    BoardEvent, Delivery, Lagged, Opening, ReaderPosition, ResetReason, Revision, Snapshot,
    Subscription,
};

use super::{
    StreamDeps, StreamReader, UpdateSource,
    dispatcher::{Registration, Subscriber, WorkerDispatchers},
    lifetime::{EventStream, StreamLifetime},
};
use crate::{
    auth::Caller,
    encode::{Bye, Chunk, Encoder},
    metrics::{StreamEnd, StreamMetrics},
    service::Watch,
};

/// Events that are sent together, at most.
const BURST: usize = 64;

/// An open stream of one board.
pub struct BoardStream {
    lifetime: StreamLifetime,
    subscription: Subscription,
    position: ReaderPosition,
}

impl BoardStream {
    /// Creates a stream that begins with the opening of `watch`.
    #[must_use]
    pub fn new(
        watch: Watch,
        encoder: Encoder,
        deps: Arc<StreamDeps>,
        reader: StreamReader,
    ) -> Self {
        let Watch {
            subscription,
            opened,
        } = watch;
        let snapshot = opened.snapshot;
        let mut lifetime = StreamLifetime::new(encoder, deps, reader);
        lifetime.deps.metrics.began([&opened.opening]);
        lifetime.push(lifetime.encoder.retry(lifetime.deps.timing.retry()));
        match opened.opening {
            // Something has to be sent, so that the client knows that the stream is open.
            Opening::Nothing => lifetime.push(lifetime.encoder.heartbeat()),
            Opening::Patch(patch) => lifetime.push(lifetime.encoder.missed(&patch, &snapshot)),
            Opening::SnapshotSince(since) => push_list(&mut lifetime, &snapshot, Some(since), None),
            Opening::Snapshot { reset } => push_list(&mut lifetime, &snapshot, None, reset),
        }
        lifetime.set_board_stale(opened.stale_since);
        Self {
            lifetime,
            subscription,
            position: ReaderPosition::new(snapshot.cursor().clone()),
        }
    }

    /// Returns the caller that opened the stream.
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.lifetime.reader.caller
    }

    /// Returns how long a client may be silent before it is pinged.
    #[must_use]
    pub fn heartbeat(&self) -> Duration {
        self.lifetime.deps.timing.heartbeat
    }

    fn take(&mut self, event: Result<BoardEvent, Lagged>) {
        if event.is_err() {
            self.lifetime.deps.metrics.lagged();
        }
        let channel = &self.subscription.channel;
        let step = self.position.on(event, || channel.live());
        if step.check_permission {
            self.check_permission();
        }
        if self.lifetime.has_ended() {
            return;
        }
        if let Some(staleness) = step.staleness {
            self.lifetime.set_board_stale(staleness.since);
        }
        match step.delivery {
            Delivery::Nothing => {}
            Delivery::Patch(update) => self.lifetime.push(self.lifetime.encoder.update(&update)),
            Delivery::List(update) => self.lifetime.push(self.lifetime.encoder.list(&update)),
            Delivery::Snapshot {
                snapshot,
                since,
                reset,
            } => push_list(&mut self.lifetime, &snapshot, since, reset),
            Delivery::End => self.lifetime.end(Bye::Gone),
        }
    }
}

/// Sends the list, after a `reset` if there is a reason for one, to a reader that has seen
/// everything up to `since`.
fn push_list(
    lifetime: &mut StreamLifetime,
    snapshot: &Snapshot,
    since: Option<Revision>,
    reset: Option<ResetReason>,
) {
    if let Some(reason) = reset {
        lifetime.push_reset(
            reason,
            Some(snapshot.board()),
            lifetime.encoder.reset(reason),
        );
    }
    lifetime.push(match since {
        Some(since) => lifetime.encoder.snapshot_since(snapshot, since),
        None => lifetime.encoder.snapshot(snapshot),
    });
}

impl EventStream for BoardStream {
    fn lifetime(&mut self) -> &mut StreamLifetime {
        &mut self.lifetime
    }

    /// Ends the stream if the reader may no longer read the board, or has opened another stream
    /// with the same ticket.
    fn check_permission(&mut self) {
        let caller = &self.lifetime.reader.caller;
        if caller.is_replaced() || !caller.may_read(&self.subscription.channel) {
            self.lifetime.disconnect();
        }
    }

    fn poll_events(&mut self, _: &mut Context<'_>) -> Poll<()> {
        // Takes the events behind the first one, too, so that a burst is sent together.
        for taken in 0..BURST {
            match self.subscription.try_next() {
                Some(event) => self.take(event),
                None if taken == 0 => return Poll::Pending,
                None => break,
            }
        }
        Poll::Ready(())
    }
}

impl UpdateSource for BoardStream {
    type Registrations = Registration;

    fn join(
        &mut self,
        dispatchers: &WorkerDispatchers,
        subscriber: Weak<dyn Subscriber>,
    ) -> Registration {
        dispatchers.join(&self.subscription.channel, subscriber)
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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures_util::FutureExt as _;
    use kairanban_core::{Hub, OpenedBoard};

    use super::{
        super::testing::{board, hub, post},
        *,
    };
    use crate::{
        config::{Config, Overrides},
        encode::{Fragments, StreamFormat, payload_of},
        follower::FollowerStatus,
        limits::ClientGate,
        shutdown::Drain,
        stream::{StreamTiming, TimerWheel},
    };

    /// Returns a stream of patches of an empty board.
    fn stream(hub: &Hub) -> BoardStream {
        let config = Config::load(&Overrides::default(), []).expect("the defaults");
        let gate = ClientGate::of_streams(&config.limits);
        let permit = gate.enter(None).expect("room");
        let subscription = hub.subscribe(&board());
        let opened = OpenedBoard::new(Opening::Nothing, &subscription.channel.live());
        let opened = opened.expect("a list");
        let fragments = Arc::new(Fragments::new(None).expect("a template"));
        let deps = StreamDeps {
            follower: FollowerStatus::at_rest(opened.snapshot.cursor()),
            drain: Drain::new(Duration::ZERO),
            gate,
            timing: StreamTiming::new(&config.stream),
            wheel: TimerWheel::new(),
            metrics: StreamMetrics::default(),
        };
        let reader = StreamReader {
            caller: Caller::default(),
            permit,
        };
        let watch = Watch {
            subscription,
            opened,
        };
        BoardStream::new(
            watch,
            Encoder::new(StreamFormat::Patch, false, fragments),
            Arc::new(deps),
            reader,
        )
    }

    fn sent(stream: &mut BoardStream) -> Option<(usize, String)> {
        let chunks = poll_fn(|cx| stream.poll_next(cx)).now_or_never()??;
        Some((
            chunks.len(),
            String::from_utf8(payload_of(&chunks).to_vec()).expect("text"),
        ))
    }

    #[test]
    fn a_burst_goes_out_together() {
        let hub = hub(64);
        let mut stream = stream(&hub);
        sent(&mut stream).expect("a beginning");
        assert_eq!(sent(&mut stream), None, "nothing has happened");
        (2..5).for_each(|revision| post(&hub, revision));
        let (updates, text) = sent(&mut stream).expect("events");
        assert!(
            updates == 3 && text.contains("id: e-2") && text.contains("post 4"),
            "{updates}: {text}"
        );
        post(&hub, 5);
        assert_eq!(sent(&mut stream).map(|(updates, _)| updates), Some(1));
        assert_eq!(sent(&mut stream), None);
    }

    #[test]
    fn a_burst_that_overtakes_the_reader_is_the_newest_list_once() {
        let hub = hub(2);
        let mut stream = stream(&hub);
        sent(&mut stream).expect("a beginning");
        (2..9).for_each(|revision| post(&hub, revision));
        let (_, text) = sent(&mut stream).expect("events");
        assert!(
            text.contains("\"reason\":\"lagged\"")
                && text.contains("id: e-8")
                && !text.contains("event: patch"),
            "{text}"
        );
        assert_eq!(
            sent(&mut stream),
            None,
            "what the channel still held is older"
        );
        post(&hub, 9);
        assert!(
            sent(&mut stream)
                .is_some_and(|(_, text)| text.contains("event: patch") && text.contains("post 9"))
        );
    }
}
