//! Holds what every handler uses.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::HttpRequest;
use chrono::Utc;
use ipnet::IpNet;
use kairanban_core::BoardName;
use kairanban_store::TicketTimes;
use tokio::sync::Semaphore;

use crate::{
    auth::{Caller, SessionBounds},
    config::Config,
    encode::{Fragments, StreamFormat},
    error::ApiError,
    limits::{
        ClientAddress, ClientGate, ClientQuota, Quotas, TokenQuota,
        read_in_progress::{self, EndsRead},
    },
    metrics::{Figures, Metrics, RequestMetrics},
    readiness::Readiness,
    render::page::Pages,
    service::BoardService,
    shutdown::Drain,
    site::Site,
    stream::{StreamDeps, StreamTiming, TimerWheel},
};

/// How long a request waits for the client's turn to read, and a search for others to end.
pub const TURN_WAIT: Duration = Duration::from_secs(1);

/// The state that all handlers share. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AppState(Arc<AppStateInner>);

/// What [`AppState`] dereferences to.
#[derive(Debug)]
pub struct AppStateInner {
    /// Reads and writes boards.
    pub boards: BoardService,
    /// The board at `/`.
    pub default_board: BoardName,
    /// The most topics that a board shows.
    pub topics_max: usize,
    /// Renders the pages, from templates.
    pub pages: Pages,
    /// The template of a topic by itself.
    pub fragments: Arc<Fragments>,
    /// Counts and limits open streams.
    pub gate: ClientGate,
    /// Limits the writes of each client.
    pub quota: Arc<ClientQuota>,
    /// Limits what each client reads from the database.
    pub reads: Arc<ClientQuota>,
    /// Limits the reads of each client that are in progress.
    pub read_gate: ClientGate,
    /// Limits the searches that run at a time, and so the connections to the database that they
    /// take.
    pub search_slots: Arc<Semaphore>,
    /// Limits the searches of each client that run at a time.
    pub search_gate: ClientGate,
    /// Limits the invalid tokens of each client.
    pub bad_tokens: Arc<ClientQuota>,
    /// Limits how often each client may sign in, or try to.
    pub logins: Arc<ClientQuota>,
    /// Limits what is changed by each token.
    pub edits: Arc<TokenQuota>,
    /// Heartbeat, lifetime and `retry` of streams.
    pub timing: StreamTiming,
    /// What all streams depend on.
    pub stream_deps: Arc<StreamDeps>,
    /// The most boards in one stream.
    pub boards_per_stream_max: usize,
    /// The names of this server, and the sites whose pages may write here.
    pub site: Site,
    /// Bounds of the REST addresses.
    pub rest: crate::config::RestSettings,
    /// How long tickets are valid.
    pub tickets: TicketTimes,
    /// The most tickets of one token.
    pub tickets_per_token_max: usize,
    /// How long sessions of browsers last, and how many there are.
    pub sessions: SessionBounds,
    /// Messages in a row that are refused, before a WebSocket is closed.
    pub bad_messages_max: usize,
    /// The most elements of a list in a header.
    pub list_elements_max: usize,
    /// The length of a query, in bytes, at most.
    pub query_bytes_max: usize,
    /// When this process began.
    pub started: Instant,
    /// Says when the server ends.
    pub drain: Drain,
    /// Counts requests and their refusals.
    pub requests: RequestMetrics,
    /// Whether every client may read the metrics.
    pub metrics_public: bool,
    /// Composes what `/readyz` reports.
    pub readiness: Readiness,
    /// The size of a request's body, in bytes, at most.
    pub body_bytes_max: usize,
    /// The time limit for a request's body to arrive.
    pub body_wait: Duration,
    /// Proxies whose forwarding headers are believed.
    pub trusted_proxies: Vec<IpNet>,
}

/// What the state depends on, besides the configuration.
#[derive(Debug)]
pub struct StateDeps<'a> {
    /// Reads and writes boards.
    pub boards: BoardService,
    /// Limits what each client uses.
    pub quotas: &'a Quotas,
    /// The template of a topic by itself.
    pub fragments: Fragments,
    /// Wakes streams at which nothing happens.
    pub wheel: TimerWheel,
    /// Composes what `/readyz` reports.
    pub readiness: Readiness,
    /// Counts streams and requests.
    pub metrics: &'a Metrics,
}

impl AppState {
    /// Composes the state from the configuration and the services.
    pub fn new(config: &Config, pages: Pages, deps: StateDeps<'_>) -> Self {
        let StateDeps {
            boards,
            quotas,
            fragments,
            wheel,
            readiness,
            metrics,
        } = deps;
        for format in StreamFormat::all() {
            metrics.streams.know(format.label());
        }
        let drain = readiness.drain().clone();
        let (gate, timing) = (
            ClientGate::of_streams(&config.limits),
            StreamTiming::new(&config.stream),
        );
        let stream_deps = StreamDeps {
            follower: boards.follower().clone(),
            drain: drain.clone(),
            gate: gate.clone(),
            timing,
            wheel,
            metrics: metrics.streams.clone(),
        };
        Self(Arc::new(AppStateInner {
            boards,
            default_board: pages.default_board().clone(),
            pages,
            topics_max: config.board.topics_max.get(),
            fragments: Arc::new(fragments),
            gate,
            quota: Arc::clone(&quotas.writes),
            reads: Arc::clone(&quotas.reads),
            read_gate: ClientGate::of_reads(&config.limits),
            search_slots: Arc::new(Semaphore::new(config.limits.searches_max.get())),
            search_gate: ClientGate::of_searches(&config.limits),
            bad_tokens: Arc::clone(&quotas.bad_tokens),
            logins: Arc::clone(&quotas.logins),
            edits: Arc::clone(&quotas.edits),
            timing,
            stream_deps: Arc::new(stream_deps),
            boards_per_stream_max: config.limits.boards_per_stream_max.get(),
            site: Site::new(config),
            rest: config.rest.clone(),
            tickets: config.tickets(),
            tickets_per_token_max: config.limits.tickets_per_token_max.get(),
            sessions: SessionBounds {
                age_max: config.session.age_max,
                per_token_max: config.limits.sessions_per_token_max.get(),
            },
            bad_messages_max: config.limits.bad_messages_max.get(),
            list_elements_max: config.limits.list_elements_max.get(),
            query_bytes_max: config.limits.query_bytes_max,
            started: Instant::now(),
            drain,
            requests: metrics.requests.clone(),
            metrics_public: config.metrics.public,
            readiness,
            body_bytes_max: config.limits.body_bytes_max,
            body_wait: config.limits.body_wait,
            trusted_proxies: config
                .limits
                .trusted_proxies
                .iter()
                .map(|network| (*network).into())
                .collect(),
        }))
    }
}

impl AppStateInner {
    /// Samples what this node is now, for metrics.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let follower = self.boards.follower();
        let (tokens, tickets) = self.boards.authenticator().active_tokens().in_use();
        let stale_for = follower
            .stale_since()
            .and_then(|since| (Utc::now() - since).to_std().ok());
        Figures {
            streams: self.gate.open(),
            streams_max: self.gate.max(),
            boards: self.boards.boards_in_memory(),
            database_reads: self.boards.database_reads(),
            connections: self.boards.connections(),
            published: follower.revision(),
            acknowledged: self.boards.acknowledged(),
            since_reading: follower.since_reading(),
            stale_for,
            stale_boards: follower.stale_boards().len(),
            tokens,
            tickets,
            log_lines_lost: self.readiness.log().all(),
        }
    }
}

impl AppState {
    /// Counts a read that reaches the database.
    ///
    /// # Errors
    /// 429, if the client has read too much.
    pub fn count_read(&self, request: &HttpRequest) -> Result<(), ApiError> {
        self.reads
            .take(ClientAddress::of(request, &self.trusted_proxies))
    }

    /// Counts a read that reaches the database, and begins it once it is the client's turn. It is
    /// in progress until the answer is sent.
    ///
    /// # Errors
    /// 429, if the client has read too much, or has too many reads in progress.
    pub async fn begin_read(&self, request: &HttpRequest) -> Result<(), ApiError> {
        self.count_read(request)?;
        self.wait_for_turn(request).await
    }

    /// Counts a read for each board that is not in memory, or that the caller may not read: the
    /// database is asked for those. So made-up boards and hidden ones count alike. If there are
    /// any, begins to read them, one after the other, once it is the client's turn; until what is
    /// returned is dropped.
    ///
    /// # Errors
    /// As [`begin_read`](Self::begin_read).
    pub async fn begin_unloaded<'b>(
        &self,
        request: &HttpRequest,
        caller: &Caller,
        boards: impl IntoIterator<Item = &'b BoardName>,
    ) -> Result<Option<EndsRead>, ApiError> {
        let mut unloaded = boards
            .into_iter()
            .filter(|board| !self.boards.is_at_hand(caller, board))
            .peekable();
        if unloaded.peek().is_none() {
            return Ok(None);
        }
        unloaded.try_for_each(|_| self.count_read(request))?;
        self.wait_for_turn(request).await?;
        Ok(Some(EndsRead))
    }

    /// Counts a read and begins it, if it need not wait for the client's turn. Returns whether
    /// it did.
    pub fn try_begin_read(&self, client: Option<ClientAddress>) -> bool {
        if self.reads.take(client).is_err() {
            return false;
        }
        if read_in_progress::current().is_none() {
            let Some(permit) = self.read_gate.enter(client) else {
                return false;
            };
            read_in_progress::begin(permit);
        }
        true
    }

    async fn wait_for_turn(&self, request: &HttpRequest) -> Result<(), ApiError> {
        // One that waits for a second turn could wait for itself.
        if read_in_progress::current().is_some() {
            return Ok(());
        }
        let client = ClientAddress::of(request, &self.trusted_proxies);
        let turn = self.read_gate.enter_in_turn(client, TURN_WAIT).await;
        read_in_progress::begin(turn.map_err(|_| ApiError::TOO_MANY_READS)?);
        Ok(())
    }
}

impl std::ops::Deref for AppState {
    type Target = AppStateInner;

    fn deref(&self) -> &AppStateInner {
        &self.0
    }
}
