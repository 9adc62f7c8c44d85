//! Identifies clients by address, and decides which shares count what they do. Nothing else does.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::NonZero,
};

use actix_web::{HttpRequest, http::header::HeaderMap};
use ipnet::IpNet;

use crate::forwarded;

/// The address of a client: an IPv4 address, or the /64 of an IPv6 one, since a household has the
/// whole /64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientAddress(IpAddr);

/// A share that counts the use of clients: each client's own, or that of the network around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Share {
    Client(IpAddr),
    /// An IPv6 /48, of which one customer of a provider may have all 65,536 /64s.
    Site(Ipv6Addr),
}

impl ClientAddress {
    /// Returns the peer, or, if that is a trusted proxy, the last address that proxies forwarded
    /// and that is not.
    #[must_use]
    pub fn of(request: &HttpRequest, trusted: &[IpNet]) -> Option<Self> {
        request
            .peer_addr()
            .map(|peer| Self::find(peer.ip(), request.headers(), trusted))
    }

    fn find(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        Self::bucket(forwarded::client(peer, headers, trusted))
    }

    /// Returns the client at an address.
    #[must_use]
    pub fn bucket(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6(network(address, 64)),
            address => address,
        })
    }

    /// Returns the shares that count the client's use, its own first, and how many times the limit
    /// of a client each is.
    pub(super) fn shares(
        self,
        clients_per_site: NonZero<u32>,
    ) -> impl Iterator<Item = (Share, NonZero<u32>)> {
        let own = (Share::Client(self.0), NonZero::<u32>::MIN);
        let site = match self.0 {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => Some((Share::Site(network(address, 48)), clients_per_site)),
        };
        [own].into_iter().chain(site)
    }
}

/// Shows an IPv6 client as the network that it is.
impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => address.fmt(f),
            IpAddr::V6(address) => write!(f, "{address}/64"),
        }
    }
}

impl Share {
    /// Returns the region of the share: an IPv4 /16, or an IPv6 /32, which is what a provider has.
    pub(super) fn region(self) -> IpAddr {
        match self {
            Self::Client(IpAddr::V4(address)) => {
                IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & (!0 << 16)))
            }
            Self::Client(IpAddr::V6(address)) | Self::Site(address) => {
                IpAddr::V6(network(address, 32))
            }
        }
    }
}

fn network(address: Ipv6Addr, prefix: u32) -> Ipv6Addr {
    Ipv6Addr::from_bits(address.to_bits() & (!0 << (128 - prefix)))
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn find(peer: &str, forwarded: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append(
                HeaderName::from_static("x-forwarded-for"),
                HeaderValue::from_bytes(line.as_bytes()).expect("a header"),
            );
        }
        let trusted = ["10.0.0.0/8", "::1/128"].map(|network| network.parse().expect("a network"));
        ClientAddress::find(peer.parse().expect("an address"), &headers, &trusted)
            .0
            .to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        assert_eq!(find("203.0.113.9", &["198.51.100.1"]), "203.0.113.9");
        assert_eq!(find("10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(
            find("10.0.0.1", &["6.6.6.6, 198.51.100.1, 10.0.0.2"]),
            "198.51.100.1"
        );
        assert_eq!(
            find("10.0.0.1", &["6.6.6.6", "198.51.100.1, 10.0.0.2"]),
            "198.51.100.1"
        );
        assert_eq!(find("::ffff:10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(find("10.0.0.1", &[""]), "10.0.0.1");
        for unreadable in [
            "unknown",
            "198.51.100.1, unknown",
            "fe80::1%eth0",
            "é",
            "198.51.100.1, é, 10.0.0.2",
        ] {
            assert_eq!(
                find("10.0.0.1", &[unreadable]),
                "10.0.0.1",
                "{unreadable:?}"
            );
            assert_eq!(
                find("10.0.0.1", &["6.6.6.6", unreadable]),
                "10.0.0.1",
                "{unreadable:?}"
            );
        }
    }

    #[test]
    fn an_ipv6_household_is_one_client() {
        assert_eq!(
            find("2001:db8:1:2:aaaa::1", &[]),
            find("2001:db8:1:2:bbbb::9", &[])
        );
        assert_ne!(find("2001:db8:1:2::1", &[]), find("2001:db8:1:3::1", &[]));
    }
}
