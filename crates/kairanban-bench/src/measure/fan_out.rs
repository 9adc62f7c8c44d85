//! Fan-out: the cost of an event for each reader that it is delivered to, the cost of an idle
//! reader, and the latency of the last reader.

use std::{
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Result, anyhow};
use kairanban_client::{Client, FollowEvent};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::{connect, deliver};
use crate::{
    process::Process,
    readers::Readers,
    schedule::Schedule,
    statistics::{float, percentile_ms},
    target::Target,
    wire::Endpoint,
};

/// Time for the server to finish the work of new connections.
const SETTLE: Duration = Duration::from_secs(2);

/// What is measured of each target.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// Streams that are opened.
    pub readers: usize,
    /// Events published in a second.
    pub rate: f64,
    /// Seconds for which events are published.
    pub seconds: f64,
    /// Seconds to measure idle readers.
    pub idle_s: f64,
}

/// The figures of one target in one round.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FanOut {
    /// The name of the target.
    pub name: String,
    /// Streams that were held open.
    pub readers: usize,
    /// Seconds until all readers were connected.
    pub connect_s: f64,
    /// Memory of the server for each idle reader.
    pub reader_kib: f64,
    /// Processor time of the server for each delivery.
    pub delivery_us: f64,
    /// The part of it in user mode.
    pub delivery_own_us: f64,
    /// Bytes of a delivery.
    pub delivery_bytes: f64,
    /// Time from when an event was due until a reader had it, over all readers: the median.
    pub each_p50_ms: f64,
    /// The 99th percentile of that time.
    pub each_p99_ms: f64,
    /// Time until the last reader had it, over all events: the median.
    pub last_p50_ms: f64,
    /// The 99th percentile of that time.
    pub last_p99_ms: f64,
    /// Deliveries that did not arrive.
    pub lost: u64,
    /// Changes after which our own client compared its list with the server's digest. A difference
    /// fails the measurement. `None` for peers.
    pub verified: Option<u64>,
    /// Percentage of a processor that idle readers cost; `None` if that was not measured.
    pub idle_percent: Option<f64>,
}

/// Measures one of the targets.
///
/// # Errors
/// If it cannot be started or used.
pub fn fan_out(target: &Target, plan: &Plan) -> Result<FanOut> {
    let running = target.start()?;
    let process = &running.process;
    let readers = plan.readers.min(target.limits.readers);
    // What is allocated once is not counted as memory of the readers.
    drop(connect(&running, readers.min(10))?);
    let memory = process.memory()?;
    let mut connected = connect(&running, readers)?;
    connected.idle(SETTLE)?;
    let reader_kib =
        float(process.memory()?.saturating_sub(memory)) / 1_024.0 / float(readers as u64);
    let idle_s = plan.idle_s.min(target.limits.idle_s);
    let idle_percent = idle_percent(process, &mut connected, idle_s)?;
    let verifying = target
        .is_ours
        .then(|| Verifier::start(running.endpoint.clone()));
    let (stats, cpu) = deliver(
        &running,
        &mut connected,
        Schedule::new(0, plan.rate.min(target.limits.rate), plan.seconds),
    )?;
    let verified = verifying.map(Verifier::end).transpose()?;
    let deliveries = float(stats.deliveries.max(1));
    Ok(FanOut {
        name: target.name.to_owned(),
        readers,
        connect_s: connected.connected_in.as_secs_f64(),
        reader_kib,
        delivery_us: cpu.micros() / deliveries,
        delivery_own_us: cpu.user.as_secs_f64() * 1e6 / deliveries,
        delivery_bytes: float(stats.bytes) / deliveries,
        each_p50_ms: percentile_ms(&stats.each_us, 50.0),
        each_p99_ms: percentile_ms(&stats.each_us, 99.0),
        last_p50_ms: percentile_ms(&stats.last_us, 50.0),
        last_p99_ms: percentile_ms(&stats.last_us, 99.0),
        lost: stats.lost,
        verified,
        idle_percent,
    })
}

/// Returns the percentage of a processor that idle readers cost, or `None` if there is no time to
/// measure it.
fn idle_percent(process: &Process, readers: &mut Readers, idle_s: f64) -> Result<Option<f64>> {
    if idle_s <= 0.0 {
        return Ok(None);
    }
    let before = process.cpu()?;
    readers.idle(Duration::from_secs_f64(idle_s))?;
    Ok(Some((process.cpu()? - before).micros() / idle_s / 1e4))
}

/// One more reader: our own client, which verifies each state of its list.
struct Verifier {
    end: oneshot::Sender<()>,
    thread: JoinHandle<Result<u64>>,
}

impl Verifier {
    fn start(endpoint: Endpoint) -> Self {
        let (end, ended) = oneshot::channel();
        Self {
            end,
            thread: thread::spawn(move || follow(&endpoint, ended)),
        }
    }

    /// Stops it, and returns the number of changes that it verified.
    fn end(self) -> Result<u64> {
        // It may have ended with an error already.
        let _ = self.end.send(());
        self.thread
            .join()
            .map_err(|_| anyhow!("the client panicked"))?
    }
}

fn follow(endpoint: &Endpoint, mut ended: oneshot::Receiver<()>) -> Result<u64> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut follow = Client::new(
            &format!("http://{}", endpoint.address),
            endpoint.token.clone(),
        )?
        .follow("main".parse()?);
        let mut changes = 0;
        loop {
            tokio::select! {
                _ = &mut ended => return Ok(changes),
                event = follow.next() => changes += u64::from(matches!(event?, FollowEvent::Changed(_))),
            }
        }
    })
}
