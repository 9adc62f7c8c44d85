//! Who may read `/metrics` and `/version`, and where.

use std::net::{SocketAddr, TcpListener};

use crate::{
    node::{Database, Node},
    on_both, wire,
};

on_both!(the_version_is_for_every_client);

#[test]
fn metrics_are_for_administrators_unless_they_are_public() {
    let node = Node::start(Database::sqlite());
    let token = |arguments: &[&str]| node.token(&[&["create"], arguments].concat());
    for (token, status) in [
        (token(&["--scope", "admin"]), 200),
        (token(&["--scope", "admin", "--board", "main"]), 403),
        (token(&["--scope", "post"]), 403),
        (token(&["--scope", "read"]), 403),
        ("guess".to_owned(), 401),
    ] {
        let answer = node.send_as("GET", "/metrics", &token, &[], "");
        assert_eq!(answer.status, status, "{answer:?}");
    }
    let json = [("Accept", "application/json")];
    let unknown = node.get_with("/metrics", &json);
    unknown.assert_problem(401, "unauthorized");
    let posted = node.send("POST", "/metrics", "text/plain", "");
    assert_eq!(
        (posted.status, posted.header("allow")),
        (405, Some("GET, HEAD"))
    );

    let public = Node::start_with(Database::sqlite(), &[("METRICS__PUBLIC", "true")]);
    assert_eq!(public.get("/metrics").status, 200);
}

#[test]
fn metrics_have_an_address_of_their_own_if_it_is_set() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address: SocketAddr = free.local_addr().expect("an address");
    drop(free);
    let listen = address.to_string();
    let node = Node::start_with(Database::sqlite(), &[("METRICS__LISTEN", &listen)]);
    let there = |path| wire::request(address, "GET", path, &[], b"");
    let metrics = there("/metrics");
    assert_eq!(metrics.status, 200, "{metrics:?}");
    assert!(
        metrics.body.contains("kairanban_build_info{"),
        "{metrics:?}"
    );
    assert_eq!(there("/").status, 404, "nothing else is there");
    assert_eq!(node.get("/metrics").status, 401, "it takes a token here");
}

fn the_version_is_for_every_client(database: Database) {
    let kind = if database.is_postgres() {
        "postgres"
    } else {
        "sqlite"
    };
    let node = Node::start(database);
    let version = node.get("/version");
    assert_eq!(version.status, 200, "{version:?}");
    let version = version.json();
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(version["database"], kind);
    assert!(
        version
            .as_object()
            .is_some_and(|version| version.contains_key("commit"))
    );
}
