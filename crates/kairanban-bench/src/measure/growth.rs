//! Growth: the cost of an event as something grows. The exponent is the slope of the line through
//! the points on logarithmic axes: 1 means proportional, 0 means constant.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use super::{connect, deliver, fill, join, publish_in_background, text};
use crate::{
    database::Postgres,
    process::Cpu,
    readers::{Readers, no_greeting},
    schedule::Schedule,
    statistics::{float, percentile_ms},
    target::{Kairanban, LIST_STREAM, PATCH_STREAM, RunningTarget, Target, floor, kairanban},
    wire,
    worker_process::{WorkerArgs, WorkerProcess},
};

/// Seconds for which events are published, for each point.
const SECONDS: f64 = 5.0;
/// The number of boards with readers, of a growing number of boards.
const WATCHED_BOARDS: u32 = 100;
/// The number of posts to these boards, for each point.
const POSTS_TO_BOARDS: u32 = 2_000;

/// A figure against what grows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Curve {
    /// What grows, in the plural.
    pub of: String,
    /// What is measured, with its unit.
    pub figure: String,
    /// The target, or the format of its readers.
    pub name: String,
    /// The number of what grows, and the figure at it.
    pub points: Vec<(f64, f64)>,
}

impl Curve {
    fn new(of: &str, figure: &str, name: &str) -> Self {
        Self {
            of: of.to_owned(),
            figure: figure.to_owned(),
            name: name.to_owned(),
            points: Vec::new(),
        }
    }

    /// Returns the slope on logarithmic axes, by least squares.
    #[must_use]
    pub fn exponent(&self) -> f64 {
        let logs: Vec<_> = self
            .points
            .iter()
            .filter(|(x, y)| *x > 0.0 && *y > 0.0)
            .map(|(x, y)| (x.ln(), y.ln()))
            .collect();
        let count = float(logs.len() as u64);
        let x = logs.iter().map(|point| point.0).sum::<f64>() / count;
        let y = logs.iter().map(|point| point.1).sum::<f64>() / count;
        let above: f64 = logs.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
        above / logs.iter().map(|point| (point.0 - x).powi(2)).sum::<f64>()
    }
}

/// Measures the processor time of an event against readers, of kairanban and of the floor.
///
/// # Errors
/// If a server cannot be started or used.
pub fn readers(most: usize) -> Result<Vec<Curve>> {
    let mut curves = Vec::new();
    for target in [kairanban("kairanban", Kairanban::default()), floor()] {
        let mut event = Curve::new("readers", "processor µs per event", target.name);
        let mut last = Curve::new("readers", "ms until the last reader has it", target.name);
        for readers in [10, 30, 100, 300, 1_000, 3_000, 10_000, 15_000]
            .into_iter()
            .filter(|readers| *readers <= most)
        {
            let running = target.start()?;
            let mut connected = connect(&running, readers)?;
            connected.idle(Duration::from_secs(1))?;
            // Enough events for the clock of the processor, which ticks a hundred times a second.
            let rate = if readers > 1_000 { 10.0 } else { 200.0 };
            let schedule = Schedule::new(0, rate, SECONDS);
            let (stats, cpu) = deliver(&running, &mut connected, schedule)?;
            event.points.push((
                float(readers as u64),
                cpu.micros() / f64::from(schedule.events),
            ));
            last.points
                .push((float(readers as u64), percentile_ms(&stats.last_us, 50.0)));
        }
        curves.extend([event, last]);
    }
    Ok(curves)
}

/// Measures the processor time of an event and the memory against boards, of which 100 have ten
/// readers each and the rest are idle.
///
/// # Errors
/// If a server cannot be started or used.
pub fn boards(most: u32, postgres: &Postgres) -> Result<Vec<Curve>> {
    let mut event = Curve::new(
        "boards",
        "processor µs per event of ten readers",
        "kairanban",
    );
    let mut memory = Curve::new("boards", "MiB of the server", "kairanban");
    for boards in [100, 1_000, 10_000, 100_000]
        .into_iter()
        .filter(|boards| *boards <= most)
    {
        let url = postgres.create_database()?;
        let ours = kairanban(
            "kairanban",
            Kairanban {
                database_url: Some(url.clone()),
                ..Kairanban::default()
            },
        );
        // The first start creates the schema.
        drop(ours.start()?);
        insert_boards(postgres, &url, boards)?;
        let running = ours.start()?;
        let cpu = post_to_watched_boards(&running)?;
        event
            .points
            .push((f64::from(boards), cpu.micros() / f64::from(POSTS_TO_BOARDS)));
        memory.points.push((
            f64::from(boards),
            float(running.process.memory()?) / 1_048_576.0,
        ));
    }
    Ok(vec![event, memory])
}

/// Inserts boards with one topic each.
fn insert_boards(postgres: &Postgres, url: &str, boards: u32) -> Result<()> {
    let last = boards - 1;
    let boards =
        format!("INSERT INTO boards (name) SELECT 'b' || n FROM generate_series(0, {last}) n");
    let topics = "INSERT INTO topics (board_id, comment) SELECT id, 'a' FROM boards";
    postgres.sql(url, &boards)?;
    postgres.sql(url, topics)?;
    Ok(())
}

/// Connects ten readers to each of the watched boards and posts to these boards in turn. Returns
/// the processor time of the server for the posts.
fn post_to_watched_boards(running: &RunningTarget<'_>) -> Result<Cpu> {
    let mut readers = Readers::connect(
        running.endpoint.address,
        10 * WATCHED_BOARDS as usize,
        |n| {
            let board = n % WATCHED_BOARDS as usize;
            let path = format!("/b/b{board}/stream?format=patch");
            wire::get(&running.endpoint, &path, "")
        },
        no_greeting,
    )?;
    readers.idle(Duration::from_secs(1))?;
    let before = running.process.cpu()?;
    let mut writer = running.connection()?;
    for n in 0..POSTS_TO_BOARDS {
        let path = format!("/b/b{}", n % WATCHED_BOARDS);
        let request = wire::post(&running.endpoint, &path, "text/plain", "", &text(n, 140));
        writer.send(&request)?;
    }
    readers.idle(Duration::from_secs(1))?;
    Ok(running.process.cpu()? - before)
}

/// Measures the processor time of an event against topics of the board, for readers of patches and
/// of lists.
///
/// # Errors
/// If a server cannot be started or used.
pub fn topics() -> Result<Vec<Curve>> {
    let mut curves = Vec::new();
    for (name, stream) in [("patch", PATCH_STREAM), ("list", LIST_STREAM)] {
        let mut event = Curve::new("topics", "processor µs per event of 100 readers", name);
        for topics in [10, 30, 100, 300, 1_000, 3_000] {
            let setup = Kairanban {
                settings: vec![("BOARD__TOPICS_MAX", (topics + 1_000).to_string())],
                ..Kairanban::default()
            };
            let target = Target {
                stream,
                ..kairanban(name, setup)
            };
            let running = target.start()?;
            fill(&running, topics)?;
            let mut connected = connect(&running, 100)?;
            connected.idle(Duration::from_secs(1))?;
            let schedule = Schedule::new(0, 40.0, SECONDS);
            let (_, cpu) = deliver(&running, &mut connected, schedule)?;
            event
                .points
                .push((f64::from(topics), cpu.micros() / f64::from(schedule.events)));
        }
        curves.push(event);
    }
    Ok(curves)
}

/// Measures the time to be ready, and the processor time of an event of one reader, against rows in
/// the change log.
///
/// # Errors
/// If a server cannot be started or used.
pub fn history(most: u32, postgres: &Postgres) -> Result<Vec<Curve>> {
    let mut event = Curve::new(
        "changes in the log",
        "processor µs per event of one reader",
        "kairanban",
    );
    let mut ready = Curve::new(
        "changes in the log",
        "ms until the server is ready",
        "kairanban",
    );
    for changes in [1_000, 10_000, 100_000, 1_000_000]
        .into_iter()
        .filter(|changes| *changes <= most)
    {
        let url = postgres.create_database()?;
        let settings = vec![("HISTORY__CHANGES_MAX", "100000000".to_owned())];
        let ours = kairanban(
            "kairanban",
            Kairanban {
                database_url: Some(url.clone()),
                settings,
            },
        );
        drop(ours.start()?);
        insert_topics(postgres, &url, changes)?;
        let running = ours.start()?;
        ready.points.push((
            f64::from(changes),
            running.process.ready_after.as_secs_f64() * 1e3,
        ));
        let mut connected = connect(&running, 1)?;
        connected.idle(Duration::from_secs(1))?;
        let schedule = Schedule::new(0, 100.0, SECONDS);
        let (_, cpu) = deliver(&running, &mut connected, schedule)?;
        event.points.push((
            f64::from(changes),
            cpu.micros() / f64::from(schedule.events),
        ));
    }
    Ok(vec![event, ready])
}

/// Inserts topics, each of which is a change, on as many boards as are needed to archive none.
fn insert_topics(postgres: &Postgres, url: &str, topics: u32) -> Result<()> {
    /// Fewer than a live list holds.
    const TOPICS_ON_BOARD: u32 = 400;
    let boards = format!(
        "INSERT INTO boards (name) SELECT 'b' || n \
         FROM generate_series(1, {topics} / {TOPICS_ON_BOARD}) n"
    );
    let topics = format!(
        "INSERT INTO topics (board_id, comment) SELECT 1 + n / {TOPICS_ON_BOARD}, 'a' \
         FROM generate_series(0, {topics} - 1) n"
    );
    postgres.sql(url, &boards)?;
    postgres.sql(url, &topics)?;
    Ok(())
}

/// Measures more readers than one process holds, 15,000 on each of several nodes: the processor
/// time of an event on all nodes together, and the time until its last reader has it.
///
/// # Errors
/// If a server cannot be started, or an event is lost.
pub fn nodes(most: usize, postgres: &Postgres) -> Result<Vec<Curve>> {
    let of = "nodes of 15,000 readers each";
    let mut event = Curve::new(
        of,
        "processor µs per event, all nodes together",
        "kairanban",
    );
    let mut last = Curve::new(of, "ms until the last reader has it", "kairanban");
    for nodes in [1, 2, 4].into_iter().filter(|nodes| *nodes <= most) {
        let setup = Kairanban {
            database_url: Some(postgres.create_database()?),
            ..Kairanban::default()
        };
        let ours = kairanban("kairanban", setup);
        let running = (0..nodes)
            .map(|_| ours.start())
            .collect::<Result<Vec<_>>>()?;
        let (event_us, last_ms) = deliver_on_nodes(&running)?;
        event.points.push((float(nodes as u64), event_us));
        last.points.push((float(nodes as u64), last_ms));
    }
    Ok(vec![event, last])
}

/// Publishes to 15,000 readers on each node. Returns the processor time of an event on all nodes
/// together in microseconds, and the milliseconds until the last reader of the slowest node has it.
fn deliver_on_nodes(nodes: &[RunningTarget<'_>]) -> Result<(f64, f64)> {
    const READERS: usize = 15_000;
    const RATE: f64 = 2.0;
    let mut workers = nodes
        .iter()
        .map(|node| {
            WorkerProcess::start(WorkerArgs {
                address: node.endpoint.address,
                readers: READERS,
                rate: RATE,
                seconds: 2.0 * SECONDS,
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let before = cpu_of_all(nodes)?;
    workers.iter_mut().try_for_each(WorkerProcess::begin)?;
    let schedule = Schedule::new(0, RATE, 2.0 * SECONDS);
    let publishing = publish_in_background(nodes.first().context("no node")?, schedule);
    let reports = workers
        .into_iter()
        .map(WorkerProcess::finish)
        .collect::<Result<Vec<_>>>()?;
    join(publishing)?;
    let lost: u64 = reports.iter().map(|report| report.lost).sum();
    ensure!(lost == 0, "{lost} deliveries were lost");
    let cpu = cpu_of_all(nodes)? - before;
    let last_ms = reports.iter().map(|report| report.last_p50_ms);
    Ok((
        cpu.micros() / f64::from(schedule.events),
        last_ms.fold(0.0, f64::max),
    ))
}

fn cpu_of_all(nodes: &[RunningTarget<'_>]) -> Result<Cpu> {
    nodes.iter().map(|node| node.process.cpu()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exponent_of(figure: fn(f64) -> f64) -> f64 {
        let points = [1.0, 10.0, 100.0].map(|x| (x, figure(x))).to_vec();
        let curve = Curve {
            points,
            ..Curve::new("x", "y", "z")
        };
        curve.exponent()
    }

    #[test]
    fn the_exponent_is_the_slope() {
        assert!((exponent_of(|x| 3.0 * x) - 1.0).abs() < 1e-9);
        assert!(exponent_of(|_| 7.0).abs() < 1e-9);
        assert!((exponent_of(|x| x * x) - 2.0).abs() < 1e-9);
    }
}
