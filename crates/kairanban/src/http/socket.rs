//! A board over a WebSocket: the lines of `ndjson` as frames, and posting on the same connection.

mod handshake;
mod inbound;
mod outbound;

use std::{future::Future, io, pin::Pin, sync::Arc, time::Duration};

use actix_web::{
    FromRequest as _, HttpRequest, HttpResponse, ResponseError as _, dev, rt,
    web::{Data, Path, Payload},
};
use actix_ws::{
    AggregatedMessage, AggregatedMessageStream, CloseCode, CloseReason, Closed, ProtocolError,
};
use bytes::Bytes;
use futures_util::future::OptionFuture;
use kairanban_core::{BoardName, IdempotencyKey, IdempotencyKeyError};
use serde::Deserialize;
use tokio::{
    task::yield_now,
    time::{Instant, sleep_until},
};

use inbound::{CheckedFrames, SocketWatch};
use outbound::{FrameSender, send_frames};

use crate::{
    auth::Caller,
    encode::{self, Chunk, StreamFormat},
    error::ApiError,
    http::{
        admission::Admission,
        board_name,
        body::{self, Draft},
        query::Query,
        stream_handlers::{admit_to_board, dispatchers},
        stream_query::StreamQuery,
    },
    limits::ClientAddress,
    net::{connection_gate::ConnectionPermit, request_clock::RequestClock},
    state::AppState,
    stream::{BoardStream, ChunkReceiver},
};

/// Rounds of pings without an answer after which a client counts as gone.
const SILENT_ROUNDS: u32 = 2;

/// What a client asks for.
#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase", deny_unknown_fields)]
pub enum Request {
    /// Create a topic.
    Create {
        /// The text of the topic.
        comment: String,
        /// Who says they wrote it.
        #[serde(default)]
        author: String,
        /// What the client calls this request; the same key leads to the same topic.
        key: Option<String>,
    },
}

/// Answers `GET /b/{board}/ws`
///
/// # Errors
/// If another site's page asks, the board is not there, or there is no room.
pub async fn get_board_socket(
    request: HttpRequest,
    state: Data<AppState>,
    board: Path<String>,
    query: Query<StreamQuery>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    // A browser asks no leave before it opens one of these, and it can post.
    if !state.site.is_from_trusted_page(request.headers()) {
        return Err(ApiError::CrossSite);
    }
    let board = board_name(&board)?;
    let format = StreamFormat::OF_SOCKETS;
    let encoder = query.encoder(&state, format)?;
    let (reader, admitted) = match admit_to_board(&request, &state, &board, format, &query).await? {
        Admission::Open(reader, admitted) => (reader, admitted),
        Admission::Refused(_, error) => return Err(error),
    };
    handshake::check(&request)?;
    let stream = BoardStream::new(admitted, encoder, Arc::clone(&state.stream_deps), reader);
    let client = ClientAddress::of(&request, &state.trusted_proxies);
    let watch = SocketWatch::default();
    let payload = watched(&request, payload, &state, watch.clone()).await;
    let bad_request = |error: actix_web::Error| ApiError::bad_request(error.to_string());
    let (response, _, messages) = payload
        .and_then(|payload| actix_ws::handle(&request, payload))
        .map_err(bad_request)?;
    let (response, output) = send_frames(response);
    if let Some(connection) = request.conn_data::<ConnectionPermit>() {
        connection.leave();
    }
    let bytes_max = state.body_bytes_max;
    let messages = messages
        .max_frame_size(bytes_max)
        .aggregate_continuations()
        .max_continuation_size(bytes_max);
    let heartbeat = stream.heartbeat();
    let post_handler = PostHandler {
        caller: stream.caller().clone(),
        state: state.as_ref().clone(),
        board,
        client,
    };
    let stream = ChunkReceiver::new(stream, &dispatchers(&request));
    rt::spawn(
        Socket {
            output,
            messages,
            watch,
            stream,
            post_handler,
            heartbeat,
            clock: request.conn_data::<RequestClock>().cloned(),
        }
        .run(),
    );
    Ok(response)
}

/// Watches over the frames that a client sends.
async fn watched(
    request: &HttpRequest,
    payload: Payload,
    state: &AppState,
    watch: SocketWatch,
) -> Result<Payload, actix_web::Error> {
    let client = ClientAddress::of(request, &state.trusted_proxies);
    let (payload, reads) = (payload.into_inner(), Arc::clone(&state.reads));
    let checked = CheckedFrames::new(payload, watch, state.body_bytes_max, reads, client);
    let mut payload: dev::Payload = dev::Payload::Stream {
        payload: Box::pin(checked),
    };
    // The library takes no other kind, and this is how one is made.
    Payload::from_request(request, &mut payload).await
}

/// Answers the messages of a socket, each of which creates a topic.
#[derive(Clone)]
struct PostHandler {
    state: AppState,
    caller: Caller,
    board: BoardName,
    client: Option<ClientAddress>,
}

struct Socket {
    output: FrameSender,
    messages: AggregatedMessageStream,
    watch: SocketWatch,
    stream: ChunkReceiver<BoardStream>,
    post_handler: PostHandler,
    heartbeat: Duration,
    clock: Option<RequestClock>,
}

/// Why a socket ends.
enum SocketEnd {
    /// The client closed it, perhaps with a reason, which is echoed.
    Client(Option<CloseReason>),
    /// The stream ended, by a planned end of the server or of the board.
    Server(CloseCode),
    /// The client sent what is refused, or nothing for long.
    Fault(CloseReason),
}

/// The answer to a message, and whether the client is to blame for its refusal.
type Answer = Pin<Box<dyn Future<Output = (Bytes, bool)>>>;

impl Socket {
    async fn run(mut self) {
        let end = self.serve().await;
        // After a fault the client may be sending still: it can read the close frame as long as
        // what it sends is read.
        if let (Some(clock), SocketEnd::Client(_) | SocketEnd::Server(_)) = (&self.clock, &end) {
            clock.close(matches!(end, SocketEnd::Client(_)));
        }
        let reason = match end {
            SocketEnd::Client(reason) => reason,
            SocketEnd::Server(code) => Some(code.into()),
            SocketEnd::Fault(reason) => Some(reason),
        };
        // The client may be gone already.
        let _ = self.output.close(reason).await;
    }

    /// Sends updates and answers messages, one after the other, until either side ends.
    async fn serve(&mut self) -> SocketEnd {
        let (mut heard_at, mut ping_at) = (Instant::now(), Instant::now() + self.heartbeat);
        let mut asked: Option<Answer> = None;
        let mut refused = 0;
        loop {
            let sent = tokio::select! {
                piece = self.stream.next() => match piece {
                    Some(chunks) => send_chunks(&self.output, &chunks).await,
                    None => return SocketEnd::Server(CloseCode::Normal),
                },
                answer = OptionFuture::from(asked.as_mut()), if asked.is_some() => {
                    asked = None;
                    let (answer, is_bad) = answer.unwrap_or_default();
                    refused = if is_bad { refused + 1 } else { 0 };
                    let sent = self.output.lines(&answer).await;
                    if refused >= self.post_handler.state.bad_messages_max {
                        return SocketEnd::Fault(too_many_refused(refused));
                    }
                    sent
                }
                // What comes while an answer is due waits on the wire.
                message = self.messages.recv(), if asked.is_none() => {
                    heard_at = Instant::now();
                    match message {
                        Some(Ok(AggregatedMessage::Text(text))) => {
                            asked = Some(Box::pin(self.post_handler.clone().answer(text.to_string())));
                            Ok(())
                        }
                        // Nothing else would let others have their turn, however many come.
                        Some(Ok(AggregatedMessage::Ping(bytes))) => {
                            yield_now().await;
                            self.output.pong(bytes).await
                        }
                        Some(Ok(AggregatedMessage::Pong(_))) => {
                            yield_now().await;
                            Ok(())
                        }
                        Some(Ok(AggregatedMessage::Binary(_))) => {
                            return SocketEnd::Fault(CloseCode::Unsupported.into());
                        }
                        Some(Err(error)) => return SocketEnd::Fault(close_code(&error).into()),
                        Some(Ok(AggregatedMessage::Close(reason))) => {
                            return SocketEnd::Client(reason);
                        }
                        None => return self.watch.refusal().map_or(
                            SocketEnd::Client(None),
                            SocketEnd::Fault,
                        ),
                    }
                }
                () = sleep_until(ping_at) => {
                    if heard_at.elapsed() > self.heartbeat * SILENT_ROUNDS {
                        return SocketEnd::Fault(CloseCode::Policy.into());
                    }
                    ping_at = Instant::now() + self.heartbeat;
                    self.watch.pinged();
                    self.output.ping().await
                }
            };
            if sent.is_err() {
                return SocketEnd::Client(None);
            }
        }
    }
}

fn too_many_refused(refused: usize) -> CloseReason {
    CloseReason {
        code: CloseCode::Policy,
        description: Some(format!(
            "{refused} messages in a row were refused (limits.bad_messages_max)"
        )),
    }
}

/// Returns the close code of RFC 6455 for bytes that are no message.
fn close_code(error: &ProtocolError) -> CloseCode {
    match error {
        // The parser has no kind for either.
        ProtocolError::Io(error) if error.to_string().contains("reserved bits") => {
            CloseCode::Protocol
        }
        ProtocolError::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
            CloseCode::Invalid
        }
        ProtocolError::Overflow => CloseCode::Size,
        _ => CloseCode::Protocol,
    }
}

/// Sends what a stream sends. Others are sent the same bytes.
async fn send_chunks(output: &FrameSender, chunks: &[Chunk]) -> Result<(), Closed> {
    for chunk in chunks {
        output.lines(&chunk.payload()).await?;
    }
    Ok(())
}

impl PostHandler {
    /// Does what a message asks for, and answers with `ack` or `error`, with the client's
    /// key. Any message counts as a write, also one that cannot be read.
    async fn answer(self, message: String) -> (Bytes, bool) {
        let counted = self.state.quota.take(self.client);
        let asked = body::json::<Request>(message.as_bytes());
        let (key, done) = match (counted, asked) {
            (
                Ok(()),
                Ok(Request::Create {
                    comment,
                    author,
                    key,
                }),
            ) => (
                key.clone(),
                self.create(Draft { comment, author }, key).await,
            ),
            (Err(error), Ok(Request::Create { key, .. })) => (key, Err(error)),
            (Err(error), Err(_)) | (Ok(()), Err(error)) => (None, Err(error)),
        };
        match done {
            Ok(topic) => (encode::ack(key.as_deref(), &topic), false),
            Err(error) => {
                // Logs what is the server's fault, as an answer over HTTP would.
                let _ = error.error_response();
                let problem = error.problem();
                let is_bad = error.status_code().is_client_error();
                (encode::refused(key.as_deref(), &problem), is_bad)
            }
        }
    }

    async fn create(
        self,
        draft: Draft,
        key: Option<String>,
    ) -> Result<kairanban_core::Topic, ApiError> {
        self.state.edits.take(self.caller.token())?;
        let no_key =
            |error: IdempotencyKeyError| ApiError::bad_request_at("key", error.to_string());
        let key = key
            .map(|key| key.parse::<IdempotencyKey>())
            .transpose()
            .map_err(no_key)?;
        Ok(self
            .state
            .boards
            .create_topic(&self.caller, self.board, draft.check()?, key)
            .await?)
    }
}
