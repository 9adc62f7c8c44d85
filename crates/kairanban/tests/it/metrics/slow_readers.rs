//! Readers who take nothing, or too little, as metrics show them.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
};

use socket2::{Domain, Socket, Type};

use super::Measured;
use crate::{node::Database, wire};

/// More than the system keeps for a client that does not read.
const POSTS: usize = 40;
const LARGE: &str = "INSERT INTO topics (board_id, comment) \
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400) \
    SELECT 1, printf('%.*c', 1900, 'x') FROM n;";

/// Opens a stream of whole lists, each of them nearly a megabyte, and does not read.
fn open_and_wait(measured: &Measured) -> TcpStream {
    measured.node.database.sql(LARGE);
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("set");
    socket
        .connect(&measured.node.address.into())
        .expect("connected");
    let mut connection: TcpStream = socket.into();
    write!(
        connection,
        "GET /b/main/stream HTTP/1.1\r\nHost: localhost\r\n\r\n"
    )
    .expect("asked");
    connection
        .set_read_timeout(Some(wire::PATIENCE))
        .expect("a time limit");
    connection.peek(&mut [0; 1]).expect("an answer");
    connection
}

#[test]
fn a_reader_that_takes_nothing_is_counted_as_stalled() {
    let measured = Measured::start(Database::sqlite(), &[("STREAM__STALL_S", "1")]);
    let before = measured.scrape();
    let connection = open_and_wait(&measured);
    for n in 0..POSTS {
        measured.node.post(&n.to_string());
    }
    measured.wait_for(
        &before,
        &[
            (
                "kairanban_streams_closed_total",
                &[("reason", "stalled")],
                1.0,
            ),
            ("kairanban_streams_closed_total", &[], 1.0),
            ("kairanban_streams", &[], 0.0),
        ],
    );
    drop(connection);
}

#[test]
fn a_reader_that_fell_behind_is_counted_once() {
    let measured = Measured::start(Database::sqlite(), &[("STREAM__LAG_MAX", "2")]);
    let before = measured.scrape();
    let connection = open_and_wait(&measured);
    for n in 0..POSTS {
        measured.node.post(&n.to_string());
    }
    let mut lines = BufReader::new(connection).lines();
    let reset = lines.find(|line| {
        let line = line.as_ref().expect("a line before the deadline");
        line.contains(r#""reason":"lagged""#)
    });
    assert!(reset.is_some(), "the stream ended");
    measured.wait_for(
        &before,
        &[
            ("kairanban_lagged_total", &[], 1.0),
            ("kairanban_resets_total", &[("reason", "lagged")], 1.0),
        ],
    );
}
