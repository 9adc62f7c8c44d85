//! What there is to know of HTTP to make load: heads, lengths, addresses.

use std::{fmt, net::SocketAddr};

use anyhow::Result;
use mio::net::{TcpListener, TcpStream};
use socket2::{Domain, Socket, Type};

const BACKLOG: i32 = 16_384;
const HEADERS: usize = 64;
/// Connections from one address of the loopback network: below what the system has ports for.
const PER_SOURCE: usize = 10_000;

/// Listens for a crowd.
///
/// # Errors
/// If the address cannot be had.
pub fn listen(address: SocketAddr) -> Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// Begins to connect to a server on the loopback network. The `n`th of many comes from one of several
/// addresses, of which each server has its own, so that ports do not run out.
///
/// # Errors
/// If the system refuses.
pub fn connect(to: SocketAddr, n: usize) -> Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if n >= PER_SOURCE {
        let [high, low] = to.port().to_be_bytes();
        socket
            .bind(&SocketAddr::from(([127, high, low, u8::try_from(n / PER_SOURCE)?], 0)).into())?;
    }
    match socket.connect(&to.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(IN_PROGRESS) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(TcpStream::from_std(socket.into()))
}

/// `EINPROGRESS`, which the standard library has no name for.
const IN_PROGRESS: i32 = 115;

/// A request that has come in whole.
pub struct Request {
    /// Whether it posts something.
    pub is_post: bool,
    /// Bytes of its head.
    pub head: usize,
    /// Bytes of all of it.
    pub end: usize,
}

/// Reads a request; `None` if there is more to come.
#[must_use]
pub fn request(bytes: &[u8]) -> Option<Request> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(head) = request.parse(bytes).ok()? else {
        return None;
    };
    let is_post = request.method == Some("POST");
    let end = head + length(request.headers).unwrap_or_default();
    (bytes.len() >= end).then_some(Request { is_post, head, end })
}

/// An answer that has come in whole: its status and how long it is.
///
/// # Errors
/// If it is no answer, or one whose length cannot be known beforehand.
pub fn answer(bytes: &[u8]) -> Result<Option<(u16, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(bytes)? else {
        return Ok(None);
    };
    let status = response.code.unwrap_or_default();
    let end = match length(response.headers) {
        Some(body) => head + body,
        None if status == 204 || status == 304 => head,
        None => return Ok(end_of_chunked(&bytes[head..]).map(|body| (status, head + body))),
    };
    Ok((bytes.len() >= end).then_some((status, end)))
}

fn length(headers: &[httparse::Header<'_>]) -> Option<usize> {
    let header = headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))?;
    std::str::from_utf8(header.value).ok()?.parse().ok()
}

/// Where a chunked body ends; short ones only, as answers to a post are.
fn end_of_chunked(body: &[u8]) -> Option<usize> {
    memchr::memmem::find(body, b"0\r\n\r\n").map(|at| at + 5)
}

/// Where a server is asked, and by what right.
#[derive(Clone, Debug)]
pub struct Door {
    /// Where it listens.
    pub address: SocketAddr,
    /// What each request shows, if it has to.
    pub token: Option<String>,
}

impl From<SocketAddr> for Door {
    fn from(address: SocketAddr) -> Self {
        Self {
            address,
            token: None,
        }
    }
}

impl fmt::Display for Door {
    /// The headers that each request has.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "host: {}\r\n", self.address)?;
        self.token
            .iter()
            .try_for_each(|token| write!(out, "authorization: Bearer {token}\r\n"))
    }
}

/// A GET of a stream or a file.
#[must_use]
pub fn get(door: &Door, path: &str, headers: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\n{door}{headers}\r\n").into_bytes()
}

/// A POST.
#[must_use]
pub fn post(door: &Door, path: &str, kind: &str, headers: &str, body: &str) -> Vec<u8> {
    with_body("POST", door, path, kind, headers, body)
}

/// A request that brings something.
#[must_use]
pub fn with_body(
    method: &str,
    door: &Door,
    path: &str,
    kind: &str,
    headers: &str,
    body: &str,
) -> Vec<u8> {
    let length = body.len();
    format!("{method} {path} HTTP/1.1\r\n{door}content-type: {kind}\r\ncontent-length: {length}\r\n{headers}\r\n{body}")
        .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_when_an_answer_is_whole() {
        let whole = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok";
        assert_eq!(answer(whole).expect("an answer"), Some((201, whole.len())));
        assert_eq!(answer(&whole[..whole.len() - 1]).expect("a part"), None);
        let empty = b"HTTP/1.1 204 No Content\r\n\r\n";
        assert_eq!(answer(empty).expect("an answer"), Some((204, empty.len())));
        let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
        assert_eq!(
            answer(chunked).expect("an answer"),
            Some((200, chunked.len()))
        );
        assert!(answer(b"SSH-2.0-x\r\n\r\n").is_err());
    }

    #[test]
    fn knows_a_post_by_its_length() {
        let door = Door::from(SocketAddr::from(([127, 0, 0, 1], 80)));
        let bytes = post(&door, "/pub", "text/plain", "", "hello");
        let whole = request(&bytes).expect("whole");
        assert!(whole.is_post && &bytes[whole.head..whole.end] == b"hello");
        assert!(request(&bytes[..bytes.len() - 1]).is_none());
        assert!(request(&get(&door, "/sub", "")).is_some_and(|request| !request.is_post));
    }
}
