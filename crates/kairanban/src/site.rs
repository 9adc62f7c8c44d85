//! Knows the names of this server: the hosts that it answers, and the origins whose pages are its
//! own.
//!
//! A page of another site can have its own name point to this machine (DNS rebinding). Its requests
//! are then of one origin with what they ask for, and only the name in `Host` says that they are
//! not meant for this board.

#[cfg(test)]
mod tests;

use std::borrow::Cow;

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

    /// Returns whether a `Host` names this server; `None` if it is no host (RFC 9112, section 3.2).
    /// Every address does, and every name below `localhost`: they cannot be made to point
    /// elsewhere.
    #[must_use]
    pub fn answers_to(&self, host: &str) -> Option<bool> {
        match Host::parse(&without_zone(without_port(host)?)).ok()? {
            Host::Domain(name) => {
                let name = canonical(&name);
                Some(name.ends_with(".localhost") || self.hosts.contains(&name))
            }
            Host::Ipv4(_) | Host::Ipv6(_) => Some(true),
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

/// Returns a host without its port; `None` if that is invalid.
fn without_port(host: &str) -> Option<&str> {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => {
            let is_port = port.bytes().all(|byte| byte.is_ascii_digit())
                && (port.is_empty() || port.parse::<u16>().is_ok());
            Some(name).filter(|_| is_port)
        }
        _ => Some(host),
    }
}

/// Returns whether this is a zone (RFC 6874) and the bracket behind it.
fn is_zone(text: &str) -> bool {
    text.strip_suffix(']').is_some_and(|zone| {
        !zone.is_empty()
            && zone
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte))
    })
}

/// Returns an address without the zone that says where it is valid, as in `[fe80::1%eth0]`.
fn without_zone(host: &str) -> Cow<'_, str> {
    match host.split_once('%') {
        Some((address, zone)) if host.starts_with('[') && is_zone(zone) => {
            Cow::Owned(format!("{address}]"))
        }
        _ => Cow::Borrowed(host),
    }
}
