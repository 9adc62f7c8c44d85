//! Conditional requests and answers: `ETag`, `If-None-Match` and 304, `If-Match`, and the header that says that a list may be old.
//!
//! A tag is the cursor of a list, or of a topic's newest change, in quotes. A client may bring one from another node, which may be
//! later than what this one has: then it has everything, too.

use actix_web::{
    HttpRequest, HttpResponseBuilder,
    http::{StatusCode, header},
};
use kairanban_core::{Cursor, Revision, Topic};

use crate::{error::ApiError, service::BoardView, state::AppState};

/// An answer that holds a list: never from a cache without asking, and marked while the database is away.
pub fn answer(status: StatusCode, reading: &BoardView) -> HttpResponseBuilder {
    let mut response = HttpResponseBuilder::new(status);
    response.insert_header((header::CACHE_CONTROL, "no-cache"));
    if let Some(since) = reading.stale_since {
        response.insert_header((
            "Kairanban-Stale-Since",
            since.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        ));
    }
    response
}

/// Begins an answer with the tag of its list.
pub fn tagged(status: StatusCode, reading: &BoardView) -> HttpResponseBuilder {
    let mut response = answer(status, reading);
    response
        .insert_header((header::ETAG, etag(reading.snapshot.cursor())))
        .insert_header((header::VARY, "Accept"));
    response
}

/// Returns whether the client has the list at `cursor`, or a later one.
pub fn has(request: &HttpRequest, cursor: &Cursor) -> bool {
    let covers = |tag: &str| {
        tag.trim_matches('"')
            .parse::<Cursor>()
            .is_ok_and(|known| known.covers(cursor))
    };
    known_tags(request).any(|tag| tag == "*" || covers(tag))
}

/// Returns the cursor of a list that the client has, if it names one.
pub fn known_cursor(request: &HttpRequest) -> Option<Cursor> {
    known_tags(request).find_map(|tag| tag.trim_matches('"').parse().ok())
}

/// Returns whether the client has exactly what `tag` stands for.
pub fn has_tag(request: &HttpRequest, tag: &str) -> bool {
    known_tags(request).any(|known| known == "*" || known == tag)
}

/// Returns the tags of `If-None-Match`, without the mark of weak ones.
fn known_tags(request: &HttpRequest) -> impl Iterator<Item = &str> {
    let lines = request
        .headers()
        .get_all(header::IF_NONE_MATCH)
        .filter_map(|line| line.to_str().ok());
    lines
        .flat_map(|line| line.split(','))
        .map(|tag| tag.trim().trim_start_matches("W/"))
}

/// Returns the revision that `If-Match` asks for; `*` and no header ask for none.
///
/// # Errors
/// [`ApiError::Changed`] if the tag is of another history, or not one of ours.
pub fn expected_revision(
    request: &HttpRequest,
    state: &AppState,
) -> Result<Option<Revision>, ApiError> {
    let Some(tag) = request.headers().get(header::IF_MATCH) else {
        return Ok(None);
    };
    let tag = tag.to_str().unwrap_or_default().trim();
    if tag == "*" {
        return Ok(None);
    }
    let cursor = tag
        .strip_prefix('"')
        .and_then(|tag| tag.strip_suffix('"'))
        .and_then(|tag| tag.parse::<Cursor>().ok());
    let ours = cursor
        .filter(|cursor| cursor.epoch == state.bulletin.following().epoch())
        .ok_or(ApiError::Changed)?;
    Ok(Some(ours.revision))
}

/// Returns the tag of what is at `cursor`.
pub fn etag(cursor: &Cursor) -> String {
    format!("\"{cursor}\"")
}

/// Returns the tag of a topic: its newest change.
pub fn topic_tag(state: &AppState, topic: &Topic) -> String {
    etag(&Cursor {
        epoch: state.bulletin.following().epoch(),
        revision: topic.revision,
    })
}
