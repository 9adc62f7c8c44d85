//! As much of HTTP as load needs: heads, lengths, addresses.

use std::{fmt, net::SocketAddr};

use anyhow::Result;
use mio::net::{TcpListener, TcpStream};
use socket2::{Domain, Socket, Type};

const BACKLOG: i32 = 16_384;
const HEADERS_MAX: usize = 64;
/// Connections from one address of the loopback network: fewer than the system has ports for.
const PER_SOURCE: usize = 10_000;

/// Listens, with a queue for thousands of connections at once.
///
/// # Errors
/// If the address is taken.
pub fn listen(address: SocketAddr) -> Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// Begins to connect to a server on the loopback network. Every 10,000 connections come from
/// another local address, different for each server, so that ports do not run out.
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

/// The parts of a complete request.
pub struct ParsedRequest {
    /// Whether its method is POST.
    pub is_post: bool,
    /// Bytes of its head.
    pub head: usize,
    /// Bytes of head and body.
    pub end: usize,
}

/// Parses a request; `None` if it is incomplete.
#[must_use]
pub fn request(bytes: &[u8]) -> Option<ParsedRequest> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(head) = request.parse(bytes).ok()? else {
        return None;
    };
    let is_post = request.method == Some("POST");
    let end = head + content_length(request.headers).unwrap_or_default();
    (bytes.len() >= end).then_some(ParsedRequest { is_post, head, end })
}

/// Parses a response and returns its status and length in bytes; `None` if it is incomplete.
///
/// # Errors
/// If it is not HTTP.
pub fn response(bytes: &[u8]) -> Result<Option<(u16, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(bytes)? else {
        return Ok(None);
    };
    let status = response.code.unwrap_or_default();
    let end = match content_length(response.headers) {
        Some(body) => head + body,
        None if status == 204 || status == 304 => head,
        None => return Ok(end_of_chunked(&bytes[head..]).map(|body| (status, head + body))),
    };
    Ok((bytes.len() >= end).then_some((status, end)))
}

fn content_length(headers: &[httparse::Header<'_>]) -> Option<usize> {
    let header = headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))?;
    std::str::from_utf8(header.value).ok()?.parse().ok()
}

/// Returns where a chunked body ends. For short bodies only, which do not contain the end mark
/// themselves.
fn end_of_chunked(body: &[u8]) -> Option<usize> {
    memchr::memmem::find(body, b"0\r\n\r\n").map(|at| at + 5)
}

/// Where a server listens, and the token for it.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The address where it listens.
    pub address: SocketAddr,
    /// The bearer token of each request, if it needs one.
    pub token: Option<String>,
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self {
            address,
            token: None,
        }
    }
}

impl fmt::Display for Endpoint {
    /// Writes the headers of each request.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "host: {}\r\n", self.address)?;
        self.token
            .iter()
            .try_for_each(|token| write!(out, "authorization: Bearer {token}\r\n"))
    }
}

/// Returns a GET request; `headers` end with CRLF each.
#[must_use]
pub fn get(endpoint: &Endpoint, path: &str, headers: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\n{endpoint}{headers}\r\n").into_bytes()
}

/// Returns a POST request; `headers` end with CRLF each.
#[must_use]
pub fn post(
    endpoint: &Endpoint,
    path: &str,
    content_type: &str,
    headers: &str,
    body: &str,
) -> Vec<u8> {
    with_body("POST", endpoint, path, content_type, headers, body)
}

/// Returns a request with a body; `headers` end with CRLF each.
#[must_use]
pub fn with_body(
    method: &str,
    endpoint: &Endpoint,
    path: &str,
    content_type: &str,
    headers: &str,
    body: &str,
) -> Vec<u8> {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\n{endpoint}content-type: {content_type}\r\ncontent-length: \
        {length}\r\n{headers}\r\n{body}"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_when_a_response_is_complete() {
        let complete = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok";
        assert_eq!(
            response(complete).expect("a response"),
            Some((201, complete.len()))
        );
        assert_eq!(
            response(&complete[..complete.len() - 1]).expect("a part"),
            None
        );
        let empty = b"HTTP/1.1 204 No Content\r\n\r\n";
        assert_eq!(
            response(empty).expect("a response"),
            Some((204, empty.len()))
        );
        let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
        assert_eq!(
            response(chunked).expect("a response"),
            Some((200, chunked.len()))
        );
        assert!(response(b"SSH-2.0-x\r\n\r\n").is_err());
    }

    #[test]
    fn a_request_is_complete_at_its_length() {
        let endpoint = Endpoint::from(SocketAddr::from(([127, 0, 0, 1], 80)));
        let bytes = post(&endpoint, "/pub", "text/plain", "", "hello");
        let complete = request(&bytes).expect("complete");
        assert!(complete.is_post && &bytes[complete.head..complete.end] == b"hello");
        assert!(request(&bytes[..bytes.len() - 1]).is_none());
        assert!(request(&get(&endpoint, "/sub", "")).is_some_and(|request| !request.is_post));
    }
}
