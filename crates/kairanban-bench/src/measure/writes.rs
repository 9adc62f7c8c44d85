//! Writes: acknowledged posts in a second, with group commit and without; and the time from a
//! commit to its readers.

use std::{
    process::Command,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use super::{connect, deliver, text};
use crate::{
    database::Postgres,
    readers::DeliveryStats,
    saturate::{LoadStats, median_of, saturate},
    schedule::{Schedule, mark, pause},
    statistics::{median, percentile_ms},
    target::{Kairanban, Target, floor, kairanban},
};

const CONNECTIONS: usize = 64;
/// The number of readers that wait for a post.
const READERS: usize = 1_000;
const ROUND: Duration = Duration::from_secs(5);

/// Posts by 64 connections.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WriteFigures {
    /// The database, and how posts are committed.
    pub name: String,
    /// Posts acknowledged in a second.
    pub per_second: f64,
    /// Time of a post: the median.
    pub p50_ms: f64,
    /// Time of a post: the 99th percentile.
    pub p99_ms: f64,
    /// Processor time of the server for each post.
    pub request_us: f64,
}

/// Measures posts on Postgres as installed, which flushes each commit to the disk, and on SQLite;
/// with group commit and without.
///
/// # Errors
/// If a server cannot be started or refuses a post.
pub fn writes(rounds: usize, postgres: &Postgres) -> Result<Vec<WriteFigures>> {
    let ungrouped = Kairanban::with("DATABASE__WRITE_GROUP_MAX", "1");
    let ungrouped_on_postgres = Kairanban {
        database_url: Some(postgres.create_database()?),
        ..ungrouped.clone()
    };
    let targets = [
        kairanban("Postgres, one commit for each", ungrouped_on_postgres),
        kairanban("Postgres, group commit", Kairanban::on(postgres)?),
        kairanban("SQLite, one commit for each", ungrouped),
        kairanban("SQLite, group commit", Kairanban::default()),
    ];
    targets.iter().map(|target| posts(target, rounds)).collect()
}

fn posts(target: &Target, rounds: usize) -> Result<WriteFigures> {
    let running = target.start()?;
    let mut stats: Vec<LoadStats> = Vec::new();
    for _ in 0..rounds {
        stats.push(saturate(
            &running.process,
            CONNECTIONS,
            ROUND,
            |connection, n| {
                let number = n
                    .wrapping_mul(64)
                    .wrapping_add(u32::try_from(connection).unwrap_or_default());
                running.publish_request(&text(number % 1_000_000, target.text_bytes))
            },
        )?);
    }
    Ok(WriteFigures {
        name: target.name.to_owned(),
        per_second: median_of(&stats, |stats| stats.per_second),
        p50_ms: median_of(&stats, |stats| stats.p50_ms),
        p99_ms: median_of(&stats, |stats| stats.p99_ms),
        request_us: median_of(&stats, |stats| stats.request_us),
    })
}

/// The time from a commit to its readers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CommitLatency {
    /// The target, and from where to where.
    pub name: String,
    /// The number of readers.
    pub readers: usize,
    /// The median of all posts.
    pub p50_ms: f64,
    /// The 99th percentile of all posts.
    pub p99_ms: f64,
}

/// Measures the time from the commit, as Postgres records it (before it is flushed to the disk), to
/// one reader of an idle server and to the last of 1,000. The floor has nothing to commit: its time
/// is from the first of 1,000 readers to the last.
///
/// # Errors
/// If a server cannot be started or refuses a post.
pub fn commit_latency(postgres: &Postgres) -> Result<Vec<CommitLatency>> {
    let ours = Kairanban::on(postgres)?;
    let url = ours.database_url.clone().context("no database")?;
    let mut all = commit_to_one(&kairanban("kairanban, Postgres", ours), &url)?;
    let ours = Kairanban::on(postgres)?;
    let url = ours.database_url.clone().context("no database")?;
    all.push(commit_to_last(
        &kairanban("kairanban, Postgres", ours),
        &url,
        READERS,
    )?);
    for target in [
        floor(),
        kairanban("kairanban, Postgres", Kairanban::on(postgres)?),
        kairanban("kairanban, SQLite", Kairanban::default()),
    ] {
        let stats = deliver_posts(&target, READERS)?;
        let name = format!("{}: first reader → last", target.name);
        all.push(CommitLatency {
            name,
            readers: READERS,
            p50_ms: percentile_ms(&stats.spread_us, 50.0),
            p99_ms: percentile_ms(&stats.spread_us, 99.0),
        });
    }
    Ok(all)
}

/// Posts to one reader, each time after the last post has arrived.
fn commit_to_one(target: &Target, url: &str) -> Result<Vec<CommitLatency>> {
    const POSTS: u32 = 200;
    let running = target.start()?;
    let mut reader = running.connection()?;
    reader.open_stream(&running.stream_request())?;
    let mut writer = running.connection()?;
    let (mut arrived, mut from_request) = (Vec::new(), Vec::new());
    for n in 0..POSTS {
        pause(Duration::from_millis(20));
        let began = Instant::now();
        writer.send(&running.publish_request(&text(n, target.text_bytes)))?;
        reader.wait_for(mark(n).as_bytes())?;
        from_request.push(began.elapsed().as_secs_f64() * 1e3);
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
    let (commit, request) = (
        format!("{}: commit → one reader", target.name),
        format!("{}: request of the post → one reader", target.name),
    );
    Ok(vec![
        CommitLatency::of(commit, 1, from_commit),
        CommitLatency::of(request, 1, from_request),
    ])
}

impl CommitLatency {
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

/// Returns the time by the clock that Postgres records its commits with.
#[expect(
    clippy::disallowed_methods,
    reason = "it is compared with the clock of another process"
)]
fn epoch_s() -> Result<f64> {
    Ok(SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)?
        .as_secs_f64())
}

/// Returns when Postgres committed each topic, in seconds since 1970.
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

fn commit_to_last(target: &Target, url: &str, readers: usize) -> Result<CommitLatency> {
    let stats = deliver_posts(target, readers)?;
    let (now, now_s) = (Instant::now(), epoch_s()?);
    let committed = commits(url)?;
    ensure!(
        committed.len() == stats.last_at.len(),
        "{} commits of {} posts",
        committed.len(),
        stats.last_at.len()
    );
    let figures = stats
        .last_at
        .iter()
        .zip(committed)
        .map(|(last_at, committed)| {
            let last_s = now_s - (now - *last_at).as_secs_f64();
            (last_s - committed) * 1e3
        })
        .collect();
    Ok(CommitLatency::of(
        format!("{}: commit → last reader", target.name),
        readers,
        figures,
    ))
}

fn deliver_posts(target: &Target, readers: usize) -> Result<DeliveryStats> {
    let running = target.start()?;
    let mut readers = connect(&running, readers)?;
    readers.idle(Duration::from_secs(1))?;
    Ok(deliver(&running, &mut readers, Schedule::new(0, 10.0, 20.0))?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_99th_percentile_is_what_one_in_a_hundred_exceeds() {
        let many = CommitLatency::of("s".to_owned(), 1, (1..=200).rev().map(f64::from).collect());
        assert!(
            (many.p50_ms - 100.5).abs() < 1e-9 && (many.p99_ms - 199.0).abs() < 1e-9,
            "{many:?}"
        );
        let one = CommitLatency::of("s".to_owned(), 1, vec![4.0]);
        assert!(
            (one.p50_ms - 4.0).abs() < 1e-9 && (one.p99_ms - 4.0).abs() < 1e-9,
            "{one:?}"
        );
    }
}
