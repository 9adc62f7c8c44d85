//! Measures the bytes of a change, and the time until the server is ready.

use std::{process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use super::{fill, join, publish_in_background};
use crate::{
    database::Postgres,
    process::{Process, free_address},
    readers::{Readers, no_greeting},
    schedule::Schedule,
    statistics::{float, median},
    target::{Kairanban, RunningTarget, kairanban},
    wire,
};

const TOPICS: u32 = 500;

/// Bytes of one change on a board of 500 topics of 140 characters.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChangeSize {
    /// The format, with its parameters.
    pub name: String,
    /// Bytes of the event, with its frame.
    pub change_bytes: f64,
}

/// Measures the bytes of a change in several formats.
///
/// # Errors
/// If the server cannot be started.
pub fn change_sizes() -> Result<Vec<ChangeSize>> {
    let ours = kairanban("kairanban", Kairanban::default());
    let running = ours.start()?;
    fill(&running, TOPICS)?;
    let mut sizes = Vec::new();
    let mut first = 0;
    for format in ["patch", "patch&compress=gzip", "list", "list&compress=gzip"] {
        let path = format!("/b/main/stream?format={format}");
        let request = wire::get(&running.endpoint, &path, "accept-encoding: gzip\r\n");
        let address = running.endpoint.address;
        let mut readers = Readers::connect(address, 1, |_| request.clone(), no_greeting)?;
        readers.idle(Duration::from_secs(1))?;
        let schedule = Schedule::new(first, 20.0, 2.0);
        let bytes = bytes_sent(&running, &mut readers, schedule)?;
        sizes.push(ChangeSize {
            name: format.to_owned(),
            change_bytes: float(bytes) / f64::from(schedule.events),
        });
        first = schedule.numbers().end;
    }
    Ok(sizes)
}

/// Returns the bytes that a reader receives while a schedule is published. They are not searched
/// for marks, which gzip hides.
fn bytes_sent(
    running: &RunningTarget<'_>,
    readers: &mut Readers,
    schedule: Schedule,
) -> Result<u64> {
    let publishing = publish_in_background(running, schedule);
    let time = schedule.gap * schedule.events + Duration::from_secs(2);
    let bytes = readers.count_bytes(time)?;
    join(publishing)?;
    Ok(bytes)
}

/// Time from the start of the program until it answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StartTime {
    /// The kind of database.
    pub name: String,
    /// The median of all starts.
    pub p50_ms: f64,
    /// The slowest of all starts.
    pub max_ms: f64,
}

/// Starts the server repeatedly on an existing database.
///
/// # Errors
/// If it does not start.
pub fn start_times(rounds: usize, postgres: &Postgres) -> Result<Vec<StartTime>> {
    let on_postgres = Kairanban {
        database_url: Some(postgres.create_database()?),
        ..Kairanban::default()
    };
    [("SQLite", Kairanban::default()), ("Postgres", on_postgres)]
        .into_iter()
        .map(|(name, setup)| {
            let folder = tempfile::tempdir()?;
            let mut took = Vec::new();
            // The first start creates the database.
            for _ in 0..=rounds {
                let address = free_address()?;
                let mut process =
                    Process::start(setup.command(folder.path(), address)?, address, "/readyz")?;
                took.push(process.ready_after.as_secs_f64() * 1e3);
                process.kill();
            }
            took.remove(0);
            let max_ms = took.iter().copied().fold(0.0, f64::max);
            Ok(StartTime {
                name: name.to_owned(),
                p50_ms: median(took),
                max_ms,
            })
        })
        .collect()
}

/// Returns the processors and the kernel of this machine.
///
/// # Errors
/// If the system does not name them.
pub fn machine() -> Result<String> {
    let processors = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = processors
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .context("no model")?;
    let count = processors
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let kernel = Command::new("uname").arg("-sr").output()?;
    ensure!(kernel.status.success(), "no uname");
    let kernel = String::from_utf8(kernel.stdout)?;
    Ok(format!(
        "{count} × {}, {}",
        model.trim_start_matches([':', ' ', '\t']),
        kernel.trim()
    ))
}
