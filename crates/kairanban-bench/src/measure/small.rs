//! Bytes of a change, and the time to be ready.

use std::{process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use super::{fill, float, median, publish_aside};
use crate::{
    contender::{Kairanban, Running, any_bytes_will_do, kairanban},
    crowd::{Crowd, Schedule},
    database::Postgres,
    process::{Process, free_address},
    wire,
};

const TOPICS: u32 = 500;

/// What a reader is sent for one change of a board of 500 topics of 140 characters.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Weight {
    /// How it reads.
    pub name: String,
    /// Bytes, frame and all.
    pub change_bytes: f64,
}

/// Bytes of a change in several dialects.
///
/// # Errors
/// If the server cannot be started.
pub fn weights() -> Result<Vec<Weight>> {
    let ours = kairanban("kairanban", Kairanban::default());
    let running = ours.start()?;
    fill(&running, TOPICS)?;
    let mut weights = Vec::new();
    let mut first = 0;
    for format in ["patch", "patch&compress=gzip", "list", "list&compress=gzip"] {
        let ask = |_| {
            wire::get(
                &running.door,
                &format!("/b/main/stream?format={format}"),
                "accept-encoding: gzip\r\n",
            )
        };
        let mut crowd = Crowd::gather(running.door.address, 1, ask, any_bytes_will_do)?;
        crowd.idle(Duration::from_secs(1))?;
        let schedule = Schedule::new(first, 20.0, 2.0);
        let bytes = sent(&running, &mut crowd, schedule)?;
        weights.push(Weight {
            name: format.to_owned(),
            change_bytes: float(bytes) / f64::from(schedule.events),
        });
        first = schedule.numbers().end;
    }
    Ok(weights)
}

/// What a reader is sent while a schedule is published; within gzip nobody can look for marks.
fn sent(running: &Running<'_>, crowd: &mut Crowd, schedule: Schedule) -> Result<u64> {
    let publishing = publish_aside(running, schedule);
    let sent = crowd.count(schedule.gap * schedule.events + Duration::from_secs(2))?;
    publishing
        .join()
        .map_err(|_| anyhow::anyhow!("the publisher panicked"))??;
    Ok(sent)
}

/// From the start of the program until it answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ready {
    /// With which database.
    pub name: String,
    /// The median.
    pub p50_ms: f64,
    /// The slowest.
    pub max_ms: f64,
}

/// Starts the server again and again on a database that is there already.
///
/// # Errors
/// If it does not start.
pub fn ready(rounds: usize, postgres: &Postgres) -> Result<Vec<Ready>> {
    let on_postgres = Kairanban {
        database_url: Some(postgres.create_database()?),
        ..Kairanban::default()
    };
    [("SQLite", Kairanban::default()), ("Postgres", on_postgres)]
        .into_iter()
        .map(|(name, how)| {
            let folder = tempfile::tempdir()?;
            let mut took = Vec::new();
            // The first makes the database.
            for _ in 0..=rounds {
                let address = free_address()?;
                let mut process =
                    Process::start(how.command(folder.path(), address)?, address, "/readyz")?;
                took.push(process.ready_after.as_secs_f64() * 1e3);
                process.kill();
            }
            took.remove(0);
            let max_ms = took.iter().copied().fold(0.0, f64::max);
            Ok(Ready {
                name: name.to_owned(),
                p50_ms: median(took),
                max_ms,
            })
        })
        .collect()
}

/// What this was measured on.
///
/// # Errors
/// If the machine does not say.
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
