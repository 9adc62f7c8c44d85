//! Reads the heads of a client's frames before the library does, which finds a frame too long only
//! once it has all of it in memory, and counts none.

use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
};

use actix_web::{dev::Payload, error::PayloadError};
use actix_ws::{CloseCode, CloseReason};
use bytes::Bytes;
use futures_util::Stream;

use crate::limits::{ClientAddress, ClientQuota};

/// Set in the first byte of the last frame of a message.
pub(super) const FINAL: u8 = 0x80;
/// Set in the opcodes of close, ping and pong.
const CONTROL: u8 = 0x8;
pub(super) const CLOSE: u8 = 0x8;
pub(super) const PONG: u8 = 0xa;
/// The most bytes that a control frame may carry (RFC 6455, section 5.5).
pub(super) const CONTROL_BYTES_MAX: usize = 125;
const MASK_BYTES: usize = 4;
/// The longest head, without the mask.
const HEAD_BYTES_MAX: usize = 10;

/// State shared by a socket and the bytes it receives: the pongs that are due, and why a frame was
/// refused. A clone is another handle to it.
#[derive(Clone, Default)]
pub(super) struct SocketWatch(Rc<SocketWatchState>);

#[derive(Default)]
struct SocketWatchState {
    /// Pings whose pongs are to come, which count for nothing.
    pongs_due: Cell<u32>,
    refusal: RefCell<Option<CloseReason>>,
}

impl SocketWatch {
    /// Notes that a ping was sent.
    pub(super) fn pinged(&self) {
        self.0.pongs_due.update(|due| due.saturating_add(1));
    }

    /// Returns why the bytes ended before a frame that was refused, if they did.
    pub(super) fn refusal(&self) -> Option<CloseReason> {
        self.0.refusal.take()
    }

    /// Returns whether a pong answers a ping.
    fn take_pong(&self) -> bool {
        let due = self.0.pongs_due.get();
        self.0.pongs_due.set(due.saturating_sub(1));
        due > 0
    }
}

/// The bytes that a client sends, up to the first frame that is refused by its head, or to the end
/// of the connection.
pub(super) struct CheckedFrames {
    payload: Payload,
    heads: FrameHeads,
    rules: FrameRules,
    is_over: bool,
}

/// What frames are admitted.
struct FrameRules {
    watch: SocketWatch,
    message_bytes_max: u64,
    /// The bytes that the fragments of a message have announced.
    message_bytes: u64,
    quota: Arc<ClientQuota>,
    client: Option<ClientAddress>,
}

impl CheckedFrames {
    /// Watches over the frames in `payload`. Each that ends no message is taken from `quota`.
    pub(super) fn new(
        payload: Payload,
        watch: SocketWatch,
        message_bytes_max: usize,
        quota: Arc<ClientQuota>,
        client: Option<ClientAddress>,
    ) -> Self {
        Self {
            payload,
            heads: FrameHeads::default(),
            rules: FrameRules {
                watch,
                message_bytes_max: message_bytes_max as u64,
                message_bytes: 0,
                quota,
                client,
            },
            is_over: false,
        }
    }
}

impl Stream for CheckedFrames {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.is_over {
            return Poll::Ready(None);
        }
        // For an error the library would drop what came before it.
        let Some(Ok(mut bytes)) = ready!(Pin::new(&mut this.payload).poll_next(cx)) else {
            this.is_over = true;
            return Poll::Ready(None);
        };
        let rules = &mut this.rules;
        if let Err((place, reason)) = this.heads.follow(&bytes, |part| rules.admit(part)) {
            bytes.truncate(place);
            rules.watch.0.refusal.replace(Some(reason));
            this.is_over = true;
        }
        Poll::Ready(Some(Ok(bytes)))
    }
}

impl FrameRules {
    fn admit(&mut self, part: FramePart<'_>) -> Result<(), CloseReason> {
        match part {
            FramePart::Head(head) => self.admit_head(head),
            FramePart::Close(content) => ensure_readable(content),
        }
    }

    fn admit_head(&mut self, head: FrameHead) -> Result<(), CloseReason> {
        if head.is_control() {
            if head.length > CONTROL_BYTES_MAX as u64 {
                return Err(CloseCode::Protocol.into());
            }
            let is_free = match head.opcode() {
                CLOSE => true,
                PONG => self.watch.take_pong(),
                _ => false,
            };
            return if is_free { Ok(()) } else { self.count() };
        }
        self.message_bytes = self.message_bytes.saturating_add(head.length);
        if self.message_bytes > self.message_bytes_max {
            let max = self.message_bytes_max;
            return Err(CloseReason {
                code: CloseCode::Size,
                description: Some(format!(
                    "a message may have at most {max} bytes (limits.body_bytes_max)"
                )),
            });
        }
        if head.first & FINAL == 0 {
            return self.count();
        }
        self.message_bytes = 0;
        Ok(())
    }

    /// Counts a frame that ends no message. Messages count where they are answered.
    fn count(&self) -> Result<(), CloseReason> {
        self.quota.take(self.client).map_err(|_| CloseReason {
            code: CloseCode::Policy,
            description: Some(
                "too many pings, pongs or fragments from one address \
                 (limits.reads_per_client_per_s)"
                    .to_owned(),
            ),
        })
    }
}

/// The first byte of a frame, and the number of bytes that it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FrameHead {
    first: u8,
    length: u64,
}

impl FrameHead {
    const fn opcode(self) -> u8 {
        self.first & 0xf
    }

    const fn is_control(self) -> bool {
        self.first & CONTROL != 0
    }
}

/// What is looked at of a frame.
enum FramePart<'b> {
    Head(FrameHead),
    /// What a close frame carries: a code and a reason.
    Close(&'b [u8]),
}

/// Refuses a close frame whose reason is no UTF-8 (RFC 6455, section 8.1): of that and of a wrong
/// code the library says the same.
fn ensure_readable(close: &[u8]) -> Result<(), CloseReason> {
    let reason = close.get(size_of::<u16>()..).unwrap_or_default();
    str::from_utf8(reason)
        .map(drop)
        .map_err(|_| CloseCode::Invalid.into())
}

/// Finds the heads of frames, and what close frames carry, in bytes that come in pieces.
#[derive(Default)]
struct FrameHeads {
    head: [u8; HEAD_BYTES_MAX],
    /// The number of bytes in `head`.
    known: usize,
    /// The bytes of the frame that are left behind its head.
    rest: u64,
    /// What has come of a close frame behind its head; `None` in any other frame.
    close: Option<Vec<u8>>,
}

impl FrameHeads {
    /// Calls `admit` with each part that `bytes` complete.
    ///
    /// # Errors
    /// If one is refused, with the place in `bytes` up to which the frame is not complete; of a
    /// head, up to which there is nothing of it.
    fn follow<E>(
        &mut self,
        bytes: &[u8],
        mut admit: impl FnMut(FramePart<'_>) -> Result<(), E>,
    ) -> Result<(), (usize, E)> {
        let (mut place, mut began) = (0, 0);
        while place < bytes.len() {
            if self.rest > 0 {
                let left = (bytes.len() - place) as u64;
                let skipped = left.min(self.rest);
                self.rest -= skipped;
                let from = place;
                place += usize::try_from(skipped).unwrap_or(usize::MAX);
                if let Some(close) = &mut self.close {
                    close.extend_from_slice(&bytes[from..place]);
                    if self.rest == 0 {
                        let content = unmasked(close);
                        admit(FramePart::Close(&content))
                            .map_err(|refusal| (place - 1, refusal))?;
                    }
                }
                continue;
            }
            if self.known == 0 {
                began = place;
            }
            self.head[self.known] = bytes[place];
            self.known += 1;
            place += 1;
            if let Some(head) = complete(&self.head[..self.known]) {
                admit(FramePart::Head(head)).map_err(|refusal| (began, refusal))?;
                self.known = 0;
                self.close = (head.opcode() == CLOSE).then(Vec::new);
                // The library refuses what has no mask.
                self.rest = head.length + MASK_BYTES as u64;
            }
        }
        Ok(())
    }
}

/// Returns the content behind a mask.
fn unmasked(masked: &[u8]) -> Vec<u8> {
    let (mask, content) = masked.split_at(MASK_BYTES.min(masked.len()));
    let mask = mask.iter().cycle();
    content
        .iter()
        .zip(mask)
        .map(|(byte, mask)| byte ^ mask)
        .collect()
}

/// Returns the head of a frame, if these bytes are all of it but the mask.
fn complete(bytes: &[u8]) -> Option<FrameHead> {
    let (first, rest) = bytes.split_first()?;
    let (short, long) = rest.split_first()?;
    let length = match short & 0x7f {
        126 => u64::from(u16::from_be_bytes(*long.first_chunk()?)),
        127 => u64::from_be_bytes(*long.first_chunk()?),
        short => u64::from(short),
    };
    Some(FrameHead {
        first: *first,
        length,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A frame with its length in the shortest form, or a longer one.
    fn frame((first, length, form): (u8, u16, u8)) -> Vec<u8> {
        let mut frame = vec![first];
        match (form, length) {
            (0, 0..126) => frame.push(0x80 | length.to_be_bytes()[1]),
            (0 | 1, _) => {
                frame.push(0x80 | 126);
                frame.extend(length.to_be_bytes());
            }
            _ => {
                frame.push(0x80 | 127);
                frame.extend(u64::from(length).to_be_bytes());
            }
        }
        frame.extend([0; 4]);
        frame.extend(vec![0xff; usize::from(length)]);
        frame
    }

    proptest! {
        #[test]
        fn heads_are_found_wherever_the_bytes_are_cut(
            frames in proptest::collection::vec((any::<u8>(), 0..400_u16, 0..3_u8), 1..8),
            cuts in proptest::collection::vec(1..20_usize, 1..20),
            refused in 0..10_usize,
        ) {
            let bytes: Vec<u8> = frames.iter().flat_map(|kind| frame(*kind)).collect();
            let (mut found, mut heads) = (Vec::new(), FrameHeads::default());
            let (mut rest, mut cuts, mut passed) = (bytes.as_slice(), cuts.iter().cycle(), 0);
            while !rest.is_empty() {
                let piece;
                (piece, rest) = rest.split_at(rest.len().min(*cuts.next().expect("endless")));
                let followed = heads.follow(piece, |part| {
                    let FramePart::Head(head) = part else {
                        return Ok(());
                    };
                    if found.len() == refused {
                        return Err(());
                    }
                    found.push((head.first, head.length));
                    Ok(())
                });
                passed += followed.map_or_else(|(place, ())| place, |()| piece.len());
                if followed.is_err() {
                    break;
                }
            }
            let admitted = &frames[..refused.min(frames.len())];
            let expected: Vec<_> = admitted.iter().map(|kind| (kind.0, u64::from(kind.1))).collect();
            prop_assert_eq!(found, expected);
            let whole: usize = admitted.iter().map(|kind| frame(*kind).len()).sum();
            prop_assert!(passed >= whole, "all that is admitted is passed on");
            prop_assert!(passed < whole + HEAD_BYTES_MAX, "of what is refused, part of a head");
        }
    }
}
