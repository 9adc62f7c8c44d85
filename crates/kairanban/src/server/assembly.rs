//! Composes what serves requests: store, hub, writer, follower, and the tasks around them.

use std::sync::Arc;

use kairanban_core::Hub;
use kairanban_store::{OnWait, Store, StoreConfig, StoreError, Writer};

use crate::{
    archiver::{self, ArchiveRequests, Archiver},
    auth::{
        ActiveTokens, Authenticator, TokenFinder,
        finder::{self, TokenLookups},
    },
    backplane::{Backplane, BackplaneConfig},
    board_directory::BoardDirectory,
    board_finder::{self, AbsentBoards, BoardFinder, BoardLookups},
    board_loader::{BoardLoader, Reports},
    config::Config,
    data_version,
    exit::ExitError,
    follower::{Follower, FollowerDeps, Wake},
    high_water::HighWater,
    housekeeping::{Bounds, Housekeeping},
    last_seen,
    limits::Quotas,
    memory,
    metrics::Metrics,
    reconcile::{Reconcile, ReconcileBounds},
    service::{self, BoardService},
    shared_snapshots::{BoardSource, Redis, Seal},
    start,
    supervise::Supervisor,
};

/// Creates the board service with all that it needs, and starts its tasks. Blocks, but nothing else
/// runs yet.
///
/// # Errors
/// If the configuration is wrong, or the database cannot be reached.
pub fn open_service(
    config: &Config,
    quotas: &Quotas,
    metrics: &Metrics,
    supervisor: &Supervisor,
) -> Result<BoardService, ExitError> {
    let store = open_store(config, metrics)?;
    let (acknowledged, trimmed_to) = (HighWater::default(), HighWater::default());
    let hub = new_hub(config);
    let (wake, backplane) = (Wake::new(metrics.follower.clone()), Backplane::default());
    let transports = transports(config)?;
    let source = BoardSource::new(store.clone(), transports.redis.clone());
    let (loader, reports) = BoardLoader::new(source, Arc::clone(&hub), metrics.cache.clone());
    let (archiver, archive_requests) = Archiver::new();
    let active_tokens = ActiveTokens::new(config.limits.ended_tokens_max.get());
    let (token_finder, token_lookups) = TokenFinder::new(store.clone());
    let directory = BoardDirectory::new(config.cache.ttl);
    let absent = AbsentBoards::new(config.cache.absent, config.cache.absent_max.get());
    let empty_reads_per_s = config.limits.empty_reads_per_s;
    let (known, per_s) = (absent.clone(), empty_reads_per_s);
    let (finder, board_lookups) = BoardFinder::new(store.clone(), known, per_s);
    let deps = FollowerDeps {
        store: store.clone(),
        loader: loader.clone(),
        hub: Arc::clone(&hub),
        active_tokens: active_tokens.clone(),
        wake: wake.clone(),
        metrics: metrics.follower.clone(),
        archiver,
        acknowledged: acknowledged.clone(),
        trimmed_to: trimmed_to.clone(),
        poll: config.database.poll,
        retry_max: config.database.board_retry_max,
        absent: absent.clone(),
        directory: directory.clone(),
        empty_reads_per_s,
        reconcile: config.history.reconcile,
    };
    let last_seen = last_seen::read(&config.server.data_dir);
    let (follower, status, own_commits) = Follower::new(deps, last_seen.as_ref())
        .map_err(|error| cannot_use_database(config, error))?;
    let seen = acknowledged.clone();
    let on_commit =
        service::on_commit(seen, own_commits, backplane.clone(), metrics.writes.clone());
    let (writer, writing) = Writer::start(store.clone(), config.writer(), on_commit)?;
    supervisor.require_thread("writer", writing);
    let service = service::ServiceDeps {
        store: store.clone(),
        loader,
        hub,
        writer,
        metrics: metrics.writes.clone(),
        follower: status.clone(),
        authenticator: Authenticator::new(store.clone(), token_finder, active_tokens),
        finder,
        absent,
        directory,
        acknowledged,
        trimmed_to,
        cache_ttl: config.cache.ttl,
        write_wait: config.database.write_wait,
        undo: config.history.undo,
    };
    let lookups = (token_lookups, board_lookups);
    start_serving_tasks(&store, follower, archive_requests, lookups, supervisor);
    start_upkeep_tasks(config, &service, reports, (quotas, metrics), supervisor);
    data_version::start(store, wake.clone(), supervisor)?;
    backplane.start(transports, &status.epoch(), &wake, supervisor);
    Ok(BoardService::new(service))
}

fn new_hub(config: &Config) -> Arc<Hub> {
    let (topics_max, lag_max) = (config.board.topics_max, config.stream.lag_max);
    Arc::new(Hub::new(topics_max.get(), lag_max.get()))
}

/// Starts the tasks that requests and streams wait for.
fn start_serving_tasks(
    store: &Store,
    mut follower: Follower,
    mut archive_requests: ArchiveRequests,
    (mut token_lookups, mut board_lookups): (TokenLookups, BoardLookups),
    supervisor: &Supervisor,
) {
    let stop = supervisor.stop().clone();
    supervisor.task("follower", async move || follower.run(&stop).await);
    let (archiving, stop) = (store.clone(), supervisor.stop().clone());
    supervisor.task("archiver", async move || {
        archiver::run(&archiving, &mut archive_requests, &stop).await
    });
    let (finding, stop) = (store.clone(), supervisor.stop().clone());
    supervisor.task("token-finder", async move || {
        finder::run(&finding, &mut token_lookups, &stop).await
    });
    let (finding, stop) = (store.clone(), supervisor.stop().clone());
    supervisor.task("board-finder", async move || {
        board_finder::run(&finding, &mut board_lookups, &stop).await
    });
}

/// Starts the tasks that no request waits for.
fn start_upkeep_tasks(
    config: &Config,
    service: &service::ServiceDeps,
    reports: Reports,
    (quotas, metrics): (&Quotas, &Metrics),
    supervisor: &Supervisor,
) {
    let mut reconcile = Reconcile::new(
        service.store.clone(),
        service.loader.clone(),
        Arc::clone(&service.hub),
        service.follower.clone(),
        reports,
        ReconcileBounds {
            interval: config.history.reconcile,
            compared_max: config.history.compared_boards_max,
            folder: config.server.data_dir.clone(),
        },
    );
    let stop = supervisor.stop().clone();
    supervisor.task("reconcile", async move || reconcile.run(&stop).await);
    let stop = supervisor.stop().clone();
    supervisor.task("memory", async move || memory::run(&stop).await);
    let housekeeping = Housekeeping {
        store: service.store.clone(),
        hub: Arc::clone(&service.hub),
        follower: service.follower.clone(),
        trimmed_to: service.trimmed_to.clone(),
        quotas: quotas.clone(),
        metrics: metrics.cache.clone(),
        cache_ttl: service.cache_ttl,
        bounds: Bounds::new(config),
    };
    let stop = supervisor.stop().clone();
    supervisor.task("housekeeping", async move || housekeeping.run(&stop).await);
    let (folder, every) = (config.server.data_dir.clone(), config.history.last_seen);
    let (mut seen, stop) = (service.follower.positions(), supervisor.stop().clone());
    supervisor.task("last-seen", async move || {
        last_seen::run(&folder, &mut seen, every, &stop).await
    });
}

/// Creates the transports between the processes.
fn transports(config: &Config) -> Result<BackplaneConfig, ExitError> {
    let (postgres, redis) = config.backplane_addresses()?;
    let ttl = config.backplane.snapshot_ttl;
    let seal = Seal::new(
        config.backplane.redis_key.expose(),
        config.backplane.snapshot_bytes_max.get(),
    );
    if redis.is_some() && !seal.is_signed() {
        tracing::warn!(
            "without backplane.redis_key boards that need a token are not shared in Redis"
        );
    }
    let redis = redis
        .map(|client| Redis::new(client, ttl, seal))
        .transpose();
    let postgres = postgres.map(|url| (url.into(), config.timeouts()));
    Ok(BackplaneConfig {
        postgres,
        redis: redis.map_err(|error| ExitError::Failed(error.to_string()))?,
    })
}

/// Migrates the database if need be, and connects to it. Blocks.
///
/// # Errors
/// If the configuration is wrong, or the database cannot be reached.
pub fn open_store(config: &Config, metrics: &Metrics) -> Result<Store, ExitError> {
    start::prepare(config)?;
    let pool = metrics.pool.clone();
    connect(
        config,
        OnWait::new(move |wait, time| pool.waited(wait, time)),
    )
}

/// Connects to a database that a server uses, for a command beside it. Creates and migrates
/// nothing. Blocks.
///
/// # Errors
/// As [`open_store`], and if the database is missing or not at this version's schema.
pub fn open_current_store(config: &Config) -> Result<Store, ExitError> {
    start::require_current(config, "this command neither makes nor migrates one")?;
    let store = connect(config, OnWait::default())?;
    tracing::info!(database = %config.address()?, "connected");
    Ok(store)
}

fn connect(config: &Config, on_wait: OnWait) -> Result<Store, ExitError> {
    let store = StoreConfig {
        on_wait,
        ..config.store()?
    };
    let store = start::wait_while_locked(config, || Store::open(store.clone()))?;
    if store.is_pooled() {
        tracing::info!("a transaction pooler stands before Postgres; every read is a transaction");
    }
    start::compare_default_board(config, &store)
        .map_err(|error| cannot_use_database(config, error))?;
    Ok(store)
}

fn cannot_use_database(config: &Config, error: StoreError) -> ExitError {
    let address = match config.address() {
        Ok(address) => address,
        Err(error) => return error.into(),
    };
    let text = format!("cannot use the database {address}: {error}");
    start::not_usable(config, &address, text, error)
}
