//! Finds the client of a request by what proxies write into `X-Forwarded-For`.
//!
//! Each proxy appends the address that it was asked from. So the entries are read from the end, as
//! long as trusted proxies wrote them: the first address that is no trusted proxy is the client. An
//! entry that cannot be read was not written by one, and nothing before it counts.
//!
//! `Forwarded` (RFC 7239) is not read: a proxy that writes the one header passes on the other as
//! the client sent it.

use std::{
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering},
};

use actix_web::http::header::HeaderMap;
use ipnet::IpNet;

const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// Returns the client of a request that came from `peer`.
#[must_use]
pub fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    if !headers.contains_key(X_FORWARDED_FOR) {
        return peer;
    }
    if is_in(trusted, peer) {
        return last_untrusted(&hops(headers), trusted).unwrap_or(peer);
    }
    warn_once(peer);
    peer
}

/// Returns the last address that is no trusted proxy. `None` if an entry before it cannot be read,
/// or all are trusted.
fn last_untrusted(hops: &[Option<IpAddr>], trusted: &[IpNet]) -> Option<IpAddr> {
    hops.iter()
        .rev()
        .find(|hop| !hop.is_some_and(|hop| is_in(trusted, hop)))
        .copied()
        .flatten()
}

/// Returns the entries of the header in order; `None` for those that are no address.
fn hops(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    headers
        .get_all(X_FORWARDED_FOR)
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        // Empty elements of lists count for nothing (RFC 9110, section 5.6.1).
        .filter(|entry| !entry.trim_ascii().is_empty())
        .map(|entry| address(std::str::from_utf8(entry).ok()?.trim()))
        .collect()
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
            "X-Forwarded-For came from a peer that is not in limits.trusted_proxies, and was \
             ignored; if that is your proxy, add it, or all its clients count as one"
        );
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn found(peer: &str, line: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.append(
            HeaderName::from_static(X_FORWARDED_FOR),
            HeaderValue::from_bytes(line.as_bytes()).expect("a header"),
        );
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
            ("6.6.6.6, 198.51.100.1,", "198.51.100.1"),
            (",198.51.100.1 ,\t, 10.0.0.2 , ", "198.51.100.1"),
            (" , ", "10.0.0.1"),
        ] {
            assert_eq!(found("10.0.0.1", text), expected, "{text}");
        }
    }
}
