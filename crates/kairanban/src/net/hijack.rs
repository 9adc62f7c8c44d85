//! Connections whose socket a handler can take over.
//!
//! As long as actix serves a connection it keeps buffers, timers and a dispatcher for it: some ten KiB. A
//! stream needs none of that once its head is written. So the server reads and writes through a
//! [`HijackableSocket`]; a handler that has answered leaves behind who goes on with the socket, and as soon as
//! all that actix had to write has gone out, the socket is taken away under it. Then actix's part is dropped
//! with all that it holds, and the task that served the connection runs the takeover: the connection still
//! counts, and the server's end still waits for it.

use std::{
    cell::RefCell,
    convert::Infallible,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use actix_web::body::{BodySize, MessageBody};
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::net::request_clock::RequestClock;

/// Goes on with a socket.
pub type Takeover = Box<dyn FnOnce(TcpStream) -> LocalBoxFuture<'static, ()>>;

/// A connection, as actix sees it. A clone is another handle to the same.
#[derive(Clone)]
pub struct HijackableSocket(Rc<Parts>);

struct Parts {
    state: RefCell<State>,
    clock: RequestClock,
}

enum State {
    /// actix serves it.
    Served(TcpStream),
    /// The same, until all is written.
    Leaving(TcpStream, Takeover),
    /// The socket is gone. Whoever served it goes on with this.
    Left(Option<LocalBoxFuture<'static, ()>>),
}

impl HijackableSocket {
    /// A connection that actix will serve.
    #[must_use]
    pub fn new(socket: TcpStream, clock: RequestClock) -> Self {
        Self(Rc::new(Parts {
            state: RefCell::new(State::Served(socket)),
            clock,
        }))
    }

    /// What limits its requests.
    #[must_use]
    pub fn clock(&self) -> &RequestClock {
        &self.0.clock
    }

    /// Says why the connection ends, where a head was waited for; if the socket has room for it.
    pub fn say_too_slow(&self, text: &[u8]) {
        if let State::Served(socket) = &*self.0.state.borrow()
            && self.0.clock.waits_for_head()
        {
            // Whatever becomes of it, the connection ends.
            let _ = socket.try_write(text);
        }
    }

    /// Hands the socket to `takeover` once everything is written.
    pub fn leave_to(&self, takeover: Takeover) {
        let mut state = self.0.state.borrow_mut();
        *state = match std::mem::replace(&mut *state, State::Left(None)) {
            State::Served(socket) => State::Leaving(socket, takeover),
            // Nobody leaves twice.
            other => other,
        };
    }

    /// Whether the socket is gone: there is no use in serving it any longer.
    #[must_use]
    pub fn has_left(&self) -> bool {
        matches!(&*self.0.state.borrow(), State::Left(_))
    }

    /// What goes on with the socket, if somebody took it over.
    #[must_use]
    pub fn takeover(&self) -> Option<LocalBoxFuture<'static, ()>> {
        match &mut *self.0.state.borrow_mut() {
            State::Left(takeover) => takeover.take(),
            State::Served(_) | State::Leaving(..) => None,
        }
    }

    /// Does something with the socket, or gives what `left` says.
    fn with<T>(&self, left: T, act: impl FnOnce(Pin<&mut TcpStream>) -> T) -> T {
        match &mut *self.0.state.borrow_mut() {
            State::Served(socket) | State::Leaving(socket, _) => act(Pin::new(socket)),
            State::Left(_) => left,
        }
    }
}

impl AsyncRead for HijackableSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = self.with(Poll::Ready(Ok(())), |socket| socket.poll_read(cx, buffer));
        if buffer.filled().len() > before {
            self.0.clock.read();
        }
        read
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

    /// actix calls this when it has written all that it had.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.state.borrow_mut();
        *state = match std::mem::replace(&mut *state, State::Left(None)) {
            State::Leaving(socket, takeover) => State::Left(Some(takeover(socket))),
            other => other,
        };
        self.0.clock.flushed();
        // A TCP socket has nothing to flush.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(Poll::Ready(Ok(())), |socket| socket.poll_shutdown(cx))
    }
}

/// The body of an answer whose rest the takeover writes.
pub struct HijackBody {
    first: Option<Bytes>,
    rest: Option<(HijackableSocket, Takeover)>,
}

impl HijackBody {
    /// Sends `first` with the head, then hands the socket of `connection` to `takeover`.
    #[must_use]
    pub const fn new(first: Bytes, connection: HijackableSocket, takeover: Takeover) -> Self {
        Self {
            first: Some(first),
            rest: Some((connection, takeover)),
        }
    }
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
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        if let Some((connection, takeover)) = self.rest.take() {
            connection.leave_to(takeover);
        }
        // For actix this never ends.
        Poll::Pending
    }
}
