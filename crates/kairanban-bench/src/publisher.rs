//! Publishes at the times of a schedule, over one connection.

use std::{net::SocketAddr, time::Instant};

use anyhow::Result;

use crate::{
    http_connection::HttpConnection,
    schedule::{Schedule, pause},
};

/// Publishes each event of `schedule` when it is due, or as soon after as the server has answered
/// the one before.
///
/// # Errors
/// If the server refuses one.
pub fn publish(
    address: SocketAddr,
    schedule: Schedule,
    request: impl Fn(u32) -> Vec<u8>,
) -> Result<()> {
    let mut connection = HttpConnection::open(address)?;
    for n in schedule.numbers() {
        pause(schedule.due(n).saturating_duration_since(Instant::now()));
        connection.send(&request(n))?;
    }
    Ok(())
}
