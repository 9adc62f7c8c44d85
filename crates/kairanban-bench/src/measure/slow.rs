//! Slow readers: what those that take nothing cost the others, and the server.

use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{fill, float, gather, watch};
use crate::{
    contender::{Contender, Kairanban, LIST, kairanban},
    crowd::Schedule,
};

const READERS: usize = 400;
/// So many and as many bytes in each event that nobody's buffers hold them all.
const TOPICS: u32 = 450;
const RATE: f64 = 4.0;
/// Shorter than the server's patience with them.
const SECONDS: f64 = 15.0;

/// What the other readers saw, and the server's memory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Slow {
    /// Readers that took nothing.
    pub stalled: usize,
    /// The others.
    pub awake: usize,
    /// From when an event was due until one of the others had it.
    pub each_p50_ms: f64,
    /// The same.
    pub each_p99_ms: f64,
    /// Until the last of the others had it.
    pub last_p99_ms: f64,
    /// Deliveries to the others that did not come.
    pub lost: u64,
    /// What the server's memory grew by meanwhile.
    pub grown_mib: f64,
}

/// Readers of a whole list of some 80 KB, none of them stalled, and then a quarter.
///
/// # Errors
/// If the server cannot be started or used.
pub fn slow() -> Result<Vec<Slow>> {
    [0, READERS / 4].into_iter().map(beside).collect()
}

fn beside(stalled: usize) -> Result<Slow> {
    let contender = Contender {
        subscribe: LIST,
        ..kairanban("kairanban", Kairanban::default())
    };
    let running = contender.start()?;
    fill(&running, TOPICS)?;
    let mut crowd = gather(&running, READERS)?;
    crowd.idle(Duration::from_secs(1))?;
    crowd.stall(stalled);
    let memory = running.process.memory()?;
    let (seen, _) = watch(&running, &mut crowd, Schedule::new(0, RATE, SECONDS))?;
    let ms = |histogram: &hdrhistogram::Histogram<u64>, percent| {
        float(histogram.value_at_percentile(percent)) / 1_000.0
    };
    Ok(Slow {
        stalled,
        awake: READERS - stalled,
        each_p50_ms: ms(&seen.each, 50.0),
        each_p99_ms: ms(&seen.each, 99.0),
        last_p99_ms: ms(&seen.last, 99.0),
        lost: seen.lost,
        grown_mib: float(running.process.memory()?.saturating_sub(memory)) / 1_048_576.0,
    })
}
