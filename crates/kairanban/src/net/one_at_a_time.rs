//! Finds where each request of a connection ends, so that actix reads the next one only when the
//! answer to this one is written.
//!
//! For each connection actix keeps once what it must know to write an answer: whether the method
//! was HEAD, the version, whether the connection stays. The head of a request that is sent behind
//! another (pipelining) would change that for the answer that is still due, and a client
//! or a proxy would take bytes of one answer for the next.

use std::{
    cell::{Cell, RefCell},
    task::{Context, Poll, Waker},
};

use actix_web::{
    HttpMessage as _,
    dev::ServiceRequest,
    http::{Version, header},
};

/// What actix may read of a connection: no more than one request.
#[derive(Debug)]
pub struct OneAtATime {
    part: Cell<RequestPart>,
    /// Whether a part of the body has come that actix has not read yet.
    is_behind: Cell<bool>,
    /// The task that waits until actix may read on.
    waiting: RefCell<Option<Waker>>,
}

/// What comes next of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RequestPart {
    Head(LinePosition),
    /// actix has the whole head, and has not said what follows it.
    Unknown,
    Body(BodyPart),
    /// Nothing: the request is complete.
    End,
}

/// What comes next of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyPart {
    /// This many bytes, at least one.
    Bytes(u64),
    /// The size of a chunk, as far as it is known, up to the end of its line.
    Size(u64, SizeDigits),
    /// This many bytes of a chunk.
    Chunk(u64),
    /// The end of the line behind a chunk.
    ChunkEnd,
    /// The lines behind the last chunk.
    Trailer(LinePosition),
    /// Another protocol, which does not end.
    Endless,
}

/// Whether digits of a size may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SizeDigits {
    Come,
    Ended,
}

/// Where in lines that end with an empty one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinePosition {
    /// Before the first one that is not empty.
    Before,
    Start,
    Within,
}

impl BodyPart {
    /// A body in chunks.
    pub const CHUNKED: Self = Self::Size(0, SizeDigits::Come);

    /// Returns the body that follows a head, as actix reads it. What follows an upgrade is known
    /// only with the answer.
    pub fn of(request: &ServiceRequest) -> Option<Self> {
        if request.version() == Version::HTTP_11 && request.chunked().unwrap_or_default() {
            return Some(Self::CHUNKED);
        }
        let length = request.headers().get(header::CONTENT_LENGTH)?;
        let length = length.to_str().ok()?.trim().parse().ok();
        length.filter(|length| *length > 0).map(Self::Bytes)
    }
}

impl Default for OneAtATime {
    fn default() -> Self {
        Self {
            part: Cell::new(RequestPart::Head(LinePosition::Before)),
            is_behind: Cell::new(false),
            waiting: RefCell::default(),
        }
    }
}

impl OneAtATime {
    /// Returns whether actix may read on; a request behind this one only if `is_answered`.
    pub fn may_read(&self, is_answered: bool) -> bool {
        if is_answered && self.part.get() == RequestPart::End {
            self.part.set(RequestPart::Head(LinePosition::Before));
        }
        let may_read = !self.part.get().is_stop();
        if may_read {
            self.is_behind.set(false);
        }
        may_read
    }

    /// Waits until actix reads what has come of the body. It closes a connection whose request is
    /// answered before that.
    pub fn poll_body(&self) -> Poll<()> {
        if self.is_behind.get() {
            // The connection's task is woken for reading, and polls this after it.
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }

    /// Returns how many of the bytes that have come actix may read now.
    pub fn follow(&self, bytes: &[u8]) -> usize {
        let (mut part, mut place) = (self.part.get(), 0);
        while place < bytes.len() && !part.is_stop() {
            let taken;
            (part, taken) = part.step(&bytes[place..]);
            place += taken;
        }
        self.part.set(part);
        place
    }

    /// Returns whether actix has a head that it has not read.
    pub fn is_unknown(&self) -> bool {
        self.part.get() == RequestPart::Unknown
    }

    /// Notes what follows the head.
    pub fn head_is_read(&self, body: Option<BodyPart>) {
        self.part
            .set(body.map_or(RequestPart::End, RequestPart::Body));
        let has_come = self.waiting.borrow().is_some();
        self.is_behind.set(body.is_some() && has_come);
        self.wake();
    }

    /// Wakes up at the next change.
    pub fn wait(&self, cx: &Context<'_>) {
        self.waiting.replace(Some(cx.waker().clone()));
    }

    /// Wakes up who waits.
    pub fn wake(&self) {
        if let Some(waiting) = self.waiting.take() {
            waiting.wake();
        }
    }
}

impl RequestPart {
    const fn is_stop(self) -> bool {
        matches!(self, Self::Unknown | Self::End)
    }

    /// Returns what comes behind some of these bytes, and how many. There is at least one.
    fn step(self, bytes: &[u8]) -> (Self, usize) {
        match self {
            Self::Head(line) => (line.step(bytes[0]).map_or(Self::Unknown, Self::Head), 1),
            Self::Body(body) => {
                let (body, taken) = body.step(bytes);
                (body.map_or(Self::End, Self::Body), taken)
            }
            Self::Unknown | Self::End => (self, 0),
        }
    }
}

impl BodyPart {
    fn step(self, bytes: &[u8]) -> (Option<Self>, usize) {
        let next = match (self, bytes[0]) {
            (Self::Endless, _) => return (Some(self), bytes.len()),
            (Self::Bytes(left), _) => {
                let (left, taken) = skip(left, bytes);
                return (Some(Self::Bytes(left)).filter(|_| left > 0), taken);
            }
            (Self::Chunk(left), _) => {
                let (left, taken) = skip(left, bytes);
                let next = if left > 0 {
                    Self::Chunk(left)
                } else {
                    Self::ChunkEnd
                };
                return (Some(next), taken);
            }
            (Self::Size(0, _), b'\n') => Some(Self::Trailer(LinePosition::Start)),
            (Self::Size(size, _), b'\n') => Some(Self::Chunk(size)),
            (Self::Size(size, SizeDigits::Come), digit) if digit.is_ascii_hexdigit() => {
                let digit = char::from(digit).to_digit(16).unwrap_or_default();
                let size = size.saturating_mul(16).saturating_add(digit.into());
                Some(Self::Size(size, SizeDigits::Come))
            }
            (Self::Size(size, _), _) => Some(Self::Size(size, SizeDigits::Ended)),
            (Self::ChunkEnd, b'\n') => Some(Self::CHUNKED),
            (Self::ChunkEnd, _) => Some(self),
            (Self::Trailer(line), byte) => line.step(byte).map(Self::Trailer),
        };
        (next, 1)
    }
}

impl LinePosition {
    /// Returns what comes behind a byte; `None` behind the empty line.
    const fn step(self, byte: u8) -> Option<Self> {
        match (self, byte) {
            (Self::Start, b'\n') => None,
            (Self::Before, b'\r' | b'\n') => Some(Self::Before),
            (Self::Start, b'\r') | (_, b'\n') => Some(Self::Start),
            _ => Some(Self::Within),
        }
    }
}

/// Returns how many of `left` bytes are left behind these, and how many of these they are.
fn skip(left: u64, bytes: &[u8]) -> (u64, usize) {
    let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
    (left - taken as u64, taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A head, what follows it, and what actix says of that.
    fn request(kind: u8, body: &[u8]) -> (Vec<u8>, Option<BodyPart>) {
        let length = body.len() as u64;
        let head = b"\r\nPOST / HTTP/1.1\r\nHost: a\r\n\r\n";
        match kind {
            0 => (head.to_vec(), None),
            1 => (
                [head, body].concat(),
                Some(BodyPart::Bytes(length)).filter(|_| length > 0),
            ),
            _ => {
                let mut chunks = Vec::new();
                for chunk in body.chunks(7) {
                    chunks.extend(format!("{:X};a=b\r\n", chunk.len()).as_bytes());
                    chunks.extend([chunk, b"\r\n"].concat());
                }
                let end: &[u8] = if kind == 2 {
                    b"0\r\n\r\n"
                } else {
                    b"00\r\nA: b\r\n\r\n"
                };
                chunks.extend(end);
                ([head, chunks.as_slice()].concat(), Some(BodyPart::CHUNKED))
            }
        }
    }

    proptest! {
        #[test]
        fn each_request_ends_where_it_ends_however_it_comes(
            kinds in proptest::collection::vec((0..4_u8, ".{0,20}|[\r\n0-9]{0,20}"), 1..6),
            cuts in proptest::collection::vec(1..20_usize, 1..20),
        ) {
            let requests: Vec<_> =
                kinds.iter().map(|(kind, body)| request(*kind, body.as_bytes())).collect();
            let all: Vec<u8> = requests.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
            let (mut place, mut cuts) = (0, cuts.iter().cycle());
            let connection = OneAtATime::default();
            let mut ends = Vec::new();
            for (_, body) in &requests {
                while connection.may_read(true) {
                    let cut = *cuts.next().expect("endless");
                    let piece = &all[place..all.len().min(place + cut)];
                    prop_assert!(!piece.is_empty(), "it waits for more than there is");
                    place += connection.follow(piece);
                    if connection.is_unknown() {
                        prop_assert!(!connection.may_read(true), "what follows is not known yet");
                        connection.head_is_read(*body);
                        prop_assert_eq!(connection.may_read(false), body.is_some());
                    }
                    if !connection.may_read(false) {
                        break;
                    }
                }
                ends.push(place);
            }
            let expected: Vec<_> = requests
                .iter()
                .scan(0, |end, (bytes, _)| {
                    *end += bytes.len();
                    Some(*end)
                })
                .collect();
            prop_assert_eq!(ends, expected);
        }
    }
}
