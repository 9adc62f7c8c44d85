//! Handlers that open a stream of one board or of many.

use std::{convert::Infallible, future::poll_fn, sync::Arc};

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::{Method, Version, header},
    web::{Data, Path},
};
use futures_util::{StreamExt as _, stream};
use kairanban_core::BoardName;

use crate::{
    encode::{BoardsOfStream, Bye, Encoder, StreamFormat, pieces_of},
    error::ApiError,
    http::{
        accept,
        admission::{Admission, CallerLookup, admit_stream},
        board_name, caller,
        query::{self, Query},
        stream_query::{self, StreamQuery},
    },
    metrics::StreamEnd,
    net::{connection_gate::ConnectionPermit, hijack, request_clock::RequestClock},
    service::Watch,
    state::AppState,
    stream::{
        BoardStream, ChunkReceiver, MultiBoardStream, StreamReader, UpdateSource,
        WorkerDispatchers, send, sent,
    },
};

/// The address of the tutorial's stream.
pub const TUTORIAL: &str = "/topic_stream/";
/// Streams of several boards.
pub const OF_MANY: &str = "/stream";
/// Streams of one board.
pub const OF_ONE: &str = "/b/{board}/stream";
/// The addresses of all streams, as routes have them.
pub const ADDRESSES: [&str; 3] = [TUTORIAL, OF_MANY, OF_ONE];

/// Answers `GET /topic_stream/`, as the tutorial has it.
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

/// Answers `GET /b/{board}/stream`.
///
/// # Errors
/// If the board is not there, or the format is unknown.
pub async fn get_board_stream(
    request: HttpRequest,
    state: Data<AppState>,
    board: Path<String>,
    query: Query<StreamQuery>,
) -> Result<HttpResponse, ApiError> {
    let format = query.format(&request, BoardsOfStream::One)?;
    open(&request, &state, &board_name(&board)?, format, &query).await
}

/// Answers `GET /stream?board=a&board=b`.
///
/// # Errors
/// If one of the boards is not there, there are too many of them, or the query cannot be read.
pub async fn get_many_stream(
    request: HttpRequest,
    state: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    let pairs = query::pairs(request.query_string())?;
    let (boards, query) = stream_query::many(pairs, state.boards_per_stream_max)?;
    let format = query.format(&request, BoardsOfStream::Several)?;
    let admitted = async {
        let start = query.start(&request, format)?;
        let admitted = admit_stream(
            &request,
            &state,
            &boards,
            CallerLookup::Shared,
            caller::of(&request, &state),
            async |caller, take_read| {
                state
                    .boards
                    .watch_many(caller, &boards, start, take_read)
                    .await
            },
        );
        admitted.await
    };
    open_stream(
        &request,
        &state,
        format,
        &query,
        admitted,
        |watched, encoder, reader| {
            let (opening, subscriptions) = watched;
            let deps = Arc::clone(&state.stream_deps);
            MultiBoardStream::new(&opening, subscriptions, encoder, deps, reader)
        },
    )
    .await
}

async fn open(
    request: &HttpRequest,
    state: &AppState,
    board: &BoardName,
    format: StreamFormat,
    query: &StreamQuery,
) -> Result<HttpResponse, ApiError> {
    let admitted = admit_to_board(request, state, board, format, query);
    open_stream(
        request,
        state,
        format,
        query,
        admitted,
        |watch, encoder, reader| {
            BoardStream::new(watch, encoder, Arc::clone(&state.stream_deps), reader)
        },
    )
    .await
}

/// Answers with the stream that `new_stream` creates once its reader is admitted. If the client
/// does not accept the format, nothing is looked up.
async fn open_stream<T, S: UpdateSource>(
    request: &HttpRequest,
    state: &AppState,
    format: StreamFormat,
    query: &StreamQuery,
    admitted: impl Future<Output = Result<Admission<T>, ApiError>>,
    new_stream: impl FnOnce(T, Encoder, StreamReader) -> S,
) -> Result<HttpResponse, ApiError> {
    if !accept::allows(request, format.media_type()) {
        return Err(ApiError::NotAcceptable);
    }
    let encoder = query.packed_encoder(request, state, format)?;
    match admitted.await? {
        Admission::Open(reader, watched) => {
            let head = head(format, encoder.gzip);
            Ok(answer(request, head, new_stream(watched, encoder, reader)).await)
        }
        Admission::Refused(reason, _) => Ok(refusal(state, &encoder, reason)),
    }
}

/// Admits a reader to a stream of one board.
///
/// # Errors
/// If the reader is refused for good.
pub(super) async fn admit_to_board(
    request: &HttpRequest,
    state: &AppState,
    board: &BoardName,
    format: StreamFormat,
    query: &StreamQuery,
) -> Result<Admission<Watch>, ApiError> {
    let start = query.start(request, format)?;
    let ticket = query.ticket.as_deref();
    let lookup = match ticket {
        None => CallerLookup::Shared,
        Some(_) => CallerLookup::Counted,
    };
    let admitted = admit_stream(
        request,
        state,
        std::slice::from_ref(board),
        lookup,
        caller::of_stream(request, state, board, ticket),
        async |caller, take_read| state.boards.watch(caller, board, start, take_read).await,
    );
    admitted.await
}

fn refusal(state: &AppState, encoder: &Encoder, reason: Bye) -> HttpResponse {
    state.stream_deps.metrics.refused(reason.into());
    head(encoder.format, false)
        .force_close()
        .body(state.timing.refusal(encoder, reason))
}

/// Answers with a stream: on the socket itself if that can be taken from actix, or else as an
/// ordinary body.
async fn answer(
    request: &HttpRequest,
    mut head: HttpResponseBuilder,
    mut open: impl UpdateSource,
) -> HttpResponse {
    if request.method() == Method::HEAD {
        open.cut(StreamEnd::Head);
        // Without a length: that of a stream is not known.
        return head.streaming(stream::empty::<Result<bytes::Bytes, Infallible>>());
    }
    let dispatchers = dispatchers(request);
    if let Some(socket) = hijack::offered(request) {
        let first = poll_fn(|cx| open.poll_next(cx)).await.unwrap_or_default();
        open.metrics().others_sent(sent(&first));
        let first = pieces_of(&first);
        return hijack::hand_over(socket, head, first, move |socket| {
            send(open, socket, &dispatchers)
        });
    }
    if let Some(connection) = request.conn_data::<ConnectionPermit>() {
        connection.leave();
    }
    let clock = request.conn_data::<RequestClock>();
    let ends = clock.map(RequestClock::end_with_client);
    let pieces = stream::unfold(
        (ChunkReceiver::new(open, &dispatchers), ends),
        |(mut receiver, ends)| async move {
            let chunks = receiver.next().await?;
            Some((pieces_of(&chunks), (receiver, ends)))
        },
    );
    let pieces = pieces.flat_map(|pieces| stream::iter(pieces.into_iter().map(Ok)));
    let mut response = head
        .force_close()
        .streaming::<_, Infallible>(Box::pin(pieces));
    // A client of HTTP/1.0 knows no chunks: its body ends with the connection.
    let is_old = request.version() < Version::HTTP_11;
    response.head_mut().no_chunking(is_old);
    response
}

/// Returns the dispatchers of the worker that serves the request.
pub(super) fn dispatchers(request: &HttpRequest) -> WorkerDispatchers {
    // Without them a stream waits on its own subscription.
    request.app_data().cloned().unwrap_or_default()
}

fn head(format: StreamFormat, gzip: bool) -> HttpResponseBuilder {
    let mut head = HttpResponse::Ok();
    head.content_type(format.media_type())
        .insert_header((header::CACHE_CONTROL, "no-cache, no-transform"))
        .insert_header((header::VARY, "Accept, Accept-Encoding"))
        // nginx would hold events back until a buffer is full.
        .insert_header(("X-Accel-Buffering", "no"));
    if gzip {
        head.insert_header((header::CONTENT_ENCODING, "gzip"));
    }
    head
}
