//! Splits a long body into pieces, so that a client that does not read costs no copy of it.
//!
//! actix copies each piece of a body whole into a buffer of the connection, and asks for the next
//! one only when there is room.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use actix_web::body::{BodySize, MessageBody};
use bytes::Bytes;
use pin_project_lite::pin_project;

/// The most bytes of a piece. The buffer of a connection takes one, besides what it takes without
/// (32 KiB).
const PIECE: usize = 64 * 1_024;

pin_project! {
    /// A body in pieces, and a guard that is dropped with it.
    pub struct SplitBody<B, G> {
        #[pin]
        body: B,
        rest: Bytes,
        guard: G,
    }
}

impl<B, G> SplitBody<B, G> {
    /// Splits `body`, and keeps `guard` until it has been sent.
    pub const fn new(body: B, guard: G) -> Self {
        let rest = Bytes::new();
        Self { body, rest, guard }
    }
}

impl<B: MessageBody, G> MessageBody for SplitBody<B, G> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, B::Error>>> {
        let this = self.project();
        if this.rest.is_empty() {
            match ready!(this.body.poll_next(cx)) {
                Some(Ok(bytes)) => *this.rest = bytes,
                end => return Poll::Ready(end),
            }
        }
        let length = this.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(this.rest.split_to(length))))
    }
}
