//! Identifies clients by address, and limits their streams, connections and writes.

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

use crate::{config::Limits, error::ApiError, forwarded};

/// The address that limits count by: an IPv4 address, or the /64 of an IPv6 one, since a household
/// has all of those.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientAddress(IpAddr);

impl ClientAddress {
    /// Returns the peer, or, if that is a trusted proxy, the last address that proxies forwarded and that is not.
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
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (!0 << 64))),
            address => address,
        })
    }
}

/// Limits how often a client may do something.
#[derive(Debug)]
pub struct ClientQuota(DefaultKeyedRateLimiter<ClientAddress>);

impl ClientQuota {
    /// Creates the limit of writes.
    #[must_use]
    pub fn of_writes(limits: &Limits) -> Self {
        let quota = Quota::per_second(limits.posts_per_client_per_s)
            .allow_burst(limits.posts_per_client_burst);
        Self(RateLimiter::keyed(quota))
    }

    /// Creates the limit of reads that reach the database.
    #[must_use]
    pub fn of_reads(limits: &Limits) -> Self {
        let quota = Quota::per_second(limits.reads_per_client_per_s)
            .allow_burst(limits.reads_per_client_burst);
        Self(RateLimiter::keyed(quota))
    }

    /// Creates the limit of invalid tokens.
    #[must_use]
    pub fn of_bad_tokens(limits: &Limits) -> Self {
        Self(RateLimiter::keyed(Quota::per_minute(
            limits.bad_tokens_per_min,
        )))
    }

    /// Counts once. A client without an address (a Unix socket) is not limited.
    ///
    /// # Errors
    /// [`ApiError::TooMany`], if that exceeds the limit.
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

/// The limits of how often a client may do something. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Quotas {
    /// Limits the writes of a client.
    pub writes: Arc<ClientQuota>,
    /// Limits the reads of a client that reach the database: pages, searches, single topics, the log.
    pub reads: Arc<ClientQuota>,
    /// Limits the invalid tokens of a client.
    pub bad_tokens: Arc<ClientQuota>,
}

impl Quotas {
    /// Creates the limits that are configured.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            writes: Arc::new(ClientQuota::of_writes(limits)),
            reads: Arc::new(ClientQuota::of_reads(limits)),
            bad_tokens: Arc::new(ClientQuota::of_bad_tokens(limits)),
        }
    }

    /// Forgets clients that have used nothing of their limits.
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

/// Why there is no room for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoom {
    /// All clients together have all there is.
    InAll,
    /// This client has all that one may have.
    ForClient,
}

/// A place for one stream, or one connection. Dropping it frees the place.
#[derive(Debug)]
pub struct StreamPermit {
    gate: Arc<Gate>,
    client: Option<ClientAddress>,
}

impl StreamGate {
    /// Creates a gate without open streams.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self::counting(limits.streams_max, limits.streams_per_client_max)
    }

    /// Creates a gate that admits each client once.
    #[must_use]
    pub fn one_each() -> Self {
        Self::counting(usize::MAX, 1)
    }

    /// Creates a gate that admits so many clients, and each of them so many times.
    #[must_use]
    pub fn counting(max: usize, per_client_max: usize) -> Self {
        Self(Arc::new(Gate {
            open: AtomicUsize::new(0),
            per_client: DashMap::new(),
            max,
            per_client_max,
        }))
    }

    /// Admits a client, if there is room. One without an address (a Unix socket) counts only in the total.
    #[must_use]
    pub fn enter(&self, client: Option<ClientAddress>) -> Option<StreamPermit> {
        self.try_enter(client).ok()
    }

    /// Admits a client as [`enter`](Self::enter) does.
    ///
    /// # Errors
    /// If there is no room, with the reason.
    pub fn try_enter(&self, client: Option<ClientAddress>) -> Result<StreamPermit, NoRoom> {
        // Counts first, so that two clients that come at once cannot both take the last place.
        let open = self.0.open.fetch_add(1, Ordering::AcqRel) + 1;
        let mut permit = StreamPermit {
            gate: Arc::clone(&self.0),
            client: None,
        };
        if open > self.0.max {
            return Err(NoRoom::InAll);
        }
        if let Some(client) = client {
            let mut open = self.0.per_client.entry(client).or_insert(0);
            if *open >= self.0.per_client_max {
                return Err(NoRoom::ForClient);
            }
            *open += 1;
            permit.client = Some(client);
        }
        Ok(permit)
    }

    /// Returns the most streams that may be open.
    #[must_use]
    pub fn max(&self) -> usize {
        self.0.max
    }

    /// Returns the number of open streams.
    #[must_use]
    pub fn open(&self) -> usize {
        self.0.open.load(Ordering::Acquire)
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

    fn client(address: &str) -> Option<ClientAddress> {
        Some(ClientAddress::bucket(address.parse().expect("an address")))
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
        let first = gate.enter(client("1.1.1.1")).expect("room");
        let second = gate.enter(client("1.1.1.1")).expect("room");
        assert!(gate.enter(client("1.1.1.1")).is_none());
        let third = gate.enter(client("2.2.2.2")).expect("room");
        assert!(gate.enter(client("3.3.3.3")).is_none());
        drop((first, second, third));
        assert_eq!((gate.open(), gate.0.per_client.len()), (0, 0));
    }
}
