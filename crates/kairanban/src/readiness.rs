//! Composes what `/readyz` reports: whether requests should be sent here.

use std::time::Duration;

use kairanban_store::Timeouts;
use serde::Serialize;

use crate::{
    config::Config, service::BoardService, shutdown::Drain, supervise::Supervisor,
    telemetry::LogHealth,
};

/// Polls that the follower may miss, besides the time that the database may take, before it counts
/// as stuck.
const POLLS_MISSED_MAX: u32 = 10;

/// How ready the server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The server is healthy.
    Ready,
    /// It serves, but an administrator should look.
    Degraded,
    /// Others should serve instead.
    NotReady,
}

/// The answer, and why.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// How ready the server is.
    pub status: Status,
    /// Why it is not more ready.
    pub reasons: Vec<String>,
}

/// What readiness depends on.
#[derive(Clone, Debug)]
pub struct Readiness {
    drain: Drain,
    boards: BoardService,
    supervisor: Supervisor,
    log: LogHealth,
    silence_max: Duration,
}

impl Readiness {
    /// Creates a report of all of these.
    #[must_use]
    pub fn new(
        config: &Config,
        drain: Drain,
        boards: BoardService,
        supervisor: Supervisor,
        log: LogHealth,
    ) -> Self {
        let (
            poll,
            Timeouts {
                connect, statement, ..
            },
        ) = (config.database.poll, config.timeouts());
        let silence_max = poll * POLLS_MISSED_MAX + connect + statement;
        Self {
            drain,
            boards,
            supervisor,
            log,
            silence_max,
        }
    }

    /// Returns what announces the end of the server.
    #[must_use]
    pub const fn drain(&self) -> &Drain {
        &self.drain
    }

    /// Returns what counts the lines of the log that were lost.
    #[must_use]
    pub const fn log(&self) -> &LogHealth {
        &self.log
    }

    /// Reports how ready the server is now.
    #[must_use]
    pub fn report(&self) -> Report {
        let mut reasons: Vec<(Status, String)> = Vec::new();
        if self.drain.is_announced() {
            reasons.push((Status::NotReady, "draining".to_owned()));
        }
        if let Some(reason) = self.supervisor.end_reason() {
            reasons.push((Status::NotReady, format!("the process ends: {reason}")));
        }
        let follower = self.boards.follower();
        if let Some(fault) = follower.reading_fault() {
            reasons.push((Status::NotReady, format!("reading does not work: {fault}")));
        } else if follower.stale_since().is_some() {
            reasons.push((Status::NotReady, "the database is away".to_owned()));
        }
        let silence = follower.silence();
        if silence > self.silence_max {
            reasons.push((
                Status::NotReady,
                format!(
                    "the change log has not been read for {} s",
                    silence.as_secs()
                ),
            ));
        }
        let writer = self.boards.writer_health();
        if let Some(fault) = writer.fault() {
            reasons.push((Status::NotReady, format!("writing does not work: {fault}")));
        } else if let Some(cause) = writer.warning() {
            let reason = format!(
                "the last write failed because of something the database's owner added, such as a \
                 trigger: {cause}"
            );
            reasons.push((Status::Degraded, reason));
        }
        for failing in writer.failing() {
            reasons.push((
                Status::Degraded,
                format!("a kind of write does not work: {failing}"),
            ));
        }
        if let Some(reason) = stale_boards(&self.boards) {
            reasons.push((Status::Degraded, reason));
        }
        for name in self.supervisor.failing_tasks() {
            reasons.push((
                Status::Degraded,
                format!("{name} failed and was started again"),
            ));
        }
        let lost = self.log.lost();
        if lost > 0 {
            reasons.push((
                Status::Degraded,
                format!("the log cannot be written; {lost} lines are lost"),
            ));
        }
        let status = reasons
            .iter()
            .map(|(status, _)| *status)
            .max()
            .unwrap_or(Status::Ready);
        Report {
            status,
            reasons: reasons.into_iter().map(|(_, reason)| reason).collect(),
        }
    }
}

/// Describes which boards cannot be read, if there are any. The caller is unknown here, so only
/// public ones are named.
fn stale_boards(boards: &BoardService) -> Option<String> {
    let stale = boards.follower().stale_boards();
    if stale.is_empty() {
        return None;
    }
    let (open, others): (Vec<_>, Vec<_>) = stale.iter().partition(|board| boards.is_public(board));
    let mut names: Vec<_> = open.into_iter().map(ToString::to_string).collect();
    if !others.is_empty() {
        // Not even their number is shown.
        names.push("others".to_owned());
    }
    Some(format!("boards that cannot be read: {}", names.join(", ")))
}
