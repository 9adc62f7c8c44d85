//! Starts programs on the loopback network, measures them through `/proc`, and ends them by their
//! id.

use std::{
    fs,
    io::{Read as _, Write as _},
    iter::Sum,
    net::{SocketAddr, TcpListener, TcpStream},
    ops::{Range, Sub},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::schedule::pause;

const START_WAIT: Duration = Duration::from_secs(30);
const RETRY_AFTER: Duration = Duration::from_millis(2);
/// A tick of the clock in `/proc/<pid>/stat`: USER_HZ is 100 on every Linux.
const TICK: Duration = Duration::from_millis(10);

/// Processor time of a program.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu {
    /// In the program itself.
    pub user: Duration,
    /// In the system, on its behalf.
    pub system: Duration,
}

impl Cpu {
    /// Returns both together, in microseconds.
    #[must_use]
    pub fn micros(self) -> f64 {
        (self.user + self.system).as_secs_f64() * 1e6
    }
}

impl Sub for Cpu {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            user: self.user - before.user,
            system: self.system - before.system,
        }
    }
}

impl Sum for Cpu {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            user: sum.user + one.user,
            system: sum.system + one.system,
        })
    }
}

/// A running program. It is killed when dropped.
pub struct Process {
    child: Child,
    /// The address where it listens.
    pub address: SocketAddr,
    /// Time from its start until it answered.
    pub ready_after: Duration,
}

/// Ports that the system assigns to no connection by itself. An assigned port stays taken for a
/// while after its connection has ended, and not every program accepts such a port.
const PORTS: Range<u16> = 20_000..32_000;

/// Returns an address that was free a moment ago, as was the one with the next port. Never returns
/// the same twice.
///
/// # Errors
/// If no port of the range is left.
pub fn free_address() -> Result<SocketAddr> {
    static NEXT: AtomicU16 = AtomicU16::new(PORTS.start);
    loop {
        let port = NEXT.fetch_add(2, Ordering::Relaxed);
        ensure!(PORTS.contains(&port), "no port is free");
        if is_free(port) && is_free(port + 1) {
            return Ok(([127, 0, 0, 1], port).into());
        }
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

/// Returns whether a program of this name can be started.
#[must_use]
pub fn is_installed(program: &str) -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    program.contains('/') && fs::exists(program).unwrap_or(false)
        || std::env::split_paths(&folders)
            .chain(["/usr/sbin".into()])
            .any(|folder| folder.join(program).is_file())
}

impl Process {
    /// Starts a program and waits until `GET path` is answered at `address`.
    ///
    /// # Errors
    /// If it cannot be started, or does not answer.
    pub fn start(mut command: Command, address: SocketAddr, path: &str) -> Result<Self> {
        let began = Instant::now();
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let mut process = Self {
            child,
            address,
            ready_after: Duration::ZERO,
        };
        while !answers(address, path) {
            if let Some(status) = process.child.try_wait()? {
                bail!("{name} ended: {status}");
            }
            if began.elapsed() > START_WAIT {
                bail!("{name} does not answer at {address}{path}");
            }
            pause(RETRY_AFTER);
        }
        process.ready_after = began.elapsed();
        Ok(process)
    }

    /// Returns the processor time of the program and its children.
    ///
    /// # Errors
    /// If `/proc` cannot be read.
    pub fn cpu(&self) -> Result<Cpu> {
        let mut cpu = Cpu::default();
        for id in self.family()? {
            let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
            let fields: Vec<&str> = after_name(&stat).split_whitespace().collect();
            // utime and stime: fields 14 and 15, of which the first two stand before the name's
            // end.
            cpu.user += TICK * fields[11].parse::<u32>()?;
            cpu.system += TICK * fields[12].parse::<u32>()?;
        }
        Ok(cpu)
    }

    /// Returns the memory of the program and its children in bytes. What they share counts once.
    ///
    /// # Errors
    /// If `/proc` cannot be read.
    pub fn memory(&self) -> Result<u64> {
        let mut bytes = 0;
        for id in self.family()? {
            let rollup = fs::read_to_string(format!("/proc/{id}/smaps_rollup"))?;
            let pss = rollup
                .lines()
                .find_map(|line| line.strip_prefix("Pss:"))
                .context("no Pss")?;
            bytes += pss.trim().trim_end_matches(" kB").parse::<u64>()? * 1_024;
        }
        Ok(bytes)
    }

    /// Kills it, as a power cut would.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Returns its id and those of all its descendants.
    fn family(&self) -> Result<Vec<u32>> {
        let mut parents = Vec::new();
        for entry in fs::read_dir("/proc")?.flatten() {
            let Some(id) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse::<u32>().ok())
            else {
                continue;
            };
            // It may have ended since.
            let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else {
                continue;
            };
            if let Some(parent) = after_name(&stat)
                .split_whitespace()
                .nth(1)
                .and_then(|text| text.parse::<u32>().ok())
            {
                parents.push((id, parent));
            }
        }
        let mut family = vec![self.child.id()];
        let mut at = 0;
        while let Some(parent) = family.get(at).copied() {
            family.extend(
                parents
                    .iter()
                    .filter(|(_, of)| *of == parent)
                    .map(|(id, _)| *id),
            );
            at += 1;
        }
        Ok(family)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Children may outlive a killed parent: they are killed first.
        for id in self
            .family()
            .unwrap_or_default()
            .iter()
            .rev()
            .filter(|id| **id != self.child.id())
        {
            let _ = Command::new("kill").args(["-9", &id.to_string()]).status();
        }
        self.kill();
    }
}

/// Returns the fields behind the program's name, which may contain any character.
fn after_name(stat: &str) -> &str {
    stat.rsplit_once(')').map_or("", |(_, rest)| rest)
}

/// Waits until `GET path` is answered at an address, by any program.
///
/// # Errors
/// If it is not answered within 30 s.
pub fn wait_for(address: SocketAddr, path: &str) -> Result<()> {
    let began = Instant::now();
    while !answers(address, path) {
        if began.elapsed() > START_WAIT {
            bail!("no answer at {address}{path}");
        }
        pause(RETRY_AFTER);
    }
    Ok(())
}

fn answers(address: SocketAddr, path: &str) -> bool {
    let Ok(mut socket) = TcpStream::connect(address) else {
        return false;
    };
    let asked = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    let mut status = [0; 12];
    socket
        .set_read_timeout(Some(Duration::from_secs(1)))
        .is_ok()
        && socket.write_all(asked.as_bytes()).is_ok()
        && socket.read_exact(&mut status).is_ok()
        && status.starts_with(b"HTTP/1.")
        && status[9] < b'5'
}

/// Returns the settings that keep nginx's temporary files in its own folder.
#[must_use]
pub fn nginx_temp_paths() -> String {
    ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {kind}; "))
        .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpu(user_ms: u64, system_ms: u64) -> Cpu {
        Cpu {
            user: Duration::from_millis(user_ms),
            system: Duration::from_millis(system_ms),
        }
    }

    #[test]
    fn processor_times_are_added_and_subtracted_by_kind() {
        let sum: Cpu = [cpu(30, 5), cpu(10, 5)].into_iter().sum();
        let between = sum - cpu(20, 4);
        assert_eq!(
            (between.user, between.system),
            (Duration::from_millis(20), Duration::from_millis(6))
        );
        assert!((between.micros() - 26_000.0).abs() < 1e-6);
    }

    #[test]
    fn the_fields_begin_behind_a_name_that_may_hold_anything() {
        assert_eq!(after_name("7 (a) b (c)) S 1 7"), " S 1 7");
        assert_eq!(after_name("no name"), "");
    }
}
