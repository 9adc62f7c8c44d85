//! Who publishes: one connection, at the times of a schedule.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use crate::{crowd::Schedule, wire};

const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// Waits: load comes at a pace.
#[expect(
    clippy::disallowed_methods,
    reason = "this is no test that hopes, and nobody else waits for the thread"
)]
pub fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

/// Publishes each event of `schedule` when it is due, or as soon after as the server lets it.
///
/// # Errors
/// If one is refused.
pub fn publish(
    address: SocketAddr,
    schedule: Schedule,
    request: impl Fn(u32) -> Vec<u8>,
) -> Result<()> {
    let mut line = Line::open(address)?;
    for n in schedule.numbers() {
        pause(schedule.due(n).saturating_duration_since(Instant::now()));
        line.ask(&request(n))?;
    }
    Ok(())
}

/// A connection that asks and waits for the answer, again and again.
pub struct Line {
    address: SocketAddr,
    socket: TcpStream,
    heard: Vec<u8>,
}

impl Line {
    /// Connects.
    ///
    /// # Errors
    /// If that is refused.
    pub fn open(address: SocketAddr) -> Result<Self> {
        Ok(Self {
            address,
            socket: connect(address)?,
            heard: Vec::new(),
        })
    }

    /// Asks, and gives the status of the answer. A server that has closed the connection since is connected
    /// to anew.
    ///
    /// # Errors
    /// If there is no answer, or the server failed or refused.
    pub fn ask(&mut self, request: &[u8]) -> Result<u16> {
        self.heard.clear();
        let asked = self
            .socket
            .write_all(request)
            .map_err(anyhow::Error::from)
            .and_then(|()| self.answer());
        let status = match asked {
            Err(_) if self.heard.is_empty() => {
                self.socket = connect(self.address)?;
                self.socket.write_all(request)?;
                self.answer()?
            }
            status => status?,
        };
        if status >= 400 {
            bail!("{status}: {}", String::from_utf8_lossy(&self.heard));
        }
        Ok(status)
    }

    /// Asks for a stream, and waits for its beginning.
    ///
    /// # Errors
    /// If there is none.
    pub fn listen(&mut self, request: &[u8]) -> Result<()> {
        self.heard.clear();
        self.socket.write_all(request)?;
        self.hear(b"data:")
    }

    /// Waits until a stream says `what`.
    ///
    /// # Errors
    /// If it does not.
    pub fn hear(&mut self, what: &[u8]) -> Result<()> {
        let mut buffer = [0; 65_536];
        while memchr::memmem::find(&self.heard, what).is_none() {
            match self.socket.read(&mut buffer)? {
                0 => bail!("the stream ended"),
                length => self.heard.extend(&buffer[..length]),
            }
        }
        self.heard.clear();
        Ok(())
    }

    /// The last answer.
    #[must_use]
    pub fn heard(&self) -> &[u8] {
        &self.heard
    }

    fn answer(&mut self) -> Result<u16> {
        let mut buffer = [0; 65_536];
        loop {
            match self.socket.read(&mut buffer)? {
                0 => bail!("the server hung up"),
                length => self.heard.extend(&buffer[..length]),
            }
            if let Some((status, _)) = wire::answer(&self.heard)? {
                return Ok(status);
            }
        }
    }
}

fn connect(address: SocketAddr) -> Result<TcpStream> {
    let socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(ANSWER_WAIT))?;
    Ok(socket)
}
