//! Frames and compresses what streams send: plain, or within gzip for clients that accept it.
//!
//! What many readers are sent is framed once, as a chunk of HTTP/1.1, so that it can be written to
//! their sockets as it is; other transports take the payload. It is also compressed once, as a
//! block that depends on nothing before it (a full flush), so that blocks can follow each other in
//! any order behind one gzip header. What one reader alone is sent is short, and goes into the same
//! stream uncompressed.

use bytes::Bytes;
use flate2::{Compress, Compression, Crc, FlushCompress, Status};

/// Deflate, no name, no time, system unknown.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// A last block that holds nothing.
const LAST: [u8; 2] = [3, 0];
/// The most bytes of an uncompressed block.
const STORED_MAX: usize = u16::MAX as usize;
const LINE_END: &[u8] = b"\r\n";
/// Up to here a copy costs less than another piece.
const SHORT: usize = 16 * 1_024;

/// Bytes framed as a chunk of HTTP/1.1: their length in hexadecimal, a line end, the bytes, a line
/// end. Nothing is no chunk: an empty one would end the body.
#[derive(Clone, Debug, Default)]
pub struct Chunk(Bytes);

impl Chunk {
    /// The chunk that ends a body.
    pub const END: Self = Self(Bytes::from_static(b"0\r\n\r\n"));

    /// Frames `payload` as one chunk.
    #[must_use]
    pub fn new(payload: &[u8]) -> Self {
        if payload.is_empty() {
            return Self::default();
        }
        Self(
            [
                format!("{:x}", payload.len()).as_bytes(),
                LINE_END,
                payload,
                LINE_END,
            ]
            .concat()
            .into(),
        )
    }

    /// Creates a chunk from what [`framed`](Self::framed) returned.
    pub(super) const fn of_framed(framed: Bytes) -> Self {
        Self(framed)
    }

    /// Returns whether there is nothing to send.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether it ends a body.
    #[must_use]
    pub fn is_end(&self) -> bool {
        self.0 == Self::END.0
    }

    /// Returns the bytes with their frame.
    #[must_use]
    pub fn framed(&self) -> Bytes {
        self.0.clone()
    }

    /// Returns the bytes without their frame.
    #[must_use]
    pub fn payload(&self) -> Bytes {
        match self.0.iter().position(|byte| *byte == b'\n') {
            Some(line_end) => self.0.slice(line_end + 1..self.0.len() - LINE_END.len()),
            None => Bytes::new(),
        }
    }
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Returns the payloads of chunks, in one piece.
#[must_use]
pub fn payload_of(chunks: &[Chunk]) -> Bytes {
    match chunks {
        [only] => only.payload(),
        chunks => chunks
            .iter()
            .map(Chunk::payload)
            .collect::<Vec<_>>()
            .concat()
            .into(),
    }
}

/// Returns the payloads of chunks: short ones in one piece, and long ones, which others are sent as
/// well, without a copy.
#[must_use]
pub fn pieces_of(chunks: &[Chunk]) -> Vec<Bytes> {
    let length: usize = chunks.iter().map(|chunk| chunk.as_ref().len()).sum();
    if length <= SHORT {
        return vec![payload_of(chunks)];
    }
    chunks
        .iter()
        .map(Chunk::payload)
        .filter(|payload| !payload.is_empty())
        .collect()
}

/// Something to send, plain and perhaps compressed.
#[derive(Clone, Debug)]
pub struct Frame {
    plain: Chunk,
    /// The compressed form of `plain`.
    block: Option<Chunk>,
}

impl From<Bytes> for Frame {
    fn from(plain: Bytes) -> Self {
        Self {
            plain: Chunk::new(&plain),
            block: None,
        }
    }
}

impl Frame {
    /// Creates a frame from what is sent plain, and what is sent within gzip.
    #[must_use]
    pub const fn shared(plain: Chunk, block: Option<Chunk>) -> Self {
        Self { plain, block }
    }

    /// Returns whether there is nothing to send.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.plain.is_empty()
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
            // It is done, or asks for room.
            Ok(Status::BufError) if out.len() < out.capacity() => break,
            Ok(_) => out.reserve(out.capacity()),
            // Only a stream that has ended refuses.
            Err(_) => return stored(plain),
        }
    }
    out.into()
}

/// Compresses a whole body with gzip.
#[must_use]
pub fn gzip(plain: &[u8]) -> Bytes {
    gzip_of_parts([(Bytes::copy_from_slice(plain), None)])
        .concat()
        .into()
}

/// Compresses a body of several parts with gzip; those that [`block`] compressed before are not
/// compressed again.
pub fn gzip_of_parts(parts: impl IntoIterator<Item = (Bytes, Option<Bytes>)>) -> Vec<Bytes> {
    let (mut sum, mut out) = (Crc::new(), vec![Bytes::from_static(&HEADER)]);
    for (plain, packed) in parts {
        sum.update(&plain);
        out.push(packed.unwrap_or_else(|| block(&plain)));
    }
    out.push(trailer(&sum).into());
    out
}

/// Returns what ends a gzip stream with this checksum and length.
fn trailer(sum: &Crc) -> Vec<u8> {
    [
        &LAST[..],
        &sum.sum().to_le_bytes(),
        &sum.amount().to_le_bytes(),
    ]
    .concat()
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

/// Turns the frames of one stream into chunks: plain, or within gzip.
#[derive(Debug, Default)]
pub struct Wire(Option<Box<Gzip>>);

#[derive(Debug, Default)]
struct Gzip {
    /// Whether the header was sent.
    begun: bool,
    /// Checksum and length, which the trailer states.
    sum: Crc,
}

impl Wire {
    /// Creates a wire within gzip.
    #[must_use]
    pub fn gzip() -> Self {
        Self(Some(Box::default()))
    }

    /// Encodes frames, and the trailer behind them if they are the `last`.
    #[must_use]
    pub fn encode(&mut self, frames: Vec<Frame>, last: bool) -> Vec<Chunk> {
        match &mut self.0 {
            None => frames.into_iter().map(|frame| frame.plain).collect(),
            Some(gzip) => gzip.encode(frames, last),
        }
    }
}

impl Gzip {
    fn encode(&mut self, frames: Vec<Frame>, last: bool) -> Vec<Chunk> {
        let mut out = Vec::with_capacity(frames.len() + 2);
        if !std::mem::replace(&mut self.begun, true) {
            out.push(Chunk::new(&HEADER));
        }
        for Frame { plain, block } in frames {
            let plain = plain.payload();
            self.sum.update(&plain);
            out.push(block.unwrap_or_else(|| Chunk::new(&stored(&plain))));
        }
        if last {
            out.push(Chunk::new(&trailer(&self.sum)));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;

    use super::*;

    fn unpacked(bytes: &[u8]) -> String {
        let mut text = String::new();
        GzDecoder::new(bytes)
            .read_to_string(&mut text)
            .expect("a whole gzip stream");
        text
    }

    fn sent(wire: &mut Wire, frames: Vec<Frame>, last: bool) -> Vec<u8> {
        payload_of(&wire.encode(frames, last)).to_vec()
    }

    fn shared(text: &str) -> Frame {
        Frame::shared(
            Chunk::new(text.as_bytes()),
            Some(Chunk::new(&block(text.as_bytes()))),
        )
    }

    #[test]
    fn shared_blocks_and_own_words_make_one_stream() {
        let long = "data: 回覧板\n".repeat(20_000);
        let mut wire = Wire::gzip();
        let mut bytes = sent(
            &mut wire,
            vec![Bytes::from_static(b"retry: 1\n\n").into(), shared(&long)],
            false,
        );
        assert!(bytes.len() < long.len() / 50, "{} bytes", bytes.len());
        bytes.extend(sent(
            &mut wire,
            vec![shared("a"), Bytes::from(long.clone()).into(), shared("")],
            false,
        ));
        bytes.extend(sent(&mut wire, vec![shared("bye")], true));
        assert_eq!(unpacked(&bytes), format!("retry: 1\n\n{long}a{long}bye"));
    }

    #[test]
    fn what_cannot_be_compressed_goes_whole() {
        let noise: String = (0..70_000)
            .map(|_| fastrand::char(' '..'\u{ffff}'))
            .collect();
        assert_eq!(
            unpacked(&sent(&mut Wire::gzip(), vec![shared(&noise)], true)),
            noise
        );
    }

    #[test]
    fn a_chunk_is_framed_once() {
        let chunk = Chunk::new("回覧板\n\n".as_bytes());
        assert_eq!(chunk.as_ref(), "b\r\n回覧板\n\n\r\n".as_bytes());
        assert_eq!(chunk.payload(), "回覧板\n\n");
        assert!(Chunk::new(b"").is_empty() && Chunk::new(b"").payload().is_empty());
        let sent = Wire::default().encode(vec![Frame::shared(chunk.clone(), None)], false);
        assert_eq!(
            sent[0].as_ref().as_ptr(),
            chunk.as_ref().as_ptr(),
            "not copied"
        );
    }
}
