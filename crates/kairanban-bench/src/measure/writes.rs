//! Writes: posts that are acknowledged, many to a transaction and one to each; and how soon after its commit
//! a reader has one.

use std::{
    process::Command,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use super::{float, gather, median, text, watch};
use crate::{
    contender::{Contender, Kairanban, floor, kairanban},
    crowd::{Schedule, Seen},
    database::Postgres,
    drive::drive,
    publisher::pause,
};

const LINES: usize = 64;
/// Readers who wait for a post.
const CROWD: usize = 1_000;
const ROUND: Duration = Duration::from_secs(5);

/// Posts by 64 connections.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Writes {
    /// How they were committed.
    pub name: String,
    /// Acknowledged in a second.
    pub per_second: f64,
    /// The median of how long one took.
    pub p50_ms: f64,
    /// The same, at the slow end.
    pub p99_ms: f64,
    /// Processor time of the server for each.
    pub request_us: f64,
}

/// On Postgres as it comes, flushing each commit to the disk, and on SQLite; with groups and without.
///
/// # Errors
/// If something cannot be started.
pub fn writes(rounds: usize, postgres: &Postgres) -> Result<Vec<Writes>> {
    let alone = |how: Kairanban| Kairanban {
        settings: vec![("DATABASE__WRITE_GROUP_MAX", "1".to_owned())],
        ..how
    };
    let on_postgres = || -> Result<Kairanban> {
        Ok(Kairanban {
            database_url: Some(postgres.create_database()?),
            ..Kairanban::default()
        })
    };
    let contenders = [
        kairanban("Postgres, one commit for each", alone(on_postgres()?)),
        kairanban("Postgres, group commit", on_postgres()?),
        kairanban("SQLite, one commit for each", alone(Kairanban::default())),
        kairanban("SQLite, group commit", Kairanban::default()),
    ];
    contenders
        .iter()
        .map(|contender| posts(contender, rounds))
        .collect()
}

fn posts(contender: &Contender, rounds: usize) -> Result<Writes> {
    let running = contender.start()?;
    let mut driven = Vec::new();
    for _ in 0..rounds {
        driven.push(drive(&running.process, LINES, ROUND, |line, n| {
            let number = n
                .wrapping_mul(64)
                .wrapping_add(u32::try_from(line).unwrap_or_default());
            running.publish(&text(number % 1_000_000, contender.text_bytes))
        })?);
    }
    Ok(Writes {
        name: contender.name.to_owned(),
        per_second: median(driven.iter().map(|driven| driven.per_second).collect()),
        p50_ms: median(driven.iter().map(|driven| driven.p50_ms).collect()),
        p99_ms: median(driven.iter().map(|driven| driven.p99_ms).collect()),
        request_us: median(driven.iter().map(|driven| driven.request_us).collect()),
    })
}

/// How soon readers have what was committed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Soon {
    /// From where to where.
    pub name: String,
    /// Readers.
    pub readers: usize,
    /// The median.
    pub p50_ms: f64,
    /// The slow end.
    pub p99_ms: f64,
}

/// From the commit, as Postgres itself notes it (before it is flushed to the disk), to one reader of an idle server and to the
/// last of 1,000; beside the floor, which has nothing to commit, from the first of 1,000 readers to the last.
///
/// # Errors
/// If something cannot be started.
pub fn soon(postgres: &Postgres) -> Result<Vec<Soon>> {
    let how = || -> Result<Kairanban> {
        Ok(Kairanban {
            database_url: Some(postgres.create_database()?),
            ..Kairanban::default()
        })
    };
    let ours = how()?;
    let url = ours.database_url.clone().context("no database")?;
    let mut all = commit_to_one(&kairanban("kairanban, Postgres", ours), &url)?;
    let ours = how()?;
    let url = ours.database_url.clone().context("no database")?;
    all.push(commit_to_last(
        &kairanban("kairanban, Postgres", ours),
        &url,
        CROWD,
    )?);
    for contender in [
        floor(),
        kairanban("kairanban, Postgres", how()?),
        kairanban("kairanban, SQLite", Kairanban::default()),
    ] {
        let seen = posts_before_a_crowd(&contender, CROWD)?;
        let ms = |percent| float(seen.spread.value_at_percentile(percent)) / 1e3;
        let name = format!("{}: first reader → last", contender.name);
        all.push(Soon {
            name,
            readers: CROWD,
            p50_ms: ms(50.0),
            p99_ms: ms(99.0),
        });
    }
    Ok(all)
}

/// Posts now and then, each when the one before has long arrived, and one reader.
fn commit_to_one(contender: &Contender, url: &str) -> Result<Vec<Soon>> {
    const POSTS: u32 = 200;
    let running = contender.start()?;
    let mut reader = running.line()?;
    reader.listen(&running.subscribe())?;
    let mut line = running.line()?;
    let (mut arrived, mut asked) = (Vec::new(), Vec::new());
    for n in 0..POSTS {
        pause(Duration::from_millis(20));
        let began = Instant::now();
        line.ask(&running.publish(&text(n, contender.text_bytes)))?;
        reader.hear(super::mark(n).as_bytes())?;
        asked.push(began.elapsed().as_secs_f64() * 1e3);
        arrived.push(epoch_s()?);
    }
    let committed = commits(url)?;
    ensure!(
        committed.len() == arrived.len(),
        "{} commits of {POSTS} posts",
        committed.len()
    );
    let from_commit = arrived
        .iter()
        .zip(committed)
        .map(|(arrived, committed)| (arrived - committed) * 1e3)
        .collect();
    let soon = |what, figures| Soon::of(format!("{}: {what}", contender.name), 1, figures);
    Ok(vec![
        soon("commit → one reader", from_commit),
        soon("request of the post → one reader", asked),
    ])
}

impl Soon {
    fn of(name: String, readers: usize, mut figures: Vec<f64>) -> Self {
        figures.sort_by(f64::total_cmp);
        let p99_ms = figures
            .get(figures.len() * 99 / 100)
            .copied()
            .unwrap_or(f64::NAN);
        Self {
            name,
            readers,
            p50_ms: median(figures),
            p99_ms,
        }
    }
}

/// The clock that Postgres notes its commits by.
#[expect(
    clippy::disallowed_methods,
    reason = "it is another process's clock that this is held against"
)]
fn epoch_s() -> Result<f64> {
    Ok(SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)?
        .as_secs_f64())
}

/// When Postgres committed each topic, in seconds of the epoch.
fn commits(url: &str) -> Result<Vec<f64>> {
    let sql = "SELECT extract(epoch FROM pg_xact_commit_timestamp(xmin)) FROM topics ORDER BY id";
    let output = Command::new("psql")
        .args(["-qAtX", "-c", sql, url])
        .output()
        .context("psql")?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout)?
        .lines()
        .map(|line| Ok(line.parse()?))
        .collect()
}

fn commit_to_last(contender: &Contender, url: &str, readers: usize) -> Result<Soon> {
    let seen = posts_before_a_crowd(contender, readers)?;
    let (now, now_s) = (Instant::now(), epoch_s()?);
    let committed = commits(url)?;
    ensure!(
        committed.len() == seen.ended.len(),
        "{} commits of {} posts",
        committed.len(),
        seen.ended.len()
    );
    let ended_s = |ended: &Instant| now_s - (now - *ended).as_secs_f64();
    let figures = seen
        .ended
        .iter()
        .zip(committed)
        .map(|(ended, committed)| (ended_s(ended) - committed) * 1e3)
        .collect();
    Ok(Soon::of(
        format!("{}: commit → last reader", contender.name),
        readers,
        figures,
    ))
}

fn posts_before_a_crowd(contender: &Contender, readers: usize) -> Result<Seen> {
    let running = contender.start()?;
    let mut crowd = gather(&running, readers)?;
    crowd.idle(Duration::from_secs(1))?;
    Ok(watch(&running, &mut crowd, Schedule::new(0, 10.0, 20.0))?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slow_end_is_what_one_in_a_hundred_exceeds() {
        let soon = Soon::of("s".to_owned(), 1, (1..=200).rev().map(f64::from).collect());
        assert!(
            (soon.p50_ms - 100.5).abs() < 1e-9 && (soon.p99_ms - 199.0).abs() < 1e-9,
            "{soon:?}"
        );
        let one = Soon::of("s".to_owned(), 1, vec![4.0]);
        assert!(
            (one.p50_ms - 4.0).abs() < 1e-9 && (one.p99_ms - 4.0).abs() < 1e-9,
            "{one:?}"
        );
    }
}
