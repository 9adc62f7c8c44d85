//! Tens of thousands of readers: streams held open by one thread.
//!
//! Each event that is published carries a mark with its number. A reader searches what it receives
//! for marks and notes when it first saw each number. Times count from the moment when the event
//! was due, not from when the load generator published it: otherwise a server that holds up the
//! publisher would look better for it.

mod tally;

use std::{
    io::{self, Read as _, Write as _},
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use memchr::memmem::Finder;
use mio::{Events, Interest, Poll, Token, net::TcpStream};

use crate::{
    schedule::{MARK_BYTES, MARK_PREFIX, Schedule},
    wire,
};
use tally::Tally;

pub use tally::DeliveryStats;

const BUFFER_BYTES: usize = 256 * 1_024;
const EVENTS_PER_POLL: usize = 1_024;
const POLL_WAIT: Duration = Duration::from_millis(50);
/// Connections that are opened before responses are read.
const WAVE: usize = 512;
/// The longest wait for all readers to be connected.
const CONNECT_WAIT: Duration = Duration::from_secs(120);
/// The longest wait for the last event after it was due.
const LAST_EVENT_WAIT: Duration = Duration::from_secs(15);

/// What a reader has to do after its first bytes, which are passed with the server's address.
/// Returns `false` while they are not enough to begin.
pub type Greet = fn(SocketAddr, &[u8]) -> Result<bool>;

/// Sends no greeting: the [`Greet`] of a server that needs none.
///
/// # Errors
/// Never.
pub fn no_greeting(_: SocketAddr, _: &[u8]) -> Result<bool> {
    Ok(true)
}

/// Readers with a stream each.
pub struct Readers {
    poll: Poll,
    readers: Vec<MeasuredReader>,
    /// From the first connection until the last reader had its first bytes.
    pub connected_in: Duration,
    prefix: Finder<'static>,
    buffer: Vec<u8>,
    address: SocketAddr,
    greet: Greet,
}

struct MeasuredReader {
    socket: TcpStream,
    /// The rest of the request, which is not written yet.
    request: Vec<u8>,
    /// The end of what was read, in which a mark may have begun.
    tail: Vec<u8>,
    /// What it received until that was enough to begin; `None` from then on.
    greeting: Option<Vec<u8>>,
    /// The number after the last event that was seen.
    next: u32,
    is_stalled: bool,
}

impl Readers {
    /// Connects `count` readers, the `n`th of which sends `request(n)`, and waits until each has
    /// received something.
    ///
    /// # Errors
    /// If one is refused, or not all are connected after two minutes.
    pub fn connect(
        address: SocketAddr,
        count: usize,
        request: impl Fn(usize) -> Vec<u8>,
        greet: Greet,
    ) -> Result<Self> {
        let began = Instant::now();
        let mut readers = Self {
            poll: Poll::new()?,
            readers: Vec::with_capacity(count),
            connected_in: Duration::ZERO,
            prefix: Finder::new(MARK_PREFIX),
            buffer: vec![0; BUFFER_BYTES],
            address,
            greet,
        };
        let mut connected = 0;
        while connected < count {
            let opened = readers.readers.len();
            for n in opened..count.min(opened + WAVE) {
                readers.open(n, request(n))?;
            }
            while connected < readers.readers.len() {
                if began.elapsed() > CONNECT_WAIT {
                    bail!("{connected} of {count} readers are connected");
                }
                connected += readers.poll_once(None)?;
            }
        }
        readers.connected_in = began.elapsed();
        Ok(readers)
    }

    fn open(&mut self, n: usize, request: Vec<u8>) -> Result<()> {
        let mut socket = wire::connect(self.address, n)?;
        self.poll.registry().register(
            &mut socket,
            Token(n),
            Interest::READABLE | Interest::WRITABLE,
        )?;
        self.readers.push(MeasuredReader {
            socket,
            request,
            tail: Vec::new(),
            greeting: Some(Vec::new()),
            next: 0,
            is_stalled: false,
        });
        Ok(())
    }

    /// Stops the first `count` readers from reading.
    pub fn stall(&mut self, count: usize) {
        for reader in self.readers.iter_mut().take(count) {
            reader.is_stalled = true;
        }
    }

    /// Reads until each reader that is not stalled has seen every event, or 15 s after the last one
    /// was due.
    ///
    /// # Errors
    /// If a stream ends, or the system refuses to poll.
    pub fn receive(&mut self, schedule: &Schedule) -> Result<DeliveryStats> {
        let mut tally = Tally::new(schedule)?;
        let until = schedule.due(schedule.numbers().end) + LAST_EVENT_WAIT;
        let awake = self
            .readers
            .iter()
            .filter(|reader| !reader.is_stalled)
            .count();
        while Instant::now() < until && !tally.is_complete(awake) {
            self.poll_once(Some(&mut tally))?;
        }
        tally.finish(awake)
    }

    /// Reads for a while and ignores what comes.
    ///
    /// # Errors
    /// If a stream ends, or the system refuses to poll.
    pub fn idle(&mut self, duration: Duration) -> Result<()> {
        let until = Instant::now() + duration;
        while Instant::now() < until {
            self.poll_once(None)?;
        }
        Ok(())
    }

    /// Reads for a while and returns how many bytes all readers together received.
    ///
    /// # Errors
    /// If a stream ends, or the system refuses to poll.
    pub fn count_bytes(&mut self, duration: Duration) -> Result<u64> {
        let no_events = Schedule {
            first: 0,
            began: Instant::now(),
            gap: Duration::ZERO,
            events: 0,
        };
        let mut tally = Tally::new(&no_events)?;
        let until = Instant::now() + duration;
        while Instant::now() < until {
            self.poll_once(Some(&mut tally))?;
        }
        Ok(tally.bytes)
    }

    /// Polls once and serves the sockets that are ready. Returns how many readers received their
    /// first bytes.
    fn poll_once(&mut self, mut tally: Option<&mut Tally<'_>>) -> Result<usize> {
        let mut events = Events::with_capacity(EVENTS_PER_POLL);
        match self.poll.poll(&mut events, Some(POLL_WAIT)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(0),
            polled => polled?,
        }
        let mut connected = 0;
        for event in &events {
            let reader = &mut self.readers[event.token().0];
            if event.is_writable() && !reader.request.is_empty() {
                reader.write()?;
            }
            if event.is_readable() && !reader.is_stalled {
                let had_begun = reader.greeting.is_none();
                reader.read(
                    &mut self.buffer,
                    &self.prefix,
                    tally.as_deref_mut(),
                    |received| (self.greet)(self.address, received),
                )?;
                connected += usize::from(reader.greeting.is_none() && !had_begun);
            }
        }
        Ok(connected)
    }
}

impl MeasuredReader {
    fn write(&mut self) -> Result<()> {
        match self.socket.write(&self.request) {
            Ok(written) => drop(self.request.drain(..written)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn read(
        &mut self,
        buffer: &mut [u8],
        prefix: &Finder<'_>,
        mut tally: Option<&mut Tally<'_>>,
        greet: impl Fn(&[u8]) -> Result<bool>,
    ) -> Result<()> {
        loop {
            let kept = self.tail.len();
            buffer[..kept].copy_from_slice(&self.tail);
            let length = match self.socket.read(&mut buffer[kept..]) {
                Ok(0) => bail!("a stream ended"),
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let text = &buffer[..kept + length];
            if let Some(received) = &mut self.greeting {
                received.extend(&text[kept..]);
                if !received.starts_with(b"HTTP/1.1 200") {
                    bail!("refused: {}", String::from_utf8_lossy(received));
                }
                if greet(received)? {
                    self.greeting = None;
                }
            }
            if let Some(tally) = tally.as_deref_mut() {
                tally.bytes += length as u64;
                tally.scan(text, prefix, &mut self.next, Instant::now());
            }
            self.tail.clear();
            self.tail
                .extend(&text[text.len().saturating_sub(MARK_BYTES - 1)..]);
        }
    }
}
