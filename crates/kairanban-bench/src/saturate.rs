//! Sends a server as many requests as it answers: some connections, each of which sends the next
//! request as soon as the last one was answered.

use std::{
    io::{self, Read as _, Write as _},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use mio::{Events, Interest, Poll, Token, net::TcpStream};

use crate::{
    process::Process,
    statistics::{float, histogram_us, median, micros, percentile_ms},
    wire,
};

const BUFFER_BYTES: usize = 256 * 1_024;
const POLL_WAIT: Duration = Duration::from_millis(100);

/// What a server answered under full load.
#[derive(Clone, Debug)]
pub struct LoadStats {
    /// Responses in a second.
    pub per_second: f64,
    /// Processor time of the server for each request.
    pub request_us: f64,
    /// Bytes of a response.
    pub answer_bytes: f64,
    /// Time of a request: the median.
    pub p50_ms: f64,
    /// Time of a request: the 99th percentile.
    pub p99_ms: f64,
}

/// Returns the median of a figure over several rounds.
#[must_use]
pub fn median_of(rounds: &[LoadStats], figure: fn(&LoadStats) -> f64) -> f64 {
    median(rounds.iter().map(figure).collect())
}

struct LoadConnection {
    socket: TcpStream,
    /// What is still to be written.
    unsent: Vec<u8>,
    sent_at: Instant,
    received: Vec<u8>,
}

/// Loads `process` by `connections` for a while. `request(c, n)` returns the request of connection
/// `c` after `n` responses.
///
/// # Errors
/// If the server refuses a request or closes a connection.
pub fn saturate(
    process: &Process,
    connections: usize,
    time: Duration,
    request: impl Fn(usize, u32) -> Vec<u8>,
) -> Result<LoadStats> {
    let mut poll = Poll::new()?;
    let mut connections = (0..connections)
        .map(|n| connect(&poll, process, n))
        .collect::<Result<Vec<_>>>()?;
    let mut took_us = histogram_us()?;
    let (mut responses, mut bytes) = (0_u32, 0_usize);
    let mut buffer = vec![0; BUFFER_BYTES];
    let (began, cpu) = (Instant::now(), process.cpu()?);
    for (n, connection) in connections.iter_mut().enumerate() {
        connection.send(request(n, 0))?;
    }
    let mut events = Events::with_capacity(connections.len());
    while began.elapsed() < time {
        poll.poll(&mut events, Some(POLL_WAIT))?;
        for event in &events {
            let connection = &mut connections[event.token().0];
            connection.write()?;
            while let Some(length) = connection.read(&mut buffer)? {
                responses += 1;
                bytes += length;
                took_us.saturating_record(micros(connection.sent_at.elapsed()));
                connection.send(request(event.token().0, responses))?;
            }
        }
    }
    let (elapsed, cpu) = (began.elapsed(), process.cpu()? - cpu);
    let count = f64::from(responses.max(1));
    Ok(LoadStats {
        per_second: count / elapsed.as_secs_f64(),
        request_us: cpu.micros() / count,
        answer_bytes: float(bytes as u64) / count,
        p50_ms: percentile_ms(&took_us, 50.0),
        p99_ms: percentile_ms(&took_us, 99.0),
    })
}

fn connect(poll: &Poll, process: &Process, n: usize) -> Result<LoadConnection> {
    let mut socket = wire::connect(process.address, 0)?;
    poll.registry().register(
        &mut socket,
        Token(n),
        Interest::READABLE | Interest::WRITABLE,
    )?;
    Ok(LoadConnection {
        socket,
        unsent: Vec::new(),
        sent_at: Instant::now(),
        received: Vec::new(),
    })
}

impl LoadConnection {
    fn send(&mut self, request: Vec<u8>) -> Result<()> {
        (self.unsent, self.sent_at) = (request, Instant::now());
        self.write()
    }

    fn write(&mut self) -> Result<()> {
        while !self.unsent.is_empty() {
            match self.socket.write(&self.unsent) {
                Ok(written) => drop(self.unsent.drain(..written)),
                Err(error) if is_not_ready(&error) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Returns the length of a response once all of it is there.
    fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>> {
        loop {
            match self.socket.read(buffer) {
                Ok(0) => bail!("the server closed the connection"),
                Ok(length) => self.received.extend(&buffer[..length]),
                Err(error) if is_not_ready(&error) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
            let Some((status, length)) = wire::response(&self.received)? else {
                continue;
            };
            if status >= 400 {
                bail!("{}", String::from_utf8_lossy(&self.received));
            }
            self.received.drain(..length);
            return Ok(Some(length));
        }
    }
}

/// Returns whether the socket will be ready later.
fn is_not_ready(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected
    )
}
