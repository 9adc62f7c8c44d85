//! Finds where each request of a connection ends, so that actix reads the next one only when the
//! answer to this one is written.
//!
//! For each connection actix keeps once what it must know to write an answer: whether the method
//! was HEAD, the version, whether the connection stays. The head of a request that is sent behind
//! another (pipelining) would change that for the answer that is still due, and a client
//! or a proxy would take bytes of one answer for the next.
//!
//! It also holds back the lines of a head that may ask for another protocol until the head is
//! complete, and only then is it known which of them actix may read (`upgrade`).

use std::{
    cell::{Cell, RefCell},
    task::{Context, Poll, Waker},
};

use actix_web::{
    HttpMessage as _,
    dev::ServiceRequest,
    http::{Version, header},
};

use super::upgrade::{self, RequestLine};

/// The most bytes of a head that are held back. actix refuses a head that is as long.
const HELD_MAX: usize = 131_072;

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
    /// The empty lines before a request, and its first one.
    RequestLine(RequestLine),
    /// The lines behind that. None of those that have come asks for another protocol.
    Head(HeadPosition),
    /// The lines from the first one on that may ask for another protocol. Up to this many bytes of
    /// them are known.
    Held(HeadPosition, usize),
    /// This many bytes of a head, which is known up to its end.
    Known(usize),
    /// actix has the whole head, and has not said what follows it.
    Unknown,
    Body(BodyPart),
    /// Nothing: the request is complete.
    End,
}

/// Where in a head, behind its first line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct HeadPosition {
    line: LinePosition,
    may_begin_web_socket: bool,
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
            part: Cell::new(RequestPart::BEFORE),
            is_behind: Cell::new(false),
            waiting: RefCell::default(),
        }
    }
}

impl OneAtATime {
    /// Returns whether actix may read on; a request behind this one only if `is_answered`.
    pub fn may_take_next(&self, is_answered: bool) -> bool {
        if is_answered && self.part.get() == RequestPart::End {
            self.part.set(RequestPart::BEFORE);
        }
        let may_take_next = !self.part.get().is_stop();
        if may_take_next {
            self.is_behind.set(false);
        }
        may_take_next
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

    /// Returns how many of the bytes that have come actix may read now, and changes those that it
    /// may not read as they are. Nothing is held back from before.
    pub fn pass(&self, bytes: &mut [u8]) -> usize {
        let place = self.follow(bytes);
        self.look_at_held(&mut bytes[place..]);
        place + self.follow(&bytes[place..])
    }

    /// Returns whether lines of a head are held back until the rest of it comes.
    pub fn holds(&self) -> bool {
        matches!(self.part.get(), RequestPart::Held(..))
    }

    /// Looks on in the lines that are held back, which are the first of these bytes, for their end.
    pub fn look_at_held(&self, bytes: &mut [u8]) {
        let RequestPart::Held(mut head, mut place) = self.part.get() else {
            return;
        };
        while place < bytes.len() {
            let next = head.step(bytes[place]);
            place += 1;
            let Some(next) = next else {
                upgrade::ignore_upgrade(&mut bytes[..place], head.may_begin_web_socket);
                self.part.set(RequestPart::Known(place));
                return;
            };
            head = next;
        }
        self.part.set(if place < HELD_MAX {
            RequestPart::Held(head, place)
        } else {
            RequestPart::Known(place)
        });
    }

    /// Returns how many of the bytes that have come actix may read now.
    pub fn follow(&self, bytes: &[u8]) -> usize {
        let (mut part, mut place) = (self.part.get(), 0);
        while place < bytes.len() && !part.is_stop() && !matches!(part, RequestPart::Held(..)) {
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
    /// Before a request.
    const BEFORE: Self = Self::RequestLine(RequestLine::EMPTY);

    const fn is_stop(self) -> bool {
        matches!(self, Self::Unknown | Self::End)
    }

    /// Returns what comes behind a byte of the first line.
    fn behind(line: RequestLine, byte: u8) -> Self {
        match byte {
            b'\r' | b'\n' if line.is_empty() => Self::RequestLine(line),
            b'\n' => Self::Head(HeadPosition {
                line: LinePosition::Start,
                may_begin_web_socket: line.may_begin_web_socket(),
            }),
            byte => Self::RequestLine(line.with(byte)),
        }
    }

    /// Returns what comes behind some of these bytes, and how many. There is at least one.
    fn step(self, bytes: &[u8]) -> (Self, usize) {
        match self {
            Self::RequestLine(line) => (Self::behind(line, bytes[0]), 1),
            Self::Head(head) if head.line == LinePosition::Start && upgrade::may_ask(bytes[0]) => {
                (Self::Held(head, 0), 0)
            }
            Self::Head(head) => (head.step(bytes[0]).map_or(Self::Unknown, Self::Head), 1),
            Self::Known(left) => {
                let taken = left.min(bytes.len());
                let left = left - taken;
                let next = if left > 0 {
                    Self::Known(left)
                } else {
                    Self::Unknown
                };
                (next, taken)
            }
            Self::Body(body) => {
                let (body, taken) = body.step(bytes);
                (body.map_or(Self::End, Self::Body), taken)
            }
            Self::Held(..) | Self::Unknown | Self::End => (self, 0),
        }
    }
}

impl HeadPosition {
    /// Returns what comes behind a byte; `None` behind the empty line.
    fn step(self, byte: u8) -> Option<Self> {
        let line = self.line.step(byte)?;
        Some(Self { line, ..self })
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
mod tests;
