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
    pub fn accepts_session(&self, method: &Method, headers: &HeaderMap) -> bool {
        self.is_same_origin(headers) || is_visit(method, headers)
    }

    /// Returns whether our own page sent this, or no browser. Unlike
    /// [`is_from_trusted_page`](Self::is_from_trusted_page) it is not true of the sites that are
    /// allowed to read and write here.
    #[must_use]
    pub fn is_same_origin(&self, headers: &HeaderMap) -> bool {
        let source = RequestSource::of(headers);
        let is_named = source.fetch_site == Some("same-origin");
        source.is_vouched_for().unwrap_or(true)
            && source.origins.is_some_and(|origins| {
                origins.len() <= 1
                    && origins
                        .iter()
                        .all(|from| self.owns(from, is_named, headers))
            })
    }

    /// Returns whether an origin is this server; `is_named` if the browser says that it is.
    fn owns(&self, from: &Origin, is_named: bool, headers: &HeaderMap) -> bool {
        self.public.as_ref() == Some(from)
            || (has_requested_host(from, headers) && !self.is_downgraded(from))
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
    pub fn is_from_trusted_page(&self, headers: &HeaderMap) -> bool {
        let source = RequestSource::of(headers);
        let is_vouched_for = source.is_vouched_for();
        let is_known =
            |from: &Origin| self.allowed.contains(from) || self.public.as_ref() == Some(from);
        source.origins.is_some_and(|origins| {
            if origins.is_empty() {
                return is_vouched_for.unwrap_or(true);
            }
            origins.iter().all(is_known)
                || is_vouched_for.unwrap_or_else(|| {
                    origins
                        .iter()
                        .all(|from| is_known(from) || has_requested_host(from, headers))
                })
        })
    }
}

/// Where a browser says that a request comes from. A program says nothing.
struct RequestSource<'a> {
    /// The value of `Sec-Fetch-Site`.
    fetch_site: Option<&'a str>,
    /// The origins in `Origin`, of all sites that it came by (RFC 6454, section 7); `None` if they
    /// cannot be read.
    origins: Option<Vec<Origin>>,
}

impl<'a> RequestSource<'a> {
    fn of(headers: &'a HeaderMap) -> Self {
        let fetch_site = headers
            .get("sec-fetch-site")
            .map(|site| site.to_str().unwrap_or_default());
        let mut lines = headers.get_all(header::ORIGIN);
        let origins = match (lines.next(), lines.next()) {
            (None, _) => Some(Vec::new()),
            (Some(line), None) => line
                .to_str()
                .ok()
                .and_then(|line| line.split(' ').map(origin).collect()),
            (Some(_), Some(_)) => None,
        };
        Self {
            fetch_site,
            origins,
        }
    }

    /// Returns whether the browser says that our own page sent this, or a person; `None` if it says
    /// neither.
    fn is_vouched_for(&self) -> Option<bool> {
        self.fetch_site
            .map(|site| matches!(site, "same-origin" | "none"))
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

/// Returns whether an origin has the host and port of the request. Behind a proxy that ends TLS our
/// own scheme is not known.
fn has_requested_host(from: &Origin, headers: &HeaderMap) -> bool {
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
