//! A text with gaps. What stands around the gaps and what fills them are sent from where they are, so that a reader has no
//! copy of either.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use actix_web::body::{BodySize, MessageBody};
use bytes::{Buf as _, Bytes};

/// A gap: a character that no text of ours holds.
pub const GAP: &str = "\0";

/// A text whose gaps are all filled with the same bytes.
#[derive(Clone, Debug)]
pub struct FilledText {
    text: Bytes,
    fill: Bytes,
    /// Whether the fill is next.
    is_at_gap: bool,
}

impl FilledText {
    /// Fills the gaps of `text`.
    pub fn new(text: impl Into<Bytes>, fill: impl Into<Bytes>) -> Self {
        Self {
            text: text.into(),
            fill: fill.into(),
            is_at_gap: false,
        }
    }

    /// Returns the length of what is left.
    fn len(&self) -> usize {
        let gaps = memchr::memchr_iter(GAP.as_bytes()[0], &self.text).count();
        let fills = gaps + usize::from(self.is_at_gap);
        self.text.len() - gaps + fills * self.fill.len()
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
            assert_eq!(filled.text(), whole, "{text:?}");
        }
    }
}
