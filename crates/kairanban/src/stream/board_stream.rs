//! A stream of one board.

use std::{
    rc::Weak,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use kairanban_core::{
    BoardEvent, Cursor, Lagged, Opening, ResetReason, Snapshot, Subscription, Update,
};

use super::{
    Reader, StreamDeps, UpdateSource,
    dispatcher::{Registration, Subscriber, WorkerDispatchers},
    lifetime::{Next, StreamLifetime, Woken},
};
use crate::{
    auth::Caller,
    encode::{Bye, Chunk, Encoder},
    service::Watch,
};

/// Updates that are sent together at most.
const BURST: usize = 64;

/// An open stream.
pub struct BoardStream {
    life: StreamLifetime,
    subscription: Subscription,
    /// Where the reader has been brought to.
    sent: Cursor,
}

impl BoardStream {
    /// A stream that begins with what `watch` found.
    #[must_use]
    pub fn new(watch: Watch, encoder: Encoder, deps: Arc<StreamDeps>, reader: Reader) -> Self {
        let Watch {
            subscription,
            snapshot,
            opening,
        } = watch;
        let mut life = StreamLifetime::new(encoder, deps, reader);
        life.push(life.encoder.opening(life.deps.timing.retry_ms()));
        match opening {
            // So that the head goes out, and a client knows that it is there.
            Opening::Nothing => life.push(life.encoder.heartbeat()),
            Opening::Patch(patch) => life.push(life.encoder.missed(&patch, &snapshot)),
            Opening::SnapshotSince(revision) => {
                life.push(life.encoder.snapshot_since(&snapshot, revision));
            }
            Opening::Snapshot { reset } => {
                if let Some(reason) = reset {
                    life.push(life.encoder.reset(reason));
                }
                life.push(life.encoder.snapshot(&snapshot));
            }
        }
        life.set_board_stale(subscription.channel.live().stale_since());
        Self {
            life,
            subscription,
            sent: snapshot.cursor().clone(),
        }
    }

    /// Who reads.
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.life.reader.caller
    }

    /// The time after which a silent client is worth asking after.
    #[must_use]
    pub fn heartbeat(&self) -> Duration {
        self.life.deps.timing.heartbeat
    }

    /// Takes what came, and, in a burst, what came behind it, so that it goes out together. Tells whether anything came.
    fn gather(&mut self) -> bool {
        for taken in 0..BURST {
            match self.subscription.try_next() {
                Some(news) => self.take(news),
                None => return taken > 0,
            }
        }
        true
    }

    fn take(&mut self, news: Result<BoardEvent, Lagged>) {
        match news {
            Ok(BoardEvent::Update(update)) => self.tell(&update),
            Ok(BoardEvent::PolicyChanged) => self.check_permission(),
            Ok(BoardEvent::HistoryReset(snapshot)) => self.begin_again(&snapshot),
            Ok(BoardEvent::Stale(since)) => self.life.set_board_stale(Some(since)),
            Ok(BoardEvent::Fresh) => self.life.set_board_stale(None),
            Ok(BoardEvent::Gone) => self.life.end(Bye::Gone),
            Err(Lagged) => {
                // Among what it missed may be that the board takes a token now.
                self.check_permission();
                self.life
                    .set_board_stale(self.subscription.channel.live().stale_since());
                self.resync();
            }
        }
    }

    /// Sends the list of a new epoch, unless the stream began in it.
    fn begin_again(&mut self, snapshot: &Snapshot) {
        // Another history may have made the board private.
        self.check_permission();
        if !self.life.has_ended() && snapshot.cursor().epoch != self.sent.epoch {
            self.life.push(self.life.encoder.reset(ResetReason::Epoch));
            self.life.push(self.life.encoder.snapshot(snapshot));
            self.sent = snapshot.cursor().clone();
        }
    }

    /// Ends the stream of a reader who may no longer read the board, or has opened another one by the
    /// same ticket.
    fn check_permission(&mut self) {
        let channel = &self.subscription.channel;
        let policies = channel.live().policies().unwrap_or_default();
        let caller = &self.life.reader.caller;
        if !self.life.has_ended()
            && (caller.is_replaced() || !caller.may_read(&channel.board, policies))
        {
            self.life.disconnect();
        }
    }

    fn tell(&mut self, update: &Update) {
        if self.life.has_ended() || update.revision() <= self.sent.revision {
            return;
        }
        // A patch from later than where the reader stands would leave a hole.
        let encoder = &self.life.encoder;
        let hole = update.patch.from > self.sent.revision;
        let frame = if hole {
            encoder.snapshot_since(&update.snapshot, self.sent.revision)
        } else {
            encoder.update(update)
        };
        self.life.push(frame);
        self.sent.revision = update.revision();
    }

    /// Brings a reader that fell behind to the newest list. What its channel still holds is older.
    fn resync(&mut self) {
        let newest = self
            .subscription
            .channel
            .live()
            .last_known()
            .map(Arc::clone);
        let Some(newest) = newest.filter(|_| !self.life.has_ended()) else {
            return;
        };
        if newest.cursor().epoch != self.sent.epoch {
            self.begin_again(&newest);
        } else if newest.revision() > self.sent.revision {
            self.life.push(self.life.encoder.reset(ResetReason::Lagged));
            self.life.push(
                self.life
                    .encoder
                    .snapshot_since(&newest, self.sent.revision),
            );
            self.sent.revision = newest.revision();
        }
    }
}

impl UpdateSource for BoardStream {
    type Registrations = Registration;

    fn join(&self, dispatchers: &WorkerDispatchers, member: Weak<dyn Subscriber>) -> Registration {
        dispatchers.join(&self.subscription.channel, member)
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Vec<Chunk>>> {
        loop {
            match self.life.next() {
                Next::Send(chunks) => return Poll::Ready(Some(chunks)),
                Next::End => return Poll::Ready(None),
                Next::Wait => {}
            }
            // Events last: a flood must not keep a reader in who has to leave.
            match self.life.poll(cx) {
                Poll::Ready(Woken::PermissionWatch) => self.check_permission(),
                Poll::Ready(Woken::Tick) => {
                    self.check_permission();
                    self.life.tick();
                }
                Poll::Ready(Woken::Queued) => {}
                Poll::Pending if self.gather() => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures_util::FutureExt as _;
    use kairanban_core::Hub;

    use super::{
        super::testing::{board, hub, post},
        *,
    };
    use crate::{
        config::{Config, Overrides},
        encode::{Fragments, StreamFormat, payload_of},
        follower::FollowerStatus,
        limits::StreamGate,
        shutdown::Drain,
        stream::{StreamTiming, TimerWheel},
    };

    /// A stream of patches of an empty board.
    fn stream(hub: &Hub) -> BoardStream {
        let config = Config::load(&Overrides::default(), []).expect("the defaults");
        let gate = StreamGate::new(&config.limits);
        let permit = gate.enter(None).expect("room");
        let subscription = hub.subscribe(&board());
        let snapshot = subscription
            .channel
            .live()
            .last_known()
            .map(Arc::clone)
            .expect("a list");
        let fragments = Arc::new(Fragments::new(None).expect("a template"));
        let deps = StreamDeps {
            following: FollowerStatus::at_rest(snapshot.cursor()),
            drain: Drain::new(Duration::ZERO),
            gate,
            timing: StreamTiming::new(&config.stream),
            wheel: TimerWheel::new(),
        };
        let reader = Reader {
            caller: Caller::default(),
            permit,
        };
        let watch = Watch {
            subscription,
            snapshot,
            opening: Opening::Nothing,
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
        let (updates, text) = sent(&mut stream).expect("news");
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
        let (_, text) = sent(&mut stream).expect("news");
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
