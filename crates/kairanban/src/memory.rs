//! Giving memory back to the system once a crowd has come in.
//!
//! A connection's request takes ten times what its stream takes afterwards. The allocator keeps what is freed for a second, in case it
//! is wanted again, and then gives it back; but it looks for that only when it frees a whole page of its own. A server that falls
//! silent, as it does once its readers are there, frees none, and would keep what all their requests took together.

use std::{hint::black_box, time::Duration};

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::failpoint;

/// Between two looks, as long as the allocator keeps what is free.
const INTERVAL: Duration = Duration::from_secs(1);
/// More than the allocator puts beside others: such a piece has a page of its own, which is freed with it.
const PAGE: usize = 1_024 * 1_024;

/// Has the allocator look at what is free every second until told to stop; some microseconds each time.
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
