//! Conditions of every write that the OpenAPI document names, and of signing in and out (RFC 9110,
//! section 13): they count, and what is wrong with a request otherwise comes first.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::{
    node::{Database, Node},
    on_both,
    sign_in::sign_in,
    wire::{self, Answer},
};

on_both!(
    every_write_counts_its_conditions,
    what_else_is_wrong_with_a_write_comes_first,
);

/// Conditions, and whether they hold for what is there and has another tag than `x`, or no tag.
const CONDITIONS: [(&[(&str, &str)], bool); 10] = [
    (&[("If-Match", "\"x\"")], false),
    (&[("If-Match", "\"x\", W/\"y\"")], false),
    (&[("If-Match", "x")], false),
    (&[("If-Match", "")], false),
    (&[("If-None-Match", "*")], false),
    (&[("If-Match", "*"), ("If-None-Match", "*")], false),
    (&[("If-Match", "\"x\""), ("If-None-Match", "\"y\"")], false),
    (&[("If-Match", "*")], true),
    (&[("If-None-Match", "\"x\", W/\"y\"")], true),
    (&[("If-Match", "*"), ("If-None-Match", "\"x\"")], true),
];

/// A write of the OpenAPI document.
#[derive(Debug)]
struct WriteOperation {
    method: String,
    name: String,
}

/// Returns each write of the document, which names both headers and 412.
fn writes(node: &Node) -> Vec<WriteOperation> {
    let document = node.get("/api/v1/openapi.json").json();
    let mut writes = Vec::new();
    for (path, operations) in document["paths"].as_object().expect("paths") {
        for (method, operation) in operations.as_object().expect("operations") {
            if method == "get" {
                continue;
            }
            let parameters = operation["parameters"].as_array().expect("parameters");
            for header in ["If-Match", "If-None-Match"] {
                let is_it = |parameter: &&serde_json::Value| {
                    parameter["name"] == header && parameter["in"] == "header"
                };
                assert_eq!(
                    parameters.iter().filter(is_it).count(),
                    1,
                    "{method} {path}"
                );
            }
            let refused = &operation["responses"]["412"]["content"]["application/problem+json"];
            assert!(refused.is_object(), "{method} {path}");
            writes.push(WriteOperation {
                method: method.to_uppercase(),
                name: operation["operationId"]
                    .as_str()
                    .expect("a name")
                    .to_owned(),
            });
        }
    }
    assert!(writes.len() > 10, "{writes:?}");
    writes
}

/// A node, and the token of its administrator.
struct Scene {
    node: Node,
    admin: String,
    names: AtomicUsize,
}

impl Scene {
    fn start(database: Database) -> Self {
        let many = "1000000";
        let settings = [
            "LIMITS__POSTS_PER_CLIENT_BURST",
            "LIMITS__READS_PER_CLIENT_BURST",
            "LIMITS__EDITS_PER_TOKEN_BURST",
            "LIMITS__BAD_TOKENS_PER_MIN",
            "LIMITS__LOGINS_PER_MIN",
            "LIMITS__SESSIONS_PER_TOKEN_MAX",
        ]
        .map(|name| (name, many));
        let node = Node::start_with(database, &settings);
        let admin = node.token(&["create", "--scope", "admin", "--name", "ann"]);
        Self {
            node,
            admin,
            names: AtomicUsize::new(0),
        }
    }

    fn name(&self) -> String {
        format!("made-{}", self.names.fetch_add(1, Ordering::Relaxed))
    }

    fn send(&self, method: &str, path: &str, conditions: &[(&str, &str)], body: &str) -> Answer {
        self.node
            .send_as(method, path, &self.admin, conditions, body)
    }

    fn make(&self, path: &str, body: &str) -> Answer {
        let made = self.send("POST", path, &[], body);
        assert_eq!(made.status, 201, "{made:?}");
        made
    }

    fn board(&self) -> String {
        let body = format!(r#"{{"name":"{}"}}"#, self.name());
        self.make("/api/v1/boards", &body).text("name")
    }

    fn topic(&self) -> u64 {
        let made = self.make("/api/v1/boards/main/topics", r#"{"comment":"here"}"#);
        made.json()["id"].as_u64().expect("an id")
    }

    fn session(&self) -> u64 {
        sign_in(&self.node, &self.admin);
        *self.sessions().last().expect("a session")
    }

    /// Prepares what a write is for. Returns where it is, and a body that is allowed.
    fn prepare(&self, operation: &str) -> (String, String) {
        let topics = "/api/v1/boards/main/topics";
        let comment = r#"{"comment":"other"}"#.to_owned();
        let nothing = String::new();
        match operation {
            "post_board_info" => {
                let body = format!(r#"{{"name":"{}"}}"#, self.name());
                ("/api/v1/boards".to_owned(), body)
            }
            "patch_board_info" => {
                let path = format!("/api/v1/boards/{}", self.board());
                (path, r#"{"title":"other"}"#.to_owned())
            }
            "delete_board_info" => (format!("/api/v1/boards/{}", self.board()), nothing),
            "post_topic" => (topics.to_owned(), comment),
            "patch_topic" => (format!("{topics}/{}", self.topic()), comment),
            "delete_topic" => (format!("{topics}/{}", self.topic()), nothing),
            "restore_topic" => {
                let path = format!("{topics}/{}", self.topic());
                assert_eq!(self.send("DELETE", &path, &[], "").status, 204);
                (format!("{path}/restore"), nothing)
            }
            "post_token" => {
                let body = r#"{"name":"bot","scope":"read"}"#;
                ("/api/v1/tokens".to_owned(), body.to_owned())
            }
            "delete_token" => {
                let made = self.make("/api/v1/tokens", r#"{"name":"bot","scope":"read"}"#);
                let path = made.header("location").expect("an address");
                (path.to_owned(), nothing)
            }
            "post_ticket" => {
                let body = r#"{"board":"main"}"#;
                ("/api/v1/tickets".to_owned(), body.to_owned())
            }
            "delete_session" => (format!("/api/v1/sessions/{}", self.session()), nothing),
            other => panic!("say here what {other} is for"),
        }
    }

    /// Returns the newest entry of the audit.
    fn audited(&self) -> String {
        self.send("GET", "/api/v1/audit?limit=1", &[], "").body
    }

    fn sessions(&self) -> Vec<u64> {
        let sessions = self.send("GET", "/api/v1/sessions", &[], "").json();
        let sessions = sessions["sessions"].as_array().expect("sessions");
        sessions
            .iter()
            .map(|session| session["id"].as_u64().expect("an id"))
            .collect()
    }
}

fn every_write_counts_its_conditions(database: Database) {
    let scene = Scene::start(database);
    for WriteOperation { method, name } in writes(&scene.node) {
        let (mut path, mut body) = scene.prepare(&name);
        for (conditions, is_met) in CONDITIONS {
            let audited = scene.audited();
            let answer = scene.send(&method, &path, conditions, &body);
            if is_met {
                assert!(answer.status < 300, "{name} {conditions:?} {answer:?}");
                (path, body) = scene.prepare(&name);
            } else {
                assert_eq!(answer.status, 412, "{name} {conditions:?} {answer:?}");
                assert_eq!(scene.audited(), audited, "{name} {conditions:?}");
            }
        }
        // What was refused was not done: it still can be.
        let done = scene.send(&method, &path, &[], &body);
        assert!(done.status < 300, "{name} {done:?}");
    }
}

/// A request that is about to be sent.
struct Asked {
    path: String,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Asked {
    fn with_token(&mut self, token: &str) {
        self.headers.retain(|(name, _)| *name != "Authorization");
        let token = ("Authorization", format!("Bearer {token}"));
        self.headers.push(token);
    }

    /// Sends it as `method` under these conditions.
    fn send(&self, node: &Node, method: &str, conditions: &[(&str, &str)]) -> Answer {
        let headers = self.headers.iter();
        let headers: Vec<_> = headers
            .map(|(name, value)| (*name, value.as_str()))
            .chain(conditions.iter().copied())
            .collect();
        wire::request(
            node.address,
            method,
            &self.path,
            &headers,
            self.body.as_bytes(),
        )
    }
}

type MakeWrong = fn(&Scene, &mut Asked);

/// Faults of a write that are found before its conditions.
const WRONG: [(&str, MakeWrong); 9] = [
    ("no token", |_, asked| {
        asked.headers.retain(|(name, _)| *name != "Authorization");
    }),
    ("a token that is not valid", |_, asked| {
        asked.with_token("x")
    }),
    ("a token that allows too little", |scene, asked| {
        let made = scene.make("/api/v1/tokens", r#"{"name":"bot","scope":"read"}"#);
        asked.with_token(&made.text("token"));
    }),
    ("another board", |_, asked| {
        for ours in ["main", "made"] {
            let (found, other) = (format!("boards/{ours}"), "boards/nowhere");
            asked.path = asked.path.replace(&found, other);
        }
        asked.body = asked.body.replace("main", "nowhere");
    }),
    ("another id", |_, asked| {
        let segments = asked.path.split('/');
        let other = segments.map(|segment| {
            let is_id = segment.parse::<u64>().is_ok();
            if is_id { "999999" } else { segment }
        });
        asked.path = other.collect::<Vec<_>>().join("/");
    }),
    ("a page of another site", |_, asked| {
        let origin = ("Origin", "https://evil.example".to_owned());
        asked.headers.push(origin);
    }),
    ("no JSON", |_, asked| asked.body.push('{')),
    ("another media type", |_, asked| {
        asked.headers.retain(|(name, _)| *name != "Content-Type");
        let image = ("Content-Type", "image/png".to_owned());
        asked.headers.push(image);
    }),
    (DONE, |_, _| {}),
];
const DONE: &str = "it was done before";

fn what_else_is_wrong_with_a_write_comes_first(database: Database) {
    let scene = Scene::start(database);
    let mut refused = 0;
    for WriteOperation { method, name } in writes(&scene.node) {
        for (what, make_wrong) in WRONG {
            let (path, body) = scene.prepare(&name);
            let json = ("Content-Type", "application/json".to_owned());
            let mut asked = Asked {
                path,
                headers: vec![json],
                body,
            };
            asked.with_token(&scene.admin);
            make_wrong(&scene, &mut asked);
            if what == DONE {
                asked.send(&scene.node, &method, &[]);
            }
            let plain = asked.send(&scene.node, &method, &[]);
            if plain.status < 400 {
                continue;
            }
            refused += 1;
            for (conditions, _) in CONDITIONS {
                let answer = asked.send(&scene.node, &method, conditions);
                assert_eq!(
                    answer.status, plain.status,
                    "{name}, {what}: {conditions:?}"
                );
            }
        }
    }
    assert!(refused > 60, "only {refused} were wrong");
}

#[test]
fn a_board_that_takes_no_posts_says_so_before_it_looks_at_conditions() {
    let scene = Scene::start(Database::sqlite());
    let board = scene.board();
    let closing = scene.send(
        "PATCH",
        &format!("/api/v1/boards/{board}"),
        &[],
        r#"{"post":"closed"}"#,
    );
    assert_eq!(closing.status, 200, "{closing:?}");
    for path in [
        format!("/api/v1/boards/{board}/topics"),
        format!("/b/{board}"),
    ] {
        for (conditions, _) in CONDITIONS {
            let answer = scene.send("POST", &path, conditions, r#"{"comment":"a"}"#);
            assert_eq!(answer.status, 403, "{path} {conditions:?} {answer:?}");
        }
    }
}

/// A weak tag, which cannot be compared, says nothing of a topic that is not there.
#[test]
fn a_weak_tag_of_nothing_is_not_looked_at() {
    let scene = Scene::start(Database::sqlite());
    let path = format!("/api/v1/boards/main/topics/{}", scene.topic());
    let tag = scene
        .node
        .get(&path)
        .header("etag")
        .map(|tag| format!("W/{tag}"));
    let weak = [("If-Match", tag.as_deref().expect("a tag"))];
    scene
        .send("DELETE", &path, &weak, "")
        .assert_problem(412, "weak_tag");
    assert_eq!(scene.send("DELETE", &path, &[], "").status, 204);
    assert_eq!(scene.send("DELETE", &path, &weak, "").status, 404);
}

#[test]
fn signing_in_and_out_is_a_write_too() {
    let scene = Scene::start(Database::sqlite());
    let post = |path: &str, headers: &[(&str, &str)], body: &str| {
        let form = ("Content-Type", "application/x-www-form-urlencoded");
        let headers = [&[form], headers].concat();
        wire::request(scene.node.address, "POST", path, &headers, body.as_bytes())
    };
    for (conditions, is_met) in CONDITIONS {
        let expected = if is_met { 303 } else { 412 };
        let before = scene.sessions().len();
        assert_eq!(
            post("/login", conditions, "token=x").status,
            401,
            "{conditions:?}"
        );
        let answer = post("/login", conditions, &format!("token={}", scene.admin));
        assert_eq!(answer.status, expected, "{conditions:?}");
        assert_eq!(
            answer.header("set-cookie").is_some(),
            is_met,
            "{conditions:?}"
        );
        assert_eq!(
            scene.sessions().len(),
            before + usize::from(is_met),
            "{conditions:?}"
        );
        let cookie = sign_in(&scene.node, &scene.admin);
        let session = [("Cookie", cookie.as_str())];
        let before = scene.sessions().len();
        let answer = post("/logout", &[&session, conditions].concat(), "");
        assert_eq!(answer.status, expected, "{conditions:?}");
        assert_eq!(
            scene.sessions().len(),
            before - usize::from(is_met),
            "{conditions:?}"
        );
    }
}
