//! Opening a stream.

use std::{convert::Infallible, future::poll_fn, sync::Arc, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::{ConnectionType, Version, header},
    web::{Data, Path, Query},
};
use bytes::Bytes;
use futures_util::{future::LocalBoxFuture, stream};
use kairanban_core::BoardName;
use kairanban_store::StoreError;
use serde::Deserialize;

use crate::{
    encode::{Bye, Encoder, StreamFormat, payload_of},
    error::ApiError,
    http::{accept, board_name, caller},
    limits::ClientAddress,
    net::hijack::{HijackBody, HijackableSocket},
    service::Since,
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
    let format = match query.format.as_deref() {
        None if accept::prefers_ndjson(&request) => StreamFormat::Ndjson,
        None => StreamFormat::List,
        Some(name) => StreamFormat::named(name).ok_or_else(|| {
            bad(
                "format",
                "the format is list, patch, html, html-list, turbo, raw or ndjson",
            )
        })?,
    };
    open(&request, &state, &board_name(&board)?, format, &query).await
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
    let format = match query.format.as_deref() {
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
    if !accept::allows(&request, format.media_type()) {
        return Err(ApiError::NotAcceptable);
    }
    let encoder = packed(encoder(&state, format, &query)?, &request, &query)?;
    let refused = |reason| Ok(head(format, false).body(state.timing.refusal(&encoder, reason)));
    if state.drain.has_begun() {
        return refused(Bye::Shutdown);
    }
    let client = ClientAddress::of(&request, &state.trusted_proxies);
    let Some(permit) = state.gate.enter(client) else {
        return refused(Bye::Limit);
    };
    let caller = match caller::of(&request, &state).await {
        Err(ApiError::Unavailable { .. }) => return refused(Bye::Unavailable),
        caller => caller?,
    };
    let (from, watches) = match state
        .bulletin
        .watch_many(&caller, &boards, &since(&request, &query))
        .await
    {
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
    Ok(answer(&request, head(format, gzip), open).await)
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
    format: StreamFormat,
    query: &StreamQuery,
) -> Result<HttpResponse, ApiError> {
    if !accept::allows(request, format.media_type()) {
        return Err(ApiError::NotAcceptable);
    }
    let encoder = packed(encoder(state, format, query)?, request, query)?;
    let gzip = encoder.gzip;
    match begin(request, state, board, encoder, query).await? {
        Begun::Stream(stream) => Ok(answer(request, head(format, gzip), *stream).await),
        Begun::Refused(encoder, reason) => {
            Ok(head(format, false).body(state.timing.refusal(&encoder, reason)))
        }
    }
}

/// Builds the encoder of `format` with the options of the query.
pub(super) fn encoder(
    state: &AppState,
    format: StreamFormat,
    query: &StreamQuery,
) -> Result<Encoder, ApiError> {
    let visible_heartbeat = match query.heartbeat.as_deref() {
        None | Some("comment") => false,
        Some("event") => true,
        Some(_) => return Err(bad("heartbeat", "the heartbeat is a comment or an event")),
    };
    Ok(Encoder::new(
        format,
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
        Err(ApiError::Unavailable { cause }) => return unavailable(&cause, encoder),
        caller => caller?,
    };
    let since = match since(request, query) {
        // What is new is what comes.
        Since::Start if encoder.format == StreamFormat::Raw && query.since.is_none() => Since::Now,
        since => since,
    };
    let watch = match state.bulletin.watch(&caller, board, since).await {
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

fn head(format: StreamFormat, gzip: bool) -> HttpResponseBuilder {
    let mut head = HttpResponse::Ok();
    head.content_type(format.media_type())
        .insert_header((header::CACHE_CONTROL, "no-cache, no-transform"))
        .insert_header((
            header::CONTENT_ENCODING,
            if gzip { "gzip" } else { "identity" },
        ))
        // nginx would hold events back until a buffer is full.
        .insert_header(("X-Accel-Buffering", "no"));
    head
}

/// Where the reader says it stands. The header wins, also when it is empty: a browser that was
/// told to forget its place sends none.
fn since(request: &HttpRequest, query: &StreamQuery) -> Since {
    let header = request
        .headers()
        .get("last-event-id")
        .map(|value| value.to_str().unwrap_or("?"));
    let queried = query
        .last_event_id
        .as_deref()
        .or(query.last_event_id_camel.as_deref())
        .or(query.since.as_deref());
    match header.or(queried) {
        None | Some("" | "earliest") => Since::Start,
        Some("now") => Since::Now,
        Some(text) => {
            ago(text).unwrap_or_else(|| text.parse().map_or(Since::Invalid, Since::Cursor))
        }
    }
}

/// As in `10m`: seconds, minutes, hours or days ago.
fn ago(text: &str) -> Option<Since> {
    let unit_s = match text.bytes().last()? {
        b's' => 1,
        b'm' => 60,
        b'h' => 3_600,
        b'd' => 86_400,
        _ => return None,
    };
    let number = &text[..text.len() - 1];
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let count = number.parse::<u32>().ok().filter(|_| digits)?;
    Some(Since::Ago(Duration::from_secs(u64::from(count) * unit_s)))
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
            match since(&request.to_http_request(), &query(text)) {
                Since::Start => "start".to_owned(),
                Since::Now => "now".to_owned(),
                Since::Invalid => "invalid".to_owned(),
                Since::Cursor(cursor) => cursor.to_string(),
                Since::Ago(time) => format!("{} s ago", time.as_secs()),
            }
        };
        assert_eq!(ask(None, ""), "start");
        assert_eq!(ask(Some("a-1"), "last_event_id=a-2"), "a-1");
        assert_eq!(ask(Some(""), "last_event_id=a-2"), "start");
        assert_eq!(ask(None, "lastEventId=a-2&since=a-3"), "a-2");
        assert_eq!(ask(None, "since=a-3"), "a-3");
        assert_eq!(ask(None, "since=now"), "now");
        assert_eq!(ask(None, "since=earliest"), "start");
        assert_eq!(
            [
                ask(None, "since=10m"),
                ask(None, "since=2d"),
                ask(None, "since=0s")
            ],
            ["600 s ago", "172800 s ago", "0 s ago"]
        );
        for junk in [
            "abc",
            "m",
            "+1m",
            "1e3s",
            "99999999999d",
            "-1",
            "18446744073709551616",
            &"x".repeat(10_000),
        ] {
            assert_eq!(ask(Some(junk), ""), "invalid");
        }
    }
}
