//! How many connections a client may have.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use socket2::{Domain, Socket, Type};

use crate::node::{Database, Node};

/// A connection from an address of the test's choice, and the beginning of what is said on it.
fn connect_from(source: &str, node: &Node) -> (TcpStream, String) {
    ask_from(source, node, "/b/main")
}

fn ask_from(source: &str, node: &Node, path: &str) -> (TcpStream, String) {
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
    let _ = write!(connection, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut room = [0; 4_096];
    let count = connection.read(&mut room).unwrap_or(0);
    (
        connection,
        String::from_utf8_lossy(&room[..count]).into_owned(),
    )
}

#[test]
fn the_connections_of_a_client_are_limited() {
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
    let (_, probe) = ask_from("127.0.0.1", &node, "/livez");
    assert!(probe.starts_with("HTTP/1.1 200"), "a probe: {probe:?}");
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
