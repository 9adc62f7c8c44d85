use actix_web::test::TestRequest;

use super::*;
use crate::config::Overrides;

fn site(settings: &[(&str, &str)]) -> Site {
    let environment = settings
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Site::new(&Config::load(&Overrides::default(), environment).expect("valid"))
}

/// Hosts that are not this server.
const OTHER_HOSTS: [&str; 6] = [
    "evil.example",
    "board.example.evil.example",
    "evilboard.example",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "evillocalhost",
];

/// What is no host.
const BROKEN_HOSTS: [&str; 13] = [
    "",
    ":80",
    "[::1",
    "[evil]",
    "[%eth0]",
    "[::1%]",
    "[::1%\"><x]",
    "board.example@evil.example",
    "board.example:80:80",
    "127.0.0.1:abc",
    "127.0.0.1:99999",
    "127.0.0.1:+80",
    "localhost:%41",
];

#[test]
fn addresses_this_machine_and_named_hosts_are_ours() {
    let machine = gethostname::gethostname().to_string_lossy().into_owned();
    let site = site(&[
        ("KAIRANBAN_SERVER__PUBLIC_URL", "https://Board.Example/"),
        ("KAIRANBAN_SERVER__HOSTS", "intranet,b\u{fc}cher.example"),
    ]);
    for host in [
        "127.0.0.1",
        "127.0.0.1:8080",
        "192.0.2.7",
        "[::1]",
        "[2001:db8::1]:8080",
        "localhost",
        "LOCALHOST:8080",
        "localhost.",
        "localhost:",
        "foo.localhost",
        "[fe80::1%eth0]",
        "[fe80::1%25eth0]:8080",
        "board.example",
        "board.example:443",
        "BOARD.example.",
        "intranet:80",
        "xn--bcher-kva.example",
        &machine,
        &format!("{machine}.local:8080"),
    ] {
        assert_eq!(site.answers_to(host), Some(true), "{host}");
    }
    for host in OTHER_HOSTS {
        assert_eq!(site.answers_to(host), Some(false), "{host}");
    }
    for host in BROKEN_HOSTS {
        assert_eq!(site.answers_to(host), None, "{host}");
    }
}

/// The headers of requests by our own pages, and by programs.
const OURS: [&[(&str, &str)]; 10] = [
    &[],
    &[("Sec-Fetch-Site", "same-origin")],
    &[("Sec-Fetch-Site", "none")],
    &[("Origin", "http://board.example:8080")],
    &[("Origin", "https://board.example:8080")],
    &[("Origin", "http://BOARD.example:8080")],
    &[("Origin", "https://public.example")],
    &[
        ("Origin", "https://public.example"),
        ("Sec-Fetch-Site", "same-site"),
    ],
    &[
        ("Origin", "https://app.example"),
        ("Sec-Fetch-Site", "cross-site"),
    ],
    &[("Origin", "https://app.example http://board.example:8080")],
];

/// The headers of requests by pages of others.
const FOREIGN: [&[(&str, &str)]; 17] = [
    &[("Sec-Fetch-Site", "cross-site")],
    &[
        ("Sec-Fetch-Site", "same-site"),
        ("Origin", "http://board.example:8080"),
    ],
    &[("Origin", "null")],
    &[("Origin", "")],
    &[("Origin", "http://board.example")],
    &[("Origin", "http://public.example")],
    &[("Origin", "http://board.example:8080.evil")],
    &[("Origin", "http://board.example:8080/")],
    &[("Origin", "http://board.example:8080@evil.example")],
    &[("Origin", "http://evil.example")],
    &[("Origin", "http://board.example:8080 http://evil.example")],
    &[("Origin", "http://evil.example https://app.example")],
    &[("Origin", "http://board.example:8080 null")],
    &[("Origin", "http://board.example:8080 ")],
    &[
        ("Origin", "http://board.example:8080"),
        ("Origin", "http://evil.example"),
    ],
    &[
        ("Origin", "http://board.example:8080"),
        ("Origin", "http://board.example:8080"),
    ],
    &[("Origin", "\u{ff}")],
];

#[test]
fn only_our_own_pages_and_programs_may_write() {
    let site = site(&[
        ("KAIRANBAN_SERVER__PUBLIC_URL", "https://public.example"),
        ("KAIRANBAN_CORS__ORIGINS", "https://app.example:443"),
    ]);
    let ours = |headers: &[(&str, &str)]| {
        let request = TestRequest::post().insert_header((header::HOST, "board.example:8080"));
        let request = headers
            .iter()
            .fold(request, |request, header| request.append_header(*header));
        site.is_from_trusted_page(request.to_srv_request().headers())
    };
    for headers in OURS {
        assert!(ours(headers), "{headers:?}");
    }
    for headers in FOREIGN {
        assert!(!ours(headers), "{headers:?}");
    }
}

/// The headers of requests for which a session counts, whatever the method.
const WITH_SESSION: [&[(&str, &str)]; 6] = [
    &[],
    &[("Sec-Fetch-Site", "same-origin")],
    &[("Sec-Fetch-Site", "none")],
    &[("Origin", "https://public.example")],
    &[("Origin", "https://board.example:8080")],
    &[
        ("Origin", "https://other.example"),
        ("Sec-Fetch-Site", "same-origin"),
    ],
];

/// The headers of requests for which none counts.
const WITHOUT_SESSION: [&[(&str, &str)]; 11] = [
    &[("Sec-Fetch-Site", "cross-site")],
    &[("Sec-Fetch-Site", "same-site")],
    &[("Sec-Fetch-Site", "")],
    &[("Origin", "null")],
    &[("Origin", "https://app.example")],
    &[("Origin", "http://board.example:8080")],
    &[("Origin", "http://public.example")],
    &[("Origin", "https://evil.example")],
    &[
        ("Origin", "https://public.example"),
        ("Sec-Fetch-Site", "same-site"),
    ],
    &[
        ("Origin", "https://app.example"),
        ("Sec-Fetch-Site", "same-origin"),
    ],
    &[
        ("Origin", "https://public.example"),
        ("Origin", "https://public.example"),
    ],
];

#[test]
fn a_session_counts_for_our_own_pages_and_for_links() {
    let settings = [
        ("KAIRANBAN_SERVER__PUBLIC_URL", "https://public.example"),
        ("KAIRANBAN_CORS__ORIGINS", "https://app.example"),
    ];
    let counts = |method: Method, headers: &[(&str, &str)]| {
        let request = TestRequest::default()
            .method(method.clone())
            .insert_header((header::HOST, "board.example:8080"));
        let request = headers
            .iter()
            .fold(request, |request, header| request.append_header(*header));
        site(&settings).accepts_session(&method, request.to_srv_request().headers())
    };
    let link = [
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Mode", "navigate"),
        ("Sec-Fetch-Dest", "document"),
    ];
    assert!(counts(Method::GET, &link), "a link");
    assert!(!counts(Method::POST, &link), "a form");
    assert!(!counts(Method::GET, &link[..2]), "a frame");
    for headers in WITH_SESSION {
        assert!(counts(Method::POST, headers), "{headers:?}");
        assert!(counts(Method::GET, headers), "{headers:?}");
    }
    for headers in WITHOUT_SESSION {
        assert!(!counts(Method::POST, headers), "{headers:?}");
        assert!(!counts(Method::GET, headers), "{headers:?}");
    }
}

#[test]
fn origins_are_compared_as_urls_are() {
    for (one, other) in [
        ("https://a.example", "https://a.example:443"),
        ("http://A.example", "http://a.example:80"),
        (
            "https://b\u{fc}cher.example",
            "https://xn--bcher-kva.example",
        ),
        ("http://[::1]:80", "http://[0:0:0:0:0:0:0:1]"),
    ] {
        assert_eq!(origin(one), origin(other), "{one}");
        assert!(origin(one).is_some(), "{one}");
    }
    assert_ne!(origin("https://a.example"), origin("http://a.example"));
}
