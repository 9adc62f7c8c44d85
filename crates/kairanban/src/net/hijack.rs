//! Takes the socket of a connection from actix, once the head of a stream is written.
//!
//! actix keeps two buffers, timers and a dispatcher for each connection that it serves: about ten
//! KiB. A stream needs none of that after its head, and there may be tens of thousands of streams.
//! So actix serves a [`HijackableSocket`] instead of a `TcpStream`. A handler can have the socket
//! taken out of it, and what actix holds is dropped (ADR 8). This file follows the socket from top
//! to bottom:
//!
//! ```text
//! listener        ConnectionTask::serve   the task polls actix, and actix a HijackableSocket
//! listener        offer                   puts a handle into the connection's data
//! handler         offered                 asks for the handle
//! handler         hand_over               answers with a HijackBody
//! actix           HijackBody::poll_next   writes the first piece, and polls again:
//!                                           Served ──> Leaving
//! actix           poll_flush              has written everything that it had:
//!                                           Leaving ──> Left, the takeover gets the TcpStream
//! ConnectionTask  poll                    drops actix's part, and polls the takeover to its end
//! ```
//!
//! All of this is one task of actix's server. It counts as a connection, and the server's end waits
//! for it.
//!
//! # When it fails
//!
//! - **It is not offered** (`stream.detached = false`) or not possible (HTTP/1.0, which knows no
//!   chunks): [`offered`] returns `None`. The handler answers with an ordinary body.
//! - **The client leaves before the flush**: actix notices when it reads or writes, and ends. The
//!   takeover is dropped before it began, with everything that it holds.
//! - **The client does not read**: the flush does not come. The system closes the connection after
//!   `stream.stall_s`, which actix notices like a client that left.
//! - **The request does not arrive in time**: its clock ends the connection. A handler that could
//!   ask for the socket has its request, so this does not happen while the socket is leaving.
//! - **The client sends more requests behind this one**: they are dropped with actix's buffers. The
//!   answer says `Connection: close`, so it owes them nothing.
//! - **The takeover fails**: it handles that itself. The connection ends when it returns.
//!
//! # What this relies on
//!
//! Of actix-http 3, beyond what it promises; `tests/it/detached.rs` would notice a change:
//!
//! - `on_connect_ext` is called with the socket that is served, before its first request.
//! - A body that has returned a piece is polled again without waiting for the client.
//! - The socket is flushed after each poll of a body, and only when everything that came before is
//!   written.
//! - The future of a connection owns all that is kept for it, and may be dropped at any time.

use std::{
    cell::RefCell,
    convert::Infallible,
    future::Future,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    vec,
};

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    body::{BodySize, MessageBody},
    dev::Extensions,
    http::Version,
};
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::net::{
    connection_gate::ConnectionPermit,
    incoming::Incoming,
    request_clock::{Limited, RequestClock, TOO_SLOW},
};

/// Continues with a socket until the connection ends.
type Takeover = Box<dyn FnOnce(TcpStream) -> LocalBoxFuture<'static, ()>>;

/// Runs a connection, from its first byte to its last.
///
/// It is written by hand instead of as an `async` block: a server with many readers has one for
/// each, and an `async` block would reserve memory for both kinds of service at once.
pub enum ConnectionTask<F> {
    /// actix serves the connection within its limits. Boxed, so that its memory is freed when actix
    /// is done.
    Served(HijackableSocket, Pin<Box<Limited<F>>>),
    /// A stream has taken the socket.
    TakenOver(LocalBoxFuture<'static, ()>),
    /// The connection has ended.
    Over,
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(
    size_of::<ConnectionTask<()>>() <= 24,
    "a connection takes more memory as long as it is open"
);

impl<F> ConnectionTask<F> {
    /// Lets `service`, which is actix, serve `socket` while its client keeps to the limits.
    #[must_use]
    pub fn serve(socket: HijackableSocket, service: F) -> Self {
        let limited = Limited::new(service, socket.clock().clone());
        Self::Served(socket, Box::pin(limited))
    }
}

impl<F: Future<Output = Result<(), E>>, E> Future for ConnectionTask<F> {
    type Output = Result<(), E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match &mut *self {
                Self::Served(socket, service) => {
                    let served = service.as_mut().poll(cx);
                    // actix would find out by itself that the socket is gone. But if many readers
                    // come at once, each would hold its buffers until its next turn.
                    if !socket.has_left() {
                        match ready!(served) {
                            Some(Ok(())) => {}
                            Some(Err(error)) => return Poll::Ready(Err(error)),
                            None => socket.say_too_slow(),
                        }
                    }
                    let takeover = socket.takeover();
                    self.set(takeover.map_or(Self::Over, Self::TakenOver));
                }
                Self::TakenOver(takeover) => {
                    ready!(takeover.as_mut().poll(cx));
                    self.set(Self::Over);
                }
                Self::Over => return Poll::Ready(Ok(())),
            }
        }
    }
}

/// Offers the socket to the handlers of its requests. The listener calls this for a new connection,
/// with the connection's data.
pub fn offer(socket: &HijackableSocket, data: &mut Extensions) {
    data.insert(socket.clone());
}

/// Returns the socket that the request came by, if it can be taken from actix.
#[must_use]
pub fn offered(request: &HttpRequest) -> Option<HijackableSocket> {
    request
        .conn_data()
        .filter(|_| request.version() == Version::HTTP_11)
        .cloned()
}

/// Answers with `head` and the pieces of `first`, and then lets `takeover` write the rest of the
/// body. It writes chunks, the last one included, and its end closes the connection.
pub fn hand_over<F: Future<Output = ()> + 'static>(
    socket: HijackableSocket,
    mut head: HttpResponseBuilder,
    first: Vec<Bytes>,
    takeover: impl FnOnce(TcpStream) -> F + 'static,
) -> HttpResponse {
    let takeover: Takeover = Box::new(move |socket| Box::pin(takeover(socket)));
    head.force_close().body(HijackBody {
        first: first.into_iter(),
        rest: Some((socket, takeover)),
    })
}

/// A body whose first pieces are written by actix, and the rest by a takeover.
struct HijackBody {
    first: vec::IntoIter<Bytes>,
    rest: Option<(HijackableSocket, Takeover)>,
}

impl MessageBody for HijackBody {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        if let Some(first) = self.first.next() {
            return Poll::Ready(Some(Ok(first)));
        }
        if let Some((socket, takeover)) = self.rest.take() {
            socket.leave_to(takeover);
        }
        // The end of the body would make actix write the last chunk.
        Poll::Pending
    }
}

/// The socket of a connection, as actix sees it. A clone is another handle to the same socket.
#[derive(Clone)]
pub struct HijackableSocket(Rc<SharedSocket>);

struct SharedSocket {
    state: RefCell<SocketState>,
    incoming: Incoming,
    clock: RequestClock,
    permit: ConnectionPermit,
}

enum SocketState {
    /// actix serves the socket.
    Served(TcpStream),
    /// actix still serves it, and will until everything is written.
    Leaving(TcpStream, Takeover),
    /// The socket is gone. The connection continues with this, once it is fetched.
    Left(Option<LocalBoxFuture<'static, ()>>),
}

impl HijackableSocket {
    /// Prepares a socket for [`ConnectionTask::serve`].
    #[must_use]
    pub fn new(socket: TcpStream, clock: RequestClock, permit: ConnectionPermit) -> Self {
        Self(Rc::new(SharedSocket {
            state: RefCell::new(SocketState::Served(socket)),
            incoming: Incoming::default(),
            clock,
            permit,
        }))
    }

    /// Returns the clock that limits its requests.
    #[must_use]
    pub fn clock(&self) -> &RequestClock {
        &self.0.clock
    }

    /// Returns the permit of its connection.
    #[must_use]
    pub fn permit(&self) -> &ConnectionPermit {
        &self.0.permit
    }

    /// Lets `takeover` have the socket at the next flush. Of two, the first one gets it.
    fn leave_to(&self, takeover: Takeover) {
        let mut state = self.0.state.borrow_mut();
        *state = match std::mem::replace(&mut *state, SocketState::Left(None)) {
            SocketState::Served(socket) => SocketState::Leaving(socket, takeover),
            other => other,
        };
    }

    /// Hands the socket over if it is leaving.
    fn leave(&self) {
        let mut state = self.0.state.borrow_mut();
        *state = match std::mem::replace(&mut *state, SocketState::Left(None)) {
            SocketState::Leaving(socket, takeover) => {
                self.0.permit.leave();
                SocketState::Left(Some(takeover(socket)))
            }
            other => other,
        };
    }

    /// Returns whether the socket has been handed over, so that it is of no use to actix.
    fn has_left(&self) -> bool {
        matches!(&*self.0.state.borrow(), SocketState::Left(_))
    }

    /// Takes what continues with the socket, if it has been handed over.
    fn takeover(&self) -> Option<LocalBoxFuture<'static, ()>> {
        match &mut *self.0.state.borrow_mut() {
            SocketState::Left(takeover) => takeover.take(),
            SocketState::Served(_) | SocketState::Leaving(..) => None,
        }
    }

    /// Writes why the connection ends, if a head was waited for and the socket has room.
    fn say_too_slow(&self) {
        if let SocketState::Served(socket) = &*self.0.state.borrow()
            && self.0.clock.waits_for_head()
        {
            // The connection ends in any case.
            let _ = socket.try_write(TOO_SLOW);
        }
    }

    /// Calls `act` with the socket, or returns `left` if actix no longer has it.
    fn with<T>(&self, left: T, act: impl FnOnce(Pin<&mut TcpStream>) -> T) -> T {
        match &mut *self.0.state.borrow_mut() {
            SocketState::Served(socket) | SocketState::Leaving(socket, _) => act(Pin::new(socket)),
            SocketState::Left(_) => left,
        }
    }
}

impl AsyncRead for HijackableSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.has_left() {
            return Poll::Ready(Ok(()));
        }
        let shared = &self.0;
        let read = |cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>| {
            self.with(Poll::Pending, |socket| socket.poll_read(cx, buffer))
        };
        shared.incoming.poll_read(&shared.clock, cx, buffer, read)
    }
}

impl AsyncWrite for HijackableSocket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.with(Poll::Ready(Ok(bytes.len())), |socket| {
            socket.poll_write(cx, bytes)
        })
    }

    /// Hands the socket over if it is leaving: actix calls this when it has written everything.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.leave();
        self.0.clock.flushed();
        // A TCP socket has nothing to flush.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(Poll::Ready(Ok(())), |socket| socket.poll_shutdown(cx))
    }
}
