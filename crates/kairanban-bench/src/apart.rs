//! Crowds in processes of their own, since one process may hold only so many files open.

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
    contender::{PATCH, any_bytes_will_do},
    crowd::{Crowd, Schedule},
    measure::float,
};

/// Who is to come, and what to look for.
#[derive(Args, Clone, Copy, Debug)]
pub struct Invitation {
    /// Where kairanban listens.
    #[arg(long)]
    pub address: SocketAddr,
    #[arg(long)]
    pub readers: usize,
    /// Events in a second.
    #[arg(long)]
    pub rate: f64,
    #[arg(long)]
    pub seconds: f64,
}

/// What the readers saw.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Told {
    /// Deliveries that did not come.
    pub lost: u64,
    /// Until the last reader had an event; the median of all events.
    pub last_p50_ms: f64,
}

/// A crowd in another process. Ended when dropped.
pub struct Apart {
    child: Child,
    /// A line to it has it begin.
    begin: ChildStdin,
    said: BufReader<ChildStdout>,
}

impl Apart {
    /// Starts the process, and waits until all its readers are connected.
    ///
    /// # Errors
    /// If one of them is refused.
    pub fn gather(invitation: Invitation) -> Result<Self> {
        let Invitation {
            address,
            readers,
            rate,
            seconds,
        } = invitation;
        let arguments = format!(
            "crowd --address {address} --readers {readers} --rate {rate} --seconds {seconds}"
        );
        let mut child = Command::new(env::current_exe()?)
            .args(arguments.split(' '))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start another crowd")?;
        let (begin, said) = (
            child.stdin.take().context("no input")?,
            child.stdout.take().context("no output")?,
        );
        let mut crowd = Self {
            child,
            begin,
            said: BufReader::new(said),
        };
        crowd.hear()?;
        Ok(crowd)
    }

    /// Has it expect the first event in a moment.
    ///
    /// # Errors
    /// If it has ended.
    pub fn begin(&mut self) -> Result<()> {
        Ok(writeln!(self.begin)?)
    }

    /// Waits for the last event.
    ///
    /// # Errors
    /// If it has ended.
    pub fn end(mut self) -> Result<Told> {
        Ok(serde_json::from_str(&self.hear()?)?)
    }

    fn hear(&mut self) -> Result<String> {
        let mut line = String::new();
        ensure!(self.said.read_line(&mut line)? > 0, "a crowd went away");
        Ok(line)
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Is such a crowd.
///
/// # Errors
/// If one of its readers is refused, or a stream ends.
pub fn attend(invitation: Invitation) -> Result<()> {
    let Invitation {
        address,
        readers,
        rate,
        seconds,
    } = invitation;
    let door = address.into();
    let mut crowd = Crowd::gather(address, readers, |_| PATCH(&door), any_bytes_will_do)?;
    let mut out = io::stdout();
    writeln!(out, "there")?;
    ensure!(
        io::stdin().read_line(&mut String::new())? > 0,
        "nobody waits any more"
    );
    let seen = crowd.watch(&Schedule::new(0, rate, seconds))?;
    let told = Told {
        lost: seen.lost,
        last_p50_ms: float(seen.last.value_at_percentile(50.0)) / 1e3,
    };
    Ok(writeln!(out, "{}", serde_json::to_string(&told)?)?)
}
