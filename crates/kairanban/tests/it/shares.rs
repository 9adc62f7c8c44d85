//! Each client has a share, and each token: a client that takes more is refused, and no other.

mod flood;
mod readings;
mod socket_flood;
mod sockets;
mod tokens;

use std::time::{Duration, Instant};

use crate::{
    node::{Database, Node},
    wire::{self, Answer},
};

/// Addresses come from `X-Forwarded-For`, and each share is small.
const SMALL: [(&str, &str); 9] = [
    ("LIMITS__TRUSTED_PROXIES", "127.0.0.1/32"),
    ("LIMITS__CLIENTS_PER_IPV6_48", "3"),
    ("LIMITS__STREAMS_PER_CLIENT_MAX", "2"),
    ("LIMITS__POSTS_PER_CLIENT_BURST", "2"),
    ("LIMITS__READS_PER_CLIENT_BURST", "2"),
    ("LIMITS__BAD_TOKENS_PER_MIN", "2"),
    ("LIMITS__POSTS_PER_CLIENT_PER_S", "1"),
    ("LIMITS__READS_PER_CLIENT_PER_S", "1"),
    ("STREAM__HEARTBEAT_S", "60"),
];

/// Sends a request as a client of this address does.
fn send_from(
    node: &Node,
    client: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let headers = [headers, &[("X-Forwarded-For", client)]].concat();
    wire::request(node.address, method, path, &headers, body)
}

/// A kind of use that is counted, and how often a client may do it at once.
struct Counted {
    what: &'static str,
    method: &'static str,
    path: &'static str,
    headers: &'static [(&'static str, &'static str)],
    refused: u16,
}

const COUNTED: [Counted; 4] = [
    Counted {
        what: "a post",
        method: "POST",
        path: "/",
        headers: &[("Content-Type", "text/plain")],
        refused: 429,
    },
    Counted {
        what: "a reading",
        method: "GET",
        path: "/api/v1/boards/main/topics/1",
        headers: &[],
        refused: 429,
    },
    Counted {
        what: "a made-up board",
        method: "GET",
        path: "/b/nowhere",
        headers: &[],
        refused: 429,
    },
    Counted {
        what: "a wrong token",
        method: "GET",
        path: "/",
        headers: &[("Authorization", "Bearer guess")],
        refused: 429,
    },
];

impl Counted {
    /// Whether the client's share has room for it.
    fn is_admitted(&self, node: &Node, client: &str) -> bool {
        let body: &[u8] = if self.method == "POST" { b"a" } else { b"" };
        send_from(node, client, self.method, self.path, self.headers, body).status != self.refused
    }
}

/// The shares fill again at one a second, so a few more than the burst may come in.
fn assert_about(admitted: usize, expected: usize, began: Instant, what: &str) {
    let refilled = usize::try_from(began.elapsed().as_secs()).expect("a number") * 3 + 3;
    assert!(
        (expected..=expected + refilled).contains(&admitted),
        "{what}: {admitted}, not {expected}"
    );
}

#[test]
fn the_addresses_of_an_ipv6_64_are_one_client_and_those_of_a_48_a_few() {
    for counted in COUNTED {
        let node = Node::start_with(Database::sqlite(), &SMALL);
        let began = Instant::now();
        let of_64 = (0..20)
            .filter(|host| counted.is_admitted(&node, &format!("2001:db8:1::{host:x}")))
            .count();
        assert_about(of_64, 2, began, counted.what);
        let began = Instant::now();
        let of_48 = (0..60)
            .map(|subnet| format!("2001:db8:2:{:x}::1", subnet % 20))
            .filter(|client| counted.is_admitted(&node, client))
            .count();
        assert_about(of_48, 6, began, counted.what);
        assert!(
            counted.is_admitted(&node, "2001:db8:3::1"),
            "{}: another /48",
            counted.what
        );
    }
}

#[test]
fn the_streams_of_an_ipv6_48_are_those_of_a_few_clients() {
    let node = Node::start_with(Database::sqlite(), &SMALL);
    node.get("/");
    let open = |client: &str| {
        let headers = [("X-Forwarded-For", client)];
        let mut stream =
            crate::sse::Reader::open(node.address, "/b/main/stream?format=patch", &headers);
        (stream.event().name == "snapshot").then_some(stream)
    };
    let held: Vec<_> = (0..30)
        .filter_map(|n| open(&format!("2001:db8:2:{:x}::1", n % 10)))
        .collect();
    assert_eq!(held.len(), 6);
    assert!(open("2001:db8:3::1").is_some(), "another /48");
}

/// Only what is wrong counts: a client without a token has none that could be guessed.
#[test]
fn requests_without_a_token_are_not_bad_tokens() {
    let node = Node::start_with(Database::sqlite(), &SMALL);
    for (method, path) in [
        ("GET", "/api/v1/tokens"),
        ("GET", "/api/v1/audit"),
        ("GET", "/api/v1/stats"),
        ("DELETE", "/api/v1/boards/main"),
        ("DELETE", "/api/v1/boards/main/topics/1"),
        ("DELETE", "/api/v1/tokens/1"),
        ("POST", "/api/v1/boards/main/topics/1/restore"),
    ] {
        for _ in 0..5 {
            let answer = send_from(&node, "192.0.2.1", method, path, &[], b"");
            assert_eq!(answer.status, 401, "{method} {path}: {answer:?}");
        }
    }
    let guess = [("Authorization", "Bearer guess")];
    let statuses =
        [(); 4].map(|()| send_from(&node, "192.0.2.1", "GET", "/api/v1/stats", &guess, b"").status);
    assert_eq!(statuses, [401, 401, 429, 429]);
    let admin = format!("Bearer {}", node.token(&["create", "--scope", "admin"]));
    let good = [("Authorization", admin.as_str())];
    assert_eq!(
        send_from(&node, "192.0.2.1", "GET", "/api/v1/stats", &good, b"").status,
        200,
        "a good token beside them"
    );
}

/// A list of conditions is not read in part, and none costs more than it may.
#[test]
fn a_long_list_in_a_header_is_refused_before_it_costs() {
    let node = Node::start(Database::sqlite());
    for (name, element) in [
        ("Accept", "a/b;q=0.1"),
        ("Accept-Encoding", "br;q=0.1"),
        ("Accept-Language", "de"),
        ("If-None-Match", "\"x\""),
        ("If-Match", "\"x\""),
        ("Content-Encoding", "identity"),
        ("Accept", ""),
    ] {
        for (count, is_refused) in [(1, false), (100, false), (101, true), (4_000, true)] {
            let (all, most) = (vec![element; count], vec![element; count - 1]);
            let (all, most) = (all.join(","), most.join(","));
            // In one line or in several: it is one list.
            for headers in [
                [(name, all.as_str())].as_slice(),
                &[(name, most.as_str()), (name, element)],
            ] {
                let answer = node.get_with("/b/main", headers);
                let says = answer.body.contains("limits.list_elements_max");
                assert_eq!(
                    (answer.status == 400, says),
                    (is_refused, is_refused),
                    "{count} in {name}: {answer:?}"
                );
            }
        }
    }
}

/// It is refused by its length, or as soon as there is one board too many.
#[test]
fn a_query_is_refused_before_it_costs() {
    let node = Node::start(Database::sqlite());
    let boards = |count: usize| -> String { (0..count).map(|n| format!("board=b{n}&")).collect() };
    for (query, setting) in [
        (boards(4_000), "limits.query_bytes_max"),
        (boards(51), "limits.boards_per_stream_max"),
        ("board=main&".repeat(4_000), "limits.query_bytes_max"),
        (
            format!("board=main&x={}", "x".repeat(60_000)),
            "limits.query_bytes_max",
        ),
    ] {
        let began = Instant::now();
        let answer = node.get(&format!("/stream?{query}"));
        assert!(
            answer.status == 400 && answer.body.contains(setting),
            "{answer:?}"
        );
        assert!(began.elapsed() < Duration::from_secs(2));
    }
    let long = format!("?q={}", "x".repeat(9_000));
    for path in [
        "/",
        "/b/main",
        "/b/main/stream",
        "/api/v1/boards",
        "/nowhere",
        "/livez",
    ] {
        assert_eq!(node.get(&format!("{path}{long}")).status, 400, "{path}");
    }
    assert_eq!(
        node.get(&format!("/stream?{}", boards(50))).status,
        404,
        "fifty may be asked for"
    );
}
