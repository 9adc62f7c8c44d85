//! A blocking HTTP connection for one request after the other.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Result, bail};

use crate::wire;

const RESPONSE_WAIT: Duration = Duration::from_secs(10);
const BUFFER_BYTES: usize = 65_536;

/// A connection that sends a request and waits for the response, again and again.
pub struct HttpConnection {
    address: SocketAddr,
    socket: TcpStream,
    received: Vec<u8>,
}

impl HttpConnection {
    /// Connects to a server.
    ///
    /// # Errors
    /// If the connection is refused.
    pub fn open(address: SocketAddr) -> Result<Self> {
        Ok(Self {
            address,
            socket: connect(address)?,
            received: Vec::new(),
        })
    }

    /// Sends a request and returns the status of the response. If the server has closed the
    /// connection since the last response, connects and sends once more.
    ///
    /// # Errors
    /// If there is no response, or its status is 400 or above.
    pub fn send(&mut self, request: &[u8]) -> Result<u16> {
        self.received.clear();
        let sent = self
            .socket
            .write_all(request)
            .map_err(anyhow::Error::from)
            .and_then(|()| self.read_response());
        let status = match sent {
            Err(_) if self.received.is_empty() => {
                self.socket = connect(self.address)?;
                self.socket.write_all(request)?;
                self.read_response()?
            }
            status => status?,
        };
        if status >= 400 {
            bail!("{status}: {}", String::from_utf8_lossy(&self.received));
        }
        Ok(status)
    }

    /// Requests a stream of events, and waits for the first one.
    ///
    /// # Errors
    /// If the stream does not begin.
    pub fn open_stream(&mut self, request: &[u8]) -> Result<()> {
        self.received.clear();
        self.socket.write_all(request)?;
        self.wait_for(b"data:")
    }

    /// Reads a stream until it has sent `text`.
    ///
    /// # Errors
    /// If it ends before that, or sends nothing for ten seconds.
    pub fn wait_for(&mut self, text: &[u8]) -> Result<()> {
        let mut buffer = [0; BUFFER_BYTES];
        while memchr::memmem::find(&self.received, text).is_none() {
            match self.socket.read(&mut buffer)? {
                0 => bail!("the stream ended"),
                length => self.received.extend(&buffer[..length]),
            }
        }
        self.received.clear();
        Ok(())
    }

    /// Returns the last response, head and body.
    #[must_use]
    pub fn response(&self) -> &[u8] {
        &self.received
    }

    fn read_response(&mut self) -> Result<u16> {
        let mut buffer = [0; BUFFER_BYTES];
        loop {
            match self.socket.read(&mut buffer)? {
                0 => bail!("the server closed the connection"),
                length => self.received.extend(&buffer[..length]),
            }
            if let Some((status, _)) = wire::response(&self.received)? {
                return Ok(status);
            }
        }
    }
}

fn connect(address: SocketAddr) -> Result<TcpStream> {
    let socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(RESPONSE_WAIT))?;
    Ok(socket)
}
