//! Writes a stream to its socket directly, without actix (ADR 8): an idle reader costs a task, a
//! socket and a subscription, and no buffer.

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    io::{self, IoSlice},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    rc::{Rc, Weak},
    task::{Context, Poll, Waker, ready},
};

use socket2::SockRef;
use tokio::{io::AsyncWrite as _, net::TcpStream};

use super::{
    BoardStream, UpdateSource, chunk_receiver,
    dispatcher::{Subscriber, WorkerDispatchers},
};
use crate::{
    encode::Chunk,
    failpoint,
    metrics::{Sent, StreamEnd},
};

/// Chunks in one write; a burst that is longer takes several.
const SLICES: usize = 64;
/// Size of the buffer for bytes that a client sends and that are thrown away.
const DISCARD: usize = 512;

/// Sends a stream whose head has gone out, until either side ends.
pub fn send<S: UpdateSource>(
    mut source: S,
    socket: TcpStream,
    dispatchers: &WorkerDispatchers,
) -> impl Future<Output = ()> + use<S> {
    let sender = Rc::new_cyclic(|this: &Weak<SocketSender<S>>| {
        let registrations = source.join(dispatchers, this.clone());
        SocketSender {
            sending: RefCell::new(Sending {
                source,
                socket,
                rest: None,
                task: None,
                state: WriterState::Open,
            }),
            _registrations: registrations,
        }
    });
    poll_fn(move |cx| sender.sending.borrow_mut().poll(cx))
}

struct SocketSender<S: UpdateSource> {
    sending: RefCell<Sending<S>>,
    _registrations: S::Registrations,
}

/// Keeps a reader within a size class of the allocator, with the two counts of `Rc`; the next class
/// is a fifth larger.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(
    size_of::<SocketSender<BoardStream>>() + 2 * size_of::<usize>() <= 320,
    "a reader of a board takes more memory"
);

struct Sending<S> {
    source: S,
    socket: TcpStream,
    /// What the socket had no room for. Boxed, as there rarely is anything.
    rest: Option<Box<UnsentChunks>>,
    /// The stream's task, to wake it, and to poll on its behalf.
    task: Option<Waker>,
    state: WriterState,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum WriterState {
    Open,
    /// Nothing follows what is left to write.
    Ending,
    Over,
}

impl<S: UpdateSource> Subscriber for SocketSender<S> {
    /// Sends what there is on behalf of the stream's task, which need not run for that.
    fn notify(&self, sent: &mut Sent) {
        let mut sending = self.sending.borrow_mut();
        // The task has not been polled yet, and will find the events itself.
        let Some(task) = sending.task.take() else {
            return;
        };
        // A panic ends this stream, and not the dispatcher that is calling.
        let polled = catch_unwind(AssertUnwindSafe(|| {
            failpoint::pass("stream");
            sending.poll_send(&mut Context::from_waker(&task), sent)
        }));
        if polled.is_err() {
            sending.source.cut(StreamEnd::Failed);
            sending.state = WriterState::Over;
        }
        if !matches!(polled, Ok(Poll::Pending)) {
            task.wake_by_ref();
        }
        sending.task = Some(task);
    }
}

impl<S: UpdateSource> Sending<S> {
    /// Sends the stream. Ready when either side has ended it.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self
            .task
            .as_ref()
            .is_some_and(|task| task.will_wake(cx.waker()))
        {
            self.task = Some(cx.waker().clone());
        }
        let mut sent = Sent::default();
        let polled = self.poll_send(cx, &mut sent);
        self.source.metrics().others_sent(sent);
        match polled {
            Poll::Pending => self.poll_gone(cx),
            over => over,
        }
    }

    /// Sends what there is. Ready when that was the last, or when the connection broke.
    fn poll_send(&mut self, cx: &mut Context<'_>, sent: &mut Sent) -> Poll<()> {
        while self.state != WriterState::Over {
            if let Some(rest) = &mut self.rest {
                let written = ready!(rest.poll_write(&self.socket, cx, sent));
                self.rest = None;
                if let Err(error) = written {
                    self.source.cut(end_by(&error));
                    self.state = WriterState::Over;
                }
            } else if self.state == WriterState::Ending {
                // The client may be gone already.
                let _ = ready!(Pin::new(&mut self.socket).poll_shutdown(cx));
                self.state = WriterState::Over;
            } else if let Some(chunks) = ready!(self.source.poll_next(cx)) {
                self.write(chunks, sent);
            } else {
                self.state = WriterState::Ending;
                self.rest = Some(Box::new(UnsentChunks {
                    chunks: vec![Chunk::END],
                    written: 0,
                }));
            }
        }
        Poll::Ready(())
    }

    /// Writes some chunks, as far as the socket has room. The system cuts off a client that takes
    /// nothing (`stream.stall_s`).
    fn write(&mut self, chunks: Vec<Chunk>, sent: &mut Sent) {
        let written = match &chunks[..] {
            // There nearly always is room. So this asks the system directly, and not the runtime
            // first, whose state of the socket is not in the processor's cache.
            [chunk] => match SockRef::from(&self.socket).send(chunk.as_ref()) {
                Ok(written) if written == chunk.as_ref().len() => return sent.add(1, written),
                // A broken connection is found when the rest is written.
                written => written.unwrap_or_default(),
            },
            _ => 0,
        };
        self.rest = Some(Box::new(UnsentChunks { chunks, written }));
    }

    /// Discards what the client sends. Ready when the client has closed its side, or the connection
    /// broke.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match ready!(self.socket.poll_read_ready(cx))
                .and_then(|()| self.socket.try_read(&mut [0; DISCARD]))
            {
                Ok(0) => return Poll::Ready(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    self.source.cut(end_by(&error));
                    return Poll::Ready(());
                }
            }
        }
    }
}

/// Returns why a stream ends whose connection broke.
fn end_by(error: &io::Error) -> StreamEnd {
    match error.kind() {
        // The system gave up on a client that took nothing.
        io::ErrorKind::TimedOut => StreamEnd::Stalled,
        _ => StreamEnd::Client,
    }
}

/// Chunks that are being written.
struct UnsentChunks {
    chunks: Vec<Chunk>,
    /// Bytes of the chunks that have been written.
    written: usize,
}

impl UnsentChunks {
    /// Writes what is left, in as few calls as possible.
    fn poll_write(
        &mut self,
        socket: &TcpStream,
        cx: &mut Context<'_>,
        sent: &mut Sent,
    ) -> Poll<io::Result<()>> {
        let mut slices: Vec<_> = self
            .chunks
            .iter()
            .map(|chunk| IoSlice::new(chunk.as_ref()))
            .collect();
        let mut left = &mut slices[..];
        IoSlice::advance_slices(&mut left, self.written);
        while !left.is_empty() {
            match socket.try_write_vectored(&left[..left.len().min(SLICES)]) {
                Ok(written) => {
                    self.written += written;
                    IoSlice::advance_slices(&mut left, written);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(socket.poll_write_ready(cx))?
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        let whole = chunk_receiver::sent(&self.chunks);
        sent.add(whole.events, whole.bytes);
        Poll::Ready(Ok(()))
    }
}
