//! Reads what a client sends, and passes to actix what it may read of that.

use std::{
    cell::RefCell,
    io,
    task::{Context, Poll, ready},
};

use tokio::io::ReadBuf;

use super::{one_at_a_time::OneAtATime, request_clock::RequestClock};

/// The most bytes that are kept of what a client sends behind a request that is not answered yet.
/// The rest waits on the wire.
const AHEAD_MAX: usize = 16 * 1_024;
/// The most bytes of these that are read at a time.
const AHEAD_PIECE: usize = 2 * 1_024;

/// What has come, and actix may not read yet.
#[derive(Debug, Default)]
pub struct Incoming(RefCell<Vec<u8>>);

impl Incoming {
    /// Reads into the buffer what actix may read now, by `read`, which reads from the socket.
    pub fn poll_read(
        &self,
        clock: &RequestClock,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
        mut read: impl FnMut(&mut Context<'_>, &mut ReadBuf<'_>) -> Poll<io::Result<()>>,
    ) -> Poll<io::Result<()>> {
        let (requests, may_read) = clock.requests();
        if !may_read {
            return self.read_ahead(clock, cx, read);
        }
        let mut ahead = self.0.borrow_mut();
        loop {
            let before = buffer.filled().len();
            requests.look_at_held(&mut ahead);
            if requests.holds() {
                if ready!(read_piece(&mut ahead, cx, &mut read))? == 0 {
                    return end_of_client(clock);
                }
            } else if ahead.is_empty() {
                ready!(read(cx, buffer))?;
                let come = &mut buffer.filled_mut()[before..];
                if come.is_empty() {
                    return end_of_client(clock);
                }
                let count = requests.pass(come);
                ahead.extend_from_slice(&come[count..]);
                buffer.set_filled(before + count);
            } else {
                pass_on(&mut ahead, requests, buffer);
            }
            clock.read();
            // Nothing in the buffer would be the end of the client's side.
            if buffer.filled().len() > before || buffer.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Reads what actix may not read yet, so that the end of the client's side is noticed.
    fn read_ahead(
        &self,
        clock: &RequestClock,
        cx: &mut Context<'_>,
        mut read: impl FnMut(&mut Context<'_>, &mut ReadBuf<'_>) -> Poll<io::Result<()>>,
    ) -> Poll<io::Result<()>> {
        let (requests, _) = clock.requests();
        let mut ahead = self.0.borrow_mut();
        while ahead.len() < AHEAD_MAX {
            let count = read_piece(&mut ahead, cx, &mut read);
            if count.is_pending() && ahead.is_empty() {
                return Poll::Pending;
            }
            requests.wait(cx);
            if ready!(count)? == 0 {
                let is_passed_on =
                    !requests.is_unknown() && end_of_client(clock).is_ready() && ahead.is_empty();
                return if is_passed_on {
                    Poll::Ready(Ok(()))
                } else {
                    Poll::Pending
                };
            }
        }
        requests.wait(cx);
        Poll::Pending
    }
}

/// Passes on what actix may read, as far as the buffer has room.
fn pass_on(ahead: &mut Vec<u8>, requests: &OneAtATime, buffer: &mut ReadBuf<'_>) {
    let room = buffer.remaining().min(ahead.len());
    let count = requests.follow(&ahead[..room]);
    buffer.put_slice(&ahead[..count]);
    ahead.drain(..count);
    if ahead.is_empty() {
        *ahead = Vec::new();
    }
}

/// Appends what comes next to `ahead`. Returns how many bytes that is: 0 at the end.
fn read_piece(
    ahead: &mut Vec<u8>,
    cx: &mut Context<'_>,
    read: &mut impl FnMut(&mut Context<'_>, &mut ReadBuf<'_>) -> Poll<io::Result<()>>,
) -> Poll<io::Result<usize>> {
    let mut room = [0; AHEAD_PIECE];
    let mut piece = ReadBuf::new(&mut room);
    ready!(read(cx, &mut piece))?;
    ahead.extend_from_slice(piece.filled());
    Poll::Ready(Ok(piece.filled().len()))
}

/// Passes on that the client has closed its side, if actix is to know it now.
fn end_of_client(clock: &RequestClock) -> Poll<io::Result<()>> {
    if clock.client_ended() {
        Poll::Ready(Ok(()))
    } else {
        Poll::Pending
    }
}
