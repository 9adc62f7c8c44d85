//! Who is measured: how each is started, read from and published to.

mod ours;
mod peers;

use std::{
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::{
    process::{self, Process},
    publisher::Line,
    wire::Door,
};

pub use ours::{Kairanban, LIST, PATCH, floor, kairanban, kairanban_private};
pub use peers::peers;

/// A program that streams to readers what is published.
pub struct Contender {
    /// Its name in tables.
    pub name: &'static str,
    /// Why it cannot be started here, if so.
    pub missing: Option<String>,
    /// How it is started, its files being in a folder of its own.
    pub command: Start,
    /// An address that is answered as soon as it serves.
    pub ready: &'static str,
    /// Does what has to be done before it can be used, its files being in a folder, and says how to ask it.
    pub prepare: fn(&Path, SocketAddr) -> Result<Door>,
    /// What a reader asks for.
    pub subscribe: fn(&Door) -> Vec<u8>,
    /// What a reader has to do once it was sent something; `false` while that was not enough.
    pub greet: Greet,
    /// What publishes a text.
    pub publish: fn(&Door, &str) -> Vec<u8>,
    /// How far the port for that is from the one for readers.
    pub publish_port: u16,
    /// How many bytes of text make its events about as long as ours.
    pub text_bytes: usize,
    /// Whether our own client can follow it.
    pub is_ours: bool,
    /// What is enough for it.
    pub bounds: Bounds,
}

/// What more of would say nothing of a contender, or end the measurement.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Streams.
    pub readers: usize,
    /// Events in a second that it tells one by one.
    pub rate: f64,
    /// Seconds in which nothing happens to a stream.
    pub idle_s: f64,
}

impl Bounds {
    /// As much as one likes.
    pub const NONE: Self = Self {
        readers: usize::MAX,
        rate: f64::MAX,
        idle_s: f64::MAX,
    };
}

/// See [`Contender::command`].
pub type Start = Box<dyn Fn(&Path, SocketAddr) -> Result<Command>>;

/// See [`Contender::greet`].
pub type Greet = fn(SocketAddr, &[u8]) -> Result<bool>;

/// A contender that runs, and its files.
pub struct Running<'a> {
    /// Which.
    pub contender: &'a Contender,
    /// The program.
    pub process: Process,
    /// How it is asked.
    pub door: Door,
    /// Its files, for as long as it runs.
    _folder: TempDir,
}

impl Contender {
    /// Starts it.
    ///
    /// # Errors
    /// If it does not come up.
    pub fn start(&self) -> Result<Running<'_>> {
        let folder = tempfile::tempdir()?;
        let address = process::free_address()?;
        let mut command = (self.command)(folder.path(), address)?;
        if !self.is_ours {
            // What it says while nothing is wrong.
            command.stderr(Stdio::null());
        }
        let process =
            Process::start(command, address, self.ready).with_context(|| self.name.to_owned())?;
        let door = (self.prepare)(folder.path(), address)
            .with_context(|| format!("{} cannot be set up", self.name))?;
        Ok(Running {
            contender: self,
            process,
            door,
            _folder: folder,
        })
    }
}

impl Running<'_> {
    /// A connection of somebody who asks one thing after the other.
    ///
    /// # Errors
    /// If that is refused.
    pub fn line(&self) -> Result<Line> {
        Line::open(self.door.address)
    }

    /// What a reader asks for.
    #[must_use]
    pub fn subscribe(&self) -> Vec<u8> {
        (self.contender.subscribe)(&self.door)
    }

    /// What publishes a text.
    #[must_use]
    pub fn publish(&self, text: &str) -> Vec<u8> {
        (self.contender.publish)(&self.door, text)
    }
}

/// The port that is so far from another.
#[must_use]
pub fn next_port(address: SocketAddr, by: u16) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port().wrapping_add(by))
}

fn nothing_to_prepare(_: &Path, address: SocketAddr) -> Result<Door> {
    Ok(address.into())
}

/// For a [`Greet`] that has nothing to do.
///
/// # Errors
/// None.
pub fn any_bytes_will_do(_: SocketAddr, _: &[u8]) -> Result<bool> {
    Ok(true)
}

fn missing(program: &str, what: &str) -> Option<String> {
    (!process::is_installed(program)).then(|| format!("{what} is not installed"))
}

fn ask(address: SocketAddr, request: &[u8]) -> Result<Vec<u8>> {
    let mut line = Line::open(address)?;
    line.ask(request)?;
    Ok(line.heard().to_vec())
}
