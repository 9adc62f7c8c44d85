//! Opening a stream.

use std::{convert::Infallible, future::poll_fn, sync::Arc, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::{ConnectionType, Version, header},
    web::{Data, Path, Query},
};
use bytes::Bytes;
use futures_util::{future::LocalBoxFuture, stream};
use kairanban_core::{BoardName, StartAt, StartAtError};
use kairanban_store::StoreError;
use serde::Deserialize;

use crate::{
    error::ApiError,
    http::{accept, board_name, caller},
    limits::ClientAddress,
    net::hijack::{HijackBody, HijackableSocket},
    render::{Bye, Encoder, StreamFormat, payload_of},
    state::AppState,
    stream::{
        BoardStream, BoardWatch, Listener, MultiBoardStream, Reader, UpdateSource,
        WorkerDispatchers, send,
    },
    telemetry::Sparse,
};

/// At most one line in a second: every client that finds the database away connects again.
static OUTAGES: Sparse = Sparse::new(Duration::from_secs(1));

/// What may stand behind the `?`.
#[derive(Debug, Default, Deserialize)]
pub struct StreamQuery {
    format: Option<String>,
    last_event_id: Option<String>,
    #[serde(rename = "lastEventId")]
    last_event_id_camel: Option<String>,
    since: Option<String>,
    ticket: Option<String>,
    heartbeat: Option<String>,
    compress: Option<String>,
}

fn bad(name: &str, detail: &str) -> ApiError {
    ApiError::Unreadable {
        detail: detail.to_owned(),
        path: Some(name.to_owned()),
    }
}

/// `GET /topic_stream/`, as the tutorial has it.
///
/// # Errors
/// If the board is not there.
pub async fn get_topic_stream(
    request: HttpRequest,
    state: Data<AppState>,
    query: Query<StreamQuery>,
) -> Result<HttpResponse, ApiError> {
    open(
        &request,
        &state,
        &state.default_board,
        StreamFormat::Tutorial,
        &query,
    )
    .await
}

/// `GET /b/{board}/stream`
///
/// # Errors
/// If the board is not there, or the format is unknown.
pub async fn get_board_stream(
    request: HttpRequest,
    state: Data<AppState>,
    board: Path<String>,
    query: Query<StreamQuery>,
) -> Result<HttpResponse, ApiError> {
    let dialect = match query.format.as_deref() {
        None if accept::prefers_ndjson(&request) => StreamFormat::Ndjson,
        None => StreamFormat::List,
        Some(name) => StreamFormat::named(name).ok_or_else(|| {
            bad(
                "format",
                "the format is list, patch, html, html-list, turbo, raw or ndjson",
            )
        })?,
    };
    open(&request, &state, &board_name(&board)?, dialect, &query).await
}

/// `GET /stream?board=a&board=b`
///
/// # Errors
/// If one of the boards is not there, there are too many of them, or the query cannot be read.
pub async fn get_many_stream(
    request: HttpRequest,
    state: Data<AppState>,
    query: Query<Vec<(String, String)>>,
) -> Result<HttpResponse, ApiError> {
    let (boards, query) = many(query.into_inner(), state.boards_per_stream_max)?;
    let dialect = match query.format.as_deref() {
        None if accept::prefers_ndjson(&request) => StreamFormat::Ndjson,
        None | Some("list") => StreamFormat::List,
        Some("patch") => StreamFormat::Patch,
        Some("ndjson") => StreamFormat::Ndjson,
        Some(_) => {
            return Err(bad(
                "format",
                "the format of several boards is list, patch or ndjson",
            ));
        }
    };
    if !accept::allows(&request, dialect.media_type()) {
        return Err(ApiError::NotAcceptable);
    }
    let encoder = packed(encoder(&state, dialect, &query)?, &request, &query)?;
    let start = start(&request, &query)?;
    let refused = |reason| Ok(head(dialect, false).body(state.timing.refusal(&encoder, reason)));
    if state.drain.has_begun() {
        return refused(Bye::Shutdown);
    }
    let client = ClientAddress::of(&request, &state.trusted_proxies);
    let Some(permit) = state.gate.enter(client) else {
        return refused(Bye::Limit);
    };
    let caller = match caller::of(&request, &state).await {
        Err(ApiError::Unavailable { .. } | ApiError::NotWritten { .. }) => {
            return refused(Bye::Unavailable);
        }
        caller => caller?,
    };
    let (from, watches) = match state.bulletin.watch_many(&caller, &boards, start).await {
        Err(StoreError::Unavailable(_)) => return refused(Bye::Unavailable),
        found => found?,
    };
    let watches = boards
        .into_iter()
        .zip(watches)
        .map(|(board, watch)| BoardWatch { board, watch })
        .collect();
    let gzip = encoder.gzip;
    let open = MultiBoardStream::new(
        watches,
        from,
        encoder,
        Arc::clone(&state.stream_deps),
        Reader { caller, permit },
    );
    Ok(answer(&request, head(dialect, gzip), open).await)
}

/// The boards of a query, each once, and the rest of it.
fn many(
    pairs: Vec<(String, String)>,
    boards_max: usize,
) -> Result<(Vec<BoardName>, StreamQuery), ApiError> {
    let (mut boards, mut query) = (Vec::new(), StreamQuery::default());
    for (name, value) in pairs {
        let slot = match name.as_str() {
            "board" => {
                let board = board_name(&value)?;
                if !boards.contains(&board) {
                    boards.push(board);
                }
                continue;
            }
            "format" => &mut query.format,
            "last_event_id" => &mut query.last_event_id,
            "lastEventId" => &mut query.last_event_id_camel,
            "since" => &mut query.since,
            "heartbeat" => &mut query.heartbeat,
            "compress" => &mut query.compress,
            "ticket" => return Err(bad("ticket", "a ticket is for the stream of one board")),
            // As everywhere on streams: somebody's cache buster does no harm.
            _ => continue,
        };
        *slot = Some(value);
    }
    match boards.len() {
        0 => Err(bad("board", "say which boards: ?board=a&board=b")),
        count if count > boards_max => Err(bad(
            "board",
            &format!("a stream is of at most {boards_max} boards"),
        )),
        _ => Ok((boards, query)),
    }
}

/// Answers by a stream. Where the socket can be taken from actix it is, once the head and the first piece
/// are written; otherwise the stream is an ordinary body.
async fn answer(
    request: &HttpRequest,
    mut head: HttpResponseBuilder,
    mut open: impl UpdateSource,
) -> HttpResponse {
    let connection = request
        .conn_data::<HijackableSocket>()
        .filter(|_| request.version() == Version::HTTP_11);
    if let Some(connection) = connection {
        let first = payload_of(&poll_fn(|cx| open.poll_next(cx)).await.unwrap_or_default());
        let dispatchers = dispatchers(request);
        let successor = Box::new(move |socket| {
            Box::pin(send(open, socket, &dispatchers)) as LocalBoxFuture<'static, ()>
        });
        return head
            .force_close()
            .body(HijackBody::new(first, connection.clone(), successor));
    }
    let pieces = stream::unfold(
        Listener::new(open, &dispatchers(request)),
        |mut listener| async move {
            let chunks = listener.next().await?;
            Some((Ok::<Bytes, Infallible>(payload_of(&chunks)), listener))
        },
    );
    let mut response = head.streaming(Box::pin(pieces));
    if request.version() < Version::HTTP_11 {
        // Such a client knows no chunks: its body ends with the connection.
        response.head_mut().no_chunking(true);
        response
            .head_mut()
            .set_connection_type(ConnectionType::Close);
    }
    response
}

/// The dispatchers of the worker that serves the request.
pub(super) fn dispatchers(request: &HttpRequest) -> WorkerDispatchers {
    // Without, a stream goes its own.
    request.app_data().cloned().unwrap_or_default()
}

async fn open(
    request: &HttpRequest,
    state: &AppState,
    board: &BoardName,
    dialect: StreamFormat,
    query: &StreamQuery,
) -> Result<HttpResponse, ApiError> {
    if !accept::allows(request, dialect.media_type()) {
        return Err(ApiError::NotAcceptable);
    }
    let encoder = packed(encoder(state, dialect, query)?, request, query)?;
    let gzip = encoder.gzip;
    match begin(request, state, board, encoder, query).await? {
        Begun::Stream(stream) => Ok(answer(request, head(dialect, gzip), *stream).await),
        Begun::Refused(encoder, reason) => {
            Ok(head(dialect, false).body(state.timing.refusal(&encoder, reason)))
        }
    }
}

/// How a stream of `dialect` is spoken, as the query wants it.
pub(super) fn encoder(
    state: &AppState,
    dialect: StreamFormat,
    query: &StreamQuery,
) -> Result<Encoder, ApiError> {
    let visible_heartbeat = match query.heartbeat.as_deref() {
        None | Some("comment") => false,
        Some("event") => true,
        Some(_) => return Err(bad("heartbeat", "the heartbeat is a comment or an event")),
    };
    Ok(Encoder::new(
        dialect,
        visible_heartbeat,
        Arc::clone(&state.fragments),
    ))
}

/// The same within gzip, if the reader asks for that and takes it. Not unasked: proxies between would hold
/// back what they unpack.
fn packed(
    mut encoder: Encoder,
    request: &HttpRequest,
    query: &StreamQuery,
) -> Result<Encoder, ApiError> {
    encoder.gzip = match query.compress.as_deref() {
        None => false,
        Some("gzip") => accept::allows_gzip(request),
        Some(_) => return Err(bad("compress", "a stream can be compressed by gzip")),
    };
    Ok(encoder)
}

/// What came of opening a stream.
pub(super) enum Begun {
    /// It is open.
    Stream(Box<BoardStream>),
    /// It ends before it began, for now.
    Refused(Encoder, Bye),
}

/// Opens a stream: room, then leave, then the board.
///
/// # Errors
/// If it is refused for good.
pub(super) async fn begin(
    request: &HttpRequest,
    state: &AppState,
    board: &BoardName,
    encoder: Encoder,
    query: &StreamQuery,
) -> Result<Begun, ApiError> {
    let start = match start(request, query)? {
        // What is new is what comes.
        StartAt::List if encoder.dialect == StreamFormat::Raw && query.since.is_none() => {
            StartAt::Now
        }
        start => start,
    };
    if state.drain.has_begun() {
        return Ok(Begun::Refused(encoder, Bye::Shutdown));
    }
    let client = ClientAddress::of(request, &state.trusted_proxies);
    let Some(permit) = state.gate.enter(client) else {
        return Ok(Begun::Refused(encoder, Bye::Limit));
    };
    let unavailable = |cause: &str, encoder| {
        if let Some(suppressed) = OUTAGES.line() {
            tracing::warn!(%cause, %board, suppressed, "a stream was refused with 503");
        }
        Ok(Begun::Refused(encoder, Bye::Unavailable))
    };
    let caller = match caller::of_stream(request, state, board, query.ticket.as_deref()).await {
        Err(ApiError::Unavailable { cause } | ApiError::NotWritten { cause }) => {
            return unavailable(&cause, encoder);
        }
        caller => caller?,
    };
    let watch = match state.bulletin.watch(&caller, board, start).await {
        Err(StoreError::Unavailable(cause)) => return unavailable(&cause, encoder),
        watch => watch?,
    };
    let reader = Reader { caller, permit };
    Ok(Begun::Stream(Box::new(BoardStream::new(
        watch,
        encoder,
        Arc::clone(&state.stream_deps),
        reader,
    ))))
}

fn head(dialect: StreamFormat, gzip: bool) -> HttpResponseBuilder {
    let mut head = HttpResponse::Ok();
    head.content_type(dialect.media_type())
        .insert_header((header::CACHE_CONTROL, "no-cache, no-transform"))
        .insert_header((
            header::CONTENT_ENCODING,
            if gzip { "gzip" } else { "identity" },
        ))
        // nginx would hold events back until a buffer is full.
        .insert_header(("X-Accel-Buffering", "no"));
    head
}

/// Where the reader asks to begin. The header wins, also when it is empty: a browser that was told to forget its cursor sends
/// none. What stands for the header may be anything that a client was once sent, and is answered by `reset`; `since` is typed by
/// people.
///
/// # Errors
/// If `since` counts, and names no start.
fn start(request: &HttpRequest, query: &StreamQuery) -> Result<StartAt, ApiError> {
    let header = request
        .headers()
        .get("last-event-id")
        .map(|value| value.to_str().unwrap_or("?"));
    let last_event_id = header
        .or(query.last_event_id.as_deref())
        .or(query.last_event_id_camel.as_deref());
    if let Some(id) = last_event_id {
        return Ok(id.parse().unwrap_or(StartAt::Invalid));
    }
    let since = query.since.as_deref().unwrap_or_default();
    since
        .parse()
        .map_err(|error: StartAtError| bad("since", &format!("since: {error}")))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn the_header_wins_over_the_query() {
        let query = |text: &str| {
            Query::<StreamQuery>::from_query(text)
                .expect("a query")
                .into_inner()
        };
        let ask = |header: Option<&str>, text: &str| {
            let request = TestRequest::default();
            let request = header.into_iter().fold(request, |request, id| {
                request.insert_header(("Last-Event-ID", id))
            });
            match start(&request.to_http_request(), &query(text)) {
                Ok(StartAt::Cursor(cursor)) => cursor.to_string(),
                Ok(start) => format!("{start:?}").to_lowercase(),
                Err(error) => error.problem().status.to_string(),
            }
        };
        for (header, text, expected) in [
            (None, "", "list"),
            (Some("a-1"), "last_event_id=a-2", "a-1"),
            (Some(""), "last_event_id=a-2", "list"),
            (None, "last_event_id=a-2&lastEventId=a-3", "a-2"),
            (None, "lastEventId=a-2&since=a-3", "a-2"),
            (None, "since=a-3", "a-3"),
            (None, "since=now", "now"),
            (None, "since=earliest", "list"),
            (None, "since=10m", "ago(600s)"),
            (None, "since=", "list"),
            (Some("junk"), "", "invalid"),
            (None, "last_event_id=junk", "invalid"),
            (None, "lastEventId=junk", "invalid"),
            (None, "since=junk", "400"),
            (Some("a-1"), "since=junk", "a-1"),
        ] {
            assert_eq!(ask(header, text), expected, "{header:?} {text}");
        }
    }
}
