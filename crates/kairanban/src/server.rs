//! The composition root: the only place that puts things together.

mod assembly;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use actix_web::{
    App,
    middleware::from_fn,
    web::{Data, QueryConfig},
};
use actix_web_lab::middleware::ConditionOption;
use tokio::time::sleep;

use crate::{
    config::Config,
    encode::Fragments,
    error::ApiError,
    exit::ExitError,
    http::{headers, origin, present, probes, query},
    limits::Quotas,
    net::{
        file_limit,
        listener::{self, Serving},
        request_clock::notify_clock,
    },
    readiness::Readiness,
    routes,
    service::BoardService,
    shutdown::{self, Drain},
    state::AppState,
    stream::{TimerWheel, WorkerDispatchers},
    supervise::Supervisor,
    telemetry::LogHealth,
};

pub use assembly::open_current_store;

/// Time limit for the rest of the process to end after the requests have.
const STOP_WAIT: Duration = Duration::from_secs(3);

/// A server that listens, and has yet to run.
pub struct ListeningServer {
    http: actix_web::dev::Server,
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
    /// Listens, migrates, and connects. Listens first, so that a server whose address is taken leaves nothing behind;
    /// clients that connect meanwhile wait.
    ///
    /// # Errors
    /// If the address is taken, or the database cannot be reached or migrated.
    pub fn build(config: &Config, log: LogHealth) -> Result<Self, ExitError> {
        let board = config.default_board()?;
        let config = &file_limit::fit(config)?;
        let listener = listener::listen(config.server.listen)
            .map_err(|error| cannot_listen(config.server.listen, &error))?;
        let address = listener.local_addr()?;
        let (drain, supervisor) = (Drain::new(config.server.drain), Supervisor::default());
        shutdown::outlive_hangups(&supervisor)?;
        let quotas = Quotas::new(&config.limits);
        let boards = assembly::open_service(config, &quotas, &supervisor)?;
        let fragments = Fragments::new(config.topic_template()?).map_err(bad_template)?;
        let wheel = turning_wheel(&boards, &drain, &supervisor);
        let readiness = Readiness::new(
            config,
            drain.clone(),
            boards.clone(),
            supervisor.clone(),
            log,
        );
        let state = AppState::new(config, board, boards, &quotas, fragments, wheel, readiness)
            .map_err(bad_template)?;
        let http = serve(listener, state, config, &supervisor)?;
        Ok(Self {
            http,
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

    /// Serves until `stop`, then drains: `/readyz` fails first, then streams end, requests finish, what is queued is
    /// written. A second signal ends it at once.
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
        if !supervisor.end(STOP_WAIT).await {
            tracing::warn!("some work was still going on at the end");
        }
        match lost.or_else(|| supervisor.has_lost()) {
            Some(name) => Err(ExitError::Failed(format!(
                "{name} ended, and cannot be started again; the log says why"
            ))),
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

fn serve(
    listener: TcpListener,
    state: AppState,
    config: &Config,
    supervisor: &Supervisor,
) -> Result<actix_web::dev::Server, ExitError> {
    let (cors, drain, supervisor) = (config.cors.clone(), state.drain.clone(), supervisor.clone());
    Ok(listener::serve(
        listener,
        move || {
            App::new()
                .app_data(Data::new(state.clone()))
                .app_data(WorkerDispatchers::new(supervisor.clone()))
                .app_data(QueryConfig::default().error_handler(|error, _| {
                    ApiError::Unreadable {
                        detail: error.to_string(),
                        path: Some("query".to_owned()),
                    }
                    .into()
                }))
                .wrap(from_fn(query::short_only))
                .wrap(from_fn(origin::same_site_only))
                .wrap(from_fn(origin::known_hosts_only))
                .wrap(ConditionOption::from(origin::sharing(&cors)))
                .wrap(from_fn(probes::probes_only))
                .wrap(headers::on_every_answer())
                .wrap(from_fn(present::problems))
                .wrap(from_fn(notify_clock))
                .configure(routes::configure)
        },
        Serving::new(config),
        &drain,
    )?)
}
