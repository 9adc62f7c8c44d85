//! Starting and stopping, as an orchestrator does it.

use std::{
    io::{BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    process::Stdio,
    time::{Duration, Instant},
};

use crate::{
    node::{Database, Node, program},
    on_both, wire,
};

on_both!(the_load_balancer_hears_first);

fn the_load_balancer_hears_first(database: Database) {
    const WAIT: Duration = Duration::from_secs(2);
    let mut node = Node::start_with(database, &[("SERVER__DRAIN_WAIT_S", "2")]);
    let mut stream = node.stream("/b/main/stream?format=patch&since=now");
    let began = Instant::now();
    node.terminate();
    node.wait_for_readiness(Duration::from_secs(1), |(status, name, reasons)| {
        (*status, name.as_str()) == (503, "not_ready") && reasons.contains("draining")
    });
    // New connections, posts and streams are served until then.
    while began.elapsed() < WAIT - Duration::from_millis(700) {
        let id = node.post("still served");
        while !stream.event().data.contains(&format!("\"id\":{id}")) {}
        assert_eq!(node.get("/livez").status, 200);
    }
    assert_eq!(
        node.stream("/b/main/stream?format=patch").event().name,
        "snapshot"
    );
    let (_, code) = node.end(Duration::from_secs(10));
    assert_eq!(code, Some(0));
    assert!(began.elapsed() >= WAIT, "{:?}", began.elapsed());
}

#[test]
fn a_second_signal_ends_the_waiting() {
    let mut node = Node::start_with(Database::sqlite(), &[("SERVER__DRAIN_WAIT_S", "60")]);
    node.terminate();
    node.wait_for_readiness(Duration::from_secs(2), |(status, ..)| *status == 503);
    node.terminate();
    let (took, code) = node.end(Duration::from_secs(10));
    assert_eq!(code, Some(0), "after {took:?}");
}

#[test]
fn a_hang_up_ends_nothing() {
    let node = Node::start(Database::sqlite());
    for _ in 0..3 {
        node.signal("-HUP");
        node.post("still here");
    }
    assert_eq!(node.readiness().0, 200);
}

#[test]
fn a_busy_port_leaves_nothing_behind() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let postgres = Database::postgres();
    for url in [None, Some(postgres.url())] {
        let output = program()
            .args(["--listen", &address])
            .env("KAIRANBAN_SERVER__DATA_DIR", &data)
            .envs(url.map(|url| ("DATABASE_URL", url)))
            .output()
            .expect("the program");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(
            String::from_utf8_lossy(&output.stderr).contains("cannot listen on"),
            "{output:?}"
        );
    }
    assert!(!data.exists(), "a data folder was made");
    assert_eq!(
        postgres.sql("SELECT count(*) FROM pg_tables WHERE schemaname = current_schema();"),
        "0",
        "it was migrated"
    );
}

/// An address at which no server listens.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address")
}

/// Connects as soon as there is a server.
fn connect_early(address: SocketAddr) -> Option<TcpStream> {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(5) {
        if let Ok(connection) = TcpStream::connect(address) {
            return Some(connection);
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    None
}

/// Asks for the readiness on a connection. Returns the status.
fn ask_readiness(mut connection: TcpStream) -> u16 {
    connection
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a time limit");
    let headers = [("Connection", "close")];
    connection
        .write_all(&wire::message("GET", "/readyz", &headers, b""))
        .expect("sent");
    wire::read_answer(&mut BufReader::new(connection), false).status
}

/// A client that comes while the server still migrates waits, and is then answered.
#[test]
fn who_comes_early_waits() {
    let address = free_address();
    let database = Database::postgres();
    // The first migration makes a table of this name, and waits until it is known whether there is
    // one.
    let lock = database.lock_out_tables("__diesel_schema_migrations");
    let mut child = program()
        .args(["--listen", &address.to_string()])
        .args(["--database-url", &database.url()])
        .stdout(Stdio::null())
        .spawn()
        .expect("the program");
    let early = connect_early(address);
    let is_early =
        database.sql("SELECT count(*) FROM pg_tables WHERE schemaname = current_schema();") == "0";
    drop(lock);
    let answer = early.map(ask_readiness);
    // It may have ended already.
    let _ = child.kill();
    let _ = child.wait();
    assert!(
        is_early,
        "the connection was taken only after the migration"
    );
    assert_eq!(answer, Some(200));
}
