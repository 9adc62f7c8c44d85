//! Writes frames to a client. The library would copy each message for each client; here all of them
//! share its bytes.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
};

use actix_web::{
    HttpResponse,
    body::{BodySize, BoxBody, MessageBody},
};
use actix_ws::{CloseReason, Closed};
use bytes::Bytes;
use tokio::sync::mpsc;

use super::inbound::{CLOSE, CONTROL_BYTES_MAX, FINAL, PONG};

const TEXT: u8 = 0x1;
const PING: u8 = 0x9;
/// Frames that may wait for the client to take those before them.
const WAITING_MAX: usize = 32;
/// Up to here a copy costs less than another piece.
const SHORT: usize = 16 * 1_024;

/// Sends frames to one client. A frame that finds no room waits.
pub(super) struct FrameSender(mpsc::Sender<OutboundFrame>);

struct OutboundFrame {
    opcode: u8,
    payload: Bytes,
}

/// Makes frames the body of the answer to a handshake.
pub(super) fn send_frames(response: HttpResponse) -> (HttpResponse, FrameSender) {
    let (sender, frames) = mpsc::channel(WAITING_MAX);
    let response = response.map_body(|_, library| FrameBody {
        frames,
        payload: Bytes::new(),
        _library: library,
    });
    (response.map_into_boxed_body(), FrameSender(sender))
}

impl FrameSender {
    /// Sends each of several lines as a message. The empty ones only keep a stream open; here pings
    /// do that.
    ///
    /// # Errors
    /// If the client is gone.
    pub(super) async fn lines(&self, lines: &Bytes) -> Result<(), Closed> {
        let lines = lines
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| lines.slice_ref(line));
        for line in lines {
            self.send(TEXT, line).await?;
        }
        Ok(())
    }

    /// Sends a ping.
    ///
    /// # Errors
    /// If the client is gone.
    pub(super) async fn ping(&self) -> Result<(), Closed> {
        self.send(PING, Bytes::new()).await
    }

    /// Answers a ping, which carried `payload`.
    ///
    /// # Errors
    /// If the client is gone.
    pub(super) async fn pong(&self, payload: Bytes) -> Result<(), Closed> {
        self.send(PONG, payload).await
    }

    /// Sends the last frame.
    ///
    /// # Errors
    /// If the client is gone.
    pub(super) async fn close(self, reason: Option<CloseReason>) -> Result<(), Closed> {
        let payload = reason.map(close_payload).unwrap_or_default();
        self.send(CLOSE, payload.into()).await
    }

    async fn send(&self, opcode: u8, payload: Bytes) -> Result<(), Closed> {
        let sent = self.0.send(OutboundFrame { opcode, payload });
        sent.await.map_err(|_| Closed)
    }
}

/// Returns the code and as much of the description as a control frame may carry.
fn close_payload(reason: CloseReason) -> Vec<u8> {
    let mut payload = u16::from(reason.code).to_be_bytes().to_vec();
    for c in reason.description.unwrap_or_default().chars() {
        if payload.len() + c.len_utf8() > CONTROL_BYTES_MAX {
            break;
        }
        payload.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
    payload
}

/// The frames that a client is sent, until the sender is dropped.
struct FrameBody {
    frames: mpsc::Receiver<OutboundFrame>,
    /// What is to follow the head that was sent.
    payload: Bytes,
    /// The body of the library, which sends nothing. The client's messages end with it.
    _library: BoxBody,
}

impl MessageBody for FrameBody {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        if !self.payload.is_empty() {
            return Poll::Ready(Some(Ok(std::mem::take(&mut self.payload))));
        }
        let frame = ready!(self.frames.poll_recv(cx));
        Poll::Ready(frame.map(|OutboundFrame { opcode, payload }| {
            let mut head = head(opcode, payload.len());
            if payload.len() <= SHORT {
                head.extend_from_slice(&payload);
            } else {
                self.payload = payload;
            }
            Ok(head.into())
        }))
    }
}

/// Returns what stands before a payload of this length: the length in the shortest form, and no
/// mask, which only clients use.
fn head(opcode: u8, length: usize) -> Vec<u8> {
    let mut head = vec![FINAL | opcode];
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ 0..126), _) => head.push(short),
        (_, Ok(medium)) => {
            head.push(126);
            head.extend(medium.to_be_bytes());
        }
        _ => {
            head.push(127);
            head.extend((length as u64).to_be_bytes());
        }
    }
    head
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use actix_ws::CloseCode;

    use super::*;

    fn open() -> (FrameBody, FrameSender) {
        let (sender, frames) = mpsc::channel(WAITING_MAX);
        let body = FrameBody {
            frames,
            payload: Bytes::new(),
            _library: BoxBody::new(""),
        };
        (body, FrameSender(sender))
    }

    async fn next(body: &mut FrameBody) -> Option<Bytes> {
        let Ok(piece) = poll_fn(|cx| Pin::new(&mut *body).poll_next(cx)).await?;
        Some(piece)
    }

    #[tokio::test]
    async fn a_long_message_is_sent_without_a_copy() {
        let (mut body, sender) = open();
        for length in [SHORT + 1, 65_535, 65_536, 5_000_000] {
            let line = Bytes::from(vec![b'a'; length]);
            assert!(sender.lines(&line).await.is_ok());
            let head = next(&mut body).await.expect("a head");
            let bytes_of_length = if length < 65_536 { 3 } else { 9 };
            assert_eq!(head.len(), 1 + bytes_of_length);
            let payload = next(&mut body).await.expect("a payload");
            assert_eq!((payload.as_ptr(), payload.len()), (line.as_ptr(), length));
        }
    }

    #[tokio::test]
    async fn each_line_is_a_message_and_the_close_is_the_end() {
        let (mut body, sender) = open();
        let lines = Bytes::from_static(b"{}\n\n[1]\n");
        assert!(sender.lines(&lines).await.is_ok());
        assert!(sender.ping().await.is_ok());
        assert!(sender.pong(Bytes::from_static(b"x")).await.is_ok());
        let reason = CloseReason {
            code: CloseCode::Policy,
            description: Some("回".repeat(100)),
        };
        assert!(sender.close(Some(reason)).await.is_ok());
        let mut sent = Vec::new();
        while let Some(piece) = next(&mut body).await {
            sent.extend(piece);
        }
        let description = "回".repeat(41);
        let expected = [
            b"\x81\x02{}".as_slice(),
            b"\x81\x03[1]",
            b"\x89\x00",
            b"\x8a\x01x",
            b"\x88\x7d\x03\xf0",
            description.as_bytes(),
        ];
        assert_eq!(sent, expected.concat());
    }
}
