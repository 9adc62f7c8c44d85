//! `X-Forwarded-For`: no client can say that it is another one.
//!
//! The first line is the peer's address, the second what a client sends as `Forwarded`, the others
//! are what `X-Forwarded-For` holds.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use actix_web::http::header::{HeaderName, HeaderValue};
use ipnet::IpNet;
use kairanban::fuzzing::client;

use crate::request::{first_line, headers, values};

const NAME: &str = "x-forwarded-for";

pub fn check(input: &[u8]) {
    let (peer, rest) = first_line(input);
    let (forwarded, lines) = first_line(rest);
    let peer = std::str::from_utf8(peer)
        .ok()
        .and_then(|text| text.parse().ok());
    let peer: IpAddr = peer.unwrap_or(Ipv4Addr::new(10, 0, 0, 1).into());
    let trusted: [IpNet; 4] = ["10.0.0.0/8", "192.0.2.7/32", "::1/128", "fd00::/8"]
        .map(|network| network.parse().expect("a network"));
    let values = values(lines);
    let mut sent = headers(NAME, &values);
    let found = client(peer, &sent, &trusted);
    assert_eq!(found, slow_reading(peer, &values, &trusted), "{values:?}");

    if let Ok(forwarded) = HeaderValue::from_bytes(forwarded) {
        sent.append(HeaderName::from_static("forwarded"), forwarded);
        assert_eq!(
            client(peer, &sent, &trusted),
            found,
            "`Forwarded` is not read"
        );
    }
    // Whatever a client puts before what the proxies wrote, it stays who it is.
    if found != peer {
        for lie in ["198.51.100.66", "10.0.0.9", "nonsense, [::1]:1", ","] {
            let mut longer = vec![HeaderValue::from_static(lie)];
            longer.extend(values.iter().cloned());
            assert_eq!(client(peer, &headers(NAME, &longer), &trusted), found);
        }
    }
}

fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted
        .iter()
        .any(|network| network.contains(&address.to_canonical()))
}

/// Goes from proxy to proxy, as long as each is trusted to have written down who asked it.
fn slow_reading(peer: IpAddr, values: &[HeaderValue], trusted: &[IpNet]) -> IpAddr {
    let line: Vec<&[u8]> = values.iter().map(HeaderValue::as_bytes).collect();
    let line = line.join(&b","[..]);
    let entries = line.split(|byte| *byte == b',');
    // Empty elements of a list mean nothing (RFC 9110, 5.6.1).
    let mut entries: Vec<&[u8]> = entries
        .filter(|entry| !entry.trim_ascii().is_empty())
        .collect();
    let mut asker = peer;
    while is_trusted(asker, trusted) {
        match entries.pop().map(entry) {
            Some(Some(address)) => asker = address,
            // No proxy vouches for what comes before: the peer is all that is known.
            Some(None) | None => return peer,
        }
    }
    asker
}

fn entry(bytes: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(bytes).ok()?.trim();
    let address = text.parse().ok().or_else(|| bracketed(text));
    address.or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()))
}

fn bracketed(text: &str) -> Option<IpAddr> {
    text.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}
