//! Writing a stream to a socket of its own, past actix: an idle reader costs a task, a socket and a
//! subscription, and no buffer.

use std::{
    future::{Future, poll_fn},
    io::{self, IoSlice},
    pin::pin,
    task::{Context, Poll},
};

use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use super::Feed;
use crate::render::Chunk;

/// Chunks in one write; a burst that is longer takes several.
const SLICES: usize = 64;
/// Bytes that a client sends though nothing is expected of it are thrown away so many at a time.
const DISCARD: usize = 512;

/// Sends a stream whose head has gone out, until either side ends.
#[expect(clippy::manual_async_fn, reason = "an async fn keeps its arguments twice, and there is one of these per reader")]
pub fn send(mut feed: impl Feed, mut socket: TcpStream) -> impl Future<Output = ()> {
    async move {
        loop {
            let next = {
                let mut next = pin!(feed.next());
                // Whichever comes first: something to send, or the client's leaving.
                poll_fn(|cx| match next.as_mut().poll(cx) {
                    Poll::Ready(next) => Poll::Ready(Some(next)),
                    Poll::Pending => poll_gone(&socket, cx).map(|()| None),
                })
                .await
            };
            match next {
                Some(Some(chunks)) => {
                    if write(&socket, chunks).await.is_err() {
                        return;
                    }
                }
                Some(None) => break,
                None => return,
            }
        }
        // The client may be gone already.
        let _ = write(&socket, vec![Chunk::END]).await;
        let _ = socket.shutdown().await;
    }
}

/// Ready when the client has closed its side, or the connection broke.
fn poll_gone(socket: &TcpStream, cx: &mut Context<'_>) -> Poll<()> {
    loop {
        match socket.poll_read_ready(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(_)) => return Poll::Ready(()),
            Poll::Ready(Ok(())) => match socket.try_read(&mut [0; DISCARD]) {
                Ok(0) => return Poll::Ready(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Poll::Ready(()),
            },
        }
    }
}

/// Writes all of some chunks, at once if the socket has room. Who takes nothing is cut off by the system
/// (`stream.stall_s`).
async fn write(socket: &TcpStream, chunks: Vec<Chunk>) -> io::Result<()> {
    if let [chunk] = &chunks[..] {
        match socket.try_write(chunk.as_ref()) {
            Ok(written) if written == chunk.as_ref().len() => return Ok(()),
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            written => return Box::pin(write_rest(socket, chunks, written.unwrap_or_default())).await,
        }
    }
    Box::pin(write_rest(socket, chunks, 0)).await
}

/// Writes what is left of some chunks behind so many bytes, with as few calls as that takes. It is rarely needed, and
/// in a box, so that a stream keeps no room for it.
async fn write_rest(socket: &TcpStream, chunks: Vec<Chunk>, mut written: usize) -> io::Result<()> {
    let mut slices: Vec<_> = chunks.iter().map(|chunk| IoSlice::new(chunk.as_ref())).collect();
    let mut rest = &mut slices[..];
    loop {
        IoSlice::advance_slices(&mut rest, written);
        if rest.is_empty() {
            return Ok(());
        }
        written = match socket.try_write_vectored(&rest[..rest.len().min(SLICES)]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                poll_fn(|cx| socket.poll_write_ready(cx)).await?;
                0
            }
            written => written?,
        };
    }
}
