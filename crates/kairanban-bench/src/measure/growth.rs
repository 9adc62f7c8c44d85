//! Growth: what an event costs as there is more of something. The exponent is the slope of the line through the
//! points, both axes being logarithmic: 1 is proportional, 0 is free.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use serde::{Deserialize, Serialize};

use super::{fill, float, gather, text, watch};
use crate::{
    apart::{Apart, Invitation},
    contender::{Contender, Kairanban, LIST, PATCH, Running, any_bytes_will_do, floor, kairanban},
    crowd::{Crowd, Schedule},
    database::Postgres,
    process::Cpu,
    wire,
};

/// Of each point.
const SECONDS: f64 = 5.0;

/// One curve.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Curve {
    /// What grows.
    pub of: String,
    /// What is looked at, with its unit.
    pub figure: String,
    /// Who.
    pub name: String,
    /// How many, and the figure.
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

    /// The slope on logarithmic axes, by least squares.
    #[must_use]
    pub fn exponent(&self) -> f64 {
        let logs: Vec<_> = self
            .points
            .iter()
            .filter(|(x, y)| *x > 0.0 && *y > 0.0)
            .map(|(x, y)| (x.ln(), y.ln()))
            .collect();
        let count = float(logs.len() as u64);
        let mean = |of: fn(&(f64, f64)) -> f64| logs.iter().map(of).sum::<f64>() / count;
        let (x, y) = (mean(|point| point.0), mean(|point| point.1));
        let above: f64 = logs.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
        above / logs.iter().map(|point| (point.0 - x).powi(2)).sum::<f64>()
    }
}

/// Processor time of an event against readers, of us and of the floor.
///
/// # Errors
/// If something cannot be started.
pub fn readers(most: usize) -> Result<Vec<Curve>> {
    let mut curves = Vec::new();
    for contender in [kairanban("kairanban", Kairanban::default()), floor()] {
        let mut event = Curve::new("readers", "processor µs per event", contender.name);
        let mut last = Curve::new("readers", "ms until the last reader has it", contender.name);
        for readers in [10, 30, 100, 300, 1_000, 3_000, 10_000, 15_000]
            .into_iter()
            .filter(|readers| *readers <= most)
        {
            let running = contender.start()?;
            let mut crowd = gather(&running, readers)?;
            crowd.idle(Duration::from_secs(1))?;
            // Enough events for the clock of the processor, which ticks a hundred times a second.
            let rate = if readers > 1_000 { 10.0 } else { 200.0 };
            let schedule = Schedule::new(0, rate, SECONDS);
            let (seen, cpu) = watch(&running, &mut crowd, schedule)?;
            event.points.push((
                float(readers as u64),
                cpu.micros() / f64::from(schedule.events),
            ));
            last.points.push((
                float(readers as u64),
                float(seen.last.value_at_percentile(50.0)) / 1e3,
            ));
        }
        curves.extend([event, last]);
    }
    Ok(curves)
}

/// The same against boards, of which 100 are watched by ten readers each and the rest are idle.
///
/// # Errors
/// If something cannot be started.
pub fn boards(most: u32, postgres: &Postgres) -> Result<Vec<Curve>> {
    const WATCHED: u32 = 100;
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
        drop(ours.start()?);
        postgres.sql(
            &url,
            &format!(
                "INSERT INTO boards (name) SELECT 'b' || n FROM generate_series(0, {}) n",
                boards - 1
            ),
        )?;
        postgres.sql(
            &url,
            "INSERT INTO topics (board_id, comment) SELECT id, 'a' FROM boards",
        )?;
        let running = ours.start()?;
        let ask = |n: usize| {
            wire::get(
                &running.door,
                &format!("/b/b{}/stream?format=patch", n % WATCHED as usize),
                "",
            )
        };
        let mut crowd = Crowd::gather(
            running.door.address,
            10 * WATCHED as usize,
            ask,
            any_bytes_will_do,
        )?;
        crowd.idle(Duration::from_secs(1))?;
        let before = running.process.cpu()?;
        let mut line = running.line()?;
        const POSTS: u32 = 2_000;
        for n in 0..POSTS {
            line.ask(&wire::post(
                &running.door,
                &format!("/b/b{}", n % WATCHED),
                "text/plain",
                "",
                &text(n, 140),
            ))?;
        }
        crowd.idle(Duration::from_secs(1))?;
        let cpu = running.process.cpu()? - before;
        event
            .points
            .push((f64::from(boards), cpu.micros() / f64::from(POSTS)));
        memory.points.push((
            f64::from(boards),
            float(running.process.memory()?) / 1_048_576.0,
        ));
    }
    Ok(vec![event, memory])
}

/// The same against topics of the board, for readers of patches and of lists.
///
/// # Errors
/// If something cannot be started.
pub fn topics() -> Result<Vec<Curve>> {
    let mut curves = Vec::new();
    for (name, subscribe) in [("patch", PATCH), ("list", LIST)] {
        let mut event = Curve::new("topics", "processor µs per event of 100 readers", name);
        for topics in [10, 30, 100, 300, 1_000, 3_000] {
            let how = Kairanban {
                settings: vec![("BOARD__TOPICS_MAX", (topics + 1_000).to_string())],
                ..Kairanban::default()
            };
            let contender = Contender {
                subscribe,
                ..kairanban(name, how)
            };
            let running = contender.start()?;
            fill(&running, topics)?;
            let mut crowd = gather(&running, 100)?;
            crowd.idle(Duration::from_secs(1))?;
            let schedule = Schedule::new(0, 40.0, SECONDS);
            let (_, cpu) = watch(&running, &mut crowd, schedule)?;
            event
                .points
                .push((f64::from(topics), cpu.micros() / f64::from(schedule.events)));
        }
        curves.push(event);
    }
    Ok(curves)
}

/// The time to be ready, and of an event of one reader, against rows in the change log.
///
/// # Errors
/// If something cannot be started.
pub fn history(most: u32, postgres: &Postgres) -> Result<Vec<Curve>> {
    /// Fewer than a live list holds, so that nothing has to be archived while this is measured.
    const TOPICS: u32 = 400;
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
        postgres
            .sql(&url, &format!("INSERT INTO boards (name) SELECT 'b' || n FROM generate_series(1, {changes} / {TOPICS}) n"))?;
        postgres.sql(
            &url,
            &format!(
                "INSERT INTO topics (board_id, comment) SELECT 1 + n / {TOPICS}, 'a' FROM generate_series(0, {changes} - 1) n"
            ),
        )?;
        let running = ours.start()?;
        ready.points.push((
            f64::from(changes),
            running.process.ready_after.as_secs_f64() * 1e3,
        ));
        let mut crowd = gather(&running, 1)?;
        crowd.idle(Duration::from_secs(1))?;
        let schedule = Schedule::new(0, 100.0, SECONDS);
        let (_, cpu) = watch(&running, &mut crowd, schedule)?;
        event.points.push((
            f64::from(changes),
            cpu.micros() / f64::from(schedule.events),
        ));
    }
    Ok(vec![event, ready])
}

/// More readers than one process takes: 15,000 on each of several nodes. Processor time of all of them together for an
/// event, and when its last reader has it.
///
/// # Errors
/// If something cannot be started, or an event is lost.
pub fn nodes(most: usize, postgres: &Postgres) -> Result<Vec<Curve>> {
    const READERS: usize = 15_000;
    const RATE: f64 = 2.0;
    let mut event = Curve::new(
        "nodes of 15,000 readers each",
        "processor µs per event, all nodes together",
        "kairanban",
    );
    let mut last = Curve::new(
        "nodes of 15,000 readers each",
        "ms until the last reader has it",
        "kairanban",
    );
    for nodes in [1, 2, 4].into_iter().filter(|nodes| *nodes <= most) {
        let ours = kairanban(
            "kairanban",
            Kairanban {
                database_url: Some(postgres.create_database()?),
                ..Kairanban::default()
            },
        );
        let running = (0..nodes)
            .map(|_| ours.start())
            .collect::<Result<Vec<_>>>()?;
        let invite = |node: &Running<'_>| {
            Apart::gather(Invitation {
                address: node.door.address,
                readers: READERS,
                rate: RATE,
                seconds: 2.0 * SECONDS,
            })
        };
        let mut crowds = running.iter().map(invite).collect::<Result<Vec<_>>>()?;
        let cpu = || {
            running
                .iter()
                .map(|node| node.process.cpu())
                .sum::<Result<Cpu>>()
        };
        let before = cpu()?;
        crowds.iter_mut().try_for_each(Apart::begin)?;
        let schedule = Schedule::new(0, RATE, 2.0 * SECONDS);
        let publishing = super::publish_aside(running.first().context("no node")?, schedule);
        let told = crowds
            .into_iter()
            .map(Apart::end)
            .collect::<Result<Vec<_>>>()?;
        publishing
            .join()
            .map_err(|_| anyhow!("the publisher panicked"))??;
        let lost: u64 = told.iter().map(|told| told.lost).sum();
        ensure!(lost == 0, "{lost} deliveries were lost");
        event.points.push((
            float(nodes as u64),
            (cpu()? - before).micros() / f64::from(schedule.events),
        ));
        last.points.push((
            float(nodes as u64),
            told.iter().map(|told| told.last_p50_ms).fold(0.0, f64::max),
        ));
    }
    Ok(vec![event, last])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponent_is_the_slope() {
        let of = |figure: fn(f64) -> f64| {
            let points = [1.0, 10.0, 100.0].map(|x| (x, figure(x))).to_vec();
            Curve {
                points,
                ..Curve::new("x", "y", "z")
            }
            .exponent()
        };
        assert!(
            (of(|x| 3.0 * x) - 1.0).abs() < 1e-9
                && of(|_| 7.0).abs() < 1e-9
                && (of(|x| x * x) - 2.0).abs() < 1e-9
        );
    }
}
