//! A session counts for requests of our own pages alone.

use super::{BOARD, FORM, HTML, JSON, STREAM, TOPICS, get, sign_in, socket_status, with_a_secret};
use crate::{
    node::{Database, Node},
    wire::{self, Answer},
};

/// What the browser of a signed-in person adds to a request of another origin's page.
const FORGED: [&[(&str, &str)]; 8] = [
    &[("Sec-Fetch-Site", "cross-site")],
    &[("Sec-Fetch-Site", "same-site")],
    &[
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Mode", "navigate"),
        ("Sec-Fetch-Dest", "iframe"),
    ],
    &[("Origin", "https://evil.example")],
    &[("Origin", "http://localhost:3000")],
    &[("Origin", "null")],
    // A site that is allowed to read and write here.
    &[("Origin", "https://app.example")],
    &[
        ("Origin", "https://app.example"),
        ("Sec-Fetch-Site", "cross-site"),
    ],
];

fn send(
    node: &Node,
    (method, path): (&str, &str),
    session: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let headers = [headers, &[("Cookie", session)]].concat();
    wire::request(node.address, method, path, &headers, body)
}

fn with_an_allowed_site() -> (Node, String) {
    let settings = [("CORS__ORIGINS", "https://app.example")];
    with_a_secret(Database::sqlite(), &settings)
}

#[test]
fn another_origins_page_reads_and_does_nothing_by_a_session() {
    let (node, admin) = with_an_allowed_site();
    let session = sign_in(&node, &admin);
    for forged in FORGED {
        for path in [BOARD, STREAM, TOPICS, "/b/secret/feed.xml"] {
            let answer = send(&node, ("GET", path), &session, forged, b"");
            assert_eq!(answer.status, 404, "{path} {forged:?}");
            let credentials = answer.header("access-control-allow-credentials");
            assert_eq!(credentials, None, "{path} {forged:?}");
        }
        let status = send(&node, ("GET", "/api/v1/tokens"), &session, forged, b"").status;
        assert_eq!(status, 401, "{forged:?}");
        let socket = socket_status(&node, &[forged, &[("Cookie", &session)]].concat());
        assert!(matches!(socket, 403 | 404), "{forged:?}: {socket}");
        let form = [forged, &[FORM, HTML]].concat();
        let posted = send(&node, ("POST", BOARD), &session, &form, b"comment=forged");
        assert!(matches!(posted.status, 403 | 404), "{posted:?}");
        let json = [forged, &[("Content-Type", "application/json")]].concat();
        for (method, path, body) in [
            ("POST", TOPICS, r#"{"comment":"forged"}"#),
            ("POST", "/api/v1/tokens", r#"{"name":"x","scope":"admin"}"#),
            ("DELETE", "/api/v1/boards/secret", ""),
            ("DELETE", "/api/v1/sessions/1", ""),
        ] {
            let answer = send(&node, (method, path), &session, &json, body.as_bytes());
            let status = answer.status;
            assert!(
                matches!(status, 401 | 403 | 404),
                "{method} {path} {answer:?}"
            );
        }
    }
    let listed = get(&node, TOPICS, &session).json();
    assert_eq!(listed["topics"].as_array().map(Vec::len), Some(0));
}

#[test]
fn another_origins_page_neither_signs_in_nor_out() {
    let (node, admin) = with_an_allowed_site();
    let session = sign_in(&node, &admin);
    let body = format!("token={admin}");
    for forged in FORGED {
        let form = [forged, &[FORM, JSON]].concat();
        let signed_in = send(&node, ("POST", "/login"), "", &form, body.as_bytes());
        signed_in.assert_problem(403, "cross_site");
        assert_eq!(signed_in.header("set-cookie"), None, "{forged:?}");
        let signed_out = send(&node, ("POST", "/logout"), &session, &form, b"");
        signed_out.assert_problem(403, "cross_site");
        assert_eq!(signed_out.header("set-cookie"), None, "{forged:?}");
    }
    assert_eq!(get(&node, BOARD, &session).status, 200, "still signed in");
}

#[test]
fn a_link_on_another_page_leads_to_the_board() {
    let (node, admin) = with_an_allowed_site();
    let session = sign_in(&node, &admin);
    let link = [
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Mode", "navigate"),
        ("Sec-Fetch-Dest", "document"),
    ];
    for (method, expected) in [("GET", 200), ("POST", 403)] {
        let answer = send(&node, (method, BOARD), &session, &link, b"");
        assert_eq!(answer.status, expected, "{method}");
    }
}
