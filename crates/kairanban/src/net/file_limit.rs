//! Adapts the limits of connections and streams to the number of files that the process may open:
//! each connection is one.

use std::{num::NonZero, thread::available_parallelism};

use crate::{
    config::{Config, LimitsSettings},
    exit::ExitError,
};

/// Files besides connections: the log, the listener, what is read and written for a moment.
const FILES_OF_PROCESS: usize = 32;
/// Files of a worker: its timers and wakers, and connections that are accepted and not yet counted.
const FILES_OF_WORKER: usize = 12;
/// Connections of a worker that may be accepted and not yet counted.
pub const UNCOUNTED_OF_WORKER: usize = 4;
/// Files of a connection to the database: for SQLite the database, its log and a journal.
const FILES_OF_DATABASE_CONNECTION: usize = 3;
/// Connections to the database besides those of requests: the writer's, LISTEN, Redis, checks.
const OTHER_DATABASE_CONNECTIONS: usize = 4;
/// With fewer connections than these it makes no sense to start.
const CONNECTIONS_MIN: usize = 16;

/// Returns the configured number of workers, or one per processor for 0.
#[must_use]
pub fn worker_count(config: &Config) -> usize {
    NonZero::new(config.server.workers)
        .or_else(|| available_parallelism().ok())
        .map_or(1, NonZero::get)
}

/// Returns how many connections the limits allow, streams among them.
#[must_use]
pub const fn connections(limits: &LimitsSettings) -> usize {
    limits
        .streams_max
        .saturating_add(limits.connections_max.get())
        .saturating_add(limits.connections_kept)
}

/// Asks the system for as many open files as the configuration needs, and returns the configuration
/// with the limits that the granted number allows.
///
/// # Errors
/// If that is too few to serve any client.
pub fn fit(config: &Config) -> Result<Config, ExitError> {
    let reserved = reserved(config);
    let wanted = connections(&config.limits).saturating_add(reserved);
    let granted = match rlimit::increase_nofile_limit(wanted as u64) {
        Ok(granted) => usize::try_from(granted).unwrap_or(usize::MAX),
        Err(error) => {
            tracing::warn!(%error, wanted, "cannot read the limit of open files");
            return Ok(config.clone());
        }
    };
    let room = granted.saturating_sub(reserved);
    if granted >= wanted {
        return Ok(config.clone());
    }
    if room < CONNECTIONS_MIN {
        return Err(ExitError::Unusable(format!(
            "the limit of open files is {granted}, and {} are needed at least: raise it with \
             `ulimit -n {wanted}`, or with LimitNOFILE={wanted} in the systemd unit",
            reserved + CONNECTIONS_MIN
        )));
    }
    let mut fitted = config.clone();
    fitted.limits = lowered(&config.limits, room);
    tracing::warn!(
        granted,
        wanted,
        streams_max = fitted.limits.streams_max,
        connections_max = fitted.limits.connections_max,
        "the limit of open files allows fewer streams and connections than are configured: raise \
         it with `ulimit -n {wanted}`, or with LimitNOFILE={wanted} in the systemd unit"
    );
    Ok(fitted)
}

fn reserved(config: &Config) -> usize {
    let database = config.database.pool_max.get() as usize
        + config.database.pool_abandoned_max as usize
        + config.database.write_abandoned_max
        + OTHER_DATABASE_CONNECTIONS;
    FILES_OF_PROCESS
        + FILES_OF_WORKER * worker_count(config)
        + FILES_OF_DATABASE_CONNECTION * database
}

/// Divides `room` connections: an eighth is kept for probes at most, a quarter is for what is no
/// stream unless streams leave more.
fn lowered(limits: &LimitsSettings, room: usize) -> LimitsSettings {
    let kept = limits.connections_kept.min(room / 8);
    let others = limits.connections_max.get().min(room / 4);
    let streams = limits.streams_max.min(room - kept - others);
    let others = limits.connections_max.get().min(room - kept - streams);
    let others = NonZero::new(others).unwrap_or(NonZero::<usize>::MIN);
    // One client must not take all connections.
    let half = NonZero::new(others.get() / 2).unwrap_or(NonZero::<usize>::MIN);
    LimitsSettings {
        streams_max: streams,
        connections_max: others,
        connections_kept: kept,
        connections_per_client_max: limits.connections_per_client_max.min(half),
        ..limits.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Overrides;

    #[test]
    fn every_limit_is_kept_to_and_leaves_room_for_each_kind() {
        let config = Config::load(&Overrides::default(), []).expect("the defaults");
        for room in CONNECTIONS_MIN..connections(&config.limits) {
            let limits = lowered(&config.limits, room);
            assert_eq!(connections(&limits), room, "{room}: all is used");
            assert!(limits.streams_max >= room / 2, "{room}");
            assert!(limits.connections_kept >= 2, "{room}");
            let a_client = limits.connections_per_client_max.get();
            assert!(a_client <= limits.connections_max.get() / 2, "{room}");
        }
    }
}
