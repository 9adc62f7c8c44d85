//! The composition root: the only place that puts things together.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use actix_web::{
    App,
    middleware::from_fn,
    web::{Data, QueryConfig},
};
use actix_web_lab::middleware::ConditionOption;
use kairanban_core::Hub;
use kairanban_store::{Store, StoreError, Writer};
use tokio::time::sleep;

use crate::{
    archiver::{self, Archiver},
    auth::{HeldTokens, TokenFinder, finder},
    backplane::{Backplane, Ways},
    bulletin::{self, Bulletin, HighWater},
    cli::CliError,
    config::Config,
    data_version,
    error::ApiError,
    follower::{self, Follower, Following, Wake},
    housekeeping::{Bounds, Housekeeping},
    http::{headers, origin, present},
    last_seen,
    limits::Quotas,
    memory,
    net::{
        listener::{self, Serving},
        request_clock::tell_clock,
    },
    readiness::Readiness,
    reconcile::{Reconcile, Reconciler},
    render::fragments::Fragments,
    routes,
    shared_snapshots::{Loader, Redis, Seal},
    shutdown::{self, Drain},
    start,
    state::AppState,
    stream::{Rounds, Wheel},
    supervise::Supervisor,
    telemetry::LogHealth,
};

/// For the rest of the process to end after the requests have.
const STOP_WAIT: Duration = Duration::from_secs(3);

/// A server that listens, and runs when asked to.
pub struct Server {
    http: actix_web::dev::Server,
    address: SocketAddr,
    drain: Drain,
    drain_wait: Duration,
    /// Of what requests live on; it ends after they have.
    supervisor: Supervisor,
}

impl Server {
    /// Listens, migrates, and connects. The address is taken first, so that a server that cannot have it leaves nothing
    /// behind; clients that come meanwhile wait.
    ///
    /// # Errors
    /// If the address cannot be had, or the database cannot be reached or migrated.
    pub fn build(config: &Config, log: LogHealth) -> Result<Self, CliError> {
        let board = config.default_board()?;
        let cannot_listen = |error| {
            CliError::Failed(format!(
                "cannot listen on {}: {error}",
                config.server.listen
            ))
        };
        let listener = listener::listen(config.server.listen).map_err(cannot_listen)?;
        let address = listener.local_addr()?;
        let (drain, supervisor) = (
            Drain::new(Duration::from_secs(config.server.drain_s)),
            Supervisor::default(),
        );
        shutdown::outlive_hangups(&supervisor)?;
        let quotas = Quotas::new(&config.limits);
        let bulletin = open_bulletin(config, &quotas, &supervisor)?;
        let failed = |error| CliError::Failed(format!("{error:#}"));
        let fragments = Fragments::new(config.topic_template()?).map_err(failed)?;
        let wheel = turning_wheel(&bulletin, &drain, &supervisor);
        let readiness = Readiness::new(
            config,
            drain.clone(),
            bulletin.clone(),
            supervisor.clone(),
            log,
        );
        let state = AppState::new(
            config, board, bulletin, &quotas, fragments, wheel, readiness,
        )
        .map_err(failed)?;
        let http = serve(listener, state, config, &supervisor)?;
        Ok(Self {
            http,
            address,
            drain,
            drain_wait: Duration::from_secs(config.server.drain_wait_s),
            supervisor,
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`, then drains: `/readyz` says no first, then streams are told, requests finish, what is queued
    /// is written. A second signal ends it at once.
    ///
    /// # Errors
    /// If serving fails, or something ended that cannot be started again.
    #[expect(
        clippy::cognitive_complexity,
        reason = "each log line expands to branches, which count"
    )]
    pub async fn run_until(
        self,
        mut stop: impl AsyncFnMut() -> io::Result<()>,
    ) -> Result<(), CliError> {
        let Self {
            mut http,
            drain,
            drain_wait,
            supervisor,
            ..
        } = self;
        let lost = tokio::select! {
            served = &mut http => return Ok(served?),
            stopped = stop() => stopped.map(|()| None)?,
            name = supervisor.lost() => Some(name),
        };
        drain.announce();
        let drained = async {
            if lost.is_none() && !drain_wait.is_zero() {
                tracing::info!(
                    ?drain_wait,
                    "will end: /readyz says so, all else goes on meanwhile"
                );
                sleep(drain_wait).await;
            }
            tracing::info!("ending: streams are told, requests finish");
            drain.begin();
            (&mut http).await
        };
        tokio::select! {
            served = drained => served?,
            // Not by asking the HTTP server to hurry: it answers only once it has ended by itself.
            stopped = stop() => {
                stopped?;
                tracing::warn!("ending at once: requests are cut off");
            }
        }
        drop(http);
        if !supervisor.end(STOP_WAIT).await {
            tracing::warn!("some work was still going on at the end");
        }
        match lost.or_else(|| supervisor.has_lost()) {
            Some(name) => Err(CliError::Failed(format!(
                "{name} ended, and cannot be started again; the log says why"
            ))),
            None => {
                tracing::info!("ended");
                Ok(())
            }
        }
    }
}

fn turning_wheel(bulletin: &Bulletin, drain: &Drain, supervisor: &Supervisor) -> Wheel {
    let wheel = Wheel::new();
    let (turning, drain, mut staleness) = (
        wheel.clone(),
        drain.clone(),
        bulletin.following().staleness(),
    );
    let stop = supervisor.stop().clone();
    supervisor.task("wheel", async move || {
        turning.turn(&drain, &mut staleness, &stop).await
    });
    wheel
}

/// Puts together everything behind the bulletin, and starts the tasks it lives on.
fn open_bulletin(
    config: &Config,
    quotas: &Quotas,
    supervisor: &Supervisor,
) -> Result<Bulletin, CliError> {
    let failed = cannot_use_database(config);
    // Blocks, but nothing else runs yet.
    let store = open_store(config)?;
    let trimmed_to = HighWater::default();
    let cache_ttl = Duration::from_secs(config.cache.ttl_s);
    let hub = Arc::new(Hub::new(
        config.board.topics_max.get(),
        config.stream.lag_max.get(),
    ));
    let (wake, backplane, acknowledged) =
        (Wake::default(), Backplane::default(), HighWater::default());
    let ways = ways(config)?;
    let loader = Loader::new(store.clone(), ways.redis.clone());
    let (archiver, mut overfull) = Archiver::new();
    let held = HeldTokens::new(config.limits.ended_tokens_max.get());
    let (finder, mut inquiries) = TokenFinder::new(store.clone());
    let (reconciler, reports) = Reconciler::new();
    let around = follower::Surroundings {
        store: store.clone(),
        loader: loader.clone(),
        hub: Arc::clone(&hub),
        held: held.clone(),
        wake: wake.clone(),
        archiver,
        reconciler: reconciler.clone(),
        acknowledged: acknowledged.clone(),
        trimmed_to: trimmed_to.clone(),
        poll: Duration::from_millis(config.database.poll_ms.get()),
        retry_max: Duration::from_secs(config.database.board_retry_max_s.get()),
    };
    let last_seen = last_seen::read(&config.server.data_dir);
    let (mut follower, following, own_commits) =
        Follower::new(around, last_seen.as_ref()).map_err(&failed)?;
    let on_commit = bulletin::on_commit(acknowledged.clone(), own_commits, backplane.clone());
    let (writer, writing) = Writer::start(store.clone(), config.writer(), on_commit)?;
    supervisor.vital("writer", writing);
    let stop = || supervisor.stop().clone();
    let until = stop();
    supervisor.task("follower", async move || follower.run(&until).await);
    let (archiving, until) = (store.clone(), stop());
    supervisor.task("archiver", async move || {
        archiver::run(&archiving, &mut overfull, &until).await
    });
    let (finding, until) = (store.clone(), stop());
    supervisor.task("token-finder", async move || {
        finder::run(&finding, &mut inquiries, &until).await
    });
    let reconcile = Reconcile::new(
        store.clone(),
        loader.clone(),
        Arc::clone(&hub),
        following.clone(),
        reports,
        config.reconcile_interval(),
    );
    let housekeeping = Housekeeping {
        store: store.clone(),
        hub: Arc::clone(&hub),
        following: following.clone(),
        trimmed_to: trimmed_to.clone(),
        quotas: quotas.clone(),
        cache_ttl,
        bounds: Bounds::new(config),
    };
    keep_in_order(config, supervisor, &following, reconcile, housekeeping);
    data_version::start(store.clone(), wake.clone(), supervisor)?;
    backplane.start(ways, &following.epoch(), &wake, supervisor);
    Ok(Bulletin::new(bulletin::Parts {
        store,
        loader,
        hub,
        writer,
        following,
        held,
        finder,
        reconciler,
        acknowledged,
        trimmed_to,
        cache_ttl,
        write_wait: Duration::from_millis(config.database.write_wait_ms.get()),
        undo: config.undo(),
    }))
}

/// Starts the tasks that nothing waits for.
fn keep_in_order(
    config: &Config,
    supervisor: &Supervisor,
    following: &Following,
    mut reconcile: Reconcile,
    housekeeping: Housekeeping,
) {
    let until = supervisor.stop().clone();
    supervisor.task("reconcile", async move || reconcile.run(&until).await);
    let until = supervisor.stop().clone();
    supervisor.task("memory", async move || memory::run(&until).await);
    let until = supervisor.stop().clone();
    supervisor.task("housekeeping", async move || housekeeping.run(&until).await);
    let (folder, every, until) = (
        config.server.data_dir.clone(),
        config.last_seen_every(),
        supervisor.stop().clone(),
    );
    let mut seen = following.last_seen();
    supervisor.task("last-seen", async move || {
        last_seen::run(&folder, &mut seen, every, &until).await
    });
}

fn ways(config: &Config) -> Result<Ways, CliError> {
    let (postgres, redis) = config.backplane_addresses()?;
    let ttl = Duration::from_secs(config.backplane.snapshot_ttl_s.get());
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
    let postgres = postgres.map(|url| (url, config.timeouts()));
    Ok(Ways {
        postgres,
        redis: redis.map_err(|error| CliError::Failed(error.to_string()))?,
    })
}

/// Connects to a database that [`start::prepare`] found good. Blocks.
///
/// # Errors
/// If the configuration is wrong, or the database cannot be reached.
pub fn open_store(config: &Config) -> Result<Store, CliError> {
    start::prepare(config)?;
    let store = Store::open(config.store()?).map_err(cannot_use_database(config))?;
    if store.is_pooled() {
        tracing::info!(
            "a transaction pooler stands before Postgres; every reading is a transaction"
        );
    }
    start::compare_default_board(config, &store).map_err(cannot_use_database(config))?;
    Ok(store)
}

fn cannot_use_database(config: &Config) -> impl Fn(StoreError) -> CliError {
    let address = config
        .address()
        .map(|address| address.to_string())
        .unwrap_or_default();
    move |error| CliError::Failed(format!("cannot use the database {address}: {error}"))
}

fn serve(
    listener: TcpListener,
    state: AppState,
    config: &Config,
    supervisor: &Supervisor,
) -> Result<actix_web::dev::Server, CliError> {
    let (cors, drain, supervisor) = (config.cors.clone(), state.drain.clone(), supervisor.clone());
    let app = move || {
        App::new()
            .app_data(Data::new(state.clone()))
            .app_data(Rounds::new(supervisor.clone()))
            .app_data(QueryConfig::default().error_handler(|error, _| {
                ApiError::Unreadable {
                    detail: error.to_string(),
                    path: Some("query".to_owned()),
                }
                .into()
            }))
            .wrap(from_fn(origin::same_site_only))
            .wrap(ConditionOption::from(origin::sharing(&cors)))
            .wrap(headers::on_every_answer())
            .wrap(from_fn(present::problems))
            .wrap(from_fn(tell_clock))
            .configure(routes::configure)
    };
    Ok(listener::serve(
        listener,
        app,
        Serving::new(config),
        &drain,
    )?)
}
