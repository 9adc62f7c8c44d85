//! Knows the names of this server: the hosts that it answers, and the origins whose pages are its
//! own.
//!
//! A page of another site can have its own name point to this machine (DNS rebinding). Its requests
//! are then of one origin with what they ask for, and only the name in `Host` says that they are
//! not meant for this board.

use actix_web::http::{
    Method,
    header::{self, HeaderMap},
};
use url::{Host, Origin};

use crate::config::{Config, origin};

/// The names of a server.
#[derive(Clone, Debug)]
pub struct Site {
    /// The names of hosts, as [`canonical`] has them.
    hosts: Vec<String>,
    /// The origin of `server.public_url`.
    public: Option<Origin>,
    /// Other sites whose pages may read and write here.
    allowed: Vec<Origin>,
}

impl Site {
    /// Takes the names from the configuration, and those of the machine.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let public = config.public_origin();
        let machine = gethostname::gethostname().to_string_lossy().into_owned();
        let mut hosts = vec!["localhost".to_owned(), format!("{machine}.local"), machine];
        hosts.extend(config.server.hosts.iter().cloned());
        if let Some(Origin::Tuple(_, host, _)) = &public {
            hosts.push(host.to_string());
        }
        Self {
            hosts: hosts.iter().map(|host| canonical(host)).collect(),
            public,
            allowed: config
                .cors
                .origins
                .iter()
                .filter_map(|text| origin(text))
                .collect(),
        }
    }

    /// Returns whether a `Host` names this server. Every address does: it cannot be made to point
    /// elsewhere.
    #[must_use]
    pub fn answers_to(&self, host: &str) -> bool {
        match Host::parse(without_port(host)) {
            Ok(Host::Domain(name)) => self.hosts.contains(&canonical(&name)),
            Ok(Host::Ipv4(_) | Host::Ipv6(_)) => true,
            Err(_) => false,
        }
    }

    /// Returns scheme and host of the address of this server: as configured, or as the client wrote
    /// it.
    #[must_use]
    pub fn address(&self, headers: &HeaderMap) -> String {
        let host = headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok());
        match (&self.public, host) {
            (Some(origin), _) => origin.ascii_serialization(),
            (None, Some(host)) => format!("http://{host}"),
            (None, None) => String::new(),
        }
    }

    /// Returns whether readers find the board by https.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        matches!(&self.public, Some(Origin::Tuple(scheme, ..)) if scheme == "https")
    }

    /// Returns whether the session of a browser counts for a request: our own page sent it, or no
    /// browser, or a person follows a link to here, which shows nothing to the page that it is on.
    #[must_use]
    pub fn lends_session(&self, method: &Method, headers: &HeaderMap) -> bool {
        self.is_own_origin(headers) || is_visit(method, headers)
    }

    /// Returns whether our own page sent this, or no browser. Unlike [`is_ours`](Self::is_ours) it
    /// is not true of the sites that are allowed to read and write here.
    #[must_use]
    pub fn is_own_origin(&self, headers: &HeaderMap) -> bool {
        let fetch_site = headers
            .get("sec-fetch-site")
            .map(|site| site.to_str().unwrap_or_default());
        let mut lines = headers.get_all(header::ORIGIN);
        let from = lines.next();
        let from = from.map(|line| line.to_str().ok().and_then(origin));
        let is_named = fetch_site == Some("same-origin");
        fetch_site.is_none_or(is_same_site)
            && lines.next().is_none()
            && from
                .is_none_or(|from| from.is_some_and(|from| self.is_own(&from, is_named, headers)))
    }

    /// Returns whether an origin is our own; `is_named` if the browser says that it is.
    fn is_own(&self, from: &Origin, is_named: bool, headers: &HeaderMap) -> bool {
        self.public.as_ref() == Some(from)
            || (is_of_host(from, headers) && !self.is_downgraded(from))
            // A proxy may have changed the host, but the browser knows.
            || (is_named && !self.allowed.contains(from))
    }

    /// Returns whether an origin is one of plain HTTP although the board is found by https: on the
    /// way others may write its pages.
    fn is_downgraded(&self, from: &Origin) -> bool {
        self.is_secure() && matches!(from, Origin::Tuple(scheme, ..) if scheme == "http")
    }

    /// Returns whether our own page sent this, or one of a site that is allowed, or no browser.
    #[must_use]
    pub fn is_ours(&self, headers: &HeaderMap) -> bool {
        let fetch_site = headers
            .get("sec-fetch-site")
            .map(|site| site.to_str().unwrap_or_default());
        let mut lines = headers.get_all(header::ORIGIN);
        let Some(from) = lines.next() else {
            return fetch_site.is_none_or(is_same_site);
        };
        // Who came by several sites names each of them (RFC 6454, section 7), in one line.
        let from: Option<Vec<_>> = match from.to_str() {
            Ok(from) if lines.next().is_none() => from.split(' ').map(origin).collect(),
            _ => None,
        };
        let is_known =
            |from: &Origin| self.allowed.contains(from) || self.public.as_ref() == Some(from);
        from.is_some_and(|from| {
            from.iter().all(is_known)
                || fetch_site.map_or_else(
                    || {
                        from.iter()
                            .all(|from| is_known(from) || is_of_host(from, headers))
                    },
                    is_same_site,
                )
        })
    }
}

fn is_visit(method: &Method, headers: &HeaderMap) -> bool {
    let marks = [
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
    ];
    method.is_safe()
        && !headers.contains_key(header::ORIGIN)
        && marks
            .iter()
            .all(|(name, value)| headers.get(*name).is_some_and(|found| found == value))
}

fn is_same_site(site: &str) -> bool {
    matches!(site, "same-origin" | "none")
}

/// Returns whether an origin has the host and port of the request. Behind a proxy that ends TLS our
/// own scheme is not known.
fn is_of_host(from: &Origin, headers: &HeaderMap) -> bool {
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    host.is_some_and(|host| {
        ["http", "https"]
            .iter()
            .filter_map(|scheme| origin(&format!("{scheme}://{host}")))
            .any(|ours| ours == *from)
    })
}

/// Returns a name as names are compared: in ASCII and lower case, without a dot at the end.
fn canonical(name: &str) -> String {
    let ascii = Host::parse(name).map_or_else(|_| name.to_owned(), |host| host.to_string());
    ascii.trim_end_matches('.').to_ascii_lowercase()
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;
    use crate::config::Overrides;

    fn site(settings: &[(&str, &str)]) -> Site {
        let environment = settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Site::new(&Config::load(&Overrides::default(), environment).expect("valid"))
    }

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
            "board.example",
            "board.example:443",
            "BOARD.example.",
            "intranet:80",
            "xn--bcher-kva.example",
            &machine,
            &format!("{machine}.local:8080"),
        ] {
            assert!(site.answers_to(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "board.example.evil.example",
            "evilboard.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "[::1",
            "[evil]",
            "board.example@evil.example",
            "board.example:80:80",
        ] {
            assert!(!site.answers_to(host), "{host}");
        }
    }

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
            site.is_ours(request.to_srv_request().headers())
        };
        for headers in [
            &[][..],
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
        ] {
            assert!(ours(headers), "{headers:?}");
        }
        for headers in [
            &[("Sec-Fetch-Site", "cross-site")][..],
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
        ] {
            assert!(!ours(headers), "{headers:?}");
        }
    }

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
            site(&settings).lends_session(&method, request.to_srv_request().headers())
        };
        let link = [
            ("Sec-Fetch-Site", "cross-site"),
            ("Sec-Fetch-Mode", "navigate"),
            ("Sec-Fetch-Dest", "document"),
        ];
        assert!(counts(Method::GET, &link), "a link");
        assert!(!counts(Method::POST, &link), "a form");
        assert!(!counts(Method::GET, &link[..2]), "a frame");
        for headers in [
            &[][..],
            &[("Sec-Fetch-Site", "same-origin")],
            &[("Sec-Fetch-Site", "none")],
            &[("Origin", "https://public.example")],
            &[("Origin", "https://board.example:8080")],
            &[
                ("Origin", "https://other.example"),
                ("Sec-Fetch-Site", "same-origin"),
            ],
        ] {
            assert!(counts(Method::POST, headers), "{headers:?}");
            assert!(counts(Method::GET, headers), "{headers:?}");
        }
        for headers in [
            &[("Sec-Fetch-Site", "cross-site")][..],
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
        ] {
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
}
