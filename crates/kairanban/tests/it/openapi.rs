//! The OpenAPI document: it is the one in `docs/`, it says what is routed, and what it says is so.

use std::{collections::BTreeSet, env, path::Path, process::Command};

use crate::{
    node::{Database, Node},
    wire,
};

crate::on_both!(what_it_says_is_so);

const ADDRESS: &str = "/api/v1/openapi.json";

#[test]
fn the_document_is_the_one_in_docs() {
    let node = Node::start(Database::sqlite());
    let served = node.get(ADDRESS);
    assert_eq!(served.status, 200);
    let kept = include_str!("../../../../docs/openapi.json");
    assert!(
        served.body == kept,
        "it changed: curl -s http://127.0.0.1:8080{ADDRESS} > docs/openapi.json"
    );
}

/// It is long, and clients ask for it again and again.
#[test]
fn the_document_has_a_tag_and_is_packed() {
    let node = Node::start(Database::sqlite());
    let plain = node.get(ADDRESS);
    let tag = plain.header("etag").expect("a tag");
    let again = node.get_with(ADDRESS, &[("If-None-Match", tag)]);
    assert_eq!((again.status, again.body.as_str()), (304, ""));
    let packed = wire::request(
        node.address,
        "HEAD",
        ADDRESS,
        &[("Accept-Encoding", "gzip")],
        b"",
    );
    let weak = format!("W/{tag}");
    for (name, value) in [
        ("content-encoding", "gzip"),
        ("etag", weak.as_str()),
        ("vary", "Accept-Encoding"),
    ] {
        assert_eq!(packed.header(name), Some(value), "{name}");
    }
    let length = packed.header("content-length").expect("a length");
    let length: usize = length.parse().expect("a number");
    assert!(length < plain.body.len() / 4, "{length}");
    let known = [("If-None-Match", tag), ("Accept-Encoding", "gzip")];
    assert_eq!(node.get_with(ADDRESS, &known).status, 304);
}

#[test]
fn each_reference_leads_to_a_schema() {
    let node = Node::start(Database::sqlite());
    let served = node.get(ADDRESS);
    let schemas = &served.json()["components"]["schemas"];
    let mut references = 0;
    for part in served.body.split("\"#/components/schemas/").skip(1) {
        let (name, _) = part.split_once('"').expect("a name");
        assert!(schemas[name].is_object(), "{name}");
        references += 1;
    }
    assert!(references > 50, "{references}");
}

/// Clients are made with a function for each.
#[test]
fn each_operation_has_a_name_of_its_own() {
    let node = Node::start(Database::sqlite());
    let document = node.get(ADDRESS).json();
    let mut names: Vec<_> = document["paths"]
        .as_object()
        .expect("paths")
        .values()
        .flat_map(|operations| operations.as_object().expect("operations").values())
        .map(|operation| {
            operation["operationId"]
                .as_str()
                .expect("a name")
                .to_owned()
        })
        .collect();
    let count = names.len();
    names.sort();
    names.dedup();
    assert!(count > 15 && names.len() == count, "{count} {names:?}");
}

#[test]
fn it_names_the_methods_that_are_answered() {
    let node = Node::start(Database::sqlite());
    let document = node.get(ADDRESS).json();
    let paths = document["paths"].as_object().expect("paths");
    assert_eq!(paths.len(), 13);
    for (path, operations) in paths {
        let address = path.replace("{board}", "main").replace("{id}", "1");
        let refused = node.send("PUT", &address, "application/json", "{}");
        let mut answered: Vec<_> = refused
            .header("allow")
            .expect("the methods")
            .split(", ")
            .map(str::to_lowercase)
            // HEAD is for every GET, and no client needs a function for it.
            .filter(|method| method != "head")
            .collect();
        let mut named: Vec<_> = operations
            .as_object()
            .expect("operations")
            .keys()
            .cloned()
            .collect();
        answered.sort();
        named.sort();
        assert_eq!((refused.status, named), (405, answered), "{path}");
    }
}

#[test]
fn it_is_browsable_without_another_site() {
    let node = Node::start(Database::sqlite());
    assert_eq!(
        node.get("/api/v1/docs").header("location"),
        Some("/api/v1/docs/")
    );
    let page = node.get("/api/v1/docs/");
    assert!(
        page.status == 200 && page.body.contains("swagger-ui") && !page.body.contains("http"),
        "{page:?}"
    );
    assert!(
        page.header("content-security-policy")
            .is_some_and(|policy| policy.contains("script-src 'self';"))
    );
    assert!(
        node.get("/api/v1/docs/swagger-initializer.js")
            .body
            .contains(ADDRESS)
    );
    assert_eq!(node.get("/api/v1/docs/nothing.js").status, 404);
}

/// Some thousand requests that the document allows, or does not, made up by schemathesis.
fn what_it_says_is_so(database: Database) {
    let python =
        env::var("KAIRANBAN_TEST_PYTHON").expect("KAIRANBAN_TEST_PYTHON; scripts/test sets it");
    let many = "1000000";
    let settings = [
        ("LIMITS__POSTS_PER_CLIENT_PER_S", many),
        ("LIMITS__BAD_TOKENS_PER_MIN", many),
    ];
    let node = Node::start_with(database, &settings);
    let token = node.token(&["create", "--scope", "admin"]);
    // So that no client ends it by guessing its number.
    node.database.sql("UPDATE tokens SET id = 123456789;");
    // The same requests each time, so that a failure is the change's; others by naming another
    // seed.
    let seed = env::var("KAIRANBAN_TEST_SEED").unwrap_or_else(|_| "1".to_owned());
    let folder = tempfile::tempdir().expect("a folder");
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemathesis/schemathesis.toml");
    let run = Command::new(Path::new(&python).with_file_name("schemathesis"))
        .arg("--config-file")
        .arg(rules)
        .args([
            "run",
            &format!("http://{}{ADDRESS}", node.address),
            "--checks",
            "all",
            "--max-examples",
            "25",
            "--no-color",
        ])
        .args(["--seed", &seed])
        .args(["-H", &format!("Authorization: Bearer {token}")])
        .current_dir(folder.path())
        .output()
        .expect("schemathesis; scripts/test installs it");
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(
        run.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&run.stderr)
    );
    assert!(said.contains(" passed"), "{said}");
}

/// A client that goes by the document asks for no more than this server allows.
#[test]
fn its_bounds_are_the_settings() {
    let settings = [
        ("REST__PAGE_MAX", "7"),
        ("REST__WAIT_MAX_S", "3"),
        ("REST__SEARCH_CHARS_MAX", "9"),
    ];
    let node = Node::start_with(Database::sqlite(), &settings);
    let token = node.token(&["create", "--scope", "admin"]);
    let document = node.get(ADDRESS).json();
    let mut bounds = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().expect("paths") {
        let parameters = operations["get"]["parameters"].as_array();
        for parameter in parameters.into_iter().flatten() {
            let (name, schema) = (
                parameter["name"].as_str().expect("a name"),
                &parameter["schema"],
            );
            let address = path.replace("{board}", "main");
            let status = |value: String| {
                let address = format!("{address}?{name}={value}");
                node.send_as("GET", &address, &token, &[], "").status
            };
            if let Some(most) = schema["maximum"].as_u64() {
                bounds.insert((name.to_owned(), most));
                assert_eq!(status(most.to_string()), 200, "{path} {name}");
                assert_eq!(status((most + 1).to_string()), 400, "{path} {name}");
            }
            if let Some(most) = schema["maxLength"].as_u64() {
                bounds.insert((name.to_owned(), most));
                let most = usize::try_from(most).expect("a length");
                assert_eq!(status("x".repeat(most)), 200, "{path} {name}");
                assert_eq!(status("x".repeat(most + 1)), 400, "{path} {name}");
            }
        }
    }
    let expected = [("limit", 7), ("q", 9), ("wait", 3)];
    let expected = expected.map(|(name, most)| (name.to_owned(), most));
    assert_eq!(bounds, BTreeSet::from(expected));
}
