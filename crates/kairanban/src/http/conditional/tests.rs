use actix_web::{ResponseError as _, test::TestRequest};
use proptest::prelude::*;

use super::*;

fn asking(headers: &[(HeaderName, &str)]) -> HttpRequest {
    let request = headers
        .iter()
        .fold(TestRequest::default(), |request, (name, value)| {
            request.append_header((name.clone(), *value))
        });
    request.to_http_request()
}

fn outcome(evaluated: Result<bool, ApiError>) -> u16 {
    evaluated.map_or_else(
        |error| error.status_code().as_u16(),
        |is_known| if is_known { 304 } else { 200 },
    )
}

#[test]
fn if_none_match_compares_weakly() {
    // RFC 9110, sections 8.8.3.2 and 13.1.2.
    for (lines, expected) in [
        (&["\"xyzzy\""][..], 304),
        (&["W/\"xyzzy\""], 304),
        (&["\"xyzzy\", \"r2d2xxxx\", \"c3piozzzz\""], 304),
        (&["W/\"r2d2xxxx\", W/\"xyzzy\""], 304),
        (&["\"r2d2xxxx\"", "\"xyzzy\""], 304),
        (&["*"], 304),
        (&["\"r2d2xxxx\""], 200),
        (&["\"a,b\", \"xyzzy\""], 304),
        (&["\"xyzzy,\""], 200),
        (&[",, \"xyzzy\" ,"], 304),
        (&["\"xyzzy-gzip\""], 304),
        (&["W/\"xyzzy--gzip\""], 304),
        (&["\"xyzzy;gzip\""], 304),
        (&["\"xyzzy-br\""], 304),
        // A backslash escapes nothing in a tag.
        (&["\"\\\", \"xyzzy\""], 304),
        // What is no tag matches nothing.
        (&["xyzzy"], 200),
        (&["\"xyzzy"], 200),
        (&["w/\"xyzzy\""], 200),
        (&[""], 200),
        (&["\"other\", *"], 200),
    ] {
        let headers: Vec<_> = lines
            .iter()
            .map(|line| (header::IF_NONE_MATCH, *line))
            .collect();
        let found = outcome(has_tag(&asking(&headers), "\"xyzzy\""));
        assert_eq!(found, expected, "{lines:?}");
    }
}

#[test]
fn if_match_compares_strongly_and_comes_first() {
    use header::{IF_MATCH, IF_NONE_MATCH};
    for (headers, expected) in [
        (&[(IF_MATCH, "\"xyzzy\"")][..], 200),
        (&[(IF_MATCH, "\"other\", \"xyzzy\"")], 200),
        (&[(IF_MATCH, "\"other\""), (IF_MATCH, "\"xyzzy\"")], 200),
        (&[(IF_MATCH, "*")], 200),
        (&[(IF_MATCH, "\"xyzzy-gzip\"")], 200),
        (&[(IF_MATCH, "W/\"xyzzy\"")], 412),
        (&[(IF_MATCH, "\"other\"")], 412),
        (&[(IF_MATCH, "xyzzy")], 412),
        (&[(IF_MATCH, "")], 412),
        (
            &[(IF_MATCH, "\"other\""), (IF_NONE_MATCH, "\"xyzzy\"")],
            412,
        ),
        (
            &[(IF_MATCH, "\"xyzzy\""), (IF_NONE_MATCH, "\"xyzzy\"")],
            304,
        ),
        (
            &[(IF_MATCH, "\"xyzzy\""), (IF_NONE_MATCH, "\"other\"")],
            200,
        ),
    ] {
        assert_eq!(
            outcome(has_tag(&asking(headers), "\"xyzzy\"")),
            expected,
            "{headers:?}"
        );
    }
    let weak = has_tag(&asking(&[(IF_MATCH, "W/\"xyzzy\"")]), "\"xyzzy\"");
    assert!(matches!(weak, Err(ApiError::WeakTag)));
}

#[test]
fn a_later_list_is_as_good() {
    let at = |text: &str| text.parse::<Cursor>().expect("a cursor");
    let known = |tags: &str| asking(&[(header::IF_NONE_MATCH, tags)]);
    for (tags, expected) in [
        ("\"abc-7\"", 304),
        ("\"abc-9\"", 304),
        ("\"abc-6\", W/\"abc-8-gzip\"", 304),
        ("\"abc-6\"", 200),
        ("\"fed-9\"", 200),
    ] {
        assert_eq!(outcome(has(&known(tags), &at("abc-7"))), expected, "{tags}");
    }
    assert_eq!(
        known_cursor(&known("\"abc-6\", \"abc-8\", \"abc-7\"")),
        Some(at("abc-8"))
    );
    assert_eq!(known_cursor(&known("*")), None);
    let demanded = asking(&[(header::IF_MATCH, "\"abc-9\"")]);
    assert_eq!(
        outcome(has(&demanded, &at("abc-7"))),
        412,
        "If-Match means this one"
    );
}

/// Returns tags as they may be written, and whether each is ours, and strong.
fn tag() -> impl Strategy<Value = (String, bool, bool)> {
    let opaque = prop_oneof![
        Just("xyzzy".to_owned()),
        "[!#-~]{0,8}".prop_filter("another", |tag| !tag.starts_with("xyzzy")),
    ];
    let coding = prop::sample::select(vec!["", "-gzip", "--gzip", "-br"]);
    (opaque, coding, prop::bool::ANY).prop_map(|(opaque, coding, is_weak)| {
        let weak = if is_weak { "W/" } else { "" };
        (
            format!("{weak}\"{opaque}{coding}\""),
            opaque == "xyzzy",
            !is_weak,
        )
    })
}

proptest! {
    #[test]
    fn a_list_matches_if_one_of_its_tags_does(
        tags in prop::collection::vec(tag(), 0..6),
        separator in prop::sample::select(vec![",", ", ", " ,\t", ",,"]),
        is_match in prop::bool::ANY,
    ) {
        let written: Vec<_> = tags.iter().map(|(text, ..)| text.as_str()).collect();
        let name = if is_match { header::IF_MATCH } else { header::IF_NONE_MATCH };
        let list = written.join(separator);
        let found = outcome(has_tag(&asking(&[(name.clone(), &list)]), "\"xyzzy\""));
        let lines: Vec<_> = written.iter().map(|line| (name.clone(), *line)).collect();
        if !lines.is_empty() {
            prop_assert_eq!(found, outcome(has_tag(&asking(&lines), "\"xyzzy\"")), "{}", list);
        }
        let fits = tags.iter().any(|(_, is_ours, is_strong)| *is_ours && (*is_strong || !is_match));
        let expected = match (is_match, fits) {
            (true, true) | (false, false) => 200,
            (true, false) => 412,
            (false, true) => 304,
        };
        prop_assert_eq!(found, expected, "{}", list);
    }

    #[test]
    fn any_condition_is_read(line in "[ -~\\t]{0,60}") {
        let request = asking(&[(header::IF_MATCH, &line), (header::IF_NONE_MATCH, &line)]);
        let _ = (has_tag(&request, "\"xyzzy\""), known_cursor(&request));
    }
}

#[test]
fn no_cache_serves_an_answer_in_coding_without_asking() {
    let known = [(header::IF_NONE_MATCH, "\"a\"")];
    let packed = [(header::ACCEPT_ENCODING, "gzip")];
    for (headers, asked, expected) in [
        (&[][..], StatusCode::OK, StatusCode::OK),
        (&packed, StatusCode::OK, StatusCode::OK),
        (&known, StatusCode::OK, StatusCode::NOT_MODIFIED),
        (
            &[],
            StatusCode::UNPROCESSABLE_ENTITY,
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
    ] {
        let response = HttpResponse::new(asked);
        let answer = answer_in_coding(&asking(headers), response, "\"a\"", |_| "text");
        let answer = answer.expect("an answer");
        assert_eq!(answer.status(), expected, "{headers:?}");
        assert_eq!(
            answer
                .headers()
                .get(header::CACHE_CONTROL)
                .expect("the header"),
            "no-cache"
        );
    }
}
