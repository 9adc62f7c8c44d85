//! Slow readers: what readers that do not read cost the others, and the server.

use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{connect, deliver, fill};
use crate::{
    schedule::Schedule,
    statistics::{float, percentile_ms},
    target::{Kairanban, LIST_STREAM, Target, kairanban},
};

const READERS: usize = 400;
/// Enough bytes in each event that no socket buffer holds them all.
const TOPICS: u32 = 450;
const RATE: f64 = 4.0;
/// Shorter than the time after which the server disconnects them.
const SECONDS: f64 = 15.0;

/// What the other readers received, and the server's memory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Slow {
    /// The number of readers that read nothing.
    pub stalled: usize,
    /// The number of the other readers.
    pub awake: usize,
    /// Time from when an event was due until one of the others had it: the median.
    pub each_p50_ms: f64,
    /// The 99th percentile of that time.
    pub each_p99_ms: f64,
    /// Time until the last of the others had it: the 99th percentile.
    pub last_p99_ms: f64,
    /// Deliveries to the others that did not arrive.
    pub lost: u64,
    /// Growth of the server's memory meanwhile.
    pub grown_mib: f64,
}

/// Measures readers of a list of some 80 KB: first none of them stalled, then a quarter.
///
/// # Errors
/// If the server cannot be started or used.
pub fn slow() -> Result<Vec<Slow>> {
    [0, READERS / 4].into_iter().map(with_stalled).collect()
}

fn with_stalled(stalled: usize) -> Result<Slow> {
    let target = Target {
        stream: LIST_STREAM,
        ..kairanban("kairanban", Kairanban::default())
    };
    let running = target.start()?;
    fill(&running, TOPICS)?;
    let mut readers = connect(&running, READERS)?;
    readers.idle(Duration::from_secs(1))?;
    readers.stall(stalled);
    let memory = running.process.memory()?;
    let (stats, _) = deliver(&running, &mut readers, Schedule::new(0, RATE, SECONDS))?;
    Ok(Slow {
        stalled,
        awake: READERS - stalled,
        each_p50_ms: percentile_ms(&stats.each_us, 50.0),
        each_p99_ms: percentile_ms(&stats.each_us, 99.0),
        last_p99_ms: percentile_ms(&stats.last_us, 99.0),
        lost: stats.lost,
        grown_mib: float(running.process.memory()?.saturating_sub(memory)) / 1_048_576.0,
    })
}
