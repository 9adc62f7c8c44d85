//! The process as Linux sees it, under the names that the clients of Prometheus use.

use std::fmt;

use procfs::{
    WithCurrentSystemInfo as _, boot_time_secs,
    process::{LimitValue, Process, Stat},
    ticks_per_second,
};
use prometheus_client::{collector::Collector, encoding::DescriptorEncoder};

use super::figures::{Row, encode_row};

/// Reads what `/proc` says of this process each time that metrics are read. What cannot be read is
/// left out.
#[derive(Debug)]
pub(super) struct ProcessCollector;

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Ok(process) = Process::myself() else {
            return Ok(());
        };
        let files = [
            process.fd_count().ok().map(|open| {
                let open = Row::Gauge(open as f64);
                ("process_open_fds", "Open files", open)
            }),
            files_max(&process).map(|max| {
                let max = Row::Gauge(max as f64);
                ("process_max_fds", "Files that may be open", max)
            }),
        ];
        let stat = process.stat().map(|stat| of_stat(&stat));
        let rows = files
            .into_iter()
            .flatten()
            .chain(stat.into_iter().flatten());
        for (name, help, row) in rows {
            encode_row(&mut encoder, name, help, row)?;
        }
        Ok(())
    }
}

fn files_max(process: &Process) -> Option<u64> {
    match process.limits().ok()?.max_open_files.soft_limit {
        LimitValue::Value(max) => Some(max),
        LimitValue::Unlimited => None,
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "exposed are numbers with a point"
)]
fn of_stat(stat: &Stat) -> Vec<(&'static str, &'static str, Row)> {
    let seconds = |ticks: u64| ticks as f64 / ticks_per_second() as f64;
    let mut rows = vec![
        (
            "process_resident_memory_bytes",
            "Memory in use",
            Row::Gauge(stat.rss_bytes().get() as f64),
        ),
        (
            "process_cpu_seconds",
            "Time of processors",
            Row::FloatCounter(seconds(stat.utime + stat.stime)),
        ),
        (
            "process_threads",
            "Threads",
            Row::Gauge(stat.num_threads as f64),
        ),
    ];
    if let Ok(boot) = boot_time_secs() {
        rows.push((
            "process_start_time_seconds",
            "When the process began, in seconds since 1970",
            Row::Gauge(boot as f64 + seconds(stat.starttime)),
        ));
    }
    rows
}
