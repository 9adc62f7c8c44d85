//! Readers in processes of their own, since one process may hold only a limited number of files
//! open.

use std::{
    env,
    io::{self, BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::{
    readers::{Readers, no_greeting},
    schedule::Schedule,
    statistics::percentile_ms,
    target::PATCH_STREAM,
    wire,
};

/// The subcommand of this program that is a worker process.
pub const WORKER_COMMAND: &str = "worker";

/// How many readers to connect, and for which events they wait.
#[derive(Args, Clone, Copy, Debug, PartialEq)]
pub struct WorkerArgs {
    /// The address where kairanban listens.
    #[arg(long)]
    pub address: SocketAddr,
    /// The number of readers to connect.
    #[arg(long)]
    pub readers: usize,
    /// Events published in a second.
    #[arg(long)]
    pub rate: f64,
    /// Seconds for which events are published.
    #[arg(long)]
    pub seconds: f64,
}

impl WorkerArgs {
    /// Returns the arguments that this program parses to these values.
    #[must_use]
    pub fn to_command_line(self) -> Vec<String> {
        let Self {
            address,
            readers,
            rate,
            seconds,
        } = self;
        let text = format!(
            "{WORKER_COMMAND} --address {address} --readers {readers} --rate {rate} --seconds \
             {seconds}"
        );
        text.split(' ').map(ToOwned::to_owned).collect()
    }
}

/// What the readers received.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct WorkerReport {
    /// Deliveries that did not arrive.
    pub lost: u64,
    /// Milliseconds until the last reader had an event: the median of all events.
    pub last_p50_ms: f64,
}

/// A process with readers. It is killed when dropped.
pub struct WorkerProcess {
    child: Child,
    /// The process begins when it reads a line.
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl WorkerProcess {
    /// Starts the process, and waits until all its readers are connected.
    ///
    /// # Errors
    /// If it cannot be started, or a reader is refused.
    pub fn start(args: WorkerArgs) -> Result<Self> {
        let mut child = Command::new(env::current_exe()?)
            .args(args.to_command_line())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start a worker process")?;
        let stdin = child.stdin.take().context("no input")?;
        let stdout = child.stdout.take().context("no output")?;
        let mut worker = Self {
            child,
            stdin,
            stdout: BufReader::new(stdout),
        };
        worker.read_line()?;
        Ok(worker)
    }

    /// Starts its clock: the first event is due in 100 ms.
    ///
    /// # Errors
    /// If the process has ended.
    pub fn begin(&mut self) -> Result<()> {
        Ok(writeln!(self.stdin)?)
    }

    /// Waits for the last event and returns what its readers received.
    ///
    /// # Errors
    /// If the process has ended.
    pub fn finish(mut self) -> Result<WorkerReport> {
        Ok(serde_json::from_str(&self.read_line()?)?)
    }

    fn read_line(&mut self) -> Result<String> {
        let mut line = String::new();
        ensure!(
            self.stdout.read_line(&mut line)? > 0,
            "a worker process has ended"
        );
        Ok(line)
    }
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs as a worker process: connects the readers, waits for a line, and prints the report.
///
/// # Errors
/// If one of its readers is refused, or a stream ends.
pub fn run(args: WorkerArgs) -> Result<()> {
    let WorkerArgs {
        address,
        readers,
        rate,
        seconds,
    } = args;
    let request = wire::get(&address.into(), PATCH_STREAM.path, PATCH_STREAM.headers);
    let mut readers = Readers::connect(address, readers, |_| request.clone(), no_greeting)?;
    let mut out = io::stdout();
    writeln!(out, "connected")?;
    ensure!(
        io::stdin().read_line(&mut String::new())? > 0,
        "the parent process has ended"
    );
    let stats = readers.receive(&Schedule::new(0, rate, seconds))?;
    let report = WorkerReport {
        lost: stats.lost,
        last_p50_ms: percentile_ms(&stats.last_us, 50.0),
    };
    Ok(writeln!(out, "{}", serde_json::to_string(&report)?)?)
}
