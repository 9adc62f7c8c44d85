//! Pages as they come from the server; what they do in a browser is in `web/e2e`.

use crate::node::{Database, Node};

#[test]
fn the_page_speaks_the_readers_language_and_holds_text_as_text() {
    let node = Node::start(Database::sqlite());
    assert!(node.get("/").body.contains("Nothing has been posted yet"));
    node.post("<script>alert(1)</script>\nline two");
    let page = node.get_with(
        "/",
        &[("Accept", "text/html"), ("Accept-Language", "ja,en;q=0.5")],
    );
    assert!(page.body.contains("<html lang=\"ja\"") && page.body.contains("投稿する"));
    assert!(page.body.contains("&lt;script&gt;") && !page.body.contains("<script>alert"));
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.contains("script-src 'self'") && !policy.contains("unsafe"));
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    assert_eq!(page.header("vary"), Some("Accept, Accept-Language"));
}

#[test]
fn a_page_is_a_list_for_those_who_ask_for_one() {
    let node = Node::start(Database::sqlite());
    node.post("a\nb");
    node.post("c");
    let text = node.get_with("/b/main", &[("Accept", "text/plain")]);
    assert_eq!(text.body, "1\ta\n\tb\n2\tc\n");
    let json = node.get_with("/b/main", &[("Accept", "application/json")]);
    assert_eq!(json.json()["topics"][1]["comment"], "c");
    let head = crate::wire::request(node.address, "HEAD", "/", &[], b"");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[test]
fn errors_are_pages_for_browsers_and_lines_for_terminals() {
    let node = Node::start(Database::sqlite());
    let terminal = node.get("/nothing");
    assert_eq!(
        (terminal.status, terminal.body.as_str()),
        (404, "404 Not Found: there is nothing at this address\n")
    );
    let browser = node.get_with(
        "/nothing",
        &[("Accept", "text/html,*/*;q=0.8"), ("Accept-Language", "ja")],
    );
    assert!(
        browser.body.contains("このアドレスには何もありません"),
        "{}",
        browser.body
    );
    for answer in [&terminal, &browser] {
        assert!(
            answer.header("content-security-policy").is_some()
                && answer.header("x-content-type-options").is_some()
        );
    }
}

#[test]
fn what_the_page_loads_is_there() {
    let node = Node::start(Database::sqlite());
    let page = node.get("/").body;
    for (name, kind) in [
        ("board.css", "text/css; charset=utf-8"),
        ("board.js", "text/javascript; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
    ] {
        let path = format!("/assets/{name}");
        assert!(page.contains(&path));
        let asset = node.get(&path);
        assert_eq!(
            (asset.status, asset.header("content-type")),
            (200, Some(kind))
        );
        let tag = asset.header("etag").expect("a tag").to_owned();
        assert_eq!(node.get_with(&path, &[("If-None-Match", &tag)]).status, 304);
    }
    assert_eq!(node.get("/assets/nothing.js").status, 404);
}
