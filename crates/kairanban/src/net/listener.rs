//! Accepts connections and serves HTTP on them.

use std::{
    io::{self, Read as _},
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use actix_http::{HttpService, KeepAlive, Protocol, Request, Response};
use actix_service::{IntoServiceFactory, Service, ServiceFactory, apply_fn_factory, map_config};
use actix_web::{
    ResponseError as _,
    body::{BoxBody, MessageBody},
    dev::AppConfig,
    rt::net::TcpStream,
};
use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};

use crate::{
    config::Config,
    error::{ApiError, whole_seconds},
    metrics::RequestMetrics,
    net::{
        connection_gate::{ConnectionGate, refusal},
        file_limit::{UNCOUNTED_OF_WORKER, connections, worker_count},
        hijack::{self, ConnectionTask, HijackableSocket},
        request_clock::{RequestClock, TimeLimits},
    },
    shutdown::Drain,
};

/// Connections that the system queues until they are accepted: readers come back in crowds.
const BACKLOG: i32 = 4_096;
/// How long a client has to take the end of what it was sent.
const DISCONNECT_WAIT: Duration = Duration::from_secs(1);

/// Binds the address. Clients that connect from now on wait until [`serve`] is called.
///
/// # Errors
/// If the address cannot be bound.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // A restart must not wait until the system has dropped the connections of the process before.
    // On Windows the option would let two programs share the address.
    socket.set_reuse_address(cfg!(unix))?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// How connections are served.
#[derive(Clone, Debug)]
pub struct Serving {
    workers: usize,
    connections_per_worker: usize,
    drain: Duration,
    stall: Duration,
    detached: bool,
    limits: TimeLimits,
    gate: ConnectionGate,
    metrics: RequestMetrics,
}

impl Serving {
    /// Takes the settings of a server from its configuration. `metrics` count the connections that
    /// are refused.
    #[must_use]
    pub fn new(config: &Config, metrics: RequestMetrics) -> Self {
        let limits = TimeLimits {
            head: config.limits.head_wait,
            body: config.limits.body_wait,
            idle: config.limits.idle_wait,
        };
        let workers = worker_count(config);
        Self {
            workers,
            connections_per_worker: connections(&config.limits).div_ceil(workers)
                + UNCOUNTED_OF_WORKER,
            drain: config.server.drain,
            stall: config.stream.stall,
            detached: config.stream.detached,
            limits,
            gate: ConnectionGate::new(&config.limits),
            metrics,
        }
    }
}

/// Serves the application that `app` creates, until the server ends.
///
/// # Errors
/// If the listener cannot be used.
pub fn serve<F, I, S, B>(
    listener: TcpListener,
    app: F,
    serving: Serving,
    drain: &Drain,
) -> io::Result<actix_web::dev::Server>
where
    F: Fn() -> I + Send + Clone + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Error: Into<Response<BoxBody>> + 'static,
    S::InitError: std::fmt::Debug,
    S::Response: Into<Response<B>> + 'static,
    <S::Service as Service<Request>>::Future: 'static,
    B: MessageBody + 'static,
{
    let Serving {
        workers,
        connections_per_worker,
        drain: grace,
        stall,
        detached,
        limits,
        gate,
        metrics,
    } = serving;
    let address = listener.local_addr()?;
    let (drained, ending) = (drain.clone(), drain.clone());
    let server = actix_server::Server::build()
        .workers(workers)
        .max_concurrent_connections(connections_per_worker)
        .disable_signals()
        .shutdown_signal(async move { drained.begun().await })
        .shutdown_timeout(grace.as_secs().max(1))
        .listen("http", listener, move || {
            let (ending, gate, metrics) = (ending.clone(), gate.clone(), metrics.clone());
            let http = HttpService::build()
                // The connection's clock limits every request instead.
                .client_request_timeout(Duration::ZERO)
                .keep_alive(KeepAlive::Os)
                .client_disconnect_timeout(DISCONNECT_WAIT)
                // A connection that waits for its next request must not delay the end.
                .graceful_shutdown_signal(move || {
                    let drain = ending.clone();
                    async move { drain.begun().await }
                })
                .local_addr(address)
                .on_connect_ext(move |socket: &HijackableSocket, data| {
                    data.insert(socket.clock().clone());
                    data.insert(socket.permit().clone());
                    if detached {
                        hijack::offer(socket, data);
                    }
                })
                .finish(map_config(app().into_factory(), |()| AppConfig::default()));
            apply_fn_factory(http, move |socket: TcpStream, http| {
                let peer = socket.peer_addr().ok();
                let socket = match accept_socket(socket, &gate, limits, stall) {
                    Ok(socket) => socket,
                    Err(refused) => {
                        metrics.refused(refused.problem().code);
                        return ConnectionTask::Over;
                    }
                };
                let service = http.call((socket.clone(), Protocol::Http1, peer));
                ConnectionTask::serve(socket, service)
            })
        })?;
    Ok(server.run())
}

/// Accepts a socket, or reports to the client why not.
fn accept_socket(
    socket: TcpStream,
    gate: &ConnectionGate,
    limits: TimeLimits,
    stall: Duration,
) -> Result<HijackableSocket, ApiError> {
    let peer = socket.peer_addr().ok().map(|peer| peer.ip());
    let permit = gate.enter(peer).map_err(|reason| {
        let refused = refusal(reason);
        refuse(&socket, &refused);
        refused
    })?;
    watch_over(&socket, stall);
    let limits = match permit.probes_only() {
        None => limits,
        Some(_) => limits.of_a_moment(),
    };
    let clock = RequestClock::new(limits);
    Ok(HijackableSocket::new(socket, clock, permit))
}

/// Reports why there is no room, if the system takes the bytes at once; otherwise the client is
/// only disconnected.
fn refuse(socket: &TcpStream, error: &ApiError) {
    let socket = SockRef::from(socket);
    let _ = socket.send(answer(error).as_bytes());
    // Bytes that are unread when a socket is closed may keep the client from reading what it was
    // sent.
    let _ = (&*socket).read(&mut [0; 4_096]);
}

/// Returns an error as the answer to a request that is not read.
fn answer(error: &ApiError) -> String {
    let (status, sentence) = (error.status_code(), error.to_string());
    let retry = error.retry_after().map_or(0, whole_seconds);
    let length = sentence.len() + 1;
    format!(
        "HTTP/1.1 {status}\r\nRetry-After: {retry}\r\nConnection: close\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n\r\n{sentence}\n"
    )
}

/// Makes the system close connections whose client takes nothing (ADR 4), or is gone silently.
fn watch_over(socket: &TcpStream, stall: Duration) {
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(30))
        .with_interval(Duration::from_secs(10));
    let socket = SockRef::from(socket);
    // Where the system lacks one of these options, the heartbeat still finds dead connections.
    let _ = socket.set_tcp_keepalive(&keepalive);
    let _ = socket.set_tcp_nodelay(true);
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(stall));
    #[cfg(not(target_os = "linux"))]
    let _ = stall;
}
