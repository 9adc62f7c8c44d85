//! What the fuzz targets in `fuzz/` reach of the server: how it reads what clients send, and how it
//! encodes what they are sent.
//!
//! Only with the feature `fuzzing`, which no build of the server has. Nothing here is promised to
//! anyone.

use actix_web::HttpRequest;
use bytes::Bytes;
use kairanban_core::{
    BoardName, Cursor, IdempotencyKey, IdempotencyKeyError, NewTopic, StartAt, Topic,
};

use crate::{
    encode,
    error::ApiError,
    http::{
        body::{self, BodyKind, Draft},
        conditional,
        query::Query,
        socket,
        stream_query::{self, StreamQuery},
    },
};

pub use crate::{
    encode::{Bye, Chunk, Encoder, Fragments, Frame, StreamFormat, Wire, gzip, payload_of},
    error::{FieldProblem, Problem},
    forwarded::client,
    http::{
        accept::{self, Representation},
        conditional::known_cursor,
    },
};

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` passes")]
fn problem(error: ApiError) -> Problem {
    error.problem()
}

/// Reads the topic that the body of a request holds, by its `Content-Type`.
///
/// # Errors
/// What the client is answered.
pub fn topic(request: &HttpRequest, body: &[u8]) -> Result<NewTopic, Problem> {
    BodyKind::of(request, &[BodyKind::Form, BodyKind::Text, BodyKind::Json])
        .and_then(|kind| body::parse(kind, body)?.check())
        .map_err(problem)
}

/// Returns whether a client has a list, or a later one.
///
/// # Errors
/// What the client is answered.
pub fn has(request: &HttpRequest, cursor: &Cursor) -> Result<bool, Problem> {
    conditional::has(request, cursor).map_err(problem)
}

/// Returns whether a client has what a tag stands for.
///
/// # Errors
/// What the client is answered.
pub fn has_tag(request: &HttpRequest, tag: &str) -> Result<bool, Problem> {
    conditional::has_tag(request, tag).map_err(problem)
}

/// A post that was read from a WebSocket.
pub type CheckedMessage = (NewTopic, Option<IdempotencyKey>);

/// Reads a message of a WebSocket.
///
/// # Errors
/// What the client is answered, with the key that the message names.
pub fn message(text: &str) -> Result<CheckedMessage, (Option<String>, Problem)> {
    let socket::Request::Create {
        comment,
        author,
        key,
    } = body::json(text.as_bytes()).map_err(|error| (None, problem(error)))?;
    let parsed = key.as_deref().map(str::parse).transpose();
    let topic = Draft { comment, author }.check();
    match (topic, parsed) {
        (Ok(topic), Ok(key)) => Ok((topic, key)),
        (Err(error), Ok(_)) => Err((key, problem(error))),
        (_, Err(IdempotencyKeyError)) => Err((
            key,
            problem(ApiError::bad_request_at(
                "key",
                IdempotencyKeyError.to_string(),
            )),
        )),
    }
}

/// Encodes the answer to a message that created a topic.
#[must_use]
pub fn ack(key: Option<&str>, topic: &Topic) -> Bytes {
    encode::ack(key, topic)
}

/// Encodes the answer to a message that was refused.
#[must_use]
pub fn refused(key: Option<&str>, problem: &Problem) -> Bytes {
    encode::refused(key, problem)
}

/// Reads where a stream of one board begins, from its query and from `Last-Event-ID`. `None` if the
/// query cannot be read.
pub fn start(
    request: &HttpRequest,
    query: &str,
    format: StreamFormat,
) -> Option<Result<StartAt, Problem>> {
    let query = Query::<StreamQuery>::parse(query).ok()?;
    Some(query.start(request, format).map_err(problem))
}

/// Reads the boards of a stream of several, and where it begins.
///
/// # Errors
/// What the client is answered.
pub fn start_of_many(
    request: &HttpRequest,
    pairs: Vec<(String, String)>,
    boards_max: usize,
) -> Result<(Vec<BoardName>, StartAt), Problem> {
    let (boards, query) = stream_query::many(pairs, boards_max).map_err(problem)?;
    let start = query.start(request, StreamFormat::Patch).map_err(problem)?;
    Ok((boards, start))
}
