//! A text with gaps. What stands around the gaps and what fills them are sent from where they are,
//! so that a reader has no copy of either.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use actix_web::body::{BodySize, MessageBody};
use bytes::{Buf as _, Bytes};
use kairanban_core::hex;
use sha2::{Digest as _, Sha256};

use crate::encode::gzip_of_parts;

/// A gap: a character that no text of ours holds.
pub const GAP: &str = "\0";

/// A text whose gaps are all filled with the same bytes.
#[derive(Clone, Debug)]
pub struct FilledText {
    /// What comes before the text, and has no gaps.
    head: Bytes,
    text: Bytes,
    fill: Bytes,
    /// Whether the fill is next.
    is_at_gap: bool,
}

impl FilledText {
    /// Fills the gaps of `text`.
    pub fn new(text: impl Into<Bytes>, fill: impl Into<Bytes>) -> Self {
        Self {
            head: Bytes::new(),
            text: text.into(),
            fill: fill.into(),
            is_at_gap: false,
        }
    }

    /// Puts the text behind `head`.
    #[must_use]
    pub fn behind(self, head: impl Into<Bytes>) -> Self {
        Self {
            head: head.into(),
            ..self
        }
    }

    /// Returns the length of what is left.
    fn len(&self) -> usize {
        let gaps = memchr::memchr_iter(GAP.as_bytes()[0], &self.text).count();
        let fills = gaps + usize::from(self.is_at_gap);
        self.head.len() + self.text.len() - gaps + fills * self.fill.len()
    }

    /// Returns all of it in one piece.
    #[cfg(test)]
    pub(crate) fn text(self) -> String {
        let all: Vec<_> = self.flatten().collect();
        String::from_utf8(all).expect("text")
    }
}

impl Iterator for FilledText {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if !self.head.is_empty() {
            return Some(std::mem::take(&mut self.head));
        }
        if std::mem::take(&mut self.is_at_gap) {
            return Some(self.fill.clone());
        }
        if self.text.is_empty() {
            return None;
        }
        let gap = memchr::memchr(GAP.as_bytes()[0], &self.text);
        let piece = self.text.split_to(gap.unwrap_or(self.text.len()));
        if gap.is_some() {
            self.text.advance(GAP.len());
            self.is_at_gap = true;
        }
        Some(piece)
    }
}

impl MessageBody for FilledText {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.len() as u64)
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        Poll::Ready(self.next().map(Ok))
    }
}

/// A body in pieces, which others may be sent as well.
#[derive(Debug)]
pub struct Pieces(std::vec::IntoIter<Bytes>);

impl Iterator for Pieces {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        self.0.find(|piece| !piece.is_empty())
    }
}

impl MessageBody for Pieces {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        let length: usize = self.0.as_slice().iter().map(Bytes::len).sum();
        BodySize::Sized(length as u64)
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        Poll::Ready(self.next().map(Ok))
    }
}

/// A page: what was rendered for its reader, and perhaps a part that is shared by many.
#[derive(Debug)]
pub struct RenderedPage {
    tag: String,
    /// The text before the gap, and behind it.
    frame: [Bytes; 2],
    /// What fills the gap.
    fill: Bytes,
    /// What fills the gap, compressed before; `None` if it was not.
    packed_fill: Option<Bytes>,
}

/// Bytes of the digest that a tag is.
const TAG_BYTES: usize = 10;

impl From<String> for RenderedPage {
    fn from(text: String) -> Self {
        let tag = tag_of(text.as_bytes());
        Self {
            tag,
            frame: [text.into(), Bytes::new()],
            fill: Bytes::new(),
            packed_fill: None,
        }
    }
}

impl RenderedPage {
    /// Fills the gap of `frame`, which names the version of `fill`.
    pub fn with_fill(frame: String, fill: Bytes, packed_fill: Option<Bytes>) -> Self {
        let tag = tag_of(frame.as_bytes());
        let mut head = Bytes::from(frame);
        let gap = memchr::memchr(GAP.as_bytes()[0], &head).unwrap_or(head.len());
        let mut tail = head.split_off(gap);
        tail.advance(GAP.len().min(tail.len()));
        Self {
            tag,
            frame: [head, tail],
            fill,
            packed_fill,
        }
    }

    /// Returns the tag of the page, in quotes: another one for every other text.
    #[must_use]
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// Returns the page as it is.
    #[must_use]
    pub fn plain(self) -> Pieces {
        let [head, tail] = self.frame;
        Pieces(vec![head, self.fill, tail].into_iter())
    }

    /// Returns the page within gzip.
    #[must_use]
    pub fn packed(self) -> Pieces {
        let [head, tail] = self.frame;
        let parts = [(head, None), (self.fill, self.packed_fill), (tail, None)];
        Pieces(gzip_of_parts(parts).into_iter())
    }

    /// Returns all of it in one piece.
    #[cfg(test)]
    pub(crate) fn text(self) -> String {
        String::from_utf8(self.plain().flatten().collect()).expect("text")
    }
}

/// Makes the entity tag of a content, in its quotes.
pub fn tag_of(content: &[u8]) -> String {
    let digest = Sha256::digest(content);
    format!("\"{}\"", hex(&digest[..TAG_BYTES]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_gap_is_filled_wherever_it_stands() {
        for (text, fill, whole) in [
            ("", "x", ""),
            ("a", "x", "a"),
            ("\0", "x", "x"),
            ("\0\0", "xy", "xyxy"),
            ("a\0b", "", "ab"),
            ("\0a\0bc\0", "xy", "xyaxybcxy"),
        ] {
            let filled = FilledText::new(text, fill);
            assert_eq!(filled.len(), whole.len(), "{text:?}");
            assert_eq!(filled.clone().text(), whole, "{text:?}");
            let behind = filled.behind("head");
            assert_eq!(behind.len(), whole.len() + 4, "{text:?}");
            assert_eq!(behind.text(), format!("head{whole}"), "{text:?}");
        }
    }
}
