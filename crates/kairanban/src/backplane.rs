//! The backplane: servers of one database notify each other of commits.
//!
//! ```text
//!   server A                                              server B
//!   writer ─ on_commit ─▶ Backplane::notify               Follower ◀─ Wake
//!                           │                                ▲
//!                           ├─ NOTIFY ─▶ Postgres ─ LISTEN ──┤   also for commits of other programs: triggers notify, too
//!                           └─ PUBLISH ▶ Redis ─ SUBSCRIBE ──┘   with backplane.kind = "redis"
//! ```
//!
//! A message says only that something was committed; the follower reads the log to find out what. So a message may be lost,
//! doubled or reordered without harm, and a server that hears none is late by `database.poll_ms` at most.
//!
//! Each transport reconnects by itself, with growing delays. LISTEN stays on beside Redis, because programs that write to the
//! database know no Redis. SQLite has one server; the file's own counter shows the writes of other programs
//! (see [`crate::data_version`]).

mod postgres;
mod redis;
mod tls;

use std::{sync::Arc, time::Duration};

use kairanban_core::Epoch;
use kairanban_store::Timeouts;
use tokio::{
    sync::Notify,
    time::{Instant, Interval, MissedTickBehavior, interval_at},
};
use tokio_util::sync::CancellationToken;

use crate::{failpoint, follower::Wake, shared_snapshots::Redis, supervise::Supervisor};

/// Between two tries to open a session.
const RETRY: Duration = Duration::from_secs(2);
/// Between two signs of life that a session is asked for: such sessions die silently.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// For such a sign to come.
const HEARTBEAT_LIMIT: Duration = Duration::from_secs(5);

/// Which ways there are between the processes.
#[derive(Clone, Debug, Default)]
pub struct BackplaneConfig {
    /// To listen on, for the commits of other programs; and to tell of ours if there is no Redis.
    pub postgres: Option<(String, Timeouts)>,
    /// To tell of our commits, and hear of those of other nodes.
    pub redis: Option<Redis>,
}

/// Tells the other processes of a commit. Cheap to clone; several commits before the message goes
/// out share it.
#[derive(Clone, Debug, Default)]
pub struct Backplane(Arc<Notify>);

impl Backplane {
    /// Asks for a message.
    pub fn notify(&self) {
        self.0.notify_one();
    }

    /// Listens and tells, until told to stop.
    pub fn start(
        &self,
        ways: BackplaneConfig,
        epoch: &Epoch,
        wake: &Wake,
        supervisor: &Supervisor,
    ) {
        let BackplaneConfig { postgres, redis } = ways;
        let (ours, nobodys) = (Arc::clone(&self.0), Arc::new(Notify::new()));
        let asked_of_postgres = if redis.is_some() {
            nobodys
        } else {
            Arc::clone(&ours)
        };
        if let Some((url, timeouts)) = postgres {
            let way = postgres::Listening {
                url,
                timeouts,
                wake: wake.clone(),
                asked: asked_of_postgres,
            };
            start_way(way, supervisor);
        }
        if let Some(redis) = redis {
            let channel = format!("kairanban:{epoch}:changed");
            start_way(
                redis::Subscribing {
                    redis,
                    channel,
                    wake: wake.clone(),
                    asked: ours,
                },
                supervisor,
            );
        }
    }
}

/// A way to hear and tell, one session after the other.
trait Transport: Send + Sync {
    const NAME: &'static str;
    type Session: Send;
    /// Connects and subscribes.
    fn open(&self) -> impl Future<Output = Result<Self::Session, String>> + Send;
    /// Hears and tells. Gives why that ended.
    fn serve(&self, session: Self::Session) -> impl Future<Output = String> + Send;
}

fn start_way<W: Transport + 'static>(way: W, supervisor: &Supervisor) {
    let stop = supervisor.stop().clone();
    supervisor.task(W::NAME, async move || run_with_reconnect(&way, &stop).await);
}

/// Keeps a session open until told to stop.
async fn run_with_reconnect<W: Transport>(way: &W, stop: &CancellationToken) {
    let mut known_bad = false;
    loop {
        let session = async {
            match way.open().await {
                Ok(session) => {
                    failpoint::pass(W::NAME);
                    (true, way.serve(session).await)
                }
                Err(error) => (false, error),
            }
        };
        let (opened, error) = tokio::select! {
            () = stop.cancelled() => return,
            ended = session => ended,
        };
        // Once for each time that it goes away, not for each try.
        if opened || !known_bad {
            tracing::warn!(error, "no messages by {} for now; polling goes on", W::NAME);
        }
        known_bad = true;
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(RETRY) => {}
        }
    }
}

/// Asks for a sign of life in time, however much else goes on: what is said on one connection is no sign that the
/// other is heard.
fn heartbeat() -> Interval {
    let mut beat = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beat
}

/// A name for this process, so that it does not wake itself.
fn node_name() -> Result<String, String> {
    getrandom::u64()
        .map(|number| format!("{number:016x}"))
        .map_err(|error| error.to_string())
}

/// An error with its causes: some libraries say only what they were doing.
fn described(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
