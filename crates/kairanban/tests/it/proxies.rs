//! The configurations in `config/proxies`, as they are but for addresses and the certificate: two
//! servers on one Postgres behind nginx, Caddy and HAProxy, with TLS, over HTTP/1.1 and HTTP/2.

mod client;
mod proxy;

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use client::{Client, Http};
use proxy::{Kind, Proxy};

use crate::node::{Database, Node};

/// What the configurations ask of the servers.
const SETTINGS: &[(&str, &str)] = &[
    ("LIMITS__TRUSTED_PROXIES", "127.0.0.1/32"),
    ("SERVER__HOSTS", "board.example,x"),
    ("SERVER__DRAIN_WAIT_S", "3"),
    ("STREAM__RETRY_MIN_MS", "100"),
    ("STREAM__RETRY_MAX_MS", "200"),
];

/// The longest that something passed on may take on a busy machine. A proxy that holds it back
/// holds it for good.
const PATIENCE: Duration = Duration::from_secs(10);

/// Requests a second while a server restarts.
const RATE: u32 = 50;

macro_rules! behind_each {
    ($($test:ident),+ $(,)?) => {
        mod nginx { $(#[test] fn $test() { super::$test(super::Kind::Nginx); })+ }
        mod caddy { $(#[test] fn $test() { super::$test(super::Kind::Caddy); })+ }
        mod haproxy { $(#[test] fn $test() { super::$test(super::Kind::HaProxy); })+ }
    };
}

behind_each!(
    events_pass_at_once,
    no_client_chooses_its_address,
    no_request_fails_while_a_server_restarts,
);

/// Two servers on one database behind a proxy.
fn start(kind: Kind, settings: &[(&str, &str)]) -> (Node, Node, Proxy) {
    let settings = [SETTINGS, settings].concat();
    let one = Node::start_with(Database::postgres(), &settings);
    let two = one.sibling_with(&settings);
    let proxy = Proxy::start(kind, [one.address, two.address]);
    (one, two, proxy)
}

/// Each event must arrive before the next is posted, small or large.
fn events_pass_at_once(kind: Kind) {
    let (one, _two, proxy) = start(kind, &[]);
    for http in [Http::One, Http::Two] {
        let client = Client::new(&proxy, http);
        for format in ["", "?format=patch", "?format=html", "?format=raw"] {
            let mut stream = client.stream(&format!("/b/main/stream{format}"), None);
            assert!(stream.is_accepted(), "{kind:?}, {}", client.name());
            for size in [10, 1_900] {
                let text = format!("{}{size}{}", &format[format.len() / 2..], "x".repeat(size));
                one.post(&text);
                let shown = stream.find(&text, PATIENCE);
                assert!(shown, "{kind:?}, {}, {format}: {size}", client.name());
            }
        }
    }
}

/// What a client says about its own address counts for nothing: invalid tokens are counted by
/// address, and few come back in a minute.
fn no_client_chooses_its_address(kind: Kind) {
    let (_one, _two, proxy) = start(kind, &[("LIMITS__BAD_TOKENS_PER_MIN", "2")]);
    for http in [Http::One, Http::Two] {
        let client = Client::new(&proxy, http);
        let statuses = (0..20).map(|n| {
            let forged = format!("X-Forwarded-For: 198.51.100.{n}");
            let token = "Authorization: Bearer kb_0123456789abcdef0123456789abcdef";
            let forwarded = "Forwarded: for=198.51.100.7";
            client.get_with("/b/main/topics", &[&forged, forwarded, token])
        });
        let refused = statuses.filter(|status| *status == 429).count();
        assert!(refused > 5, "{kind:?}, {}: {refused} of 20", client.name());
    }
}

/// Each server is stopped and started again while readers follow and [`RATE`] requests a second
/// come in.
fn no_request_fails_while_a_server_restarts(kind: Kind) {
    let (mut one, mut two, proxy) = start(kind, &[("BOARD__TOPICS_MAX", "1000")]);
    let clients = [Http::One, Http::Two].map(|http| Client::new(&proxy, http));
    let (quiet, over) = (AtomicBool::new(false), AtomicBool::new(false));
    let (posted, seen) = thread::scope(|scope| {
        let readers = [0, 1, 2, 3].map(|n: usize| {
            let client = &clients[n % 2];
            scope.spawn(|| client.follow(&over))
        });
        let requests = [0, 1, 2, 3].map(|worker: u32| {
            let (client, quiet) = (&clients[worker as usize % 2], &quiet);
            scope.spawn(move || send(client, worker, quiet))
        });
        for node in [&mut one, &mut two] {
            node.terminate();
            node.end(PATIENCE * 2);
            node.restart_at_the_same_address();
            // The proxy has to find out before the other one goes.
            proxy.wait_for_both();
        }
        quiet.store(true, Ordering::SeqCst);
        let sent = requests.map(|worker| worker.join().expect("no request failed"));
        over.store(true, Ordering::SeqCst);
        one.post("the last");
        let posted: BTreeSet<String> = sent.into_iter().flatten().collect();
        (
            posted,
            readers.map(|reader| reader.join().expect("a reader")),
        )
    });
    assert!(posted.len() > 20, "{}", posted.len());
    for reader in seen {
        let missed: Vec<_> = posted.difference(&reader.comments).collect();
        assert!(missed.is_empty(), "{kind:?}: {missed:?}");
        assert_eq!(reader.refused, 0, "{kind:?}: reconnects that were refused");
    }
}

/// Sends a share of the requests until `quiet` is set. Returns what it posted.
fn send(client: &Client, worker: u32, quiet: &AtomicBool) -> Vec<String> {
    let mut posted = Vec::new();
    let began = Instant::now();
    for n in 0.. {
        if quiet.load(Ordering::SeqCst) {
            break;
        }
        if n % 2 == 0 {
            let comment = format!("{worker}-{n}");
            let status = client.post(&comment, &[&format!("Idempotency-Key: {comment}")]);
            assert_eq!(status, 201, "{}: {comment}", client.name());
            posted.push(comment);
        } else {
            let status = client.get("/api/v1/boards/main/topics");
            assert_eq!(status, 200, "{}: read {n}", client.name());
        }
        let next = began + Duration::from_secs(1) * 4 * (n + 1) / RATE;
        thread::park_timeout(next.saturating_duration_since(Instant::now()));
    }
    posted
}
