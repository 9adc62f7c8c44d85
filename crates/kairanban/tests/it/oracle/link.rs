//! Connections that break at a given byte.

use std::{
    io::{self, BufRead as _, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use flate2::{Decompress, FlushDecompress};

/// A node that answers is quick; one that is being killed may never answer.
const PATIENCE: Duration = Duration::from_secs(5);
const GZIP_HEADER: usize = 10;

/// A connection that is cut after a number of bytes.
#[derive(Debug)]
pub(crate) struct Cut {
    connection: TcpStream,
    left: usize,
}

impl Cut {
    pub(crate) fn connect(address: SocketAddr, left: usize) -> io::Result<Self> {
        let connection = TcpStream::connect(address)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { connection, left })
    }

    pub(crate) fn spare(&mut self) {
        self.left = usize::MAX;
    }

    /// How many bytes were read, if there was no end to them.
    pub(crate) fn taken(&self) -> usize {
        usize::MAX - self.left
    }
}

impl Read for Cut {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = buffer.len().min(self.left);
        let count = self.connection.read(&mut buffer[..room])?;
        self.left -= count;
        Ok(count)
    }
}

impl Write for Cut {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.connection.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.connection.flush()
    }
}

/// An answer as it comes, in pieces.
pub(crate) struct PiecewiseAnswer {
    input: BufReader<Cut>,
    pub(crate) status: u16,
    pub(crate) head: String,
    chunked: bool,
    inflate: Option<(Decompress, Vec<u8>)>,
}

impl PiecewiseAnswer {
    /// Asks, and reads the head.
    pub(crate) fn get(mut cut: Cut, path: &str, headers: &[(&str, &str)]) -> io::Result<Self> {
        cut.write_all(&crate::wire::message("GET", path, headers, b""))?;
        let mut input = BufReader::new(cut);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if input.read_line(&mut head)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let head = head.to_lowercase();
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .unwrap_or(0);
        let inflate = head
            .contains("content-encoding: gzip")
            .then(|| (Decompress::new(false), Vec::new()));
        Ok(Self {
            input,
            status,
            chunked: head.contains("transfer-encoding: chunked"),
            inflate,
            head,
        })
    }

    pub(crate) fn spare(&mut self) {
        self.input.get_mut().spare();
    }

    /// The next piece of text, or `None` when the connection broke or ended.
    pub(crate) fn piece(&mut self) -> Option<String> {
        let bytes = if self.chunked {
            crate::wire::read_chunk(&mut self.input)
        } else {
            crate::wire::read_some(&mut self.input)
        }?;
        let Some((inflate, packed)) = &mut self.inflate else {
            return Some(String::from_utf8(bytes).expect("UTF-8"));
        };
        packed.extend(bytes);
        let mut text = Vec::with_capacity(1 << 20);
        let from = usize::try_from(inflate.total_in()).expect("a place") + GZIP_HEADER;
        inflate
            .decompress_vec(&packed[from..], &mut text, FlushDecompress::Sync)
            .expect("gzip");
        Some(String::from_utf8(text).expect("UTF-8"))
    }

    pub(crate) fn taken(&self) -> usize {
        self.input.get_ref().taken()
    }

    /// The whole body, and how many bytes the answer had.
    pub(crate) fn body_and_bytes(mut self) -> (String, usize) {
        let body = self.read_body().expect("a body");
        (body, self.taken())
    }

    /// Reads the whole body.
    pub(crate) fn body(mut self) -> Option<String> {
        self.read_body()
    }

    fn read_body(&mut self) -> Option<String> {
        let length: Option<usize> = self
            .head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .and_then(|length| length.trim().parse().ok());
        let mut body = String::new();
        while length != Some(body.len()) {
            body.push_str(&self.piece()?);
        }
        Some(body)
    }
}

/// Posts to the default board, under the comment as the key. Returns the status, if there was an
/// answer.
pub(crate) fn post(address: SocketAddr, comment: &str) -> Option<u16> {
    let mut cut = Cut::connect(address, usize::MAX).ok()?;
    let headers = [
        ("Content-Type", "text/plain"),
        ("Idempotency-Key", comment),
        ("Connection", "close"),
    ];
    cut.write_all(&crate::wire::message(
        "POST",
        "/",
        &headers,
        comment.as_bytes(),
    ))
    .ok()?;
    let mut line = String::new();
    BufReader::new(cut).read_line(&mut line).ok()?;
    line.split(' ').nth(1)?.parse().ok()
}

/// Asks for something short. Returns the head, in lower case, and the body, if there was an answer
/// of 200.
pub(crate) fn get(address: SocketAddr, path: &str) -> Option<(String, String)> {
    let answer = PiecewiseAnswer::get(
        Cut::connect(address, usize::MAX).ok()?,
        path,
        &[("Connection", "close")],
    )
    .ok()?;
    let head = answer.head.clone();
    (answer.status == 200)
        .then(|| answer.body())
        .flatten()
        .map(|body| (head, body))
}
