//! Driving a server with as many requests as it takes: some connections, each asking as soon as it was
//! answered.

use std::{
    io::{self, Read as _, Write as _},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use hdrhistogram::Histogram;
use mio::{Events, Interest, Poll, Token, net::TcpStream};

use crate::{process::Process, wire};

/// What came of it.
#[derive(Clone, Debug)]
pub struct Driven {
    /// Answers in a second.
    pub per_second: f64,
    /// Processor time of the server for each.
    pub request_us: f64,
    /// Bytes of an answer.
    pub answer_bytes: f64,
    /// The median of how long one took.
    pub p50_ms: f64,
    /// The same, at the slow end.
    pub p99_ms: f64,
}

struct Line {
    socket: TcpStream,
    /// What is still to be written.
    asking: Vec<u8>,
    asked_at: Instant,
    heard: Vec<u8>,
}

/// Drives `process` for a while. `request` gives the `n`th request of a line.
///
/// # Errors
/// If it refuses or fails.
pub fn drive(
    process: &Process,
    lines: usize,
    time: Duration,
    request: impl Fn(usize, u32) -> Vec<u8>,
) -> Result<Driven> {
    let mut poll = Poll::new()?;
    let mut lines = (0..lines)
        .map(|n| connect(&poll, process, n))
        .collect::<Result<Vec<_>>>()?;
    let mut took = Histogram::<u64>::new_with_bounds(1, 120_000_000, 3)?;
    let (mut answers, mut bytes, mut buffer) = (0_u32, 0_usize, vec![0; 256 * 1_024]);
    let (began, cpu) = (Instant::now(), process.cpu()?);
    for (at, line) in lines.iter_mut().enumerate() {
        line.ask(request(at, 0))?;
    }
    let mut events = Events::with_capacity(lines.len());
    while began.elapsed() < time {
        poll.poll(&mut events, Some(Duration::from_millis(100)))?;
        for event in &events {
            let line = &mut lines[event.token().0];
            line.write()?;
            while let Some(length) = line.read(&mut buffer)? {
                answers += 1;
                bytes += length;
                took.saturating_record(
                    u64::try_from(line.asked_at.elapsed().as_micros()).unwrap_or(u64::MAX),
                );
                line.ask(request(event.token().0, answers))?;
            }
        }
    }
    let (elapsed, cpu) = (began.elapsed(), process.cpu()? - cpu);
    let count = f64::from(answers.max(1));
    let ms = |percent| {
        f64::from(u32::try_from(took.value_at_percentile(percent)).unwrap_or(u32::MAX)) / 1_000.0
    };
    Ok(Driven {
        per_second: count / elapsed.as_secs_f64(),
        request_us: cpu.micros() / count,
        answer_bytes: super::measure::float(bytes as u64) / count,
        p50_ms: ms(50.0),
        p99_ms: ms(99.0),
    })
}

fn connect(poll: &Poll, process: &Process, n: usize) -> Result<Line> {
    let mut socket = wire::connect(process.address, 0)?;
    poll.registry().register(
        &mut socket,
        Token(n),
        Interest::READABLE | Interest::WRITABLE,
    )?;
    Ok(Line {
        socket,
        asking: Vec::new(),
        asked_at: Instant::now(),
        heard: Vec::new(),
    })
}

impl Line {
    fn ask(&mut self, request: Vec<u8>) -> Result<()> {
        (self.asking, self.asked_at) = (request, Instant::now());
        self.write()
    }

    fn write(&mut self) -> Result<()> {
        while !self.asking.is_empty() {
            match self.socket.write(&self.asking) {
                Ok(written) => drop(self.asking.drain(..written)),
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected
                    ) =>
                {
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The length of an answer, if all of it has come.
    fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>> {
        loop {
            match self.socket.read(buffer) {
                Ok(0) => bail!("the server hung up"),
                Ok(length) => self.heard.extend(&buffer[..length]),
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected
                    ) =>
                {
                    return Ok(None);
                }
                Err(error) => return Err(error.into()),
            }
            let Some((status, length)) = wire::answer(&self.heard)? else {
                continue;
            };
            if status >= 400 {
                bail!("{}", String::from_utf8_lossy(&self.heard));
            }
            self.heard.drain(..length);
            return Ok(Some(length));
        }
    }
}
