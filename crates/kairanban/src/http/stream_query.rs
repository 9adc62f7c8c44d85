//! What a client asks of a stream: its format, and where it begins.

use std::sync::Arc;

use actix_web::HttpRequest;
use kairanban_core::{BoardName, StartAt, StartAtError, one_of};
use serde::Deserialize;

use crate::{
    encode::{BoardsOfStream, Encoder, StreamFormat},
    error::ApiError,
    http::{accept, board_name},
    state::AppState,
};

/// Query parameters of a stream.
#[derive(Debug, Default, Deserialize)]
pub struct StreamQuery {
    pub(super) format: Option<String>,
    last_event_id: Option<String>,
    #[serde(rename = "lastEventId")]
    last_event_id_camel: Option<String>,
    since: Option<String>,
    pub(super) ticket: Option<String>,
    heartbeat: Option<String>,
    compress: Option<String>,
}

/// Returns the boards of a query, each once, and the rest of it.
///
/// # Errors
/// If it names no board, too many, or one that cannot be.
pub fn many(
    pairs: Vec<(String, String)>,
    boards_max: usize,
) -> Result<(Vec<BoardName>, StreamQuery), ApiError> {
    let (mut boards, mut query) = (Vec::new(), StreamQuery::default());
    for (name, value) in pairs {
        let slot = match name.as_str() {
            "board" => {
                let board = board_name(&value)?;
                if boards.contains(&board) {
                    continue;
                }
                if boards.len() == boards_max {
                    return Err(ApiError::bad_request_at(
                        "board",
                        format!(
                            "a stream may have at most {boards_max} boards \
                             (limits.boards_per_stream_max)"
                        ),
                    ));
                }
                boards.push(board);
                continue;
            }
            "format" => &mut query.format,
            "last_event_id" => &mut query.last_event_id,
            "lastEventId" => &mut query.last_event_id_camel,
            "since" => &mut query.since,
            "heartbeat" => &mut query.heartbeat,
            "compress" => &mut query.compress,
            "ticket" => {
                return Err(ApiError::bad_request_at(
                    "ticket",
                    "a ticket is for the stream of one board",
                ));
            }
            // As everywhere on streams: a cache buster does no harm.
            _ => continue,
        };
        if slot.replace(value).is_some() {
            return Err(ApiError::bad_request_at(
                &name,
                format!("{name} must appear only once"),
            ));
        }
    }
    if boards.is_empty() {
        return Err(ApiError::bad_request_at(
            "board",
            "say which boards: ?board=a&board=b",
        ));
    }
    Ok((boards, query))
}

impl StreamQuery {
    /// Returns the format of a stream of `boards`.
    ///
    /// # Errors
    /// If there is no such format, or streams of `boards` cannot have it.
    pub(super) fn format(
        &self,
        request: &HttpRequest,
        boards: BoardsOfStream,
    ) -> Result<StreamFormat, ApiError> {
        match self.format.as_deref() {
            None if accept::prefers_ndjson(request) => Ok(StreamFormat::Ndjson),
            None => Ok(StreamFormat::List),
            Some(name) => StreamFormat::named(name, boards).ok_or_else(|| {
                let names = one_of(&StreamFormat::names(boards));
                let detail = match boards {
                    BoardsOfStream::One => format!("format must be {names}"),
                    BoardsOfStream::Several => {
                        format!("a stream of several boards can have the format {names}")
                    }
                };
                ApiError::bad_request_at("format", detail)
            }),
        }
    }

    /// Creates the encoder of a stream. It is not compressed.
    ///
    /// # Errors
    /// If there is no such heartbeat.
    pub(super) fn encoder(
        &self,
        state: &AppState,
        format: StreamFormat,
    ) -> Result<Encoder, ApiError> {
        let visible_heartbeat = match self.heartbeat.as_deref() {
            None | Some("comment") => false,
            Some("event") => true,
            Some(_) => {
                return Err(ApiError::bad_request_at(
                    "heartbeat",
                    "heartbeat must be `comment` or `event`",
                ));
            }
        };
        Ok(Encoder::new(
            format,
            visible_heartbeat,
            Arc::clone(&state.fragments),
        ))
    }

    /// Creates the encoder of a stream, which compresses if the client asks for that and accepts
    /// it. Never unasked: proxies between would hold back what they unpack.
    ///
    /// # Errors
    /// As [`encoder`](Self::encoder), or if there is no such compression.
    pub(super) fn packed_encoder(
        &self,
        request: &HttpRequest,
        state: &AppState,
        format: StreamFormat,
    ) -> Result<Encoder, ApiError> {
        let mut encoder = self.encoder(state, format)?;
        encoder.gzip = match self.compress.as_deref() {
            None => false,
            Some("gzip") => accept::allows_gzip(request),
            Some(_) => {
                return Err(ApiError::bad_request_at(
                    "compress",
                    "compress must be gzip",
                ));
            }
        };
        Ok(encoder)
    }

    /// Returns where the reader asks to begin. The header wins, and then the first parameter that
    /// is there, also if it is empty: a client that was sent `reset` has dropped its cursor. What
    /// stands for the header may be anything that a client was once sent, and is answered by
    /// `reset`; `since` is typed by people.
    ///
    /// # Errors
    /// If `since` counts, and names no start.
    pub fn start(&self, request: &HttpRequest, format: StreamFormat) -> Result<StartAt, ApiError> {
        let header = request
            .headers()
            .get("last-event-id")
            .map(|value| value.to_str().unwrap_or("?"));
        let last_event_id = header
            .or(self.last_event_id.as_deref())
            .or(self.last_event_id_camel.as_deref());
        match (last_event_id, self.since.as_deref()) {
            (Some(id), _) => Ok(StartAt::of_id(id, format.default_start())),
            (None, None | Some("")) => Ok(format.default_start()),
            (None, Some(since)) => since.parse().map_err(|error: StartAtError| {
                ApiError::bad_request_at("since", format!("since: {error}"))
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;
    use crate::http::query::Query;

    #[test]
    fn the_header_wins_over_the_query() {
        let query = |text: &str| Query::<StreamQuery>::parse(text).expect("a query");
        let ask = |header: Option<&str>, text: &str, format| {
            let request = TestRequest::default();
            let request = header.into_iter().fold(request, |request, id| {
                request.insert_header(("Last-Event-ID", id))
            });
            match query(text).start(&request.to_http_request(), format) {
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
            (Some("now"), "", "invalid"),
            (Some("10m"), "since=a-1", "invalid"),
            (None, "last_event_id=earliest", "invalid"),
            (None, "lastEventId=now", "invalid"),
            (Some(""), "since=10m", "list"),
            (None, "last_event_id=&since=10m", "list"),
        ] {
            let start = ask(header, text, StreamFormat::Patch);
            assert_eq!(start, expected, "{header:?} {text}");
        }
        for (header, text) in [
            (None, ""),
            (None, "since="),
            (Some(""), ""),
            (Some(""), "since=10m"),
            (None, "last_event_id=&since=earliest"),
        ] {
            let start = ask(header, text, StreamFormat::Raw);
            assert_eq!(start, "now", "{header:?} {text}");
        }
    }
}
