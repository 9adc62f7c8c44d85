//! Admits a reader to a stream, or to a long poll, which takes the room of one. The only place that
//! decides this. For a stream: room first, then who asks, then the board.
//!
//! A stream that cannot be opened now is refused by a success that ends at once, because an
//! `EventSource` gives up for good on any other status; a WebSocket is refused by an error.

use std::time::Duration;

use actix_web::HttpRequest;
use kairanban_core::BoardName;

use crate::{
    auth::Caller,
    encode::Bye,
    error::ApiError,
    limits::{ClientAddress, read_in_progress::EndsRead},
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
    /// There is no room now; the client may come back. A stream says so with the one, and what has
    /// not begun with the other.
    Refused(Bye, ApiError),
}

/// How it is found out who asks for a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallerLookup {
    /// By nothing, or by a token or session: one query looks up those of all who ask at the moment.
    Shared,
    /// By a ticket, which takes a read of its own.
    Counted,
}

/// Admits a reader of `boards` to a stream. `caller` finds out who asks, which is counted as
/// `lookup` says; `watch` finds what there is to read. Neither is asked if there is no room.
///
/// # Errors
/// If the reader is refused for good.
pub(super) async fn admit_stream<T>(
    request: &HttpRequest,
    state: &AppState,
    boards: &[BoardName],
    lookup: CallerLookup,
    caller: impl Future<Output = Result<Caller, ApiError>>,
    watch: impl AsyncFnOnce(&Caller, ReadQuota<'_>) -> Result<T, WatchError>,
) -> Result<Admission<T>, ApiError> {
    if state.drain.has_begun() {
        let cause = "the server is ending".to_owned();
        return Ok(Admission::Refused(
            Bye::Shutdown,
            ApiError::Unavailable { cause },
        ));
    }
    let connection = request.conn_data::<ConnectionPermit>();
    if connection.is_some_and(|connection| connection.probes_only().is_some()) {
        return Ok(no_room());
    }
    let client = ClientAddress::of(request, &state.trusted_proxies);
    let Some(permit) = state.gate.enter(client) else {
        return Ok(no_room());
    };
    if lookup == CallerLookup::Counted
        && let Err(error) = state.count_read(request)
    {
        return Ok(Admission::Refused(Bye::Limit, error));
    }
    let caller = match caller.await {
        Err(error) => return refuse(request, error),
        Ok(caller) => caller,
    };
    // Whatever is read, is read before the stream begins.
    let _ends = EndsRead;
    let _unloaded = match state.begin_unloaded(request, &caller, boards).await {
        Err(error) => return Ok(Admission::Refused(Bye::Limit, error)),
        Ok(unloaded) => unloaded,
    };
    match watch(&caller, &|| state.try_begin_read(client)).await {
        Err(WatchError::Store(error)) => refuse(request, error.into()),
        Err(WatchError::TooManyReads) => {
            Ok(Admission::Refused(Bye::Limit, ApiError::TOO_MANY_READS))
        }
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

const fn no_room<T>() -> Admission<T> {
    Admission::Refused(Bye::Limit, ApiError::TOO_MANY_STREAMS)
}

/// Refuses a reader for now while the database is away, and for good otherwise.
///
/// # Errors
/// With the error itself, unless it is an outage.
fn refuse<T>(request: &HttpRequest, error: ApiError) -> Result<Admission<T>, ApiError> {
    let Some(cause) = error.outage() else {
        return Err(error);
    };
    if let Some(suppressed) = REFUSED_STREAMS.allow() {
        let path = request.path();
        tracing::warn!(%cause, path, suppressed, "a stream was refused: the board cannot be read");
    }
    Ok(Admission::Refused(Bye::Unavailable, error))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use kairanban_store::StoreError;

    use super::*;

    #[test]
    fn a_reader_may_come_back_after_any_outage() {
        let request = TestRequest::default().to_http_request();
        let refused = |error: StoreError| refuse::<()>(&request, error.into());
        for outage in [
            StoreError::Unavailable("away".to_owned()),
            StoreError::Disconnected("lost".to_owned()),
        ] {
            let outcome = refused(outage);
            assert!(
                matches!(outcome, Ok(Admission::Refused(Bye::Unavailable, _))),
                "{:?}",
                outcome.err()
            );
        }
        for error in [StoreError::Closed, StoreError::Internal("a bug".to_owned())] {
            assert!(refused(error).is_err());
        }
    }
}
