//! Streams within gzip, for those who ask: the same events, each at once.

use std::{
    io::{BufReader, Read as _, Write as _},
    net::TcpStream,
};

use flate2::{Decompress, FlushDecompress, read::GzDecoder};

use crate::{
    node::{Database, Node},
    wire,
};

const HEADER: usize = 10;

/// A reader that unpacks what has come, and waits for no more.
struct Unpacking {
    input: BufReader<TcpStream>,
    inflate: Decompress,
    packed: Vec<u8>,
    text: String,
}

impl Unpacking {
    fn open(node: &Node, path: &str) -> Self {
        let mut connection = wire::connect(node.address);
        connection
            .write_all(&wire::message(
                "GET",
                path,
                &[("Accept-Encoding", "gzip")],
                b"",
            ))
            .expect("sent");
        let mut input = BufReader::new(connection);
        let (status, head) = wire::read_head(&mut input);
        assert!(
            status == 200 && head.to_lowercase().contains("content-encoding: gzip"),
            "{head}"
        );
        Self {
            input,
            inflate: Decompress::new(false),
            packed: Vec::new(),
            text: String::new(),
        }
    }

    fn until(&mut self, wanted: &str) {
        while !self.text.contains(wanted) {
            let chunk = wire::read_chunk(&mut self.input)
                .unwrap_or_else(|| panic!("{wanted:?} before the end of {:?}", self.text));
            self.packed.extend(chunk);
            let mut text = Vec::with_capacity(1 << 20);
            let from = usize::try_from(self.inflate.total_in()).expect("a place") + HEADER;
            self.inflate
                .decompress_vec(&self.packed[from..], &mut text, FlushDecompress::Sync)
                .expect("gzip");
            self.text
                .push_str(std::str::from_utf8(&text).expect("UTF-8"));
        }
    }
}

#[test]
fn a_compressed_stream_says_the_same_at_once() {
    let node = Node::start(Database::sqlite());
    for n in 0..40 {
        node.post(&format!("a notice for the whole neighbourhood, number {n}"));
    }
    let mut plain = node.stream("/b/main/stream?format=patch");
    let paths = [
        "/b/main/stream?format=patch",
        "/b/main/stream?format=ndjson",
        "/stream?board=main&format=patch",
    ];
    let mut packed = paths.map(|path| Unpacking::open(&node, &format!("{path}&compress=gzip")));
    let list = plain.event();
    packed[0].until(&format!(
        "id: {}\nevent: snapshot\ndata: {}\n\n",
        list.id.expect("a cursor"),
        list.data
    ));
    assert!(
        packed[0].packed.len() * 4 < packed[0].text.len(),
        "{} of {}",
        packed[0].packed.len(),
        packed[0].text.len()
    );
    for n in 0..3 {
        node.post(&format!("後 {n}"));
        let change = plain.event();
        for stream in &mut packed {
            stream.until(&change.data);
        }
    }
    node.terminate();
    for mut stream in packed {
        stream.until("shutdown");
        while let Some(chunk) = wire::read_chunk(&mut stream.input) {
            stream.packed.extend(chunk);
        }
        let mut whole = String::new();
        GzDecoder::new(stream.packed.as_slice())
            .read_to_string(&mut whole)
            .expect("its end, with the right sum");
        assert!(whole.ends_with('\n'), "{whole:?}");
    }
}

#[test]
fn nobody_is_sent_gzip_unasked() {
    let node = Node::start(Database::sqlite());
    let head = |path: &str, accept: &str| {
        let mut connection = wire::connect(node.address);
        connection
            .write_all(&wire::message(
                "GET",
                path,
                &[("Accept-Encoding", accept)],
                b"",
            ))
            .expect("sent");
        wire::read_head(&mut BufReader::new(connection))
            .1
            .to_lowercase()
    };
    for (path, accept) in [
        ("/b/main/stream", "gzip"),
        ("/b/main/stream?compress=gzip", "identity"),
    ] {
        assert!(
            head(path, accept).contains("content-encoding: identity"),
            "{path} {accept}"
        );
    }
    assert_eq!(node.get("/b/main/stream?compress=zip").status, 400);
}

#[test]
fn a_list_is_sent_within_gzip_to_who_asks() {
    let node = Node::start(Database::sqlite());
    for n in 0..20 {
        node.post(&format!("回覧 {n}"));
    }
    let path = "/api/v1/boards/main/topics";
    let plain = node.get(path);
    assert_eq!(
        (plain.header("content-encoding"), plain.header("vary")),
        (None, Some("Accept, Accept-Encoding"))
    );
    let mut socket = wire::connect(node.address);
    let asked = [
        ("Accept-Encoding", "br, gzip;q=0.5"),
        ("Connection", "close"),
    ];
    socket
        .write_all(&wire::message("GET", path, &asked, b""))
        .expect("sent");
    let mut input = BufReader::new(socket);
    let (_, head) = wire::read_head(&mut input);
    let mut packed = Vec::new();
    input.read_to_end(&mut packed).expect("a body");
    let mut text = String::new();
    GzDecoder::new(&packed[..])
        .read_to_string(&mut text)
        .expect("a whole gzip stream");
    assert!(
        text == plain.body && packed.len() < text.len() / 2,
        "{} of {} bytes",
        packed.len(),
        text.len()
    );
    // What one has in one form one has in the other.
    let tag = head
        .lines()
        .find_map(|line| line.strip_prefix("etag: "))
        .expect("a tag");
    assert!(
        tag.starts_with("W/\"")
            && plain
                .header("etag")
                .is_some_and(|strong| tag.ends_with(strong)),
        "{tag}"
    );
    for accepted in ["gzip", "identity"] {
        let known = [("If-None-Match", tag), ("Accept-Encoding", accepted)];
        assert_eq!(node.get_with(path, &known).status, 304, "{accepted}");
    }
    let none = [("Accept-Encoding", "gzip;q=0, identity")];
    assert_eq!(node.get_with(path, &none).body, plain.body);
}
