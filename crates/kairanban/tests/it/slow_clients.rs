//! Clients that send one byte at a time, at every point of a connection's life; and clients that open many connections.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use socket2::{Domain, Socket, Type};

use crate::{
    node::{Database, Node},
    wire,
};

/// Each limit is a second here; a handler may answer a second late, and a refused body is waited for once more.
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

/// Every point of a connection's life: what was sent before it, and what is dripped from there.
fn points(method: &str, path: &str) -> Vec<(String, String, &'static str)> {
    let head = format!("{method} {path} HTTP/1.1\r\nHost: board.test\r\n");
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let first = "GET /livez HTTP/1.1\r\nHost: board.test\r\n\r\n";
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
    let (header, data) = ("X-Padding: aaaaaaaa\r\n", "a");
    let point =
        |name: &str, sent: String, dripped| (format!("{method} {path}: {name}"), sent, dripped);
    vec![
        point("before the first head", String::new(), "\r\n"),
        point("the request line", String::new(), "GETGETGET"),
        point("within the first head", head.clone(), header),
        point("before the second head", first.to_owned(), "\r\n"),
        point("within the second head", format!("{first}{head}"), header),
        point(
            "within the tenth head",
            format!("{}{head}", first.repeat(9)),
            header,
        ),
        point(
            "a body",
            format!("{head}{form}Content-Length: 60000\r\n\r\ncomment="),
            data,
        ),
        point(
            "a body on a connection that was used",
            format!("{first}{head}{form}Content-Length: 60000\r\n\r\n"),
            data,
        ),
        point(
            "a body after 100-continue",
            format!("{head}{form}Expect: 100-continue\r\nContent-Length: 60000\r\n\r\n"),
            data,
        ),
        point(
            "a chunk",
            format!("{head}{form}Transfer-Encoding: chunked\r\n\r\nea60\r\ncomment="),
            data,
        ),
        point(
            "chunks",
            format!("{head}{form}Transfer-Encoding: chunked\r\n\r\n"),
            "1\r\na\r\n",
        ),
        point(
            "a chunk's extension",
            format!("{head}{form}Transfer-Encoding: chunked\r\n\r\n1;"),
            data,
        ),
        point(
            "trailers",
            format!("{head}{form}Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"),
            header,
        ),
        point("within a handshake", format!("{head}{upgrade}"), header),
        point(
            "behind an upgrade that was not asked for",
            format!("{head}{upgrade}\r\n"),
            data,
        ),
        point(
            "a body of a wrong kind",
            format!("{head}Content-Type: x/y\r\nContent-Length: 60000\r\n\r\n"),
            data,
        ),
        point(
            "a body that is too long",
            format!("{head}{form}Content-Length: 6000000\r\n\r\n"),
            data,
        ),
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
        let is_late = |dripper: &&Dripper| dripper.ended.is_none_or(|ended| ended > BOUND);
        late.extend(
            drippers
                .iter()
                .filter(is_late)
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
    let handshake = "GET /b/main/ws HTTP/1.1\r\nHost: board.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
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
fn slow_heads_are_told_so_and_slow_bodies_too() {
    let node = Node::start_with(Database::sqlite(), &LIMITS);
    let first = "GET /livez HTTP/1.1\r\nHost: board.test\r\n\r\n";
    let body = "POST / HTTP/1.1\r\nHost: board.test\r\nContent-Type: text/plain\r\nContent-Length: 999\r\n\r\n";
    for (sent, answers) in [
        ("GET", 0),
        (&format!("{first}GET"), 1),
        (body, 0),
        (&format!("{first}{body}"), 1),
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

/// What is slow for another reason than the client's is not cut off: long polls, answers that take a while to be read, streams.
#[test]
fn what_is_slow_on_our_side_lives_on() {
    let node = Node::start_with(Database::sqlite(), &LIMITS);
    for n in 0..400 {
        node.post(&format!("{n} {}", "x".repeat(1_900)));
    }
    let etag = node
        .get("/api/v1/boards/main/topics")
        .header("etag")
        .expect("an ETag")
        .to_owned();
    let began = Instant::now();
    let waited = node.get_with(
        "/api/v1/boards/main/topics?wait=4",
        &[("If-None-Match", &etag)],
    );
    assert_eq!(waited.status, 304);
    assert!(began.elapsed() > Duration::from_secs(3));
    // A client that takes some of a long answer, and then nothing for three seconds.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("set");
    socket.connect(&node.address.into()).expect("connected");
    let mut slow: TcpStream = socket.into();
    slow.set_read_timeout(Some(Duration::from_secs(10)))
        .expect("set");
    let head = "GET /api/v1/boards/main/topics HTTP/1.1\r\nHost: board.test\r\n\r\n";
    slow.write_all(head.as_bytes()).expect("sent");
    let mut room = vec![0; 65_536];
    let mut taken = slow.read(&mut room).expect("a beginning");
    let length = String::from_utf8_lossy(&room[..taken]).to_lowercase();
    let length = length
        .split("content-length: ")
        .nth(1)
        .and_then(|rest| rest.split("\r\n").next()?.parse::<usize>().ok());
    std::thread::park_timeout(Duration::from_secs(3));
    while taken < length.expect("a length") {
        let count = slow.read(&mut room).expect("the rest");
        assert!(count > 0, "cut off after {taken} bytes");
        taken += count;
    }
    let mut stream = node.stream("/b/main/stream?format=patch&since=now");
    for _ in 0..4 {
        assert!(
            stream.raw(Duration::from_secs(3)).is_some(),
            "the stream lives on"
        );
    }
}

/// The server has room for as many connections as it may have streams, and 1,024 more: these are as many for one worker.
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
    let first = "GET /livez HTTP/1.1\r\nHost: board.test\r\n\r\nGET /";
    let dripper = |_| Dripper::new(node.address, String::new(), first.as_bytes(), "a");
    let mut drippers: Vec<_> = (0..MANY).map(dripper).collect();
    let mut slowest = Duration::ZERO;
    let others = || {
        let began = Instant::now();
        let answer = wire::request(node.address, "GET", "/", &[], b"");
        assert_eq!(answer.status, 200);
        slowest = slowest.max(began.elapsed());
    };
    drip_all(&mut drippers, WATCH, others);
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

/// A connection from an address of the test's choice, and the beginning of what is said on it.
fn connect_from(source: &str, node: &Node) -> (TcpStream, String) {
    let source: IpAddr = source.parse().expect("an address");
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket
        .bind(&SocketAddr::new(source, 0).into())
        .expect("bound");
    socket.connect(&node.address.into()).expect("connected");
    let mut connection: TcpStream = socket.into();
    connection
        .set_read_timeout(Some(Duration::from_secs(5)))
        .expect("set");
    // It may have been refused already.
    let _ = connection.write_all(b"GET /livez HTTP/1.1\r\nHost: board.test\r\n\r\n");
    let mut room = [0; 4_096];
    let count = connection.read(&mut room).unwrap_or(0);
    (
        connection,
        String::from_utf8_lossy(&room[..count]).into_owned(),
    )
}

#[test]
fn a_client_has_so_many_connections_and_no_more() {
    let settings = [
        ("LIMITS__CONNECTIONS_PER_CLIENT_MAX", "5"),
        ("LIMITS__IDLE_WAIT_S", "60"),
    ];
    let node = Node::start_with(Database::sqlite(), &settings);
    // Streams are counted as streams.
    let streams: Vec<_> = (0..8).map(|_| node.stream("/b/main/stream")).collect();
    let mut open: Vec<_> = (0..5).map(|_| connect_from("127.0.0.1", &node)).collect();
    assert!(
        open.iter()
            .all(|(_, said)| said.starts_with("HTTP/1.1 200")),
        "{open:?}"
    );
    let (_, refused) = connect_from("127.0.0.1", &node);
    assert!(
        refused.starts_with("HTTP/1.1 429") && refused.contains("too many open connections"),
        "{refused:?}"
    );
    assert!(
        connect_from("127.0.0.2", &node)
            .1
            .starts_with("HTTP/1.1 200"),
        "another client"
    );
    open.pop();
    let began = Instant::now();
    while !connect_from("127.0.0.1", &node)
        .1
        .starts_with("HTTP/1.1 200")
    {
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "the place is not given back"
        );
    }
    drop(streams);
}

#[test]
fn a_trusted_proxy_has_as_many_connections_as_it_needs() {
    let settings = [
        ("LIMITS__CONNECTIONS_PER_CLIENT_MAX", "2"),
        ("LIMITS__TRUSTED_PROXIES", "127.0.0.0/8"),
        ("LIMITS__IDLE_WAIT_S", "60"),
    ];
    let node = Node::start_with(Database::sqlite(), &settings);
    let open: Vec<_> = (0..20).map(|_| connect_from("127.0.0.1", &node)).collect();
    assert!(
        open.iter()
            .all(|(_, said)| said.starts_with("HTTP/1.1 200")),
        "{open:?}"
    );
}
