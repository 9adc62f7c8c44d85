//! Who a request is from, by what proxies say: `X-Forwarded-For`, and `Forwarded` of RFC 7239.
//!
//! Each proxy appends the address that it was asked from. So the entries are read from the end, as long as trusted proxies wrote
//! them: the first address that is no trusted proxy is the client. An entry that cannot be read was not written by one, and
//! nothing before it counts. Most proxies write one of the two headers and pass on the other as the client sent it: where both
//! are there and disagree, neither counts.

use std::{
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering},
};

use actix_web::http::header::HeaderMap;
use ipnet::IpNet;

const X_FORWARDED_FOR: &str = "x-forwarded-for";
const FORWARDED: &str = "forwarded";

/// Returns the client of a request that came from `peer`.
#[must_use]
pub fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let names = [X_FORWARDED_FOR, FORWARDED];
    if !is_in(trusted, peer) {
        if names.iter().any(|name| headers.contains_key(*name)) {
            warn_once(peer);
        }
        return peer;
    }
    let mut clients = names
        .into_iter()
        .filter(|name| headers.contains_key(*name))
        .map(|name| last_untrusted(&hops(name, headers), trusted));
    match (clients.next().flatten(), clients.next()) {
        (Some(client), None) => client,
        (Some(client), Some(other)) if other == Some(client) => client,
        _ => peer,
    }
}

/// Returns the last address that is no trusted proxy. `None` if an entry before it cannot be read, or all are trusted.
fn last_untrusted(hops: &[Option<IpAddr>], trusted: &[IpNet]) -> Option<IpAddr> {
    hops.iter()
        .rev()
        .find(|hop| !hop.is_some_and(|hop| is_in(trusted, hop)))
        .copied()
        .flatten()
}

/// Returns the entries of a header in order; `None` for those without an address.
fn hops(name: &str, headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let lines = headers.get_all(name).map(|line| line.as_bytes());
    lines
        .flat_map(|line| split(line, b','))
        .map(|entry| {
            let entry = std::str::from_utf8(entry).ok()?;
            if name == FORWARDED {
                forwarded_for(entry)
            } else {
                address(entry.trim())
            }
        })
        .collect()
}

/// Parses the `for` of an element of `Forwarded`, as in `proto=https;for="[2001:db8::1]:4711"`.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    split(element.as_bytes(), b';')
        .filter_map(|pair| std::str::from_utf8(pair).ok()?.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))
        .and_then(|(_, value)| {
            let value = value.trim();
            let quoted = value
                .strip_prefix('"')
                .and_then(|rest| rest.strip_suffix('"'));
            address(quoted.unwrap_or(value))
        })
}

/// Parses an address, perhaps in brackets, perhaps with a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    bare.parse()
        .or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()))
        .ok()
}

/// Splits at separators outside of quotes.
fn split(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut is_quoted = false;
    text.split(move |byte| {
        is_quoted ^= *byte == b'"';
        *byte == separator && !is_quoted
    })
}

/// Returns whether an address is in one of the networks.
#[must_use]
pub fn is_in(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

fn warn_once(peer: IpAddr) {
    static HAS_WARNED: AtomicBool = AtomicBool::new(false);
    if !HAS_WARNED.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            %peer,
            "a forwarding header came from a peer that is not in limits.trusted_proxies, and was \
             ignored; if that is your proxy, add it, or all its clients count as one"
        );
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn found(peer: &str, lines: &[(&'static str, &str)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, line) in lines {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_bytes(line.as_bytes()).expect("a header"),
            );
        }
        let trusted = ["10.0.0.0/8", "::1/128"].map(|network| network.parse().expect("a network"));
        client(peer.parse().expect("an address"), &headers, &trusted).to_string()
    }

    #[test]
    fn addresses_are_read_with_ports_and_brackets() {
        for (text, expected) in [
            ("198.51.100.1", "198.51.100.1"),
            ("198.51.100.1:4711", "198.51.100.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("6.6.6.6, 198.51.100.1:80, 10.0.0.2:1", "198.51.100.1"),
        ] {
            assert_eq!(
                found("10.0.0.1", &[(X_FORWARDED_FOR, text)]),
                expected,
                "{text}"
            );
        }
    }

    /// The examples of RFC 7239, and what a client may send of its own.
    #[test]
    fn forwarded_is_read_as_the_rfc_has_it() {
        for (text, expected) in [
            (r#"for="_gazonk""#, "10.0.0.1"),
            (r#"For="[2001:db8:cafe::17]:4711""#, "2001:db8:cafe::17"),
            ("for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60"),
            ("proto=http; FOR=192.0.2.60 ;by=203.0.113.43", "192.0.2.60"),
            ("for=192.0.2.43, for=198.51.100.17", "198.51.100.17"),
            ("for=192.0.2.43, for=10.9.9.9", "192.0.2.43"),
            (r#"for="192.0.2.43:47011""#, "192.0.2.43"),
            (
                r#"for=6.6.6.6;note="a, for=7.7.7.7", for=10.0.0.2"#,
                "6.6.6.6",
            ),
            ("for=6.6.6.6, proto=https", "10.0.0.1"),
            ("for=unknown", "10.0.0.1"),
            ("", "10.0.0.1"),
        ] {
            assert_eq!(found("10.0.0.1", &[(FORWARDED, text)]), expected, "{text}");
        }
    }

    #[test]
    fn headers_that_disagree_do_not_count() {
        let both = |one, other| found("10.0.0.1", &[(X_FORWARDED_FOR, one), (FORWARDED, other)]);
        assert_eq!(both("198.51.100.1", "for=198.51.100.1"), "198.51.100.1");
        assert_eq!(both("198.51.100.1", "for=6.6.6.6"), "10.0.0.1");
        assert_eq!(both("unknown", "for=6.6.6.6"), "10.0.0.1");
        assert_eq!(
            found("203.0.113.9", &[(FORWARDED, "for=6.6.6.6")]),
            "203.0.113.9"
        );
    }
}
