//! Who a client is, how many streams it may hold, and how much it may write.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use actix_web::{HttpRequest, http::header::HeaderMap};
use dashmap::DashMap;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter, clock::Clock as _};
use ipnet::IpNet;

use crate::{config::Limits, error::ApiError};

/// The address that limits count by: an IPv4 address, or the /64 of an IPv6 one, since a household
/// has that many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientAddress(IpAddr);

impl ClientAddress {
    /// The peer, or, if that is a trusted proxy, the last one in `X-Forwarded-For` who is not.
    #[must_use]
    pub fn of(request: &HttpRequest, trusted: &[IpNet]) -> Option<Self> {
        request
            .peer_addr()
            .map(|peer| Self::find(peer.ip(), request.headers(), trusted))
    }

    fn find(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(&address));
        if !is_trusted(peer.to_canonical()) {
            return Self::bucket(peer);
        }
        let lines: Vec<_> = headers.get_all("x-forwarded-for").collect();
        let address = |hop: &[u8]| std::str::from_utf8(hop).ok()?.trim().parse::<IpAddr>().ok();
        let mut hops = lines
            .iter()
            .rev()
            .flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','))
            .map(address);
        // What cannot be read was not written by a trusted proxy: nothing before it is looked at, and the peer counts.
        let client = hops.find(|hop| !hop.is_some_and(|hop| is_trusted(hop.to_canonical())));
        Self::bucket(client.flatten().unwrap_or(peer))
    }

    fn bucket(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (!0 << 64))),
            address => address,
        })
    }
}

/// Counts something per client.
#[derive(Debug)]
pub struct ClientQuota(DefaultKeyedRateLimiter<ClientAddress>);

impl ClientQuota {
    /// For writes.
    #[must_use]
    pub fn of_writes(limits: &Limits) -> Self {
        let quota = Quota::per_second(limits.posts_per_client_per_s)
            .allow_burst(limits.posts_per_client_burst);
        Self(RateLimiter::keyed(quota))
    }

    /// Creates a quota of readings that reach the database.
    #[must_use]
    pub fn of_reads(limits: &Limits) -> Self {
        let quota = Quota::per_second(limits.reads_per_client_per_s)
            .allow_burst(limits.reads_per_client_burst);
        Self(RateLimiter::keyed(quota))
    }

    /// For tokens that are none.
    #[must_use]
    pub fn of_bad_tokens(limits: &Limits) -> Self {
        Self(RateLimiter::keyed(Quota::per_minute(
            limits.bad_tokens_per_min,
        )))
    }

    /// Counts one. A client without an address (a Unix socket) is not limited.
    ///
    /// # Errors
    /// 429, if that is too much.
    pub fn take(&self, client: Option<ClientAddress>) -> Result<(), ApiError> {
        let Some(client) = client else { return Ok(()) };
        self.0.check_key(&client).map_err(|full| {
            let wait = full.wait_time_from(self.0.clock().now());
            ApiError::TooMany {
                retry_after_s: wait.as_secs() + 1,
            }
        })
    }

    fn forget_idle(&self) {
        self.0.retain_recent();
        self.0.shrink_to_fit();
    }
}

/// All that is counted per client. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Quotas {
    /// Writes.
    pub writes: Arc<ClientQuota>,
    /// Readings that reach the database: pages, searches, single topics, the log.
    pub reads: Arc<ClientQuota>,
    /// Tokens that are none.
    pub bad_tokens: Arc<ClientQuota>,
}

impl Quotas {
    /// Nobody has done anything yet.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            writes: Arc::new(ClientQuota::of_writes(limits)),
            reads: Arc::new(ClientQuota::of_reads(limits)),
            bad_tokens: Arc::new(ClientQuota::of_bad_tokens(limits)),
        }
    }

    /// Forgets clients who could do as much as if they had never been here.
    pub fn forget_idle(&self) {
        self.writes.forget_idle();
        self.reads.forget_idle();
        self.bad_tokens.forget_idle();
    }
}

/// Counts open streams, in all and per client.
#[derive(Clone, Debug)]
pub struct StreamGate(Arc<Gate>);

#[derive(Debug)]
struct Gate {
    open: AtomicUsize,
    per_client: DashMap<ClientAddress, usize>,
    max: usize,
    per_client_max: usize,
}

/// Leave to hold one stream; given back when dropped.
#[derive(Debug)]
pub struct StreamPermit {
    gate: Arc<Gate>,
    client: Option<ClientAddress>,
}

impl StreamGate {
    /// Nobody inside.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self::counting(limits.streams_max, limits.streams_per_client_max)
    }

    fn counting(max: usize, per_client_max: usize) -> Self {
        Self(Arc::new(Gate {
            open: AtomicUsize::new(0),
            per_client: DashMap::new(),
            max,
            per_client_max,
        }))
    }

    /// Lets a client in, if there is room. One without an address (a Unix socket) counts only in all.
    #[must_use]
    pub fn enter(&self, client: Option<ClientAddress>) -> Option<StreamPermit> {
        // Counts first, so that two who come at once cannot both take the last place.
        let open = self.0.open.fetch_add(1, Ordering::AcqRel) + 1;
        let mut permit = StreamPermit {
            gate: Arc::clone(&self.0),
            client: None,
        };
        if open > self.0.max {
            return None;
        }
        if let Some(client) = client {
            let mut open = self.0.per_client.entry(client).or_insert(0);
            if *open >= self.0.per_client_max {
                return None;
            }
            *open += 1;
            permit.client = Some(client);
        }
        Some(permit)
    }

    /// How many may be inside.
    #[must_use]
    pub fn max(&self) -> usize {
        self.0.max
    }

    /// How many are inside.
    #[must_use]
    pub fn open(&self) -> usize {
        self.0.open.load(Ordering::Acquire)
    }
}

/// Counts open connections per client. Those that a stream has taken over count as streams instead.
#[derive(Clone, Debug)]
pub struct ConnectionGate {
    gate: StreamGate,
    /// A proxy's connections are those of all its clients.
    trusted: Arc<[IpNet]>,
}

impl ConnectionGate {
    /// None open.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        let gate = StreamGate::counting(usize::MAX, limits.connections_per_client_max.get());
        Self {
            gate,
            trusted: limits.trusted_proxies.clone().into(),
        }
    }

    /// Lets a connection in, if its client has room for one more.
    #[must_use]
    pub fn enter(&self, peer: Option<IpAddr>) -> Option<StreamPermit> {
        let is_trusted = |peer: &IpAddr| {
            self.trusted
                .iter()
                .any(|network| network.contains(&peer.to_canonical()))
        };
        self.gate.enter(
            peer.filter(|peer| !is_trusted(peer))
                .map(ClientAddress::bucket),
        )
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        self.gate.open.fetch_sub(1, Ordering::AcqRel);
        let Some(client) = self.client else { return };
        if let Some(mut open) = self.gate.per_client.get_mut(&client) {
            *open -= 1;
        }
        self.gate
            .per_client
            .remove_if(&client, |_, open| *open == 0);
    }
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
        for unreadable in [
            "",
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

    #[test]
    fn the_gate_counts_in_all_and_per_client() {
        let gate = Gate {
            open: AtomicUsize::new(0),
            per_client: DashMap::new(),
            max: 3,
            per_client_max: 2,
        };
        let gate = StreamGate(Arc::new(gate));
        let client = |text: &str| Some(ClientAddress::bucket(text.parse().expect("an address")));
        let first = gate.enter(client("1.1.1.1")).expect("room");
        let second = gate.enter(client("1.1.1.1")).expect("room");
        assert!(gate.enter(client("1.1.1.1")).is_none());
        let third = gate.enter(client("2.2.2.2")).expect("room");
        assert!(gate.enter(client("3.3.3.3")).is_none());
        drop((first, second, third));
        assert_eq!((gate.open(), gate.0.per_client.len()), (0, 0));
    }
}
