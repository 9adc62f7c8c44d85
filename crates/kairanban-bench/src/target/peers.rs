//! Peers. Each is installed from its own package or built from its public source, and is measured
//! if its program is found on the `PATH`.

mod setup;
mod start;

use std::{
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::Result;
use serde_json::json;

use super::{
    Prepare, PublishRequest, StreamRequest, Target, TargetLimits, at_offset, no_setup, request_once,
};
use crate::{
    process,
    readers::{Greet, no_greeting},
};

const NCHAN_MODULE: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";
const PUSHPIN_PUBLISH_OFFSET: u16 = 1;
/// Authorizes `{"mercure":{"publish":["*"]}}`, signed by the key in the configuration.
const MERCURE_HEADERS: &str = "authorization: Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.\
    eyJtZXJjdXJlIjp7InB1Ymxpc2giOlsiKiJdfX0.a8cjcSRUAcHdnGNMKifA4BK5epRXxQI0UBp2XpNrBdw\r\n";
const POCKETBASE_USER: &str = "bench@example.com";
const POCKETBASE_PASSWORD: &str = "benchmark-only";
const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

/// A row of the table of peers; see [`Target`] for what each column means.
struct Peer {
    name: &'static str,
    missing: fn() -> Option<String>,
    start: fn(&Path, SocketAddr) -> Result<Command>,
    ready_path: &'static str,
    prepare: Prepare,
    stream: StreamRequest,
    greet: Greet,
    publish: PublishRequest,
    text_bytes: usize,
    limits: TargetLimits,
}

/// Returns all peers that there are adapters for, installed or not.
#[must_use]
pub fn peers() -> Vec<Target> {
    PEERS.iter().map(Peer::target).collect()
}

impl Peer {
    fn target(&self) -> Target {
        Target {
            name: self.name,
            missing: (self.missing)(),
            command: Box::new(self.start),
            ready_path: self.ready_path,
            prepare: self.prepare,
            stream: self.stream,
            greet: self.greet,
            publish: self.publish,
            text_bytes: self.text_bytes,
            is_ours: false,
            limits: self.limits,
        }
    }
}

/// Returns the request that an `EventSource` sends.
const fn event_source(path: &'static str) -> StreamRequest {
    let headers = "accept: text/event-stream\r\n";
    StreamRequest { path, headers }
}

const fn post(
    path: &'static str,
    content_type: &'static str,
    headers: &'static str,
    body: fn(&str) -> String,
) -> PublishRequest {
    PublishRequest {
        path,
        content_type,
        headers,
        body,
        port_offset: 0,
    }
}

const PEERS: [Peer; 8] = [
    Peer {
        name: "nchan",
        missing: nchan_missing,
        start: start::nchan,
        ready_path: "/ready",
        prepare: no_setup,
        stream: event_source("/sub"),
        greet: no_greeting,
        publish: post("/pub", "text/plain", "", str::to_owned),
        text_bytes: 410,
        limits: TargetLimits::NONE,
    },
    // A proxy in front of a web server that asks it to hold requests open. Its own test handler
    // does that here, at `/stream`.
    Peer {
        name: "Pushpin",
        missing: || program_missing("pushpin"),
        start: start::pushpin,
        ready_path: "/",
        prepare: setup::pushpin,
        stream: event_source("/stream"),
        greet: no_greeting,
        publish: PublishRequest {
            port_offset: PUSHPIN_PUBLISH_OFFSET,
            ..post("/publish/", JSON, "", pushpin_body)
        },
        text_bytes: 425,
        limits: TargetLimits {
            readers: 200,
            ..TargetLimits::NONE
        },
    },
    Peer {
        name: "Mercure",
        missing: || program_missing("mercure"),
        start: start::mercure,
        ready_path: "/",
        prepare: no_setup,
        stream: StreamRequest::path("/.well-known/mercure?topic=board"),
        greet: no_greeting,
        publish: post("/.well-known/mercure", FORM, MERCURE_HEADERS, |text| {
            format!("topic=board&data={text}")
        }),
        text_bytes: 370,
        limits: TargetLimits::NONE,
    },
    Peer {
        name: "Centrifugo",
        missing: || program_missing("centrifugo"),
        start: start::centrifugo,
        ready_path: "/health",
        prepare: no_setup,
        // {"subs":{"board":{}}}
        stream: StreamRequest::path(
            "/connection/uni_sse?cf_connect=%7B%22subs%22%3A%7B%22board%22%3A%7B%7D%7D%7D",
        ),
        greet: no_greeting,
        publish: post("/api/publish", JSON, "x-api-key: k\r\n", |text| {
            json!({"channel": "board", "data": {"text": text}}).to_string()
        }),
        text_bytes: 360,
        limits: TargetLimits::NONE,
    },
    // The library of Centrifugo behind a minimal server: `go build` in `peers/centrifuge`.
    Peer {
        name: "centrifuge",
        missing: || program_missing("centrifuge-sse"),
        start: start::centrifuge,
        ready_path: "/ready",
        prepare: no_setup,
        // {"id":1,"connect":{}}
        stream: StreamRequest::path("/sub?cf_connect=%7B%22id%22%3A1%2C%22connect%22%3A%7B%7D%7D"),
        greet: setup::greet_centrifuge,
        publish: post("/pub", JSON, "", |text| json!({"text": text}).to_string()),
        text_bytes: 350,
        limits: TargetLimits::NONE,
    },
    // `go install github.com/pocketbase/pocketbase/examples/base`, renamed to `pocketbase`.
    Peer {
        name: "PocketBase",
        missing: || program_missing("pocketbase"),
        start: start::pocketbase,
        ready_path: "/api/health",
        prepare: setup::pocketbase,
        stream: StreamRequest::path("/api/realtime"),
        greet: setup::greet_pocketbase,
        publish: post("/api/collections/topics/records", JSON, "", |text| {
            json!({"comment": text}).to_string()
        }),
        text_bytes: 200,
        limits: TargetLimits {
            readers: 1_000,
            ..TargetLimits::NONE
        },
    },
    // The server of the Durable Streams protocol: `cargo install durable-streams`. It ends each
    // stream after a minute.
    Peer {
        name: "Durable Streams",
        missing: || program_missing("durable-streams-server"),
        start: start::durable_streams,
        ready_path: "/",
        prepare: setup::durable_streams,
        stream: StreamRequest::path("/v1/stream/board?offset=now&live=sse"),
        greet: no_greeting,
        publish: post("/v1/stream/board", "text/plain", "", str::to_owned),
        text_bytes: 270,
        limits: TargetLimits {
            idle_s: 10.0,
            ..TargetLimits::NONE
        },
    },
    // The Django tutorial that this project began with: each stream reads a cache once a second,
    // and sends what came meanwhile as one event.
    Peer {
        name: "the Django tutorial",
        missing: tutorial_missing,
        start: start::tutorial,
        ready_path: "/",
        prepare: no_setup,
        stream: StreamRequest::path("/topic_stream/"),
        greet: no_greeting,
        publish: post("/", FORM, "", |text| format!("comment={text}")),
        text_bytes: 140,
        limits: TargetLimits {
            readers: 500,
            rate: 1.0,
            ..TargetLimits::NONE
        },
    },
];

fn program_missing(program: &str) -> Option<String> {
    (!process::is_installed(program)).then(|| format!("{program} is not installed"))
}

fn nchan_missing() -> Option<String> {
    let module_missing = (!Path::new(NCHAN_MODULE).exists())
        .then(|| "libnginx-mod-nchan is not installed".to_owned());
    program_missing("nginx").or(module_missing)
}

fn tutorial_missing() -> Option<String> {
    let python = python();
    let imports = Command::new(&python)
        .args(["-c", "import django, uvicorn"])
        .stderr(Stdio::null())
        .status();
    let is_ready = imports.is_ok_and(|status| status.success());
    (!is_ready).then(|| {
        format!("no Django and uvicorn for {python}; KAIRANBAN_BENCH_PYTHON names another")
    })
}

/// Returns the Python that has Django and uvicorn.
fn python() -> String {
    std::env::var("KAIRANBAN_BENCH_PYTHON")
        .unwrap_or_else(|_| "target/test-tools/python/bin/python".to_owned())
}

fn pushpin_body(text: &str) -> String {
    let formats = json!({"http-stream": {"content": format!("data: {text}\n\n")}});
    json!({"items": [{"channel": "test", "formats": formats}]}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{self, Endpoint};

    #[test]
    fn each_peer_has_requests_that_a_server_can_read() {
        let endpoint = Endpoint::from(SocketAddr::from(([127, 0, 0, 1], 80)));
        for peer in PEERS {
            let get = wire::get(&endpoint, peer.stream.path, peer.stream.headers);
            let get = wire::request(&get).expect(peer.name);
            assert!(!get.is_post, "{}", peer.name);
            let bytes = peer.publish.bytes(&endpoint, "~k000042-text");
            let post = wire::request(&bytes).expect(peer.name);
            assert!(post.is_post && post.end == bytes.len(), "{}", peer.name);
            let body = String::from_utf8_lossy(&bytes[post.head..]);
            assert!(body.contains("~k000042-text"), "{}: {body}", peer.name);
            let port = 80 + peer.publish.port_offset;
            let head = String::from_utf8_lossy(&bytes[..post.head]).into_owned();
            assert!(head.contains(&format!("host: 127.0.0.1:{port}\r\n")));
        }
    }
}
