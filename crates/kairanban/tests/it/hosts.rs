//! A page whose name points to this machine reads nothing and posts nothing.

use std::io::{Read as _, Write as _};

use crate::{
    node::{Database, Node},
    wire,
};

/// Every kind of address, and whether a name is asked for there.
const PATHS: [(&str, bool); 12] = [
    ("/", true),
    ("/topic_stream/", true),
    ("/b/main", true),
    ("/b/main/stream", true),
    ("/b/main/ws", true),
    ("/b/main/feed.xml", true),
    ("/stream?board=main", true),
    ("/api/v1/boards/main/topics", true),
    ("/api/v1/openapi.json", true),
    ("/assets/board.js", true),
    ("/livez", false),
    ("/readyz", false),
];

fn request(node: &Node, head: &str) -> String {
    let mut connection = wire::connect(node.address);
    connection.write_all(head.as_bytes()).expect("sent");
    let mut status = [0; 12];
    connection.read_exact(&mut status).expect("a status");
    String::from_utf8_lossy(&status[9..]).into_owned()
}

#[test]
fn a_foreign_host_is_misdirected_wherever_it_asks() {
    let node = Node::start_with(
        Database::sqlite(),
        &[
            ("SERVER__HOSTS", ""),
            ("SERVER__PUBLIC_URL", "https://board.example"),
        ],
    );
    for (path, is_asked) in PATHS {
        let get = |host: &str| {
            request(
                &node,
                &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"),
            )
        };
        let expected = if is_asked { "421" } else { "200" };
        assert_eq!(get("rebound.example"), expected, "{path}");
        assert_eq!(get("rebound.example:8080"), expected, "{path}");
        for ours in ["127.0.0.1", "[::1]:8080", "localhost:8080", "board.example"] {
            assert_ne!(get(ours), "421", "{path} {ours}");
        }
        let old = request(&node, &format!("GET {path} HTTP/1.0\r\n\r\n"));
        assert_ne!(old, "421", "{path} without a host");
    }
    let post = |host: &str, origin: &str| {
        let head = format!(
            "POST / HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\nContent-Type: text/plain\r\n\
             Content-Length: 2\r\nConnection: close\r\n\r\nhi"
        );
        request(&node, &head)
    };
    assert_eq!(post("rebound.example", "http://rebound.example"), "421");
    assert_eq!(
        post("127.0.0.1:1", "https://board.example"),
        "201",
        "a proxy rewrites Host"
    );
    assert_eq!(post("board.example", "https://evil.example"), "403");
}

#[test]
fn the_host_of_the_target_counts_instead_and_what_is_no_host_is_refused() {
    let node = Node::start(Database::sqlite());
    for (target, host, expected) in [
        ("/", "localhost", "200"),
        ("/", "board.localhost:80", "200"),
        ("/", "[fe80::1%eth0]", "200"),
        ("/", "", "400"),
        ("/", "127.0.0.1:abc", "400"),
        ("/", "127.0.0.1:99999", "400"),
        ("/", "localhost:%41", "400"),
        ("http://localhost/", "localhost", "200"),
        ("http://evil.example/", "localhost", "421"),
        ("http://localhost/", "evil.example", "200"),
        ("HTTP://LocalHost:81/", "rebound.example:80", "200"),
        ("https://127.0.0.1/", "127.0.0.1:abc", "200"),
        ("http://localhost/", "", "200"),
        ("http://localhost:99999/", "localhost", "400"),
        ("http://ann@localhost/", "localhost", "400"),
    ] {
        let head = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        assert_eq!(request(&node, &head), expected, "{head}");
    }
}

/// Whatever asks for the host of a request is answered with that of its target.
#[test]
fn the_host_of_the_target_is_the_host_of_the_request() {
    let node = Node::start(Database::sqlite());
    let body = |head: &str, origin: &str| {
        let mut connection = wire::connect(node.address);
        let head = head.replace(" HTTP/1.1\r\n", &format!(" HTTP/1.1\r\n{origin}"));
        connection.write_all(head.as_bytes()).expect("sent");
        wire::read_answer(&mut std::io::BufReader::new(connection), false)
    };
    let feed = "GET http://board.localhost:81/b/main/feed.xml HTTP/1.1\r\nHost: evil.example\r\n\
                Connection: close\r\n\r\n";
    let feed = body(feed, "");
    assert!(
        feed.body.contains("http://board.localhost:81/b/main"),
        "{feed:?}"
    );
    assert!(!feed.body.contains("evil"), "{feed:?}");
    let post = "POST http://board.localhost:81/ HTTP/1.1\r\nHost: evil.example\r\n\
                Content-Type: text/plain\r\nContent-Length: 1\r\nConnection: close\r\n\r\na";
    let ours = body(post, "Origin: http://board.localhost:81\r\n");
    assert_eq!(ours.status, 201, "{ours:?}");
    let other = body(post, "Origin: http://evil.example\r\n");
    assert_eq!(other.status, 403, "{other:?}");
}

#[test]
fn the_answer_says_what_to_set() {
    let node = Node::start(Database::sqlite());
    let mut connection = wire::connect(node.address);
    connection
        .write_all(
            b"GET /api/v1/boards/main/topics HTTP/1.1\r\nHost: rebound.example\r\n\
              Connection: close\r\n\r\n",
        )
        .expect("sent");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).expect("an answer");
    assert!(answer.contains(r#""code":"misdirected""#), "{answer}");
    assert!(answer.contains("server.public_url"), "{answer}");
    assert!(!answer.contains("rebound"), "it repeats no name: {answer}");
}
