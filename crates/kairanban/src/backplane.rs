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
//! A message says only that something was committed; the follower reads the log to find out what.
//! So a message may be lost, doubled or reordered without harm, and a server that receives none is
//! late by `database.poll_ms` at most. Any program may send one: those that nothing was committed
//! for cost at most `limits.empty_reads_per_s` reads.
//!
//! Each transport reconnects by itself, every 2 s. LISTEN stays on beside Redis (ADR 7),
//! because programs that write to the database know no Redis. SQLite has one server; the file's own
//! counter shows the writes of other programs (see [`crate::data_version`]).

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

use crate::{
    config::SecretText, failpoint, follower::Wake, shared_snapshots::Redis, supervise::Supervisor,
};

/// Delay between two attempts to open a connection.
const RETRY: Duration = Duration::from_secs(2);
/// Interval at which a connection is checked: such connections die silently.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Time limit of such a check.
const HEARTBEAT_LIMIT: Duration = Duration::from_secs(5);

/// The transports between the processes.
#[derive(Clone, Debug, Default)]
pub struct BackplaneConfig {
    /// Listens for the commits of other programs, and announces ours if there is no Redis.
    pub postgres: Option<(SecretText, Timeouts)>,
    /// Announces our commits, and listens for those of other nodes.
    pub redis: Option<Redis>,
}

/// Notifies the other processes of commits. Cheap to clone; commits before the message goes out
/// share it.
#[derive(Clone, Debug, Default)]
pub struct Backplane(Arc<Notify>);

impl Backplane {
    /// Requests a message to the other processes.
    pub fn notify(&self) {
        self.0.notify_one();
    }

    /// Starts the transports, which run until the supervisor ends.
    pub fn start(
        &self,
        transports: BackplaneConfig,
        epoch: &Epoch,
        wake: &Wake,
        supervisor: &Supervisor,
    ) {
        let BackplaneConfig { postgres, redis } = transports;
        let ours = Arc::clone(&self.0);
        // With Redis, nothing is announced by Postgres.
        let by_postgres = if redis.is_some() {
            Arc::new(Notify::new())
        } else {
            Arc::clone(&ours)
        };
        if let Some((url, timeouts)) = postgres {
            let transport = postgres::ListenTransport {
                url,
                timeouts,
                wake: wake.clone(),
                announce: by_postgres,
            };
            start_transport(transport, supervisor);
        }
        if let Some(redis) = redis {
            let channel = format!("kairanban:{epoch}:changed");
            start_transport(
                redis::RedisTransport {
                    redis,
                    channel,
                    wake: wake.clone(),
                    announce: ours,
                },
                supervisor,
            );
        }
    }
}

/// Listens for messages and sends them, over one connection after the other.
trait Transport: Send + Sync {
    const NAME: &'static str;
    type Connection: Send;
    /// Connects and subscribes to the channel.
    fn open(&self) -> impl Future<Output = Result<Self::Connection, String>> + Send;
    /// Listens and sends until the connection fails, and returns why.
    fn serve(&self, connection: Self::Connection) -> impl Future<Output = String> + Send;
}

fn start_transport<T: Transport + 'static>(transport: T, supervisor: &Supervisor) {
    let stop = supervisor.stop().clone();
    supervisor.task(T::NAME, async move || {
        run_with_reconnect(&transport, &stop).await
    });
}

/// Keeps a connection open until `stop`.
async fn run_with_reconnect<T: Transport>(transport: &T, stop: &CancellationToken) {
    let mut known_bad = false;
    loop {
        let connection = async {
            match transport.open().await {
                Ok(connection) => {
                    failpoint::pass(T::NAME);
                    (true, transport.serve(connection).await)
                }
                Err(error) => (false, error),
            }
        };
        let (opened, error) = tokio::select! {
            () = stop.cancelled() => return,
            ended = connection => ended,
        };
        // Once for each time that it goes away, not for each try.
        if opened || !known_bad {
            tracing::warn!(error, "no messages by {} for now; polling goes on", T::NAME);
        }
        known_bad = true;
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(RETRY) => {}
        }
    }
}

/// Returns the ticks at which a connection is checked, whatever else happens on it: a message that
/// was sent is no sign that one would be received.
fn heartbeat() -> Interval {
    let mut beat = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beat
}

/// Draws a name for this process, so that it does not wake itself.
fn node_name() -> Result<String, String> {
    getrandom::u64()
        .map(|number| format!("{number:016x}"))
        .map_err(|error| error.to_string())
}

/// Describes an error with its causes: some libraries only say what they were doing.
fn described(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
