//! The composition root: the only place that puts things together.

mod assembly;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use actix_web::{App, HttpServer, middleware::from_fn, rt, web::Data};
use actix_web_lab::middleware::ConditionOption;
use tokio::time::sleep;

use crate::{
    config::Config,
    encode::Fragments,
    exit::ExitError,
    http::{
        error_responses, headers, metrics::measured, origin, probes, request_bounds,
        rest::openapi::DocumentFile, session,
    },
    limits::Quotas,
    metrics::{Build, Exposition, Metrics},
    net::{
        file_limit,
        listener::{self, Serving},
        request_clock::notify_clock,
    },
    readiness::Readiness,
    render::page::Pages,
    routes,
    service::BoardService,
    shutdown::{self, Drain},
    state::{AppState, StateDeps},
    stream::{TimerWheel, WorkerDispatchers},
    supervise::Supervisor,
    telemetry::LogHealth,
};

pub use assembly::open_current_store;

/// Time limit for the rest of the process to end after the requests have.
const STOP_WAIT: Duration = Duration::from_secs(3);

/// Connections at a time to the listener for metrics.
const METRICS_CONNECTIONS_MAX: usize = 16;

/// A server that listens, and has yet to run.
pub struct ListeningServer {
    http: actix_web::dev::Server,
    /// Serves metrics at an address of their own, if they have one.
    metrics: Option<actix_web::dev::Server>,
    address: SocketAddr,
    drain: Drain,
    drain_wait: Duration,
    /// Supervises what requests depend on; it ends after they have.
    supervisor: Supervisor,
}

fn cannot_listen(address: SocketAddr, error: &io::Error) -> ExitError {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "; another program listens there: end it, or choose another address with --listen"
        }
        io::ErrorKind::AddrNotAvailable => {
            "; this machine does not have that address: choose another with --listen"
        }
        io::ErrorKind::PermissionDenied => "; choose a port from 1024 on with --listen",
        _ => "",
    };
    ExitError::Failed(format!("cannot listen on {address}: {error}{advice}"))
}

impl ListeningServer {
    /// Listens, migrates, and connects. Listens first, so that a server whose address is taken
    /// leaves nothing behind; clients that connect meanwhile wait.
    ///
    /// # Errors
    /// If the address is taken, or the database cannot be reached or migrated.
    pub fn build(config: &Config, log: LogHealth) -> Result<Self, ExitError> {
        let board = config.default_board()?;
        let config = &file_limit::fit(config)?;
        let listener = listener::listen(config.server.listen)
            .map_err(|error| cannot_listen(config.server.listen, &error))?;
        let address = listener.local_addr()?;
        let metrics_listener = metrics_listener(config)?;
        let (metrics, registry) = Metrics::new();
        let (drain, supervisor) = (
            Drain::new(config.server.drain),
            Supervisor::new(metrics.tasks.clone()),
        );
        shutdown::outlive_hangups(&supervisor)?;
        let quotas = Quotas::new(&config.limits);
        let boards = assembly::open_service(config, &quotas, &metrics, &supervisor)?;
        let fragments = Fragments::new(config.topic_template()?).map_err(bad_template)?;
        let wheel = turning_wheel(&boards, &drain, &supervisor);
        let readiness = Readiness::new(
            config,
            drain.clone(),
            boards.clone(),
            supervisor.clone(),
            log,
        );
        let build = Build::on(boards.database_kind());
        let deps = StateDeps {
            boards,
            quotas: &quotas,
            fragments,
            wheel,
            readiness,
            metrics: &metrics,
        };
        let pages = Pages::new(config.time_zone()?, board).map_err(bad_template)?;
        let state = AppState::new(config, pages, deps);
        let sampled = state.clone();
        let exposition = Exposition::new(registry, build, move || sampled.figures());
        let metrics_server = metrics_listener
            .map(|listener| serve_metrics(listener, exposition.clone(), config))
            .transpose()?;
        let http = serve(listener, state, exposition, config, &supervisor)?;
        Ok(Self {
            http,
            metrics: metrics_server,
            address,
            drain,
            drain_wait: config.server.drain_wait,
            supervisor,
        })
    }

    /// Returns the address on which it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`, then drains: `/readyz` fails first, then streams end, requests finish,
    /// what is queued is written. A second signal ends it at once.
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
    ) -> Result<(), ExitError> {
        let Self {
            mut http,
            metrics,
            drain,
            drain_wait,
            supervisor,
            ..
        } = self;
        let metrics = metrics.map(|server| (server.handle(), rt::spawn(server)));
        let is_lost = tokio::select! {
            served = &mut http => return Ok(served?),
            stopped = stop() => stopped.map(|()| false)?,
            _ = supervisor.lost() => true,
        };
        drain.announce();
        let drained = async {
            if !is_lost && !drain_wait.is_zero() {
                tracing::info!(
                    ?drain_wait,
                    "shutting down: /readyz fails, requests are still served"
                );
                sleep(drain_wait).await;
            }
            tracing::info!("ending: streams end, requests finish");
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
        if let Some((metrics, served)) = metrics {
            metrics.stop(false).await;
            // It lets go of what it samples.
            let _ = served.await;
        }
        if !supervisor.end(STOP_WAIT).await {
            tracing::warn!("some work was still going on at the end");
        }
        match supervisor.end_reason() {
            Some(reason) => Err(ExitError::Failed(reason)),
            None => {
                tracing::info!("ended");
                Ok(())
            }
        }
    }
}

fn bad_template(error: minijinja::Error) -> ExitError {
    ExitError::Failed(format!("{error:#}"))
}

fn turning_wheel(boards: &BoardService, drain: &Drain, supervisor: &Supervisor) -> TimerWheel {
    let wheel = TimerWheel::new();
    let (turning, drain, mut staleness) =
        (wheel.clone(), drain.clone(), boards.follower().staleness());
    let stop = supervisor.stop().clone();
    supervisor.task("wheel", async move || {
        turning.run(&drain, &mut staleness, &stop).await
    });
    wheel
}

/// Listens where metrics have an address of their own.
fn metrics_listener(config: &Config) -> Result<Option<TcpListener>, ExitError> {
    let Some(address) = config.metrics_address()? else {
        return Ok(None);
    };
    let listener = listener::listen(address).map_err(|error| cannot_listen(address, &error))?;
    tracing::info!(address = %listener.local_addr()?, "serving /metrics");
    Ok(Some(listener))
}

/// Serves metrics, and nothing else, to every client that reaches the listener.
fn serve_metrics(
    listener: TcpListener,
    exposition: Exposition,
    config: &Config,
) -> Result<actix_web::dev::Server, ExitError> {
    let server = HttpServer::new(move || {
        App::new()
            .app_data(Data::new(exposition.clone()))
            .configure(routes::configure_metrics)
    });
    Ok(server
        .workers(1)
        .max_connections(METRICS_CONNECTIONS_MAX)
        .client_request_timeout(config.limits.head_wait)
        .disable_signals()
        .listen(listener)?
        .run())
}

fn serve(
    listener: TcpListener,
    state: AppState,
    exposition: Exposition,
    config: &Config,
    supervisor: &Supervisor,
) -> Result<actix_web::dev::Server, ExitError> {
    let (cors, drain, supervisor) = (config.cors.clone(), state.drain.clone(), supervisor.clone());
    let streams = state.stream_deps.metrics.clone();
    let requests = state.requests.clone();
    let document = Data::new(DocumentFile::default());
    Ok(listener::serve(
        listener,
        move || {
            App::new()
                .app_data(Data::new(state.clone()))
                .app_data(Data::new(exposition.clone()))
                .app_data(document.clone())
                .app_data(WorkerDispatchers::new(supervisor.clone(), streams.clone()))
                .wrap(from_fn(request_bounds::readable_only))
                .wrap(from_fn(origin::same_site_only))
                .wrap(from_fn(origin::known_hosts_only))
                .wrap(ConditionOption::from(origin::sharing(&cors)))
                .wrap(from_fn(probes::probes_only))
                .wrap(headers::on_every_answer())
                .wrap(from_fn(error_responses::problems))
                .wrap(from_fn(session::keep_private))
                .wrap(from_fn(measured))
                .wrap(from_fn(notify_clock))
                .configure(routes::configure)
        },
        Serving::new(config, requests),
        &drain,
    )?)
}
