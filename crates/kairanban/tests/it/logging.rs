//! Logging can neither fail nor hold up the thread that logs.

use std::{
    fs::File,
    io::{PipeReader, Read as _, pipe},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use crate::node::{Database, Node};

/// Ways in which a log cannot be written, and what has to stay alive meanwhile.
fn bad_logs() -> Vec<(&'static str, Stdio, Option<PipeReader>)> {
    let (gone, closed) = pipe().expect("a pipe");
    drop(gone);
    let (never_read, stuck) = pipe().expect("a pipe");
    let full = File::options()
        .write(true)
        .open("/dev/full")
        .expect("/dev/full");
    vec![
        ("a full disk", full.into(), None),
        ("a closed pipe", closed.into(), None),
        ("no reader", stuck.into(), Some(never_read)),
    ]
}

/// Every line of every library is logged, so that each thread logs, and a pipe is full at once.
fn talkative(database: Database, log: Stdio) -> Node {
    Node::start_as(database, &[("BOARD__TOPICS_MAX", "5")], |command| {
        command
            .env("RUST_LOG", "trace,actix_http=trace")
            .stderr(log);
    })
}

#[test]
fn what_cannot_be_logged_is_dropped_and_counted() {
    for (what, log, _kept) in bad_logs() {
        let mut node = talkative(Database::sqlite(), log);
        let mut stream = node.stream("/b/main/stream?format=patch&since=now");
        for round in 0..30 {
            let began = Instant::now();
            let id = node.post(&format!("{what} {round}"));
            while !stream.event().data.contains(&format!("\"id\":{id}")) {}
            assert!(
                began.elapsed() < Duration::from_secs(3),
                "{what}: {:?}",
                began.elapsed()
            );
        }
        node.wait_for_readiness(Duration::from_secs(20), |(status, name, reasons)| {
            // The queue has to be full first, where stderr only waits.
            (*status, name.as_str()) == (200, "degraded")
                && reasons.contains("the log cannot be written")
        });
        node.terminate();
        let (took, code) = node.end(Duration::from_secs(10));
        assert_eq!(code, Some(0), "{what}: it took {took:?} to end");
    }
}

#[test]
fn a_log_that_can_be_written_again_says_how_much_is_missing() {
    let (mut reader, log) = pipe().expect("a pipe");
    let node = talkative(Database::sqlite(), log.into());
    node.wait_for_readiness(Duration::from_secs(20), |(_, status, _)| {
        status == "degraded"
    });
    let reading = std::thread::spawn(move || {
        let mut text = Vec::new();
        let mut piece = [0; 65_536];
        while !String::from_utf8_lossy(&text).contains("lines of the log were lost") {
            match reader.read(&mut piece) {
                Ok(0) | Err(_) => panic!("the log ended"),
                Ok(count) => text.extend_from_slice(&piece[..count]),
            }
            // What was found need not be looked through again.
            let keep = text.len().saturating_sub(100);
            if !String::from_utf8_lossy(&text).contains("lines of the log were lost") {
                text.drain(..keep);
            }
        }
        // Goes on reading until the program ends.
        std::io::copy(&mut reader, &mut std::io::sink()).expect("read");
    });
    node.wait_for_readiness(Duration::from_secs(20), |(status, name, _)| {
        (*status, name.as_str()) == (200, "ready")
    });
    drop(node);
    reading.join().expect("it was said");
}

#[test]
fn a_server_whose_stdout_takes_nothing_serves() {
    let database = Database::sqlite();
    let full = File::options().write(true).open("/dev/full");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let mut child = crate::node::program()
        .args(["--listen", &address.to_string()])
        .args(["--database-url", &database.url()])
        .stdout(full.expect("/dev/full"))
        .stderr(Stdio::null())
        .spawn()
        .expect("the program");
    let status = serves(&mut child, address)
        .then(|| crate::wire::request(address, "GET", "/readyz", &[], b"").status);
    // It may have ended already.
    let _ = child.kill();
    let _ = child.wait();
    assert_eq!(status, Some(200));
}

/// Waits until the server takes connections; it may end before it does.
fn serves(child: &mut Child, address: SocketAddr) -> bool {
    let began = Instant::now();
    while TcpStream::connect(address).is_err() {
        if child.try_wait().expect("a status").is_some()
            || began.elapsed() > Duration::from_secs(10)
        {
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
    true
}
