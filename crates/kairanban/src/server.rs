//! The composition root: the only place that puts things together.

use std::{
    future::{Future as _, poll_fn},
    io,
    net::{SocketAddr, TcpListener},
    num::NonZero,
    sync::Arc,
    task::Poll,
    thread::{JoinHandle, available_parallelism},
    time::Duration,
};

use actix_http::{HttpService, Protocol};
use actix_service::{IntoServiceFactory as _, Service as _, apply_fn_factory, map_config};
use actix_web::{
    App,
    dev::{AppConfig, Extensions},
    middleware::from_fn,
    rt::net::TcpStream,
    web::{Data, QueryConfig},
};
use actix_web_lab::middleware::ConditionOption;
use kairanban_core::Hub;
use kairanban_store::{Store, StoreError, Writer};
use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};
use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    archiver::{self, Archiver},
    auth::{HeldTokens, TokenFinder, finder},
    backplane::{Backplane, Ways},
    bulletin::{self, Bulletin, HighWater},
    cli::CliError,
    config::Config,
    connection::Connection,
    data_version,
    error::ApiError,
    follower::{self, Follower, Wake},
    housekeeping::{Bounds, Housekeeping},
    http::{headers, origin, present},
    limits::Quotas,
    render::fragments::Fragments,
    routes,
    shared_snapshots::{Loader, Redis, Seal},
    shutdown::Drain,
    start,
    state::AppState,
    stream::{Rounds, Wheel},
};

/// Connections that the system holds until they are accepted: readers come back in crowds.
const BACKLOG: i32 = 4_096;
/// Connections for everything that is no stream.
const OTHER_CONNECTIONS: usize = 1_024;
/// What the process needs files for besides connections.
const OTHER_FILES: u64 = 256;
/// For a client to take the end of what it was sent.
const DISCONNECT_WAIT: Duration = Duration::from_secs(1);
/// For the rest of the process to end after the requests have.
const STOP_WAIT: Duration = Duration::from_secs(3);

/// A server that listens, and runs when asked to.
pub struct Server {
    http: actix_web::dev::Server,
    address: SocketAddr,
    drain: Drain,
    background: Background,
}

/// What requests live on; it ends after they have.
struct Background {
    stop: CancellationToken,
    tasks: TaskTracker,
    /// Ends when the last handle to the writer is dropped, its queue written.
    writing: JoinHandle<()>,
}

impl Server {
    /// Migrates, connects, and listens.
    ///
    /// # Errors
    /// If the database cannot be reached or migrated, or the address cannot be had.
    pub fn build(config: &Config) -> Result<Self, CliError> {
        let board = config.default_board()?;
        let drain = Drain::new(Duration::from_secs(config.server.drain_s));
        let quotas = Quotas::new(&config.limits);
        let (bulletin, background) = open_bulletin(config, &quotas)?;
        let failed = |error| CliError::Failed(format!("{error:#}"));
        let fragments = Fragments::new(config.topic_template()?).map_err(failed)?;
        let wheel = Wheel::new();
        let (staleness, stop) = (bulletin.following().staleness(), background.stop.clone());
        background.tasks.spawn(wheel.clone().turn(drain.clone(), staleness, stop));
        let state = AppState::new(config, board, bulletin, &quotas, fragments, drain.clone(), wheel).map_err(failed)?;
        raise_file_limit(config.limits.streams_max);
        let listener = listen(config.server.listen)
            .map_err(|error| CliError::Failed(format!("cannot listen on {}: {error}", config.server.listen)))?;
        let address = listener.local_addr()?;
        let http = serve(listener, state, config, &drain)?;
        Ok(Self { http, address, drain, background })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`, then drains: streams are told, requests finish, what is queued is
    /// written. A second signal ends it at once.
    ///
    /// # Errors
    /// If serving fails.
    pub async fn run_until<F>(self, stop: impl Fn() -> F) -> Result<(), CliError>
    where
        F: Future<Output = io::Result<()>>,
    {
        let Self { mut http, drain, background, .. } = self;
        tokio::select! {
            served = &mut http => return Ok(served?),
            stopped = stop() => stopped?,
        }
        tracing::info!("ending: streams are told, requests finish");
        drain.begin();
        tokio::select! {
            served = &mut http => served?,
            // Not by asking the HTTP server to hurry: it answers only once it has ended by itself.
            stopped = stop() => {
                stopped?;
                tracing::warn!("ending at once: requests are cut off");
            }
        }
        drop(http);
        background.end().await;
        tracing::info!("ended");
        Ok(())
    }
}

impl Background {
    async fn end(self) {
        let Self { stop, tasks, writing } = self;
        stop.cancel();
        tasks.close();
        let written = tokio::task::spawn_blocking(move || writing.join());
        if timeout(STOP_WAIT, async { tokio::join!(tasks.wait(), written) }).await.is_err() {
            tracing::warn!("some work was still going on at the end");
        }
    }
}

/// Puts together everything behind the bulletin, and starts the tasks it lives on.
fn open_bulletin(config: &Config, quotas: &Quotas) -> Result<(Bulletin, Background), CliError> {
    let failed = cannot_use_database(config);
    // Blocks, but nothing else runs yet.
    let store = open_store(config)?;
    let trimmed_to = HighWater::default();
    trimmed_to.raise(store.trimmed_to().map_err(&failed)?);
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let cache_ttl = Duration::from_secs(config.cache.ttl_s);
    let hub = Arc::new(Hub::new(config.board.topics_max.get(), config.stream.lag_max.get()));
    let (wake, backplane, acknowledged) = (Wake::default(), Backplane::default(), HighWater::default());
    let ways = ways(config)?;
    let loader = Loader::new(store.clone(), ways.redis.clone());
    let (archiver, overfull) = Archiver::new();
    let held = HeldTokens::default();
    let (finder, inquiries) = TokenFinder::new(store.clone());
    let (follower, following, own_commits) = Follower::new(follower::Surroundings {
        store: store.clone(),
        loader: loader.clone(),
        hub: Arc::clone(&hub),
        held: held.clone(),
        wake: wake.clone(),
        archiver,
        acknowledged: acknowledged.clone(),
        poll: Duration::from_millis(config.database.poll_ms.get()),
    })
    .map_err(&failed)?;
    let on_commit = bulletin::on_commit(acknowledged.clone(), own_commits, backplane.clone());
    let (writer, writing) = Writer::start(store.clone(), config.writer(), on_commit)?;
    let housekeeping = Housekeeping {
        store: store.clone(),
        hub: Arc::clone(&hub),
        following: following.clone(),
        trimmed_to: trimmed_to.clone(),
        quotas: quotas.clone(),
        cache_ttl,
        bounds: Bounds::new(config),
    };
    tasks.spawn(follower.run(stop.clone()));
    tasks.spawn(archiver::run(store.clone(), overfull, stop.clone()));
    tasks.spawn(housekeeping.run(stop.clone()));
    tasks.spawn(finder::run(store.clone(), inquiries, stop.clone()));
    data_version::watch(store.clone(), wake.clone(), stop.clone())?;
    backplane.start(ways, &following.epoch(), &wake, &tasks, &stop);
    let write_wait = Duration::from_millis(config.database.write_wait_ms.get());
    let undo = config.undo();
    let parts = bulletin::Parts {
        store,
        loader,
        hub,
        writer,
        following,
        held,
        finder,
        acknowledged,
        trimmed_to,
        cache_ttl,
        write_wait,
        undo,
    };
    Ok((Bulletin::new(parts), Background { stop, tasks, writing }))
}

fn ways(config: &Config) -> Result<Ways, CliError> {
    let (postgres, redis) = config.backplane_addresses()?;
    let ttl = Duration::from_secs(config.backplane.snapshot_ttl_s.get());
    let seal = Seal::new(config.backplane.redis_key.expose(), config.backplane.snapshot_bytes_max.get());
    if redis.is_some() && !seal.is_signed() {
        tracing::warn!("without backplane.redis_key boards that need a token are not shared in Redis");
    }
    let redis = redis.map(|client| Redis::new(client, ttl, seal)).transpose();
    Ok(Ways { postgres, redis: redis.map_err(|error| CliError::Failed(error.to_string()))? })
}

/// Connects to a database that [`start::prepare`] found good. Blocks.
///
/// # Errors
/// If the configuration is wrong, or the database cannot be reached.
pub fn open_store(config: &Config) -> Result<Store, CliError> {
    start::prepare(config)?;
    let store = Store::open(config.store()?).map_err(cannot_use_database(config))?;
    if store.is_pooled() {
        tracing::info!("a transaction pooler stands before Postgres; every reading is a transaction");
    }
    start::compare_default_board(config, &store).map_err(cannot_use_database(config))?;
    Ok(store)
}

fn cannot_use_database(config: &Config) -> impl Fn(StoreError) -> CliError {
    let address = config.address().map(|address| address.to_string()).unwrap_or_default();
    move |error| CliError::Failed(format!("cannot use the database {address}: {error}"))
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // A restart must not wait until the connections of the one before are forgotten. On Windows
    // the option would let two programs share the address.
    socket.set_reuse_address(cfg!(unix))?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn serve(listener: TcpListener, state: AppState, config: &Config, drain: &Drain) -> Result<actix_web::dev::Server, CliError> {
    let drained = drain.clone();
    let stall = Duration::from_secs(config.stream.stall_s.get());
    let cors = config.cors.clone();
    let app = move || {
        App::new()
            .app_data(Data::new(state.clone()))
            .app_data(Rounds::default())
            .app_data(QueryConfig::default().error_handler(|error, _| {
                ApiError::Unreadable { detail: error.to_string(), path: Some("query".to_owned()) }.into()
            }))
            .wrap(from_fn(origin::same_site_only))
            .wrap(ConditionOption::from(origin::sharing(&cors)))
            .wrap(headers::on_every_answer())
            .wrap(from_fn(present::problems))
            .configure(routes::configure)
    };
    let address = listener.local_addr()?;
    let (head_wait, detached) = (Duration::from_secs(config.limits.head_wait_s.get()), config.stream.detached);
    let ending = drain.clone();
    let connections = move || {
        let ending = ending.clone();
        let http = HttpService::build()
            // A client that closed its side is gone; otherwise it would be noticed at the next heartbeat.
            .h1_allow_half_closed(false)
            .client_request_timeout(head_wait)
            .client_disconnect_timeout(DISCONNECT_WAIT)
            // So that a connection that waits for its next request does not hold up the end.
            .graceful_shutdown_signal(move || {
                let drain = ending.clone();
                async move { drain.begun().await }
            })
            .local_addr(address)
            .on_connect_ext(move |connection: &Connection, data: &mut Extensions| {
                if detached {
                    data.insert(connection.clone());
                }
            })
            .finish(map_config(app().into_factory(), |()| AppConfig::default()));
        apply_fn_factory(http, move |socket: TcpStream, http| {
            watch_over(&socket, stall);
            let peer = socket.peer_addr().ok();
            let connection = Connection::new(socket);
            // In a box: its room is given back when actix is done, and only the successor's is kept.
            let mut served = Box::pin(http.call((connection.clone(), Protocol::Http1, peer)));
            async move {
                // Not until actix finds out that the socket is gone: a crowd that comes in would wait with all its buffers.
                let gone = |served| if connection.has_left() { Poll::Ready(Ok(())) } else { served };
                poll_fn(|cx| gone(served.as_mut().poll(cx))).await?;
                drop(served);
                if let Some(successor) = connection.successor() {
                    successor.await;
                }
                Ok(())
            }
        })
    };
    let workers = NonZero::new(config.server.workers).or_else(|| available_parallelism().ok()).map_or(1, NonZero::get);
    let http = actix_server::Server::build()
        .workers(workers)
        .max_concurrent_connections(config.limits.streams_max + OTHER_CONNECTIONS)
        .disable_signals()
        .shutdown_signal(async move { drained.begun().await })
        .shutdown_timeout(config.server.drain_s.max(1))
        .listen("http", listener, connections)?;
    Ok(http.run())
}

/// Lets the system close connections whose client takes nothing, or is gone without a word.
fn watch_over(socket: &TcpStream, stall: Duration) {
    let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(30)).with_interval(Duration::from_secs(10));
    let socket = SockRef::from(socket);
    // Where the system does not know one of these, the heartbeat still finds the dead.
    let _ = socket.set_tcp_keepalive(&keepalive);
    let _ = socket.set_tcp_nodelay(true);
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(stall));
    #[cfg(not(target_os = "linux"))]
    let _ = stall;
}

/// Asks for as many open files as the streams may need, and says so if that is not granted.
fn raise_file_limit(streams_max: usize) {
    let wanted = streams_max as u64 + OTHER_CONNECTIONS as u64 + OTHER_FILES;
    match rlimit::increase_nofile_limit(wanted) {
        Ok(granted) if granted >= wanted => {}
        Ok(granted) => tracing::warn!(granted, wanted, "the limit of open files is below what limits.streams_max needs"),
        Err(error) => tracing::warn!(%error, wanted, "cannot raise the limit of open files"),
    }
}
