//! Each kind of request that any client may send, at a thousand times its share, beside a neighbour
//! whose requests are timed.

use std::{
    io::{Read as _, Write as _},
    ops::Range,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{
    send_from,
    socket_flood::{FRAMES, flood_a_socket, flood_with_frames},
};
use crate::{
    node::{Database, Node},
    wire,
};

crate::on_both!(a_flood_of_any_kind_is_refused_and_delays_no_neighbour);

/// What a client may do at once; the shares fill again at one a second.
const SHARE: usize = 2;
/// A thousand times the share, on several connections at a time.
pub(super) const FLOOD: usize = 1_000 * SHARE;
pub(super) const CONNECTIONS: usize = 4;
/// Requests that are sent on a connection before the first answer is read.
const PIPELINED: usize = 50;

const SETTINGS: [(&str, &str); 7] = [
    ("LIMITS__TRUSTED_PROXIES", "127.0.0.1/32"),
    ("LIMITS__POSTS_PER_CLIENT_BURST", "2"),
    ("LIMITS__POSTS_PER_CLIENT_PER_S", "1"),
    ("LIMITS__READS_PER_CLIENT_BURST", "2"),
    ("LIMITS__READS_PER_CLIENT_PER_S", "1"),
    ("LIMITS__BAD_TOKENS_PER_MIN", "2"),
    ("LIMITS__BAD_MESSAGES_MAX", "1000000"),
];

/// What becomes of a flood.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Refusal {
    /// All but the client's share is answered with 429.
    TooMany,
    /// All but the client's share is asked to come again: a stream that ends at once.
    Later,
    /// It is answered from memory, each time with this status.
    Always(u16),
}

/// A kind of request. `{n}` in the path is another number each time.
struct Kind {
    what: &'static str,
    method: &'static str,
    path: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
    refusal: Refusal,
}

const fn get(what: &'static str, path: &'static str, refusal: Refusal) -> Kind {
    Kind {
        what,
        method: "GET",
        path,
        headers: &[],
        body: "",
        refusal,
    }
}

const JSON: &[(&str, &str)] = &[("Content-Type", "application/json")];
const GUESS: &[(&str, &str)] = &[
    ("Content-Type", "application/json"),
    ("Authorization", "Bearer kairanban_guess"),
];

const fn post(what: &'static str, path: &'static str, body: &'static str) -> Kind {
    Kind {
        what,
        method: "POST",
        path,
        headers: JSON,
        body,
        refusal: Refusal::TooMany,
    }
}

const fn with_a_guess(what: &'static str, method: &'static str, path: &'static str) -> Kind {
    Kind {
        what,
        method,
        path,
        headers: GUESS,
        body: "",
        refusal: Refusal::TooMany,
    }
}

const TOPICS: &str = "/api/v1/boards/main/topics";

const KINDS: &[Kind] = &[
    get("a missing page", "/nowhere-{n}", Refusal::Always(404)),
    get(
        "a missing page of the API",
        "/api/v1/nowhere-{n}",
        Refusal::Always(404),
    ),
    get("a missing board", "/b/nowhere", Refusal::TooMany),
    get("a made-up board", "/b/made-up-{n}", Refusal::TooMany),
    get(
        "the feed of one",
        "/b/made-up-{n}/feed.xml",
        Refusal::TooMany,
    ),
    get(
        "the list of one",
        "/api/v1/boards/made-up-{n}/topics",
        Refusal::TooMany,
    ),
    get(
        "the log of one",
        "/api/v1/boards/made-up-{n}/changes",
        Refusal::TooMany,
    ),
    get("the stream of one", "/b/made-up-{n}/stream", Refusal::Later),
    get(
        "the stream of several",
        "/stream?board=made-up-{n}&board=b-{n}",
        Refusal::Later,
    ),
    post("a post to one", "/b/made-up-{n}", r#"{"comment":"x"}"#),
    get(
        "a bad ticket",
        "/b/main/stream?ticket=kairanban_ticket_{n}",
        Refusal::Later,
    ),
    get(
        "a search",
        "/api/v1/boards/main/topics?q=x{n}",
        Refusal::TooMany,
    ),
    get(
        "a page",
        "/api/v1/boards/main/topics?before=9{n}&limit=500",
        Refusal::TooMany,
    ),
    get("the log", "/api/v1/boards/main/changes", Refusal::TooMany),
    get("a topic", "/api/v1/boards/main/topics/1", Refusal::TooMany),
    get(
        "a missing topic",
        "/api/v1/boards/main/topics/9{n}",
        Refusal::TooMany,
    ),
    get("boards", "/api/v1/boards", Refusal::TooMany),
    get("a board", "/api/v1/boards/main", Refusal::TooMany),
    post("a post", TOPICS, r#"{"comment":"x"}"#),
    post("a bad body", TOPICS, r#"{"comment":"#),
    post(
        "a body that is not allowed",
        "/b/main",
        r#"{"comment":" "}"#,
    ),
    with_a_guess("a wrong token", "GET", "/b/main"),
    with_a_guess(
        "a wrong token of an administrator",
        "DELETE",
        "/api/v1/boards/main",
    ),
    with_a_guess("an attempt to log in", "POST", "/api/v1/tokens"),
    Kind {
        method: "DELETE",
        ..get("no token", "/api/v1/boards/main", Refusal::Always(401))
    },
];

/// Returns the requests with these numbers, the last of which ends the connection.
fn batch_of(kind: &Kind, client: &str, numbers: Range<usize>) -> Vec<u8> {
    let last = numbers.end - 1;
    let requests = numbers.flat_map(|n| {
        let end: &[(&str, &str)] = if n == last {
            &[("Connection", "close")]
        } else {
            &[]
        };
        let headers = [kind.headers, &[("X-Forwarded-For", client)], end].concat();
        let path = kind.path.replace("{n}", &n.to_string());
        wire::message(kind.method, &path, &headers, kind.body.as_bytes())
    });
    requests.collect()
}

/// Sends a part of the flood on one connection after the other. Returns how many were answered, and
/// how many of them refused.
fn send_part(node: &Node, kind: &Kind, client: &str, part: usize) -> (usize, usize) {
    let mut counts = (0, 0);
    // The end of a stream is the end of its connection.
    let pipelined = if kind.refusal == Refusal::Later {
        1
    } else {
        PIPELINED
    };
    for batch in 0..FLOOD / CONNECTIONS / pipelined {
        let first = part * FLOOD + batch * pipelined;
        let requests = batch_of(kind, client, first..first + pipelined);
        let mut connection = wire::connect(node.address);
        connection.write_all(&requests).expect("sent");
        let mut answers = Vec::new();
        connection.read_to_end(&mut answers).expect("answers");
        let answers = String::from_utf8_lossy(&answers);
        let is_refused = match kind.refusal {
            Refusal::TooMany => |answer: &&str| answer.starts_with("429"),
            Refusal::Later => {
                |answer: &&str| answer.starts_with("429") || answer.contains("\"limit\"")
            }
            Refusal::Always(_) => |_: &&str| false,
        };
        let answers: Vec<_> = answers.split("HTTP/1.1 ").skip(1).collect();
        if let Refusal::Always(status) = kind.refusal {
            let status = status.to_string();
            assert!(answers.iter().all(|answer| answer.starts_with(&status)));
        }
        counts.0 += answers.len();
        counts.1 += answers.iter().filter(|answer| is_refused(answer)).count();
    }
    counts
}

/// The server, and the header of a neighbour who has a token.
pub(super) struct Place {
    pub(super) node: Node,
    authorization: String,
}

/// Times the neighbour's requests, each from another address, until there is no flood any more.
/// Each is answered.
fn time_neighbour(place: &Place, round: u8, is_over: impl Fn(usize) -> bool) -> Vec<Duration> {
    let mut times = Vec::new();
    while !is_over(times.len()) {
        let count = times.len();
        let address = format!("198.{}.{}.{}", 18 + round, count / 250, count % 250);
        let (method, path, body, status) = match count % 6 {
            0 => ("GET", "/b/main".to_owned(), "", 200),
            1 => ("GET", TOPICS.to_owned(), "", 200),
            2 => ("GET", format!("{TOPICS}/1"), "", 200),
            3 => ("GET", format!("{TOPICS}?q=one"), "", 200),
            4 => ("POST", "/b/main".to_owned(), r#"{"comment":"one"}"#, 201),
            _ => ("GET", "/api/v1/boards/main".to_owned(), "", 200),
        };
        let began = Instant::now();
        let mut headers = JSON.to_vec();
        if count % 6 == 5 {
            headers.push(("Authorization", &place.authorization));
        }
        let answer = send_from(
            &place.node,
            &address,
            method,
            &path,
            &headers,
            body.as_bytes(),
        );
        times.push(began.elapsed());
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
    }
    times.sort_unstable();
    times
}

/// Ends the neighbour with the flood, also if that panics: the test would wait for it for ever.
struct EndsNeighbour<'o>(&'o AtomicBool);

impl Drop for EndsNeighbour<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Runs `flood` beside the neighbour. Returns what `flood` returned, and whether the neighbour was
/// held up.
pub(super) fn beside_a_neighbour<T: Send>(
    place: &Place,
    round: u8,
    flood: impl FnOnce() -> T + Send,
) -> (T, Option<String>) {
    let unloaded = time_neighbour(place, 2 * round, |count| count == 20);
    let is_over = AtomicBool::new(false);
    let (returned, loaded) = thread::scope(|scope| {
        let neighbour = scope.spawn(|| {
            time_neighbour(place, 2 * round + 1, |count| {
                count >= 20 && is_over.load(Ordering::Acquire)
            })
        });
        let end = EndsNeighbour(&is_over);
        let returned = flood();
        drop(end);
        (returned, neighbour.join().expect("a neighbour"))
    });
    let (median, slowest) = (loaded[loaded.len() / 2], loaded[loaded.len() - 1]);
    let bound = 20 * unloaded[unloaded.len() / 2] + Duration::from_millis(250);
    let is_held_up = median > bound || slowest > Duration::from_secs(5);
    let held_up = is_held_up
        .then(|| format!("the neighbour waited {median:?}, at most {slowest:?}, bound {bound:?}"));
    (returned, held_up)
}

/// Floods the server with a kind of request. Returns what is wrong with that.
fn flood_with(place: &Place, round: u8, kind: &Kind) -> Option<String> {
    let client = format!("192.0.2.{round}");
    let began = Instant::now();
    let ((answered, refused), held_up) = beside_a_neighbour(place, round, || {
        thread::scope(|scope| {
            let client = client.as_str();
            let parts: Vec<_> = (0..CONNECTIONS)
                .map(|part| scope.spawn(move || send_part(&place.node, kind, client, part)))
                .collect();
            parts
                .into_iter()
                .map(|part| part.join().expect("a part"))
                .fold((0, 0), |sum, part| (sum.0 + part.0, sum.1 + part.1))
        })
    });
    let filled = usize::try_from(began.elapsed().as_secs()).expect("a number");
    let admitted = match kind.refusal {
        Refusal::Always(_) => 0,
        Refusal::TooMany | Refusal::Later => answered - refused,
    };
    if answered != FLOOD {
        return Some(format!("{answered} answers to {FLOOD} requests"));
    }
    // A request may count for two boards, and a share fills again.
    if admitted > 2 * (SHARE + filled) + 2 {
        return Some(format!("{admitted} of {FLOOD} were admitted"));
    }
    held_up
}

fn a_flood_of_any_kind_is_refused_and_delays_no_neighbour(database: Database) {
    let node = Node::start_with(database, &SETTINGS);
    let body = br#"{"comment":"one"}"#;
    let token = node.token(&["create", "--scope", "read"]);
    let first = send_from(&node, "203.0.113.1", "POST", TOPICS, JSON, body);
    assert_eq!(first.status, 201);
    let place = Place {
        node,
        authorization: format!("Bearer {token}"),
    };
    let mut faults = Vec::new();
    for (round, kind) in (0..).zip(KINDS) {
        let fault = flood_with(&place, round, kind);
        faults.extend(fault.map(|fault| format!("{}: {fault}", kind.what)));
    }
    let round = u8::try_from(KINDS.len()).expect("few");
    let fault = flood_a_socket(&place, round);
    faults.extend(fault.map(|fault| format!("a bad message: {fault}")));
    for (round, (what, first)) in (round + 1..).zip(FRAMES) {
        let fault = flood_with_frames(&place, round, first);
        faults.extend(fault.map(|fault| format!("{what}: {fault}")));
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}
