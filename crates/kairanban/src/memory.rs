//! Returns memory to the system after many readers have connected.
//!
//! A request takes ten times the memory of its stream. The allocator keeps what is freed for a
//! second, in case it is needed again, and then returns it; but it checks for that only when it
//! frees a whole page of its own. A server that becomes idle, as it does once its readers are
//! connected, frees none, and would keep what all their requests took.

use std::{hint::black_box, time::Duration};

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::failpoint;

/// As long as the allocator keeps what is free.
const INTERVAL: Duration = Duration::from_secs(1);
/// Larger than what shares a page: the allocator frees the page with it.
const PAGE: usize = 1_024 * 1_024;

/// Makes the allocator return free memory every second until `stop`. Takes some microseconds each
/// time.
pub async fn run(stop: &CancellationToken) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        failpoint::pass("memory");
        // Nothing is written there, so the system need not find room for it.
        drop(black_box(Vec::<u8>::with_capacity(PAGE)));
    }
}
