//! Identifies clients by address, and limits what each may take: streams, connections, requests of
//! each kind.

mod client;
mod quota;
pub mod read_in_progress;

use std::{
    num::NonZero,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use dashmap::DashMap;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};

use crate::config::LimitsSettings;

pub use client::ClientAddress;
use client::Share;
pub use quota::{ClientQuota, Quotas, TokenQuota};

/// Limits how many streams, connections, reads or searches are open at a time, in all and per
/// client. A clone is another handle to the same gate.
#[derive(Clone, Debug)]
pub struct ClientGate(Arc<GateCounters>);

#[derive(Debug)]
struct GateCounters {
    open: AtomicUsize,
    per_share: DashMap<Share, Arc<Semaphore>>,
    max: usize,
    per_client_max: usize,
    clients_per_site: NonZero<u32>,
}

/// Why there is no room for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoom {
    /// All clients together have all permits.
    InAll,
    /// This client has as many as one client may have.
    ForClient,
}

/// The right to one open stream, connection, read or search. Dropping it releases it.
#[derive(Debug)]
pub struct GatePermit {
    gate: Arc<GateCounters>,
    client: Option<ClientAddress>,
    /// The number of the client's shares in which it has a place.
    counted: u8,
}

impl ClientGate {
    /// Creates the gate of streams.
    #[must_use]
    pub fn of_streams(limits: &LimitsSettings) -> Self {
        Self::counting(limits, limits.streams_max, limits.streams_per_client_max)
    }

    /// Creates the gate of reads.
    #[must_use]
    pub fn of_reads(limits: &LimitsSettings) -> Self {
        Self::counting(limits, usize::MAX, limits.reads_per_client_max.get())
    }

    /// Creates the gate of searches.
    #[must_use]
    pub fn of_searches(limits: &LimitsSettings) -> Self {
        Self::counting(limits, usize::MAX, limits.searches_per_client_max.get())
    }

    /// Creates a gate that admits `max` in all, and `per_client_max` of each client.
    #[must_use]
    pub fn counting(limits: &LimitsSettings, max: usize, per_client_max: usize) -> Self {
        Self(Arc::new(GateCounters {
            open: AtomicUsize::new(0),
            per_share: DashMap::new(),
            max,
            per_client_max,
            clients_per_site: limits.clients_per_ipv6_48,
        }))
    }

    /// Admits a client, if there is room. One without an address (a Unix socket) counts only in the
    /// total.
    #[must_use]
    pub fn enter(&self, client: Option<ClientAddress>) -> Option<GatePermit> {
        self.try_enter(client).ok()
    }

    /// Admits a client as [`enter`](Self::enter) does.
    ///
    /// # Errors
    /// If there is no room, with the reason.
    pub fn try_enter(&self, client: Option<ClientAddress>) -> Result<GatePermit, NoRoom> {
        let mut permit = self.count(client)?;
        for share in permit.shares() {
            let places = self.0.places(share);
            let place = places.try_acquire().map_err(|_| NoRoom::ForClient)?;
            // Given back by number: a stream has room for no more.
            std::mem::forget(place);
            permit.counted += 1;
        }
        Ok(permit)
    }

    /// Admits a client as [`enter`](Self::enter) does, once others of its share have left, for
    /// which it waits at most for `patience`. Who came first is admitted first. Cancel safe.
    ///
    /// # Errors
    /// If there is no room then, with the reason.
    pub async fn enter_in_turn(
        &self,
        client: Option<ClientAddress>,
        patience: Duration,
    ) -> Result<GatePermit, NoRoom> {
        let (mut permit, until) = (self.count(client)?, Instant::now() + patience);
        for share in permit.shares() {
            let places = self.0.places(share);
            let place = timeout_at(until, places.acquire()).await;
            let place = place.ok().and_then(Result::ok).ok_or(NoRoom::ForClient)?;
            std::mem::forget(place);
            permit.counted += 1;
        }
        Ok(permit)
    }

    /// Counts a client in all.
    fn count(&self, client: Option<ClientAddress>) -> Result<GatePermit, NoRoom> {
        // Counts first, so that two clients that come at once cannot both take the last permit.
        let open = self.0.open.fetch_add(1, Ordering::AcqRel) + 1;
        let permit = GatePermit {
            gate: Arc::clone(&self.0),
            client,
            counted: 0,
        };
        if open > self.0.max {
            return Err(NoRoom::InAll);
        }
        Ok(permit)
    }

    /// Returns the most that may be open.
    #[must_use]
    pub fn max(&self) -> usize {
        self.0.max
    }

    /// Returns the number that are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.0.open.load(Ordering::Acquire)
    }
}

impl GateCounters {
    /// Returns the places of a share.
    fn places(&self, (share, times): (Share, NonZero<u32>)) -> Arc<Semaphore> {
        let places = self.per_share.entry(share);
        let new = || Arc::new(Semaphore::new(self.places_max(times)));
        Arc::clone(&places.or_insert_with(new))
    }

    /// Returns how many places a share has that is some times the limit of a client.
    fn places_max(&self, times: NonZero<u32>) -> usize {
        let max = self.per_client_max.saturating_mul(times.get() as usize);
        max.min(Semaphore::MAX_PERMITS)
    }

    /// Returns a place of a share, if one was taken, and evicts a share that is not used.
    fn leave(&self, share: Share, times: NonZero<u32>, has_place: bool) {
        if has_place && let Some(places) = self.per_share.get(&share) {
            places.add_permits(1);
        }
        // A client that waits for a place, or is about to take one, holds the share as well.
        self.per_share.remove_if(&share, |_, places| {
            Arc::strong_count(places) == 1 && places.available_permits() == self.places_max(times)
        });
    }
}

impl GatePermit {
    fn shares(&self) -> impl Iterator<Item = (Share, NonZero<u32>)> + use<> {
        let clients_per_site = self.gate.clients_per_site;
        self.client
            .into_iter()
            .flat_map(move |client| client.shares(clients_per_site))
    }
}

impl Drop for GatePermit {
    fn drop(&mut self) {
        self.gate.open.fetch_sub(1, Ordering::AcqRel);
        for (place, (share, times)) in (0..).zip(self.shares()) {
            self.gate.leave(share, times, place < self.counted);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(address: &str) -> Option<ClientAddress> {
        Some(ClientAddress::bucket(address.parse().expect("an address")))
    }

    fn gate(max: usize, per_client_max: usize, clients_per_site: u32) -> ClientGate {
        ClientGate(Arc::new(GateCounters {
            open: AtomicUsize::new(0),
            per_share: DashMap::new(),
            max,
            per_client_max,
            clients_per_site: NonZero::new(clients_per_site).expect("some"),
        }))
    }

    #[test]
    fn the_gate_counts_in_all_and_per_client() {
        let gate = gate(3, 2, 9);
        let first = gate.enter(client("1.1.1.1")).expect("room");
        let second = gate.enter(client("1.1.1.1")).expect("room");
        assert!(gate.enter(client("1.1.1.1")).is_none());
        let third = gate.enter(client("2.2.2.2")).expect("room");
        assert!(gate.enter(client("3.3.3.3")).is_none());
        drop((first, second, third));
        assert_eq!((gate.open(), gate.0.per_share.len()), (0, 0));
    }

    #[test]
    fn the_64s_of_an_ipv6_48_share_what_some_clients_have() {
        let gate = gate(usize::MAX, 2, 3);
        let enter = |subnet: u16| gate.enter(client(&format!("2001:db8:1:{subnet:x}::1")));
        let admitted: Vec<_> = (0..100_u16)
            .flat_map(|subnet| [enter(subnet), enter(subnet), enter(subnet)])
            .flatten()
            .collect();
        assert_eq!(admitted.len(), 6, "three times two");
        assert_eq!(gate.0.per_share.len(), 4, "what is refused is not counted");
        let elsewhere = gate.enter(client("2001:db8:2::1"));
        assert!(elsewhere.is_some(), "another /48");
        drop((admitted, elsewhere));
        assert_eq!((gate.open(), gate.0.per_share.len()), (0, 0));
    }

    #[tokio::test]
    async fn who_waits_is_admitted_in_turn_and_not_for_ever() {
        let gate = gate(usize::MAX, 1, 9);
        let (short, long) = (Duration::from_millis(10), Duration::from_secs(60));
        let first = gate.enter(client("1.1.1.1")).expect("room");
        let refused = gate.enter_in_turn(client("1.1.1.1"), short).await;
        assert_eq!(refused.err(), Some(NoRoom::ForClient));
        let other = gate.enter_in_turn(client("2.2.2.2"), Duration::ZERO).await;
        assert!(other.is_ok(), "another client does not wait");
        let dropped = gate.enter_in_turn(client("1.1.1.1"), long);
        assert!(timeout_at(Instant::now() + short, dropped).await.is_err());
        let waiting = gate.enter_in_turn(client("1.1.1.1"), long);
        let leaving = async {
            tokio::task::yield_now().await;
            drop(first);
        };
        let (second, ()) = tokio::join!(waiting, leaving);
        assert!(gate.enter(client("1.1.1.1")).is_none());
        assert!(second.is_ok());
        drop((second, other));
        assert_eq!((gate.open(), gate.0.per_share.len()), (0, 0));
    }
}
