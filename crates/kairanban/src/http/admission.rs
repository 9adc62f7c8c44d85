//! Admits a reader to a stream, or to a long poll, which takes the room of one. The only place that
//! decides this. For a stream: room first, then who asks, then the board.
//!
//! A stream that cannot be opened now is refused by a success that ends at once, because an
//! `EventSource` gives up for good on any other status; a WebSocket is refused by an error.

use std::time::Duration;

use actix_web::HttpRequest;
use kairanban_core::BoardName;
use kairanban_store::StoreError;

use crate::{
    auth::Caller,
    encode::Bye,
    error::ApiError,
    limits::{ClientAddress, reading::EndsReading},
    net::{
        connection_gate::ConnectionPermit,
        request_clock::{EndsWithClient, RequestClock},
    },
    service::{ReadQuota, WatchError},
    state::AppState,
    stream::StreamReader,
    telemetry::LogThrottle,
};

/// At most one line in a second: every client that finds the database away connects again.
static REFUSED_STREAMS: LogThrottle = LogThrottle::new(Duration::from_secs(1));

/// The outcome of asking for a stream.
pub(super) enum Admission<T> {
    /// The reader is admitted, to this.
    Open(StreamReader, T),
    /// There is no room now; the client may come back.
    Refused(Bye),
}

/// Admits a reader of `boards` to a stream. `caller` finds out who asks; `watch` finds what there
/// is to read. Neither is asked if there is no room.
///
/// # Errors
/// If the reader is refused for good.
pub(super) async fn admit_stream<T>(
    request: &HttpRequest,
    state: &AppState,
    boards: &[BoardName],
    caller: impl Future<Output = Result<Caller, ApiError>>,
    watch: impl AsyncFnOnce(&Caller, ReadQuota<'_>) -> Result<T, WatchError>,
) -> Result<Admission<T>, ApiError> {
    if state.drain.has_begun() {
        return Ok(Admission::Refused(Bye::Shutdown));
    }
    let connection = request.conn_data::<ConnectionPermit>();
    if connection.is_some_and(|connection| connection.probes_only().is_some()) {
        return Ok(Admission::Refused(Bye::Limit));
    }
    let client = ClientAddress::of(request, &state.trusted_proxies);
    let Some(permit) = state.gate.enter(client) else {
        return Ok(Admission::Refused(Bye::Limit));
    };
    let caller = match caller.await {
        Err(ApiError::Unavailable { cause } | ApiError::NotWritten { cause, .. }) => {
            return Ok(unavailable(request, &cause));
        }
        caller => caller?,
    };
    // Whatever is read, is read before the stream begins.
    let _ends = EndsReading;
    let Ok(_unloaded) = state.begin_unloaded(request, &caller, boards).await else {
        return Ok(Admission::Refused(Bye::Limit));
    };
    match watch(&caller, &|| state.try_begin_read(client)).await {
        Err(WatchError::Store(StoreError::Unavailable(cause))) => Ok(unavailable(request, &cause)),
        Err(WatchError::Store(error)) => Err(error.into()),
        Err(WatchError::TooManyReads) => Ok(Admission::Refused(Bye::Limit)),
        Ok(watched) => Ok(Admission::Open(StreamReader { caller, permit }, watched)),
    }
}

/// Admits a reader that waits for a newer list: it holds its connection as a stream does, so the
/// connection counts as one from now on. While what is returned lives, the wait ends with the
/// client.
///
/// # Errors
/// [`ApiError::TOO_MANY_STREAMS`], if there is no room.
pub(super) fn admit_long_poll(
    request: &HttpRequest,
    state: &AppState,
) -> Result<Option<EndsWithClient>, ApiError> {
    let client = ClientAddress::of(request, &state.trusted_proxies);
    let connection = request.conn_data::<ConnectionPermit>();
    if connection.is_some_and(|connection| !connection.become_stream(|| state.gate.enter(client))) {
        return Err(ApiError::TOO_MANY_STREAMS);
    }
    let clock = request.conn_data::<RequestClock>();
    Ok(clock.map(RequestClock::end_with_client))
}

fn unavailable<T>(request: &HttpRequest, cause: &str) -> Admission<T> {
    if let Some(suppressed) = REFUSED_STREAMS.allow() {
        let path = request.path();
        tracing::warn!(%cause, path, suppressed, "a stream was refused: the board cannot be read");
    }
    Admission::Refused(Bye::Unavailable)
}
