//! Limits how many connections that carry no stream are open, and keeps some of them for probes.

use std::{
    cell::{Cell, RefCell},
    net::IpAddr,
    rc::Rc,
    sync::Arc,
};

use ipnet::IpNet;

use crate::{
    config::LimitsSettings,
    error::ApiError,
    forwarded,
    limits::{ClientAddress, ClientGate, GatePermit, NoRoom},
};

/// Limits open connections, in all and per client. Those that a stream has taken over count as
/// streams instead.
#[derive(Clone, Debug)]
pub struct ConnectionGate {
    open: ClientGate,
    /// Counts further ones, for probes from anywhere.
    kept: ClientGate,
    /// Counts further ones, for probes from this machine.
    kept_for_loopback: ClientGate,
    /// Proxies, which are not limited as one client: their connections are those of all their
    /// clients.
    trusted: Arc<[IpNet]>,
}

impl ConnectionGate {
    /// Creates a gate without open connections.
    #[must_use]
    pub fn new(limits: &LimitsSettings) -> Self {
        let per_client_max = limits.connections_per_client_max.get();
        let kept = limits.connections_kept / 2;
        Self {
            open: ClientGate::counting(limits, limits.connections_max.get(), per_client_max),
            kept: ClientGate::counting(limits, kept, usize::MAX),
            kept_for_loopback: ClientGate::counting(
                limits,
                limits.connections_kept - kept,
                usize::MAX,
            ),
            trusted: limits
                .trusted_proxies
                .iter()
                .map(|network| (*network).into())
                .collect(),
        }
    }

    /// Admits a connection.
    ///
    /// # Errors
    /// If there is no room, not even for a probe.
    pub fn enter(&self, peer: Option<IpAddr>) -> Result<ConnectionPermit, NoRoom> {
        let client = peer
            .filter(|peer| !forwarded::is_in(&self.trusted, *peer))
            .map(ClientAddress::bucket);
        let reason = match self.open.try_enter(client) {
            Ok(permit) => return Ok(ConnectionPermit::new(permit, None)),
            Err(reason) => reason,
        };
        let is_loopback = peer.is_some_and(|peer| peer.to_canonical().is_loopback());
        let kept = match reason {
            _ if is_loopback => self.kept_for_loopback.enter(None),
            NoRoom::InAll => self.kept.enter(None),
            // A client that has too many must not take what is kept for others.
            NoRoom::ForClient => None,
        };
        kept.map(|permit| ConnectionPermit::new(permit, Some(reason)))
            .ok_or(reason)
    }
}

/// The permit of one connection. A clone is another handle to the same.
#[derive(Clone, Debug)]
pub struct ConnectionPermit(Rc<PermitState>);

#[derive(Debug)]
struct PermitState {
    permit: RefCell<Option<GatePermit>>,
    /// Whether the permit is one of a stream.
    is_stream: Cell<bool>,
    probes_only: Option<NoRoom>,
}

impl ConnectionPermit {
    fn new(permit: GatePermit, probes_only: Option<NoRoom>) -> Self {
        Self(Rc::new(PermitState {
            permit: RefCell::new(Some(permit)),
            is_stream: Cell::new(false),
            probes_only,
        }))
    }

    /// Returns why everything but a probe is refused on this connection, if it is.
    #[must_use]
    pub fn probes_only(&self) -> Option<NoRoom> {
        self.0.probes_only
    }

    /// Exchanges the permit for that of a stream, which the connection has from now on. Returns
    /// whether it has one.
    pub fn become_stream(&self, enter: impl FnOnce() -> Option<GatePermit>) -> bool {
        if !self.0.is_stream.get()
            && let Some(permit) = enter()
        {
            self.0.permit.replace(Some(permit));
            self.0.is_stream.set(true);
        }
        self.0.is_stream.get()
    }

    /// Releases the permit: the connection counts as a stream from now on, and ends with it.
    pub fn leave(&self) {
        self.0.permit.take();
    }
}

/// Returns what a client is answered for whose connection there is no room.
#[must_use]
pub const fn refusal(reason: NoRoom) -> ApiError {
    match reason {
        NoRoom::InAll => ApiError::NoRoom,
        NoRoom::ForClient => ApiError::TooManyConnections,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Overrides};

    fn gate(settings: &[(&str, &str)]) -> ConnectionGate {
        let environment = settings
            .iter()
            .map(|(name, value)| (format!("KAIRANBAN_LIMITS__{name}"), (*value).to_owned()));
        let config = Config::load(&Overrides::default(), environment).expect("valid");
        ConnectionGate::new(&config.limits)
    }

    fn enter(gate: &ConnectionGate, peer: &str) -> Result<ConnectionPermit, NoRoom> {
        gate.enter(Some(peer.parse().expect("an address")))
    }

    #[test]
    fn the_last_permits_are_kept_for_probes_and_half_of_them_for_this_machine() {
        let gate = gate(&[("CONNECTIONS_MAX", "3"), ("CONNECTIONS_KEPT", "4")]);
        let mut open: Vec<_> = (1..=3)
            .map(|n| enter(&gate, &format!("192.0.2.{n}")).expect("room"))
            .collect();
        assert!(open.iter().all(|permit| permit.probes_only().is_none()));
        for n in 4..=5 {
            open.push(enter(&gate, &format!("192.0.2.{n}")).expect("a kept permit"));
        }
        assert_eq!(open[4].probes_only(), Some(NoRoom::InAll));
        assert_eq!(enter(&gate, "192.0.2.6").err(), Some(NoRoom::InAll));
        for peer in ["127.0.0.1", "::1"] {
            open.push(enter(&gate, peer).expect("a kept permit"));
        }
        assert_eq!(enter(&gate, "127.0.0.1").err(), Some(NoRoom::InAll));
        open[0].leave();
        let freed = enter(&gate, "192.0.2.6").expect("what became a stream has left");
        assert!(freed.probes_only().is_none());
        drop((open, freed));
        assert!(enter(&gate, "192.0.2.6").is_ok_and(|permit| permit.probes_only().is_none()));
    }

    #[test]
    fn a_client_with_too_many_gets_no_kept_permit_unless_it_is_this_machine() {
        let gate = gate(&[("CONNECTIONS_PER_CLIENT_MAX", "1")]);
        let open: Vec<_> = ["192.0.2.1", "127.0.0.1"]
            .map(|peer| enter(&gate, peer).expect("room"))
            .into();
        assert_eq!(enter(&gate, "192.0.2.1").err(), Some(NoRoom::ForClient));
        let kept = enter(&gate, "127.0.0.1").expect("a kept permit");
        assert_eq!(kept.probes_only(), Some(NoRoom::ForClient));
        drop(open);
    }
}
