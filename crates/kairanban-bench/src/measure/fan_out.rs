//! Fan-out: what an event costs the server for each reader it goes to, what a reader costs while nothing
//! happens, and how long the last one waits.

use std::{
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Result, anyhow};
use kairanban_client::{Client, News};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::{float, gather, watch};
use crate::{contender::Contender, crowd::Schedule, wire::Door};

/// For what came with the connections to be done with.
const SETTLE: Duration = Duration::from_secs(2);

/// What is asked of everybody.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// Streams.
    pub readers: usize,
    /// Events in a second.
    pub rate: f64,
    /// For how long.
    pub seconds: f64,
    /// For how long to look at the readers while nothing happens.
    pub idle_s: f64,
}

/// What came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FanOut {
    /// Who.
    pub name: String,
    /// Streams that were held open.
    pub readers: usize,
    /// Until all were in.
    pub connect_s: f64,
    /// Memory of the server for each of them, while nothing happens.
    pub reader_kib: f64,
    /// Processor time of the server for each delivery.
    pub delivery_us: f64,
    /// The part of it that is the program's own, the rest being the system's.
    pub delivery_own_us: f64,
    /// Bytes of a delivery.
    pub delivery_bytes: f64,
    /// From when an event was due until a reader had it; over all readers.
    pub each_p50_ms: f64,
    /// The same.
    pub each_p99_ms: f64,
    /// Until the last reader had it; over all events.
    pub last_p50_ms: f64,
    /// The same.
    pub last_p99_ms: f64,
    /// Deliveries that did not come.
    pub lost: u64,
    /// Changes after which our own client held the list against the digest that the server sent with them; one that
    /// differs ends the measurement.
    pub verified: Option<u64>,
    /// Share of a processor while nothing happens; `None` if that was not looked at.
    pub idle_percent: Option<f64>,
}

/// Measures one contender.
///
/// # Errors
/// If it cannot be started or used.
pub fn fan_out(contender: &Contender, plan: &Plan) -> Result<FanOut> {
    let running = contender.start()?;
    let process = &running.process;
    let readers = plan.readers.min(contender.bounds.readers);
    // So that what is made once is not counted to the readers.
    drop(gather(&running, readers.min(10))?);
    let memory = process.memory()?;
    let mut crowd = gather(&running, readers)?;
    crowd.idle(SETTLE)?;
    let reader_kib =
        float(process.memory()?.saturating_sub(memory)) / 1_024.0 / float(readers as u64);
    let idle_s = plan.idle_s.min(contender.bounds.idle_s);
    let idle_percent = if idle_s > 0.0 {
        let before = process.cpu()?;
        crowd.idle(Duration::from_secs_f64(idle_s))?;
        Some((process.cpu()? - before).micros() / idle_s / 1e4)
    } else {
        None
    };
    let verifying = contender
        .is_ours
        .then(|| Verifier::start(running.door.clone()));
    let (seen, cpu) = watch(
        &running,
        &mut crowd,
        Schedule::new(0, plan.rate.min(contender.bounds.rate), plan.seconds),
    )?;
    let verified = verifying.map(Verifier::end).transpose()?;
    let deliveries = float(seen.deliveries.max(1));
    let ms = |histogram: &hdrhistogram::Histogram<u64>, percent| {
        float(histogram.value_at_percentile(percent)) / 1_000.0
    };
    Ok(FanOut {
        name: contender.name.to_owned(),
        readers,
        connect_s: crowd.connected_in.as_secs_f64(),
        reader_kib,
        delivery_us: cpu.micros() / deliveries,
        delivery_own_us: cpu.user.as_secs_f64() * 1e6 / deliveries,
        delivery_bytes: float(seen.bytes) / deliveries,
        each_p50_ms: ms(&seen.each, 50.0),
        each_p99_ms: ms(&seen.each, 99.0),
        last_p50_ms: ms(&seen.last, 50.0),
        last_p99_ms: ms(&seen.last, 99.0),
        lost: seen.lost,
        verified,
        idle_percent,
    })
}

/// One more reader: our own client, which checks each state that it comes to.
struct Verifier {
    end: oneshot::Sender<()>,
    thread: JoinHandle<Result<u64>>,
}

impl Verifier {
    fn start(door: Door) -> Self {
        let (end, ended) = oneshot::channel();
        Self {
            end,
            thread: thread::spawn(move || follow(&door, ended)),
        }
    }

    /// How many changes it was told of.
    fn end(self) -> Result<u64> {
        // It may have found a fault and gone.
        let _ = self.end.send(());
        self.thread
            .join()
            .map_err(|_| anyhow!("the client panicked"))?
    }
}

fn follow(door: &Door, mut ended: oneshot::Receiver<()>) -> Result<u64> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut follow = Client::new(&format!("http://{}", door.address), door.token.clone())?
            .follow("main".parse()?);
        let mut changes = 0;
        loop {
            tokio::select! {
                _ = &mut ended => return Ok(changes),
                news = follow.next() => changes += u64::from(matches!(news?, News::Changed(_))),
            }
        }
    })
}
