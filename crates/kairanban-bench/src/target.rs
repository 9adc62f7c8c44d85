//! The programs that are measured: how each is started, read from and published to.

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
    http_connection::HttpConnection,
    process::{self, Process},
    readers::Greet,
    wire::{self, Endpoint},
};

pub use ours::{Kairanban, LIST_STREAM, PATCH_STREAM, floor, kairanban, kairanban_private};
pub use peers::peers;

/// A program that streams to readers what is published.
pub struct Target {
    /// Its name in tables.
    pub name: &'static str,
    /// Why it cannot be started here; `None` if it can.
    pub missing: Option<String>,
    /// Returns the command that starts it.
    pub command: StartCommand,
    /// A path that is answered as soon as it serves.
    pub ready_path: &'static str,
    /// Sets it up once it serves.
    pub prepare: Prepare,
    /// What a reader requests.
    pub stream: StreamRequest,
    /// What a reader has to do after its first bytes.
    pub greet: Greet,
    /// What publishes a text.
    pub publish: PublishRequest,
    /// Bytes of text that make its events about as long as ours.
    pub text_bytes: usize,
    /// Whether our own client can follow it.
    pub is_ours: bool,
    /// How much of it is measured.
    pub limits: TargetLimits,
}

/// Returns the command that starts a program with its files in a folder, listening at an address.
pub type StartCommand = Box<dyn Fn(&Path, SocketAddr) -> Result<Command>>;

/// Sets up a program that listens at an address, and returns where and with which token it is used.
pub type Prepare = fn(&Path, SocketAddr) -> Result<Endpoint>;

/// The GET that opens a stream.
#[derive(Clone, Copy, Debug)]
pub struct StreamRequest {
    /// The path, with its query.
    pub path: &'static str,
    /// Further headers, each ended by CRLF.
    pub headers: &'static str,
}

impl StreamRequest {
    /// Returns a request without further headers.
    #[must_use]
    pub const fn path(path: &'static str) -> Self {
        Self { path, headers: "" }
    }
}

/// The POST that publishes a text.
#[derive(Clone, Copy, Debug)]
pub struct PublishRequest {
    /// The path, with its query.
    pub path: &'static str,
    /// The type of the body.
    pub content_type: &'static str,
    /// Further headers, each ended by CRLF.
    pub headers: &'static str,
    /// Writes a text as a body.
    pub body: fn(&str) -> String,
    /// Distance of the port for publishing from the one for readers.
    pub port_offset: u16,
}

impl PublishRequest {
    /// Returns a request whose body is the text itself.
    #[must_use]
    pub fn text(path: &'static str) -> Self {
        Self {
            path,
            content_type: "text/plain",
            headers: "",
            body: str::to_owned,
            port_offset: 0,
        }
    }

    /// Returns the address to publish at.
    #[must_use]
    pub fn address(&self, endpoint: &Endpoint) -> SocketAddr {
        at_offset(endpoint.address, self.port_offset)
    }

    /// Returns the bytes that publish `text`.
    #[must_use]
    pub fn bytes(&self, endpoint: &Endpoint, text: &str) -> Vec<u8> {
        let endpoint = Endpoint {
            address: self.address(endpoint),
            ..endpoint.clone()
        };
        let body = (self.body)(text);
        wire::post(&endpoint, self.path, self.content_type, self.headers, &body)
    }
}

/// Beyond these, a measurement would show nothing about the target, or the target would end it.
#[derive(Clone, Copy, Debug)]
pub struct TargetLimits {
    /// The number of streams.
    pub readers: usize,
    /// Events in a second that it sends one by one.
    pub rate: f64,
    /// Seconds without an event.
    pub idle_s: f64,
}

impl TargetLimits {
    /// Measures as much as the plan says.
    pub const NONE: Self = Self {
        readers: usize::MAX,
        rate: f64::MAX,
        idle_s: f64::MAX,
    };
}

/// A target that runs. It ends when dropped.
pub struct RunningTarget<'a> {
    /// What was started, and how it is used.
    pub target: &'a Target,
    /// The process of the program.
    pub process: Process,
    /// Where it listens, and the token for it.
    pub endpoint: Endpoint,
    /// Its files, for as long as it runs.
    _folder: TempDir,
}

impl Target {
    /// Starts the program and sets it up.
    ///
    /// # Errors
    /// If it cannot be started, does not answer or refuses to be set up.
    pub fn start(&self) -> Result<RunningTarget<'_>> {
        let folder = tempfile::tempdir()?;
        let address = process::free_address()?;
        let mut command = (self.command)(folder.path(), address)?;
        if !self.is_ours {
            // Peers log to it although nothing is wrong.
            command.stderr(Stdio::null());
        }
        let process = Process::start(command, address, self.ready_path)
            .with_context(|| self.name.to_owned())?;
        let endpoint = (self.prepare)(folder.path(), address)
            .with_context(|| format!("{} cannot be set up", self.name))?;
        Ok(RunningTarget {
            target: self,
            process,
            endpoint,
            _folder: folder,
        })
    }
}

impl RunningTarget<'_> {
    /// Opens a connection to it.
    ///
    /// # Errors
    /// If the connection is refused.
    pub fn connection(&self) -> Result<HttpConnection> {
        HttpConnection::open(self.endpoint.address)
    }

    /// Returns the request of a reader.
    #[must_use]
    pub fn stream_request(&self) -> Vec<u8> {
        let StreamRequest { path, headers } = self.target.stream;
        wire::get(&self.endpoint, path, headers)
    }

    /// Returns the request that publishes a text.
    #[must_use]
    pub fn publish_request(&self, text: &str) -> Vec<u8> {
        self.target.publish.bytes(&self.endpoint, text)
    }
}

/// Returns the address whose port is `offset` higher.
fn at_offset(address: SocketAddr, offset: u16) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port().wrapping_add(offset))
}

/// Prepares nothing: the [`Prepare`] of a target that needs no set-up.
fn no_setup(_: &Path, address: SocketAddr) -> Result<Endpoint> {
    Ok(address.into())
}

/// Sends one request over a connection of its own and returns the response.
fn request_once(address: SocketAddr, request: &[u8]) -> Result<Vec<u8>> {
    let mut connection = HttpConnection::open(address)?;
    connection.send(request)?;
    Ok(connection.response().to_vec())
}
