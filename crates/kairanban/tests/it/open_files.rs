//! A server that may open few files, and one all of whose connections are taken: it goes on
//! answering.

use std::{
    fs,
    io::{BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use socket2::{Domain, Socket, Type};

use crate::{
    node::{Database, Node},
    wire,
};

/// Lets the program have `files` files and no more.
fn limited(command: &mut Command, files: u64) {
    let program = command.get_program().to_owned();
    let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
    let mut limiting = Command::new("sh");
    limiting
        .arg("-c")
        .arg(format!("ulimit -n {files}; exec \"$0\" \"$@\""))
        .arg(program)
        .args(arguments);
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => limiting.env(name, value),
            None => limiting.env_remove(name),
        };
    }
    limiting.stdout(Stdio::piped());
    *command = limiting;
}

fn files_of(node: &Node) -> usize {
    fs::read_dir(format!("/proc/{}/fd", node.pid()))
        .expect("/proc")
        .count()
}

/// Asks, and returns the connection and the beginning of the answer.
fn ask(address: SocketAddr, path: &str) -> (TcpStream, String) {
    say(wire::connect(address), path)
}

fn say(mut connection: TcpStream, path: &str) -> (TcpStream, String) {
    // It may have been refused already.
    let _ = write!(connection, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut room = vec![0; 65_536];
    let count = connection.read(&mut room).unwrap_or(0);
    let said = String::from_utf8_lossy(&room[..count]).into_owned();
    (connection, said)
}

const ALONE: [(&str, &str); 2] = [
    ("LIMITS__STREAMS_PER_CLIENT_MAX", "1000000"),
    ("SERVER__WORKERS", "2"),
];

/// Asks as one of many clients.
fn ask_as(n: usize, address: SocketAddr, path: &str) -> (TcpStream, String) {
    let client = u8::try_from(n % 200 + 2).expect("small");
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let source = SocketAddr::from(([127, 0, 1, client], 0));
    socket.bind(&source.into()).expect("bound");
    socket.connect(&address.into()).expect("connected");
    let connection: TcpStream = socket.into();
    connection
        .set_read_timeout(Some(wire::PATIENCE))
        .expect("set");
    say(connection, path)
}

fn is_open((_, said): &(TcpStream, String)) -> bool {
    said.starts_with("HTTP/1.1 200") && !said.contains("bye")
}

fn write_once(node: &Node) -> wire::Answer {
    let headers = [
        ("Content-Type", "text/plain"),
        ("Accept", "application/json"),
    ];
    wire::request(node.address, "POST", "/", &headers, b"written meanwhile")
}

#[test]
fn few_files_bound_streams_and_connections_and_it_goes_on_answering() {
    const FILES: u64 = 300;
    const CLIENTS: usize = 400;
    rlimit::increase_nofile_limit(4_096).expect("files");
    let streams = [
        "/topic_stream/",
        "/b/main/stream?format=ndjson",
        "/stream?board=main",
    ];
    for path in [&streams[..], &["/b/main"]].concat() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("log");
        let node = Node::start_as(Database::sqlite(), &ALONE, |command| {
            limited(command, FILES);
            command.stderr(fs::File::create(&log).expect("a log"));
        });
        let said = fs::read_to_string(&log).expect("a log");
        assert_eq!(said.matches("the limit of open files").count(), 1, "{said}");
        assert!(
            said.contains("ulimit -n 1") && said.contains("300"),
            "{said}"
        );
        let mut open: Vec<_> = (0..CLIENTS)
            .map(|n| ask_as(n, node.address, path))
            .collect();
        let (held, refused): (Vec<_>, Vec<_>) = open.iter().partition(|asked| is_open(asked));
        assert!(held.len() > 30, "{} of {path} are held", held.len());
        for (_, said) in &refused {
            let is_right = if streams.contains(&path) {
                said.starts_with("HTTP/1.1 200") && said.contains("limit") && said.contains("retry")
            } else {
                said.starts_with("HTTP/1.1 503") && said.to_lowercase().contains("retry-after")
            };
            assert!(is_right, "{path}: {said}");
        }
        assert!(
            refused.len() > 100,
            "{} of {path} are refused",
            refused.len()
        );
        for _ in 0..20 {
            let files = files_of(&node);
            assert!(files < FILES as usize, "{files}");
            assert_eq!(node.get("/livez").status, 200);
            let written = write_once(&node);
            let status = if streams.contains(&path) { 201 } else { 503 };
            assert_eq!(written.status, status, "{written:?}");
        }
        // Who leaves makes room.
        open.clear();
        let began = Instant::now();
        while !is_open(&ask_as(0, node.address, path)) || write_once(&node).status != 201 {
            assert!(began.elapsed() < Duration::from_secs(10), "no room again");
        }
    }
}

#[test]
fn too_few_files_are_said_at_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = crate::node::program();
    command
        .args(["--listen", "127.0.0.1:0", "--database-url"])
        .arg(format!("sqlite://{}/x.db", folder.path().display()))
        .env("KAIRANBAN_SERVER__DATA_DIR", folder.path());
    limited(&mut command, 64);
    let output = command
        .stderr(Stdio::piped())
        .output()
        .expect("the program");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(
        said.contains("limit of open files is 64") && said.contains("ulimit -n"),
        "{said}"
    );
}

/// Probes are answered, streams are asked to come back, and all else is refused.
fn assert_probes_only(node: &Node) {
    for probe in ["/livez", "/readyz"] {
        let answer = node.get(probe);
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("connection"), Some("close"), "{answer:?}");
    }
    for (method, path) in [
        ("GET", "/"),
        ("POST", "/"),
        ("GET", "/b/main/ws"),
        ("GET", "/nowhere"),
    ] {
        let headers = [
            ("Content-Type", "text/plain"),
            ("Accept", "application/json"),
        ];
        let refused = wire::request(node.address, method, path, &headers, b"");
        refused.assert_problem(503, "busy");
        assert!(refused.header("retry-after").is_some(), "{refused:?}");
        assert_eq!(refused.header("connection"), Some("close"), "{refused:?}");
    }
    for path in ["/topic_stream/", "/b/main/stream", "/stream?board=main"] {
        let refused = node.get(path);
        assert_eq!(refused.status, 200, "{refused:?}");
        assert!(refused.body.contains("limit"), "{refused:?}");
    }
}

/// Whatever takes all connections: idle ones, half a head, half a body, an answer that is not read.
#[test]
fn when_all_connections_are_taken_probes_are_answered_and_all_else_is_refused() {
    let settings = [
        ("LIMITS__CONNECTIONS_MAX", "20"),
        ("LIMITS__CONNECTIONS_KEPT", "8"),
        ("LIMITS__IDLE_WAIT_S", "60"),
        ("LIMITS__HEAD_WAIT_S", "60"),
        ("LIMITS__BODY_WAIT_S", "60"),
        ("SERVER__WORKERS", "2"),
    ];
    let body = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n\
        Content-Length: 99\r\n\r\nabc";
    for taken_by in [
        "",
        "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET / HT",
        body,
    ] {
        let node = Node::start_with(Database::sqlite(), &settings);
        let streams: Vec<_> = (0..10).map(|_| node.stream("/topic_stream/")).collect();
        let taken: Vec<_> = (0..20)
            .map(|_| {
                // Answered once, so that it is counted.
                let (mut connection, said) = ask(node.address, "/livez");
                assert!(said.starts_with("HTTP/1.1 200"), "{said}");
                connection.write_all(taken_by.as_bytes()).expect("sent");
                connection
            })
            .collect();
        for _ in 0..30 {
            assert_probes_only(&node);
        }
        // A client that asks for nothing does not keep a place that is kept for probes.
        let idle: Vec<_> = (0..30).map(|_| wire::connect(node.address)).collect();
        let began = Instant::now();
        while !ask(node.address, "/livez").1.starts_with("HTTP/1.1 200") {
            assert!(began.elapsed() < Duration::from_secs(5), "deaf to probes");
        }
        drop((taken, idle));
        let began = Instant::now();
        while !ask(node.address, "/").1.starts_with("HTTP/1.1 200") {
            assert!(began.elapsed() < Duration::from_secs(5), "no room again");
        }
        drop(streams);
    }
}

/// Streams that stay with actix, sockets and long polls count as streams.
#[test]
fn what_counts_as_a_stream_takes_no_place_of_other_connections() {
    let settings = [
        ("LIMITS__CONNECTIONS_MAX", "5"),
        ("LIMITS__CONNECTIONS_KEPT", "2"),
        ("LIMITS__STREAMS_PER_CLIENT_MAX", "100"),
        ("STREAM__DETACHED", "false"),
    ];
    let node = Node::start_with(Database::sqlite(), &settings);
    let tag = node
        .get("/api/v1/boards/main/topics")
        .header("etag")
        .expect("a tag")
        .to_owned();
    let handshake = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let mut open = Vec::new();
    for _ in 0..8 {
        for (path, headers) in [
            ("/topic_stream/", String::new()),
            ("/b/main/ws", handshake.to_owned()),
            (
                "/api/v1/boards/main/topics?wait=30",
                format!("If-None-Match: {tag}\r\n"),
            ),
        ] {
            let mut connection = wire::connect(node.address);
            write!(
                connection,
                "GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"
            )
            .expect("sent");
            if !path.contains("wait") {
                let (status, head) = wire::read_head(&mut BufReader::new(
                    connection.try_clone().expect("a handle"),
                ));
                assert!(status == 200 || status == 101, "{head}");
            }
            open.push(connection);
        }
        let began = Instant::now();
        while node.get("/").status != 200 {
            assert!(
                began.elapsed() < Duration::from_secs(5),
                "{} are open",
                open.len()
            );
        }
    }
}

/// The system refuses to accept, since something else took the files.
#[test]
fn a_refused_accept_neither_spins_nor_ends_the_listener() {
    rlimit::increase_nofile_limit(4_096).expect("files");
    let node = Node::start_with(Database::sqlite(), &ALONE);
    // Its address is known before its workers have begun.
    (0..10).for_each(|_| assert_eq!(node.get("/livez").status, 200));
    let prlimit = |files: usize| {
        let pid = node.pid().to_string();
        let set = Command::new("prlimit")
            .args(["--pid", &pid, &format!("--nofile={files}:20000")])
            .status();
        assert!(set.expect("prlimit").success());
    };
    prlimit(files_of(&node) + 3);
    let waiting: Vec<_> = (0..50).map(|_| wire::connect(node.address)).collect();
    let (cpu, began) = (node.cpu(), Instant::now());
    std::thread::park_timeout(Duration::from_secs(3));
    let share = (node.cpu() - cpu).as_secs_f64() / began.elapsed().as_secs_f64();
    assert!(share < 0.2, "{:.0} % of a core", share * 100.0);
    prlimit(20_000);
    drop(waiting);
    let began = Instant::now();
    while !ask(node.address, "/livez").1.starts_with("HTTP/1.1 200") {
        assert!(began.elapsed() < Duration::from_secs(5), "deaf");
    }
}
