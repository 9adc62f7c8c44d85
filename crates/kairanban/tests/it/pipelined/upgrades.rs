//! Requests that ask for a protocol that is not spoken here: they are answered as if they did
//! not, and their connection stays.

use super::*;

/// What asks for another protocol, and what comes with that.
const LINES: [&str; 10] = [
    "Upgrade: websocket",
    "Upgrade: h2c, websocket",
    "Upgrade: h2c",
    "Upgrade:TLS/1.0,HTTP/2.0",
    "Connection: Upgrade",
    "Connection: Upgrade, HTTP2-Settings",
    "Connection: keep-alive ,\tupgrade ",
    "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
const HTTP_1_1: &str = "HTTP/1.1";

/// A request with lines that ask for another protocol, and the same one without them.
#[derive(Clone, Debug)]
struct Asking {
    asking: Asked,
    plain: Asked,
}

fn is_web_socket(line: &str) -> bool {
    line.contains("websocket")
}

/// Returns lines in any case, which are no handshake.
fn lines() -> impl Strategy<Value = String> {
    let line = (any::<Index>(), any::<u64>());
    (vec(line, 1..6), any::<bool>()).prop_map(|(chosen, is_without_web_socket)| {
        let lines = chosen.into_iter().map(|(line, cases)| {
            let line = line.get(&LINES).chars().enumerate();
            let cased = line.map(|(place, letter)| match cases >> (place % 64) & 1 {
                0 => letter.to_ascii_lowercase(),
                _ => letter.to_ascii_uppercase(),
            });
            cased.chain("\r\n".chars()).collect::<String>()
        });
        let lines = lines.filter(|line| {
            let line = line.to_lowercase();
            if is_without_web_socket {
                !is_web_socket(&line)
            } else {
                !line.starts_with("connection")
            }
        });
        lines.collect()
    })
}

/// Requests that come in pieces have a body only where it is read: a connection ends with an
/// answer that does not wait for it.
fn asking(comes_at_once: bool) -> impl Strategy<Value = Asking> {
    let framing = 0..3_u8;
    let kind = (any::<Index>(), any::<Index>(), any::<bool>(), framing);
    (kind, lines(), any::<bool>()).prop_map(
        move |((method, path, is_old, framing), lines, first)| {
            let method = *method.get(&METHODS);
            // The list is another one after each post.
            let more = if method == "POST" {
                TOPICS
            } else {
                "/b/main/ws"
            };
            let path = path.get(&[&PATHS[..], &[more]].concat()).to_owned();
            // By HTTP/1.0 a connection stays only if asked to, and nothing comes in chunks.
            let (version, keep) = if is_old {
                ("HTTP/1.0", "Connection: keep-alive\r\n")
            } else {
                (HTTP_1_1, "")
            };
            let is_read = (method, path) == ("POST", TOPICS);
            let body = r#"{"comment":"pipelined"}"#;
            let body = Some(body).filter(|_| is_read || comes_at_once);
            let body = body.unwrap_or_default();
            let length = body.len();
            let end = match framing {
                0 if method != "POST" => "\r\n".to_owned(),
                1 if !is_old && length > 0 => {
                    format!("Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n")
                }
                _ => format!("Content-Length: {length}\r\n\r\n{body}"),
            };
            let written = |lines: &str| {
                let host = "Host: localhost\r\nContent-Type: application/json\r\n";
                let [before, behind] = if first { [lines, ""] } else { ["", lines] };
                Asked {
                    method,
                    text: format!("{method} {path} {version}\r\n{keep}{before}{host}{behind}{end}"),
                }
            };
            Asking {
                asking: written(&lines),
                plain: written(""),
            }
        },
    )
}

fn ask(cases: u32, comes_at_once: bool, cuts: impl Strategy<Value = usize>) {
    let settings = [
        ("LIMITS__READS_PER_CLIENT_BURST", "1000000"),
        ("LIMITS__POSTS_PER_CLIENT_BURST", "1000000"),
    ];
    let node = Node::start_with(Database::sqlite(), &settings);
    node.post("there before");
    let mut runner = TestRunner::new(Config {
        failure_persistence: None,
        ..Config::with_cases(cases)
    });
    let strategy = (vec(asking(comes_at_once), 1..12), vec(cuts, 1..8));
    let run = runner.run(&strategy, |(all, cuts)| {
        let asking: Vec<_> = all.iter().map(|one| one.asking.clone()).collect();
        let answered = together(&node, &asking, &cuts, true);
        let expected = all.iter().map(|one| Some(alone(&node, &one.plain)));
        let expected: Vec<_> = expected.collect();
        prop_assert_eq!(answered, expected, "{:?}", asking);
        Ok(())
    });
    run.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn they_are_answered_as_if_they_asked_for_nothing() {
    ask(100, true, Just(100_000));
}

#[test]
fn they_are_answered_so_in_whatever_pieces_they_come() {
    ask(100, false, prop_oneof![1..40_usize, 1_000..5_000_usize]);
}

/// A handshake at an address that is no WebSocket's, or that is refused, is answered, and the
/// answer says that the connection ends.
#[test]
fn a_handshake_that_leads_to_no_web_socket_ends_its_connection_and_says_so() {
    let node = Node::start(Database::sqlite());
    for (path, status) in [
        ("/version", 200),
        ("/", 200),
        ("/nowhere", 404),
        ("/b/nowhere/ws", 404),
        ("/b/main/ws?heartbeat=loud", 400),
    ] {
        let mut connection = wire::connect(node.address);
        let lines = ["Connection: Upgrade", "Upgrade: websocket"].join("\r\n");
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n\r\n");
        connection.write_all(request.as_bytes()).expect("sent");
        let mut input = BufReader::new(connection);
        let head = read_head(&mut input).expect("a head");
        assert!(head[0].contains(&status.to_string()), "{path} {head:?}");
        assert_eq!(value(&head, "connection"), Some("close"), "{path}");
        let mut rest = Vec::new();
        input.read_to_end(&mut rest).expect("an end");
    }
}

/// As they are sent to a server that may speak HTTP/2.
#[test]
fn requests_of_java_and_curl_keep_their_connection() {
    let node = Node::start(Database::sqlite());
    let java = "Connection: Upgrade, HTTP2-Settings\r\nContent-Length: 1\r\nHost: localhost\r\n\
                HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\nUpgrade: h2c\r\n\
                User-Agent: Java-http-client/17.0.1\r\nContent-Type: text/plain\r\n\r\na";
    let curl = "Host: localhost\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\
                Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
                HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n";
    let all: Vec<_> = (0..6)
        .map(|n| match n % 2 {
            0 => Asked {
                method: "POST",
                text: format!("POST / HTTP/1.1\r\n{java}"),
            },
            _ => Asked {
                method: "GET",
                text: format!("GET /version HTTP/1.1\r\n{curl}"),
            },
        })
        .collect();
    let answered = together(&node, &all, &[100_000], false);
    for (one, expected) in answered.iter().zip(["1 201", "1 200"].iter().cycle()) {
        let one = one.as_ref().expect("an answer");
        assert!(one.status.starts_with(expected), "{one:?}");
        assert!(
            !one.headers
                .iter()
                .any(|line| line.starts_with("connection"))
        );
    }
    assert_eq!(answered.len(), all.len());
}
