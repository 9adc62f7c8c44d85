//! Limits how often a client, or the holder of a token, may do something.

use std::{
    hash::{BuildHasher as _, RandomState},
    num::NonZero,
    sync::Arc,
    time::Duration,
};

use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
    nanos::Nanos,
    state::{
        InMemoryState, NotKeyed, StateStore,
        keyed::{DashMapStateStore, ShrinkableKeyedStateStore},
    },
};

use super::client::{ClientAddress, Share};
use crate::{config::LimitsSettings, error::ApiError};

/// The number of counters for the shares that find no room of their own.
const SHARED_COUNTERS: usize = 4_096;

/// The counters of a limit, at most `max` of them. When they are all taken, newcomers of the same
/// region share one, so that a flood from many addresses costs bounded memory, and is counted
/// together.
#[derive(Debug)]
struct Counters {
    own: DashMapStateStore<Share>,
    max: usize,
    shared: Box<[InMemoryState]>,
    hasher: RandomState,
}

impl Counters {
    fn new(max: usize) -> Self {
        Self {
            own: DashMapStateStore::default(),
            max,
            shared: std::iter::repeat_with(InMemoryState::default)
                .take(SHARED_COUNTERS)
                .collect(),
            hasher: RandomState::new(),
        }
    }
}

impl StateStore for Counters {
    type Key = Share;

    fn measure_and_replace<T, F, E>(&self, key: &Share, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        if self.own.contains_key(key) || self.own.len() < self.max {
            return self.own.measure_and_replace(key, f);
        }
        let index = self.hasher.hash_one(key.region()) as usize % self.shared.len();
        self.shared[index].measure_and_replace(&NotKeyed::NonKey, f)
    }
}

impl ShrinkableKeyedStateStore<Share> for Counters {
    fn retain_recent(&self, drop_below: Nanos) {
        self.own.retain_recent(drop_below);
    }

    fn shrink_to_fit(&self) {
        self.own.shrink_to_fit();
    }

    fn len(&self) -> usize {
        self.own.len()
    }

    fn is_empty(&self) -> bool {
        self.own.is_empty()
    }
}

/// What is limited, and the settings that change the limit, for the error text.
#[derive(Clone, Copy, Debug)]
struct RateLimit {
    what: &'static str,
    setting: &'static str,
}

impl RateLimit {
    fn refusal(self, wait: Duration) -> ApiError {
        ApiError::TooMany {
            what: self.what,
            setting: self.setting,
            retry_after: wait,
        }
    }
}

/// Limits how often a client may do something. An IPv6 /48 may do it as often as some clients
/// together.
#[derive(Debug)]
pub struct ClientQuota {
    limited: RateLimit,
    clients: RateLimiter<Share, Counters, DefaultClock>,
    sites: RateLimiter<Share, Counters, DefaultClock>,
    clients_per_site: NonZero<u32>,
}

impl ClientQuota {
    fn new(limited: RateLimit, quota: Quota, limits: &LimitsSettings) -> Self {
        let clients_per_site = limits.clients_per_ipv6_48;
        let counting = |quota| {
            let counters = Counters::new(limits.counted_clients_max.get());
            RateLimiter::new(quota, counters, DefaultClock::default())
        };
        Self {
            limited,
            clients: counting(quota),
            sites: counting(times(quota, clients_per_site)),
            clients_per_site,
        }
    }

    /// Creates the limit of writes.
    #[must_use]
    pub fn of_writes(limits: &LimitsSettings) -> Self {
        let limited = RateLimit {
            what: "posts and messages from one address",
            setting: "limits.posts_per_client_burst and limits.posts_per_client_per_s",
        };
        let quota = Quota::per_second(limits.posts_per_client_per_s)
            .allow_burst(limits.posts_per_client_burst);
        Self::new(limited, quota, limits)
    }

    /// Creates the limit of reads that reach the database.
    #[must_use]
    pub fn of_reads(limits: &LimitsSettings) -> Self {
        let limited = RateLimit {
            what: "reads of the database by one address",
            setting: "limits.reads_per_client_burst and limits.reads_per_client_per_s",
        };
        let quota = Quota::per_second(limits.reads_per_client_per_s)
            .allow_burst(limits.reads_per_client_burst);
        Self::new(limited, quota, limits)
    }

    /// Creates the limit of invalid tokens.
    #[must_use]
    pub fn of_bad_tokens(limits: &LimitsSettings) -> Self {
        let limited = RateLimit {
            what: "invalid tokens from one address",
            setting: "limits.bad_tokens_per_min",
        };
        Self::new(
            limited,
            Quota::per_minute(limits.bad_tokens_per_min),
            limits,
        )
    }

    /// Creates the limit of attempts to sign in.
    #[must_use]
    pub fn of_logins(limits: &LimitsSettings) -> Self {
        let limited = RateLimit {
            what: "attempts to sign in from one address",
            setting: "limits.logins_per_min",
        };
        Self::new(limited, Quota::per_minute(limits.logins_per_min), limits)
    }

    /// Counts once. A client without an address (a Unix socket) is not limited.
    ///
    /// # Errors
    /// [`ApiError::TooMany`], if that exceeds the limit.
    pub fn take(&self, client: Option<ClientAddress>) -> Result<(), ApiError> {
        let shares = client
            .into_iter()
            .flat_map(|client| client.shares(self.clients_per_site));
        // What is refused by a client's own share does not use up that of its network.
        for (share, _) in shares {
            let limiter = match share {
                Share::Client(_) => &self.clients,
                Share::Site(_) => &self.sites,
            };
            limiter.check_key(&share).map_err(|full| {
                let wait = full.wait_time_from(limiter.clock().now());
                self.limited.refusal(wait)
            })?;
        }
        Ok(())
    }

    fn evict_idle(&self) {
        for limiter in [&self.clients, &self.sites] {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
    }
}

/// Multiplies a quota, for `clients` together.
fn times(quota: Quota, clients: NonZero<u32>) -> Quota {
    let period = quota.replenish_interval() / clients.get();
    Quota::with_period(period)
        .unwrap_or(quota)
        .allow_burst(quota.burst_size().saturating_mul(clients))
}

/// Limits how often the holder of a token may change something. There are at most as many counters
/// as valid tokens.
#[derive(Debug)]
pub struct TokenQuota(DefaultKeyedRateLimiter<i64>);

impl TokenQuota {
    /// Creates the limit of edits.
    #[must_use]
    pub fn of_edits(limits: &LimitsSettings) -> Self {
        let quota = Quota::per_second(limits.edits_per_token_per_s)
            .allow_burst(limits.edits_per_token_burst);
        Self(RateLimiter::keyed(quota))
    }

    /// Counts once. A client without a token is limited by its address alone.
    ///
    /// # Errors
    /// [`ApiError::TooMany`], if that exceeds the limit.
    pub fn take(&self, token: Option<i64>) -> Result<(), ApiError> {
        let limited = RateLimit {
            what: "changes by one token",
            setting: "limits.edits_per_token_burst and limits.edits_per_token_per_s",
        };
        let Some(token) = token else { return Ok(()) };
        self.0
            .check_key(&token)
            .map_err(|full| limited.refusal(full.wait_time_from(self.0.clock().now())))
    }

    fn evict_idle(&self) {
        self.0.retain_recent();
        self.0.shrink_to_fit();
    }
}

/// The limits of how often a client, or the holder of a token, may do something. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Quotas {
    /// Limits the writes of a client.
    pub writes: Arc<ClientQuota>,
    /// Limits the reads of a client that reach the database: pages, searches, single topics, the
    /// log, boards that are not in memory.
    pub reads: Arc<ClientQuota>,
    /// Limits the invalid tokens of a client.
    pub bad_tokens: Arc<ClientQuota>,
    /// Limits how often a client may sign in, or try to.
    pub logins: Arc<ClientQuota>,
    /// Limits what is changed by one token.
    pub edits: Arc<TokenQuota>,
}

impl Quotas {
    /// Creates the limits that are configured.
    #[must_use]
    pub fn new(limits: &LimitsSettings) -> Self {
        Self {
            writes: Arc::new(ClientQuota::of_writes(limits)),
            reads: Arc::new(ClientQuota::of_reads(limits)),
            bad_tokens: Arc::new(ClientQuota::of_bad_tokens(limits)),
            logins: Arc::new(ClientQuota::of_logins(limits)),
            edits: Arc::new(TokenQuota::of_edits(limits)),
        }
    }

    /// Evicts clients and tokens that have used nothing of their limits.
    pub fn evict_idle(&self) {
        self.writes.evict_idle();
        self.reads.evict_idle();
        self.bad_tokens.evict_idle();
        self.logins.evict_idle();
        self.edits.evict_idle();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn limits(counted_clients_max: usize) -> LimitsSettings {
        let config = Config::load(&crate::config::Overrides::default(), []);
        let mut limits = config.expect("the defaults").limits;
        limits.posts_per_client_burst = NonZero::new(2).expect("some");
        limits.clients_per_ipv6_48 = NonZero::new(3).expect("some");
        limits.counted_clients_max = NonZero::new(counted_clients_max).expect("some");
        limits
    }

    fn admits(quota: &ClientQuota, address: &str) -> bool {
        let client = ClientAddress::bucket(address.parse().expect("an address"));
        quota.take(Some(client)).is_ok()
    }

    #[test]
    fn the_64s_of_an_ipv6_48_share_what_some_clients_have() {
        let limits = limits(1_000);
        for quota in [
            ClientQuota::of_writes,
            ClientQuota::of_reads,
            ClientQuota::of_bad_tokens,
            ClientQuota::of_logins,
        ] {
            let quota = quota(&limits);
            let burst = (0..10_000)
                .take_while(|_| admits(&quota, "198.51.100.1"))
                .count();
            let all = (0..100)
                .map(|subnet| format!("2001:db8:1:{subnet:x}::1"))
                .flat_map(|address| vec![address; burst + 1])
                .filter(|address| admits(&quota, address))
                .count();
            assert!(
                (3 * burst..4 * burst).contains(&all),
                "{all} by a /48, {burst} by one address"
            );
            assert!(admits(&quota, "2001:db8:2::1"), "another /48");
        }
    }

    #[test]
    fn a_flood_from_many_addresses_costs_bounded_memory_and_is_counted_together() {
        let mut limits = limits(10);
        // The slowest that comes back: the flood may take seconds on a busy machine.
        limits.bad_tokens_per_min = NonZero::new(2).expect("some");
        let quota = ClientQuota::of_bad_tokens(&limits);
        assert!(admits(&quota, "192.0.2.1"));
        let flood = (0..=u16::MAX)
            .map(|host| format!("10.1.{}.{}", host >> 8, host & 255))
            .chain((0..=u16::MAX).map(|site| format!("2001:db8:{site:x}::1")));
        let admitted = flood.filter(|address| admits(&quota, address)).count();
        assert!(quota.clients.len() <= 10 && quota.sites.len() <= 10);
        assert!(admitted < 100, "{admitted} from two regions");
        assert!(admits(&quota, "192.0.2.1"), "counted on its own before");
        assert!(!admits(&quota, "192.0.2.1"));
        assert!(admits(&quota, "203.0.113.1"), "from another region");
    }
}
