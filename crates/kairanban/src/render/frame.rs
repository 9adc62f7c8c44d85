//! Pieces of a stream on the wire: as they are, or within gzip for readers who asked for that.
//!
//! What many readers are sent is compressed once, as a block that depends on nothing before it (a full
//! flush), so that blocks can follow each other in any order behind one gzip header. What one reader
//! alone is sent is short, and goes into the same stream uncompressed.

use bytes::Bytes;
use flate2::{Compress, Compression, Crc, FlushCompress, Status};

/// Deflate, no name, no time, system unknown.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// A last block that holds nothing.
const LAST: [u8; 2] = [3, 0];
/// Bytes of an uncompressed block.
const STORED_MAX: usize = u16::MAX as usize;

/// Something to send.
#[derive(Clone, Debug)]
pub struct Frame {
    plain: Bytes,
    /// The same, compressed.
    block: Option<Bytes>,
}

impl From<Bytes> for Frame {
    fn from(plain: Bytes) -> Self {
        Self { plain, block: None }
    }
}

impl Frame {
    /// What is sent plain, and what of it is sent to those who asked for gzip.
    #[must_use]
    pub const fn shared(plain: Bytes, block: Option<Bytes>) -> Self {
        Self { plain, block }
    }

    /// Whether there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.plain.is_empty()
    }

    /// As it is.
    #[must_use]
    pub fn into_plain(self) -> Bytes {
        self.plain
    }
}

/// Compresses what many readers will be sent.
#[must_use]
pub fn block(plain: &[u8]) -> Bytes {
    let mut deflate = Compress::new(Compression::default(), false);
    // Room for what does not get shorter; the flush takes a few bytes more.
    let mut out = Vec::with_capacity(plain.len() + plain.len() / 1_000 + 64);
    loop {
        let rest = &plain[usize::try_from(deflate.total_in()).unwrap_or(usize::MAX)..];
        match deflate.compress_vec(rest, &mut out, FlushCompress::Full) {
            Ok(Status::Ok | Status::StreamEnd) if out.len() < out.capacity() => break,
            // It has no more to say, or asks for room.
            Ok(Status::BufError) if out.len() < out.capacity() => break,
            Ok(_) => out.reserve(out.capacity()),
            // Only a stream that has ended refuses.
            Err(_) => return stored(plain),
        }
    }
    out.into()
}

fn stored(plain: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(plain.len() + 5);
    for chunk in plain.chunks(STORED_MAX) {
        let length = u16::try_from(chunk.len()).unwrap_or(u16::MAX);
        out.push(0);
        out.extend(length.to_le_bytes());
        out.extend((!length).to_le_bytes());
        out.extend(chunk);
    }
    out.into()
}

/// How one stream's frames go out.
#[derive(Debug)]
pub enum Wire {
    /// As they are.
    Identity,
    /// Within gzip; with what its end has to state.
    Gzip(Option<Crc>),
}

impl Wire {
    /// The bytes of some frames, and of the end behind them if they are the last.
    #[must_use]
    pub fn encode(&mut self, mut frames: impl ExactSizeIterator<Item = Frame>, last: bool) -> Bytes {
        match self {
            Self::Identity if frames.len() == 1 => frames.next().map(Frame::into_plain).unwrap_or_default(),
            Self::Identity => frames.map(Frame::into_plain).collect::<Vec<_>>().concat().into(),
            Self::Gzip(begun) => {
                let mut out = if begun.is_none() { HEADER.to_vec() } else { Vec::new() };
                let sum = begun.get_or_insert_with(Crc::new);
                for Frame { plain, block } in frames {
                    sum.update(&plain);
                    out.extend(block.unwrap_or_else(|| stored(&plain)));
                }
                if last {
                    out.extend(LAST);
                    out.extend(sum.sum().to_le_bytes());
                    out.extend(sum.amount().to_le_bytes());
                }
                out.into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;

    use super::*;

    fn unpacked(bytes: &[u8]) -> String {
        let mut text = String::new();
        GzDecoder::new(bytes).read_to_string(&mut text).expect("a whole gzip stream");
        text
    }

    #[test]
    fn shared_blocks_and_own_words_make_one_stream() {
        let long = "data: 回覧板\n".repeat(20_000);
        let shared = |text: &str| Frame::shared(text.to_owned().into(), Some(block(text.as_bytes())));
        let mut wire = Wire::Gzip(None);
        let mut bytes = wire.encode([Bytes::from_static(b"retry: 1\n\n").into(), shared(&long)].into_iter(), false).to_vec();
        assert!(bytes.len() < long.len() / 50, "{} bytes", bytes.len());
        bytes.extend(wire.encode([shared("a"), Bytes::from(long.clone()).into(), shared("")].into_iter(), false));
        bytes.extend(wire.encode([shared("bye")].into_iter(), true));
        assert_eq!(unpacked(&bytes), format!("retry: 1\n\n{long}a{long}bye"));
    }

    #[test]
    fn what_cannot_be_compressed_goes_whole() {
        let noise: String = (0..70_000).map(|_| fastrand::char(' '..'\u{ffff}')).collect();
        let frame = Frame::shared(noise.clone().into(), Some(block(noise.as_bytes())));
        assert_eq!(unpacked(&Wire::Gzip(None).encode([frame].into_iter(), true)), noise);
    }

    #[test]
    fn a_frame_that_is_sent_as_it_is_is_not_copied() {
        let plain = Bytes::from(vec![1; 9]);
        let sent = Wire::Identity.encode([Frame::from(plain.clone())].into_iter(), false);
        assert_eq!(sent.as_ptr(), plain.as_ptr());
    }
}
