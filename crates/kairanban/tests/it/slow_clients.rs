//! Clients that send one byte at a time, at every point of a connection's life; and clients that
//! open many connections.

mod connections;

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use socket2::{Domain, Socket, Type};

use crate::{
    node::{Database, Node},
    wire,
};

/// Each limit is a second here; a handler may answer a second late, and a refused body is waited
/// for once more.
const LIMITS: [(&str, &str); 4] = [
    ("LIMITS__HEAD_WAIT_S", "1"),
    ("LIMITS__BODY_WAIT_S", "1"),
    ("LIMITS__IDLE_WAIT_S", "1"),
    ("STREAM__HEARTBEAT_S", "1"),
];
const BOUND: Duration = Duration::from_secs(5);
/// What the connections are watched for at most: a limit per read would let them live on.
const WATCH: Duration = Duration::from_secs(8);
const METHODS: [&str; 9] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW",
];
/// With a handler for a body, with one that is refused, with none, and nothing at all.
const PATHS: [&str; 6] = [
    "/",
    "/b/main",
    "/api/v1/boards/main/topics",
    "/api/v1/boards/main",
    "/livez",
    "/nowhere",
];

/// A client that has sent `sent`, and from then on sends `dripped` byte by byte, again and again.
struct Dripper {
    what: String,
    connection: TcpStream,
    dripped: Vec<u8>,
    at: usize,
    began: Instant,
    ended: Option<Duration>,
    said: Vec<u8>,
}

impl Dripper {
    fn new(address: SocketAddr, what: String, sent: &[u8], dripped: &str) -> Self {
        let mut connection = wire::connect(address);
        connection.write_all(sent).expect("sent");
        connection.set_nonblocking(true).expect("set");
        let (dripped, began) = (dripped.as_bytes().to_vec(), Instant::now());
        Self {
            what,
            connection,
            dripped,
            at: 0,
            began,
            ended: None,
            said: Vec::new(),
        }
    }

    /// Takes what comes, and sends one byte more.
    fn drip(&mut self) {
        if self.ended.is_some() {
            return;
        }
        let mut room = [0; 4_096];
        let is_over = loop {
            match self.connection.read(&mut room) {
                Ok(0) => break true,
                Ok(count) => self.said.extend_from_slice(&room[..count]),
                Err(error) => break error.kind() != ErrorKind::WouldBlock,
            }
        };
        let byte = [self.dripped[self.at % self.dripped.len()]];
        self.at += 1;
        let is_over = is_over
            || self
                .connection
                .write(&byte)
                .is_err_and(|error| error.kind() != ErrorKind::WouldBlock);
        if is_over {
            self.ended = Some(self.began.elapsed());
        }
    }
}

fn drip_all(drippers: &mut [Dripper], time: Duration, mut meanwhile: impl FnMut()) {
    let began = Instant::now();
    while began.elapsed() < time && drippers.iter().any(|dripper| dripper.ended.is_none()) {
        drippers.iter_mut().for_each(Dripper::drip);
        meanwhile();
        std::thread::park_timeout(Duration::from_millis(30));
    }
}

/// A point of a connection's life: its name, what was sent before it, and what is dripped from
/// there.
type Point = (String, String, &'static str);

const HEADER: &str = "X-Padding: aaaaaaaa\r\n";
const DATA: &str = "a";
/// A whole request, which is answered before the client begins to drip.
const FIRST: &str = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";

/// Returns every point of the life of a connection that sends this request.
fn points(method: &str, path: &str) -> Vec<Point> {
    let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n");
    let mut points = points_of_heads(&head);
    points.extend(points_of_bodies(&head));
    points.extend(points_of_chunked_bodies(&head));
    for (name, ..) in &mut points {
        *name = format!("{method} {path}: {name}");
    }
    points
}

fn point(name: &str, sent: impl Into<String>, dripped: &'static str) -> Point {
    (name.to_owned(), sent.into(), dripped)
}

fn points_of_heads(head: &str) -> Vec<Point> {
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
    vec![
        point("before the first head", "", "\r\n"),
        point("the request line", "", "GETGETGET"),
        point("within the first head", head, HEADER),
        point("before the second head", FIRST, "\r\n"),
        point("within the second head", format!("{FIRST}{head}"), HEADER),
        point(
            "within the tenth head",
            format!("{}{head}", FIRST.repeat(9)),
            HEADER,
        ),
        point("within a handshake", format!("{head}{upgrade}"), HEADER),
        point(
            "behind an upgrade that was not asked for",
            format!("{head}{upgrade}\r\n"),
            DATA,
        ),
    ]
}

fn points_of_bodies(head: &str) -> Vec<Point> {
    vec![
        point(
            "a body",
            format!("{head}{FORM}Content-Length: 60000\r\n\r\ncomment="),
            DATA,
        ),
        point(
            "a body on a connection that was used",
            format!("{FIRST}{head}{FORM}Content-Length: 60000\r\n\r\n"),
            DATA,
        ),
        point(
            "a body after 100-continue",
            format!("{head}{FORM}Expect: 100-continue\r\nContent-Length: 60000\r\n\r\n"),
            DATA,
        ),
        point(
            "a body of a wrong kind",
            format!("{head}Content-Type: x/y\r\nContent-Length: 60000\r\n\r\n"),
            DATA,
        ),
        point(
            "a body that is too long",
            format!("{head}{FORM}Content-Length: 6000000\r\n\r\n"),
            DATA,
        ),
    ]
}

fn points_of_chunked_bodies(head: &str) -> Vec<Point> {
    let chunked = format!("{head}{FORM}Transfer-Encoding: chunked\r\n\r\n");
    vec![
        point("a chunk", format!("{chunked}ea60\r\ncomment="), DATA),
        point("chunks", chunked.as_str(), "1\r\na\r\n"),
        point("a chunk's extension", format!("{chunked}1;"), DATA),
        point("trailers", format!("{chunked}1\r\na\r\n0\r\n"), HEADER),
    ]
}

#[test]
fn no_point_of_a_connection_lets_it_drip_on() {
    let node = Node::start_with(Database::sqlite(), &LIMITS);
    let mut late = Vec::new();
    for method in METHODS {
        let all = PATHS.into_iter().flat_map(|path| points(method, path));
        let mut drippers: Vec<_> = all
            .map(|(what, sent, dripped)| Dripper::new(node.address, what, sent.as_bytes(), dripped))
            .collect();
        drip_all(&mut drippers, WATCH, || {});
        late.extend(
            drippers
                .iter()
                .filter(|dripper| dripper.ended.is_none_or(|ended| ended > BOUND))
                .map(|dripper| format!("{}: {:?}", dripper.what, dripper.ended)),
        );
    }
    assert!(
        late.is_empty(),
        "{} connections outlived their limit, such as {:#?}",
        late.len(),
        &late[..late.len().min(30)]
    );
}

/// Frames that never become complete.
#[test]
fn a_web_socket_cannot_drip_on() {
    let node = Node::start_with(Database::sqlite(), &LIMITS);
    let handshake = "GET /b/main/ws HTTP/1.1\r\nHost: localhost\r\nConnection: \
        Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: \
        dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let frame = [handshake.as_bytes(), &[0x81, 0xfe, 0x7f, 0xff, 0, 0, 0, 0]].concat();
    let mut drippers = [Dripper::new(
        node.address,
        "a frame".to_owned(),
        &frame,
        "a",
    )];
    drip_all(&mut drippers, WATCH, || {});
    assert!(String::from_utf8_lossy(&drippers[0].said).starts_with("HTTP/1.1 101"));
    assert!(
        drippers[0].ended.is_some_and(|ended| ended < BOUND),
        "{:?}",
        drippers[0].ended
    );
}

#[test]
fn slow_heads_and_slow_bodies_are_answered_with_408() {
    let node = Node::start_with(Database::sqlite(), &LIMITS);
    let body = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: \
        999\r\n\r\n";
    for (sent, answers) in [
        ("GET", 0),
        (&format!("{FIRST}GET"), 1),
        (body, 0),
        (&format!("{FIRST}{body}"), 1),
    ] {
        let mut drippers = [Dripper::new(
            node.address,
            String::new(),
            sent.as_bytes(),
            "A",
        )];
        drip_all(&mut drippers, WATCH, || {});
        let said = String::from_utf8_lossy(&drippers[0].said).into_owned();
        assert_eq!(said.matches("HTTP/1.1 200").count(), answers, "{said}");
        assert_eq!(said.matches("HTTP/1.1 408").count(), 1, "{sent:?}: {said}");
    }
}

const LIST: &str = "/api/v1/boards/main/topics";

/// A long poll, and a stream.
#[test]
fn what_is_slow_on_our_side_lives_on() {
    let node = Node::start_with(Database::sqlite(), &LIMITS);
    let list = node.get(LIST);
    let known = [("If-None-Match", list.header("etag").expect("an ETag"))];
    let began = Instant::now();
    let waited = node.get_with(&format!("{LIST}?wait=4"), &known);
    assert_eq!(waited.status, 304);
    assert!(began.elapsed() > Duration::from_secs(3));
    let mut stream = node.stream("/b/main/stream?format=patch&since=now");
    for _ in 0..4 {
        assert!(
            stream.raw(Duration::from_secs(3)).is_some(),
            "the stream lives on"
        );
    }
}

/// A connection that holds little of what it has not read.
fn narrow_connection(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("set");
    socket.connect(&address.into()).expect("connected");
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("set");
    socket.into()
}

/// A client that takes some of a long answer, and then nothing for three seconds.
#[test]
fn a_long_answer_may_take_a_while_to_be_read() {
    let node = Node::start_with(Database::sqlite(), &LIMITS);
    for n in 0..400 {
        node.post(&format!("{n} {}", "x".repeat(1_900)));
    }
    let mut slow = narrow_connection(node.address);
    slow.write_all(&wire::message("GET", LIST, &[], b""))
        .expect("sent");
    let mut room = vec![0; 65_536];
    let mut taken = slow.read(&mut room).expect("a beginning");
    let head = String::from_utf8_lossy(&room[..taken]).to_lowercase();
    let length: usize = head
        .split("content-length: ")
        .nth(1)
        .and_then(|rest| rest.split("\r\n").next()?.parse().ok())
        .expect("a length");
    std::thread::park_timeout(Duration::from_secs(3));
    while taken < length {
        let count = slow.read(&mut room).expect("the rest");
        assert!(count > 0, "cut off after {taken} bytes");
        taken += count;
    }
}

/// The server has room for as many connections as it may have streams, and 1,024 more: these are as
/// many for one worker.
#[test]
fn a_thousand_that_drip_do_not_keep_others_out() {
    const MANY: usize = 1_000;
    rlimit::increase_nofile_limit(4_096).expect("files");
    let settings = [
        LIMITS.as_slice(),
        &[("LIMITS__STREAMS_MAX", "0"), ("SERVER__WORKERS", "1")],
    ]
    .concat();
    let node = Node::start_with(Database::sqlite(), &settings);
    let first = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\nGET /";
    let mut drippers: Vec<_> = (0..MANY)
        .map(|_| Dripper::new(node.address, String::new(), first.as_bytes(), "a"))
        .collect();
    let mut slowest = Duration::ZERO;
    drip_all(&mut drippers, WATCH, || {
        let began = Instant::now();
        let answer = wire::request(node.address, "GET", "/", &[], b"");
        assert_eq!(answer.status, 200);
        slowest = slowest.max(began.elapsed());
    });
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    assert_eq!(
        drippers
            .iter()
            .filter(|dripper| dripper.ended.is_none())
            .count(),
        0,
        "of {MANY} live on"
    );
}
