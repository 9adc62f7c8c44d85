//! Ways to follow a board, side by side: how long a post takes to arrive, and what it costs in
//! requests and bytes. Measures, and asserts only that everything arrives; `scripts/transports`
//! prints the table of `docs/BENCHMARKS.md`.

use std::{
    io::Write as _,
    net::SocketAddr,
    sync::mpsc::{self, Sender},
    thread,
    time::{Duration, Instant, SystemTime},
};

use tungstenite::{Message, client::IntoClientRequest as _};

use crate::{
    node::{Database, Node},
    oracle::link::{Cut, PiecewiseAnswer},
    sse::Reader,
    wire,
};

/// Topics on the board before.
const TOPICS: usize = 100;
const POSTS: usize = 40;
/// Between two posts, on average.
const PAUSE_MS: u64 = 250;
const POLL: Duration = Duration::from_secs(1);

const LIST: &str = "/api/v1/boards/main/topics";

#[derive(Clone, Copy)]
enum FollowWay {
    Stream(&'static str),
    Socket,
    LongPoll,
    Poll,
}

/// What arrived, and when.
type Arrivals = Sender<(String, Instant)>;

#[derive(Default)]
struct Cost {
    requests: usize,
    bytes: usize,
}

struct MeasuredFollower {
    address: SocketAddr,
    arrivals: Arrivals,
    cost: Cost,
    /// Posts that were seen.
    seen: usize,
}

impl MeasuredFollower {
    fn follow(mut self, way: FollowWay) -> Cost {
        match way {
            FollowWay::Stream(path) => self.stream(path),
            FollowWay::Socket => self.socket(),
            FollowWay::LongPoll => self.poll(&format!("{LIST}?wait=25"), Duration::ZERO),
            FollowWay::Poll => self.poll(LIST, POLL),
        }
        self.cost
    }

    /// Notes the posts that a text shows for the first time.
    fn note(&mut self, text: &str) {
        let now = Instant::now();
        while text.contains(&format!("post number {} ", self.seen)) {
            self.arrivals
                .send((self.seen.to_string(), now))
                .expect("the measuring thread");
            self.seen += 1;
        }
    }

    fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> PiecewiseAnswer {
        self.cost.requests += 1;
        self.cost.bytes += wire::message("GET", path, headers, b"").len();
        PiecewiseAnswer::get(
            Cut::connect(self.address, usize::MAX).expect("a connection"),
            path,
            headers,
        )
        .expect("an answer")
    }

    fn stream(&mut self, path: &str) {
        let mut answer = self.get(path, &[]);
        // The list that it begins with costs the same in all of these.
        answer.piece();
        let begun = answer.taken();
        self.arrivals
            .send((String::new(), Instant::now()))
            .expect("the measuring thread");
        while self.seen < POSTS {
            let piece = answer.piece().expect("a piece");
            self.note(&piece);
        }
        self.cost.bytes += answer.taken() - begun;
    }

    fn socket(&mut self) {
        let request = format!("ws://{}/b/main/ws", self.address)
            .into_client_request()
            .expect("a request");
        let cut = Cut::connect(self.address, usize::MAX).expect("a connection");
        let (mut socket, _) = tungstenite::client(request, cut).expect("a socket");
        self.cost.requests += 1;
        socket.read().expect("the list");
        let begun = socket.get_ref().taken();
        self.arrivals
            .send((String::new(), Instant::now()))
            .expect("the measuring thread");
        while self.seen < POSTS {
            if let Message::Text(text) = socket.read().expect("a frame") {
                self.note(&text);
            }
        }
        self.cost.bytes += socket.get_ref().taken() - begun;
    }

    fn poll(&mut self, path: &str, pause: Duration) {
        let mut tag = String::new();
        while self.seen < POSTS {
            let began = Instant::now();
            let answer = if tag.is_empty() {
                self.get(LIST, &[])
            } else {
                self.get(path, &[("If-None-Match", &tag)])
            };
            let status = answer.status;
            let first = tag.is_empty();
            if let Some(found) = answer
                .head
                .lines()
                .find_map(|line| line.strip_prefix("etag: "))
            {
                tag = found.trim().to_owned();
            }
            let body = if status == 200 {
                answer.body_and_bytes()
            } else {
                (String::new(), answer.taken())
            };
            if first {
                self.cost = Cost::default();
                self.arrivals
                    .send((String::new(), Instant::now()))
                    .expect("the measuring thread");
            } else {
                self.cost.bytes += body.1;
            }
            self.note(&body.0);
            thread::park_timeout(pause.saturating_sub(began.elapsed()));
        }
    }
}

/// A comment that is about as long as what people write on a notice board.
fn comment(text: &str) -> String {
    let padding = "so that it is about as long as what people write on a notice board. ";
    format!("{text} {}", padding.repeat(2))
}

/// Posts with pauses. Returns when each was posted.
fn post_with_pauses(node: &Node) -> Vec<Instant> {
    let mut random = fastrand::Rng::with_seed(7);
    (0..POSTS)
        .map(|n| {
            let pause = random.u64(PAUSE_MS / 2..PAUSE_MS * 3 / 2);
            thread::park_timeout(Duration::from_millis(pause));
            let posted = Instant::now();
            node.post(&comment(&format!("post number {n} ")));
            posted
        })
        .collect()
}

/// One row of the table.
fn measure(name: &str, way: FollowWay) -> String {
    let node = Node::start(Database::sqlite());
    for n in 0..TOPICS {
        node.post(&comment(&format!("before {n}")));
    }
    let (arrivals, arrived) = mpsc::channel();
    let follower = MeasuredFollower {
        address: node.address,
        arrivals,
        cost: Cost::default(),
        seen: 0,
    };
    let following = thread::spawn(move || follower.follow(way));
    arrived.recv().expect("the list");
    let posted = post_with_pauses(&node);
    let cost = following.join().expect("the follower");
    let mut delays_ms: Vec<_> = posted
        .into_iter()
        .zip(arrived)
        .map(|(posted, (_, at))| (at - posted).as_secs_f64() * 1e3)
        .collect();
    assert_eq!(delays_ms.len(), POSTS);
    delays_ms.sort_unstable_by(f64::total_cmp);
    format!(
        "| {name} | {:.1} | {:.1} | {:.2} | {:.0} |\n",
        delays_ms[POSTS / 2],
        delays_ms[POSTS - 1],
        per_post(cost.requests),
        per_post(cost.bytes)
    )
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn per_post(count: usize) -> f64 {
    count as f64 / POSTS as f64
}

#[test]
#[ignore = "measures; scripts/transports runs it"]
fn ways_to_follow_a_board_side_by_side() {
    let ways = [
        (
            "SSE, `patch`",
            FollowWay::Stream("/b/main/stream?format=patch"),
        ),
        (
            "SSE, `patch`, gzip",
            FollowWay::Stream("/b/main/stream?format=patch&compress=gzip"),
        ),
        (
            "`ndjson`",
            FollowWay::Stream("/b/main/stream?format=ndjson"),
        ),
        ("WebSocket", FollowWay::Socket),
        (
            "SSE, `html`",
            FollowWay::Stream("/b/main/stream?format=html"),
        ),
        (
            "SSE, the tutorial's list",
            FollowWay::Stream("/topic_stream/"),
        ),
        (
            "SSE, `list`, gzip",
            FollowWay::Stream("/b/main/stream?format=list&compress=gzip"),
        ),
        ("long poll (`?wait=25`)", FollowWay::LongPoll),
        ("poll each second", FollowWay::Poll),
    ];
    let mut table =
        "| way | median ms | most ms | requests a post | bytes a post |\n|---|---|---|---|---|\n"
            .to_owned();
    for (name, way) in ways {
        table.push_str(&measure(name, way));
    }
    std::io::stderr()
        .write_all(table.as_bytes())
        .expect("written");
}

/// Seconds, as another program on this machine counts them.
#[expect(
    clippy::disallowed_methods,
    reason = "there is no other clock that both know"
)]
fn wall_clock() -> f64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("after 1970")
        .as_secs_f64()
}

/// How long each of some commits takes to arrive. The comment holds the time of the commit.
fn delays_ms(stream: &mut Reader, posts: usize, commit: impl Fn()) -> Vec<f64> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut delays: Vec<_> = (0..posts)
        .map(|_| {
            thread::park_timeout(Duration::from_millis(random.u64(20..200)));
            commit();
            let (event, now) = (stream.event(), wall_clock());
            let event = event.json();
            let comment = event["ops"][0]["topic"]["comment"].as_str();
            let committed: f64 = comment.expect("a comment").parse().expect("a time");
            (now - committed) * 1e3
        })
        .collect();
    delays.sort_unstable_by(f64::total_cmp);
    delays
}

/// From a post to one node, or from another program's insert, to the event on another node.
#[test]
#[ignore = "measures; scripts/transports runs it"]
fn from_node_to_node() {
    let redis = std::env::var("KAIRANBAN_TEST_REDIS_URL")
        .expect("KAIRANBAN_TEST_REDIS_URL; scripts/test sets it");
    let by_redis = [
        ("BACKPLANE__KIND", "redis"),
        ("BACKPLANE__REDIS_URL", redis.as_str()),
    ];
    let by_nothing = [("BACKPLANE__KIND", "none")];
    let mut table = "| commit | notified by | median ms | most ms |\n\
        |---|---|---|---|\n"
        .to_owned();
    for (name, posts, settings) in [
        ("`NOTIFY`", POSTS, &[][..]),
        ("Redis", POSTS, &by_redis),
        ("nothing: the poll", POSTS / 3, &by_nothing),
    ] {
        let one = Node::start_with(Database::postgres(), settings);
        let other = one.sibling();
        let mut stream = other.stream("/b/main/stream?format=patch");
        stream.event();
        // The time of the comment: before the request, and right before the commit.
        let posted = delays_ms(&mut stream, posts, || {
            one.post(&format!("{:.6}", wall_clock()));
        });
        let inserted = delays_ms(&mut stream, posts, || {
            let insert = "INSERT INTO topics (board_id, comment) VALUES (1, extract(epoch \
                FROM clock_timestamp())::text);";
            one.database.sql(insert);
        });
        for (by, delays) in [("a post to node A", posted), ("`psql`", inserted)] {
            let (median, most) = (delays[posts / 2], delays[posts - 1]);
            table.push_str(&format!("| {by} | {name} | {median:.1} | {most:.1} |\n"));
        }
    }
    std::io::stderr()
        .write_all(table.as_bytes())
        .expect("written");
}
