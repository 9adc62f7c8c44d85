use actix_web::test::TestRequest;
use proptest::prelude::*;

use super::*;

fn asking(lines: &[&str], path: &str) -> HttpRequest {
    let request = lines
        .iter()
        .fold(TestRequest::with_uri(path), |request, line| {
            request.append_header((header::ACCEPT, *line))
        });
    request.to_http_request()
}

fn quality(accept: &str, media_type: &str) -> String {
    let accepted = Accepted::of(&asking(&[accept], "/")).expect("ranges");
    let wish = accepted.wish(&media_type.parse().expect("a type"));
    wish.map_or("-".to_owned(), |wish| wish.quality.to_string())
}

#[test]
fn the_most_specific_range_counts() {
    // RFC 9110, section 12.5.1.
    let accept = "text/*;q=0.3, text/plain;q=0.7, text/plain;format=flowed, \
        text/plain;format=fixed;q=0.4, */*;q=0.5";
    for (media_type, expected) in [
        ("text/plain;format=flowed", "1"),
        ("text/plain", "0.7"),
        ("text/html", "0.3"),
        ("image/jpeg", "0.5"),
        ("text/plain;format=fixed", "0.4"),
        ("text/html;level=3", "0.3"),
    ] {
        assert_eq!(quality(accept, media_type), expected, "{media_type}");
    }
    assert_eq!(quality("audio/*; q=0.2, audio/basic", "audio/basic"), "1");
    assert_eq!(quality("audio/*; q=0.2, audio/basic", "audio/mpeg"), "0.2");
    let accept = "text/plain; q=0.5, text/html, text/x-dvi; q=0.8, text/x-c";
    for (media_type, expected) in [
        ("text/plain", "0.5"),
        ("text/html", "1"),
        ("text/x-dvi", "0.8"),
        ("text/css", "-"),
    ] {
        assert_eq!(quality(accept, media_type), expected, "{media_type}");
    }
}

/// An `Accept`, a media type, and its quality by it.
const RANGES: [(&str, &str, &str); 18] = [
    ("TEXT/HTML", "text/html", "1"),
    ("text/html ;q=0.5", "text/html", "0.5"),
    ("text/html; ;;q=0.5;", "text/html", "0.5"),
    ("text/html; , */*;q=0.2", "text/html", "1"),
    ("text/html; Q=0.5", "text/html", "0.5"),
    ("text/html\t;\tq=0.5", "text/html", "0.5"),
    ("text/html;charset=utf-8", "text/html", "1"),
    ("text/html;charset=\"UTF-8\"", "text/html", "1"),
    (
        "text/html;charset=iso-8859-1, */*;q=0.1",
        "text/html",
        "0.1",
    ),
    (
        "text/html;note=\"a,b\";q=0.5, */*;q=0.1",
        "text/html",
        "0.1",
    ),
    (
        "text/html;note=\"a\\\",b\";q=0.5, */*;q=0.1",
        "text/html",
        "0.1",
    ),
    ("text/html, image/gif, *; q=0.2", "text/css", "0.2"),
    (",, text/html,,", "text/html", "1"),
    ("text/html;q=nonsense, text/*;q=0.2", "text/html", "0.2"),
    ("text/html;q=2, text/*;q=0.2", "text/html", "0.2"),
    ("text, text/*;q=0.2", "text/html", "0.2"),
    ("application/*", "application/json", "1"),
    ("application/*", "text/html", "-"),
];

#[test]
fn a_range_is_read_however_it_is_written() {
    for (accept, media_type, expected) in RANGES {
        assert_eq!(quality(accept, media_type), expected, "{accept}");
    }
}

#[test]
fn gzip_is_sent_to_clients_that_accept_it() {
    let allows = |accept: &str| {
        let request = TestRequest::default().insert_header((header::ACCEPT_ENCODING, accept));
        allows_gzip(&request.to_http_request())
    };
    assert!(allows_gzip(&TestRequest::default().to_http_request()));
    for accept in [
        "gzip, deflate, br",
        "*",
        "GZIP",
        "x-gzip",
        "gzip;q=0.001",
        "br;q=1.0, gzip;q=0.5, *;q=0",
        "gzip, *;q=0",
    ] {
        assert!(allows(accept), "{accept}");
    }
    for accept in [
        "",
        "identity",
        "gzip;q=0, *",
        "br, *;q=0",
        "gzip;q=0.000",
        "gzip;q=x",
    ] {
        assert!(!allows(accept), "{accept:?}");
    }
}

#[test]
fn gzip_is_not_sent_to_clients_that_like_plain_bytes_better() {
    for (accept, asks) in [
        ("gzip", true),
        ("gzip, identity", true),
        ("gzip;q=0.5, identity;q=0.5", true),
        ("gzip;q=0.5, identity;q=1", false),
        ("*;q=0.5, identity", false),
        ("gzip, identity;q=0", true),
    ] {
        let request = TestRequest::default().insert_header((header::ACCEPT_ENCODING, accept));
        assert_eq!(asks_for_gzip(&request.to_http_request()), asks, "{accept}");
    }
}

#[test]
fn browsers_terminals_and_programs() {
    use Representation::{Html, Json, Text};
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    for (accept, path, expected) in [
        (&[browser][..], "/", [Html, Html, Html]),
        (&[], "/", [Html, Json, Text]),
        (&["*/*"], "/", [Html, Json, Text]),
        (&["nonsense"], "/", [Html, Json, Text]),
        (&["*/*"], "/api/v1/x", [Html, Json, Json]),
        (&["text/plain"], "/", [Text; 3]),
        (&["application/json"], "/", [Json; 3]),
        (&["application/problem+json"], "/", [Json; 3]),
        (&["application/xhtml+xml"], "/", [Html; 3]),
        (&["application/json, text/plain, */*"], "/", [Json; 3]),
        (&["text/plain, application/json"], "/", [Text; 3]),
        // Weights.
        (&["application/json;q=0.1, text/html"], "/", [Html; 3]),
        (&["text/html;q=0.5, application/json"], "/", [Json; 3]),
        (&["text/plain;q=0.2, text/html;q=0.1"], "/", [Text; 3]),
        // 0 refuses.
        (&["text/html;q=0, */*"], "/", [Json, Json, Text]),
        (&["text/html;q=0"], "/", [Json, Json, Text]),
        (
            &["application/json;q=0, image/png"],
            "/",
            [Html, Html, Text],
        ),
        (&["application/json;q=0, */*"], "/api/v1/x", [Html; 3]),
        (
            &["text/html;q=0, application/json;q=0, text/plain;q=0"],
            "/",
            [Html, Json, Text],
        ),
        // Nothing that there is.
        (&["image/png"], "/", [Html, Json, Text]),
        // Lines are one list.
        (&["application/json;q=0.5", "text/plain"], "/", [Text; 3]),
        (&["text/html;level=1, text/plain;q=0.5"], "/", [Text; 3]),
    ] {
        let request = asking(accept, path);
        let forms = [
            Representation::of_page(&request),
            Representation::of_post(&request),
            Representation::of_error(&request),
        ];
        assert_eq!(forms, expected, "{accept:?} {path}");
    }
}

#[test]
fn streams_are_chosen_by_weight() {
    for (accept, ndjson, sse) in [
        ("*/*", false, true),
        ("text/event-stream", false, true),
        ("TEXT/event-stream", false, true),
        ("application/x-ndjson", true, false),
        ("application/x-ndjson, text/event-stream", true, true),
        ("text/event-stream, application/x-ndjson", false, true),
        ("text/event-stream;q=0.5, application/x-ndjson", true, true),
        ("application/x-ndjson;q=0.5, */*", false, true),
        ("application/x-ndjson;q=0, */*", false, true),
        ("text/event-stream;q=0, */*", false, false),
        ("text/html", false, false),
        ("application/json", false, false),
    ] {
        let request = asking(&[accept], "/");
        let found = (
            prefers_ndjson(&request),
            allows(&request, "text/event-stream"),
        );
        assert_eq!(found, (ndjson, sse), "{accept}");
    }
}

/// Returns a range and its weight in thousandths, and how they are written.
fn ranges() -> impl Strategy<Value = (Vec<(&'static str, u16)>, String)> {
    let names = prop::sample::select(vec![
        "text/html",
        "text/plain",
        "application/json",
        "text/*",
        "application/*",
        "*/*",
        "image/png",
    ]);
    let range = (names, 0..=1_000_u16, prop::bool::ANY, prop::bool::ANY);
    prop::collection::vec(range, 1..6).prop_map(|ranges| {
        let mut seen = std::collections::HashSet::new();
        let ranges: Vec<_> = ranges
            .into_iter()
            .filter(|(name, ..)| seen.insert(*name))
            .collect();
        let written = ranges.iter().map(|(name, weight, upper, spaced)| {
            let name = if *upper {
                name.to_uppercase()
            } else {
                (*name).to_owned()
            };
            let before = if *spaced { " ; " } else { ";" };
            format!("{name}{before}q={}.{:03}", weight / 1_000, weight % 1_000)
        });
        let text = written.collect::<Vec<_>>().join(", ");
        let ranges = ranges.into_iter().map(|(name, weight, ..)| (name, weight));
        (ranges.collect(), text)
    })
}

proptest! {
    #[test]
    fn no_form_is_sent_while_another_is_wanted_more((ranges, accept) in ranges()) {
        let weight = |name: &str| {
            let family = format!("{}/*", name.split('/').next().expect("a family"));
            let says = |wanted: &str| ranges.iter().find(|(name, _)| *name == wanted).map(|(_, q)| *q);
            says(name).or_else(|| says(&family)).or_else(|| says("*/*")).unwrap_or(0)
        };
        let of = |form: Representation| match form {
            Representation::Html => weight("text/html"),
            Representation::Json => weight("application/json"),
            Representation::Text => weight("text/plain"),
        };
        let most = [Representation::Html, Representation::Json, Representation::Text].into_iter().map(of).max().expect("three");
        let request = asking(&[&accept], "/");
        for chosen in [Representation::of_page(&request), Representation::of_post(&request), Representation::of_error(&request)] {
            prop_assert_eq!(of(chosen), most, "{}", accept);
        }
    }

    #[test]
    fn any_header_is_read(line in "[ -~\\t]{0,60}") {
        let request = TestRequest::default()
            .append_header((header::ACCEPT, line.as_str()))
            .append_header((header::ACCEPT_ENCODING, line.as_str()))
            .to_http_request();
        let _ = (Representation::of_page(&request), prefers_ndjson(&request), allows_gzip(&request));
    }
}
