//! What every handler may use. One value; cloning shares it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ipnet::IpNet;
use kairanban_core::BoardName;
use kairanban_store::TicketTimes;

use crate::{
    config::Config,
    encode::Fragments,
    limits::{ClientQuota, Quotas, StreamGate},
    readiness::Readiness,
    render::page::Pages,
    service::BoardService,
    shutdown::Drain,
    stream::{StreamDeps, StreamTiming, TimerWheel},
};

/// The state.
#[derive(Clone, Debug)]
pub struct AppState(Arc<Parts>);

/// Its parts.
#[derive(Debug)]
pub struct Parts {
    /// Boards.
    pub bulletin: BoardService,
    /// The board at `/`.
    pub default_board: BoardName,
    /// Templates.
    pub pages: Pages,
    /// The template of a topic by itself.
    pub fragments: Arc<Fragments>,
    /// Room for streams.
    pub gate: StreamGate,
    /// Who has written how much.
    pub quota: Arc<ClientQuota>,
    /// Who has shown tokens that are none.
    pub bad_tokens: Arc<ClientQuota>,
    /// How streams live.
    pub timing: StreamTiming,
    /// What streams need.
    pub stream_deps: Arc<StreamDeps>,
    /// Boards of one stream.
    pub boards_per_stream_max: usize,
    /// Other sites whose pages may write here.
    pub cors_origins: Vec<String>,
    /// Bounds of the REST addresses.
    pub rest: crate::config::Rest,
    /// How long tickets are good.
    pub tickets: TicketTimes,
    /// When this process began.
    pub started: Instant,
    /// The end.
    pub drain: Drain,
    /// What `/readyz` says.
    pub readiness: Readiness,
    /// Bytes of a body.
    pub body_bytes_max: usize,
    /// For a body to arrive.
    pub body_wait: Duration,
    /// Proxies that are believed.
    pub trusted_proxies: Vec<IpNet>,
}

impl AppState {
    /// Puts the state together.
    pub fn new(
        config: &Config,
        default_board: BoardName,
        bulletin: BoardService,
        quotas: &Quotas,
        fragments: Fragments,
        wheel: TimerWheel,
        readiness: Readiness,
    ) -> Result<Self, minijinja::Error> {
        let drain = readiness.drain().clone();
        let (gate, timing) = (
            StreamGate::new(&config.limits),
            StreamTiming::new(&config.stream),
        );
        let stream_deps = StreamDeps {
            following: bulletin.following().clone(),
            drain: drain.clone(),
            gate: gate.clone(),
            timing,
            wheel,
        };
        Ok(Self(Arc::new(Parts {
            bulletin,
            default_board,
            pages: Pages::new()?,
            fragments: Arc::new(fragments),
            gate,
            quota: Arc::clone(&quotas.writes),
            bad_tokens: Arc::clone(&quotas.bad_tokens),
            timing,
            stream_deps: Arc::new(stream_deps),
            boards_per_stream_max: config.limits.boards_per_stream_max.get(),
            cors_origins: config.cors.origins.clone(),
            rest: config.rest.clone(),
            tickets: config.tickets(),
            started: Instant::now(),
            drain,
            readiness,
            body_bytes_max: config.limits.body_bytes_max,
            body_wait: config.limits.body_wait,
            trusted_proxies: config.limits.trusted_proxies.clone(),
        })))
    }
}

impl std::ops::Deref for AppState {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
