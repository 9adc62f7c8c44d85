//! Streams within gzip, for those who ask: the same events, each at once.

use std::{
    io::{BufReader, Read as _, Write as _},
    net::TcpStream,
};

use flate2::{Decompress, FlushDecompress, read::GzDecoder};

use crate::{
    node::{Database, Node},
    sse::Reader,
    wire,
};

const HEADER: usize = 10;

/// A reader that unpacks what has come, and waits for no more.
pub(crate) struct Unpacking {
    input: BufReader<TcpStream>,
    inflate: Decompress,
    packed: Vec<u8>,
    text: String,
}

impl Unpacking {
    pub(crate) fn open(node: &Node, path: &str) -> Self {
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

    /// Reads to the end of the stream, which has the right sum.
    fn ends_well(mut self) {
        self.until("shutdown");
        while let Some(chunk) = wire::read_chunk(&mut self.input) {
            self.packed.extend(chunk);
        }
        let mut whole = String::new();
        GzDecoder::new(self.packed.as_slice())
            .read_to_string(&mut whole)
            .expect("its end, with the right sum");
        assert!(whole.ends_with('\n'), "{whole:?}");
    }

    pub(crate) fn until(&mut self, wanted: &str) {
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
        "event: snapshot\ndata: {}\nid: {}\n\n",
        list.data,
        list.id.expect("a cursor")
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
    packed.into_iter().for_each(Unpacking::ends_well);
}

#[test]
fn no_client_is_sent_gzip_unasked() {
    let node = Node::start(Database::sqlite());
    for (path, accept) in [
        ("/b/main/stream", "gzip"),
        ("/b/main/stream?compress=gzip", "identity"),
    ] {
        let stream = Reader::open(node.address, path, &[("Accept-Encoding", accept)]);
        let head = stream.head.to_lowercase();
        assert!(!head.contains("content-encoding"), "{path} {accept}");
    }
    assert_eq!(node.get("/b/main/stream?compress=zip").status, 400);
}

const LIST: &str = "/api/v1/boards/main/topics";

/// A node with a list that is long enough to be packed.
fn node_with_a_list() -> Node {
    let node = Node::start(Database::sqlite());
    for n in 0..20 {
        node.post(&format!("回覧 {n}"));
    }
    node
}

/// The list within gzip: the head of the answer, and the packed body.
fn packed_list(node: &Node) -> (String, Vec<u8>) {
    packed(node, LIST)
}

fn packed(node: &Node, path: &str) -> (String, Vec<u8>) {
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
    (head, packed)
}

#[test]
fn a_list_is_sent_within_gzip_to_who_asks() {
    let node = node_with_a_list();
    let plain = node.get(LIST);
    assert_eq!(
        (plain.header("content-encoding"), plain.header("vary")),
        (None, Some("Accept, Accept-Encoding"))
    );
    let (_, packed) = packed_list(&node);
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
    let none = [("Accept-Encoding", "gzip;q=0, identity")];
    assert_eq!(node.get_with(LIST, &none).body, plain.body);
}

/// What a client has in one form it has in the other.
#[test]
fn the_tag_of_a_list_within_gzip_is_known_in_either_form() {
    let node = node_with_a_list();
    let plain = node.get(LIST);
    let (head, _) = packed_list(&node);
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
        assert_eq!(node.get_with(LIST, &known).status, 304, "{accepted}");
    }
}

#[test]
fn pages_and_what_they_load_are_sent_within_gzip_to_who_asks() {
    let node = node_with_a_list();
    let paths = [
        "/",
        "/b/main?lang=ja",
        "/boards",
        "/b/main/topics",
        "/assets/board.css",
        "/assets/board.js",
    ];
    for path in paths {
        let plain = node.get(path);
        let (head, packed) = packed(&node, path);
        let mut text = String::new();
        GzDecoder::new(&packed[..])
            .read_to_string(&mut text)
            .expect("a whole gzip stream");
        assert!(text == plain.body, "{path}: {text}");
        assert!(
            packed.len() < text.len() * 2 / 3,
            "{path}: {}",
            packed.len()
        );
        let tag = plain.header("etag").expect("a tag");
        assert!(head.contains(&format!("etag: W/{tag}")), "{path}: {head}");
        assert!(
            plain
                .header("vary")
                .is_some_and(|vary| vary.contains("Accept-Encoding"))
        );
    }
}
