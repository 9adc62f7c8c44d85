//! Conditional requests and answers by RFC 9110, section 13: `ETag`, `If-Match` and 412, then
//! `If-None-Match` and 304; and the header that says that a list may be old.
//!
//! A tag is the cursor of a list, or of a topic's newest change, in quotes. A client may bring one
//! from another node, which may be later than what this one has: then it has everything, too.
//! Proxies that compress change tags on the way: they make them weak, or put the coding behind them
//! (`"…-gzip"`).

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    body::MessageBody,
    http::{
        StatusCode,
        header::{self, EntityTag, HeaderName, HeaderValue},
    },
};
use kairanban_core::{Action, BoardName, Cursor, Revision, Topic};
use kairanban_store::{RevisionCondition, StoreError};

use crate::{
    auth::Caller,
    encode::time_in_seconds,
    error::ApiError,
    http::accept::{asks_for_gzip, elements},
    service::BoardView,
    state::AppState,
};

/// What proxies put behind a tag when they compress its content.
const CODINGS: [&str; 7] = [
    "--gzip", "-gzip", ";gzip", ";br", "-br", "-zstd", "-deflate",
];

/// What a cache has to do with an answer: ask each time whether it is still good.
const REVALIDATE: &str = "no-cache";

/// Makes each cache ask whether what it holds is still good.
pub fn revalidated(response: &mut HttpResponseBuilder) -> &mut HttpResponseBuilder {
    response.insert_header((header::CACHE_CONTROL, REVALIDATE))
}

/// Starts an answer that holds a list: no cache may serve it without asking, and it is marked while
/// the database is away.
pub fn answer(status: StatusCode, view: &BoardView) -> HttpResponseBuilder {
    let mut response = HttpResponseBuilder::new(status);
    revalidated(&mut response);
    if let Some(since) = view.stale_since {
        response.insert_header(("Kairanban-Stale-Since", time_in_seconds(&since)));
    }
    response
}

/// Starts the answer to a client that reads a list, within gzip if it `is_packed`. Returns whether
/// the client has the list: then this is a 304, and has no body.
///
/// # Errors
/// As [`has`].
pub fn start_list(
    request: &HttpRequest,
    view: &BoardView,
    is_packed: bool,
) -> Result<(HttpResponseBuilder, bool), ApiError> {
    let cursor = view.snapshot.cursor();
    let is_known = has(request, cursor)?;
    let mut response = answer(status(is_known), view);
    response.insert_header((header::ETAG, in_coding(&etag(cursor), is_packed)));
    Ok((response, is_known))
}

/// Starts the answer to a client that reads what is made of a list, and has this tag. Returns
/// whether the client has it: then this is a 304, and has no body.
///
/// # Errors
/// As [`has_tag`].
pub fn start_tagged(
    request: &HttpRequest,
    view: &BoardView,
    tag: &str,
) -> Result<(HttpResponseBuilder, bool), ApiError> {
    let is_known = has_tag(request, tag)?;
    let mut response = answer(status(is_known), view);
    response.insert_header((header::ETAG, tag));
    Ok((response, is_known))
}

/// Starts the answer to a write of a topic, with the tag that the topic has now.
pub fn answer_written(status: StatusCode, state: &AppState, topic: &Topic) -> HttpResponseBuilder {
    let mut response = HttpResponseBuilder::new(status);
    response.insert_header((header::ETAG, topic_tag(state, topic)));
    response
}

/// Answers a client that reads what has this tag: with `body`, or with a 304 if the client has it.
///
/// # Errors
/// As [`has_tag`].
pub fn answer_tagged<B: MessageBody + 'static>(
    request: &HttpRequest,
    tag: &str,
    media_type: &'static str,
    body: impl FnOnce() -> B,
) -> Result<HttpResponse, ApiError> {
    let is_known = has_tag(request, tag)?;
    let mut response = HttpResponseBuilder::new(status(is_known));
    revalidated(&mut response).insert_header((header::ETAG, tag));
    Ok(if is_known {
        response.finish()
    } else {
        response.content_type(media_type).body(body())
    })
}

/// Answers a client that reads what has this tag: plain, or within gzip for one that asks for that,
/// or with a 304 if the client has it. Each coding has a tag of its own. An answer that is no
/// success has none. No cache may serve it without asking.
///
/// # Errors
/// As [`has_tag`].
pub fn answer_in_coding<B: MessageBody + 'static>(
    request: &HttpRequest,
    mut response: HttpResponse,
    tag: &str,
    body: impl FnOnce(bool) -> B,
) -> Result<HttpResponse, ApiError> {
    let is_packed = asks_for_gzip(request);
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static(REVALIDATE));
    if response.status() == StatusCode::OK {
        let is_known = has_tag(request, tag)?;
        if let Ok(tag) = HeaderValue::from_str(&in_coding(tag, is_packed)) {
            response.headers_mut().insert(header::ETAG, tag);
        }
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return Ok(response);
        }
    }
    if is_packed {
        let gzip = HeaderValue::from_static("gzip");
        response
            .headers_mut()
            .insert(header::CONTENT_ENCODING, gzip);
    }
    Ok(response.set_body(body(is_packed)).map_into_boxed_body())
}

const fn status(is_known: bool) -> StatusCode {
    if is_known {
        StatusCode::NOT_MODIFIED
    } else {
        StatusCode::OK
    }
}

/// The tags in a header of conditions.
enum Tags {
    /// `*`: whatever there is.
    Any,
    /// These, in their order.
    These(Vec<EntityTag>),
}

impl Tags {
    /// Reads a header; `None` if the client sent none. What is no tag matches nothing.
    fn of(request: &HttpRequest, name: HeaderName) -> Option<Self> {
        let headers = request.headers();
        if !headers.contains_key(&name) {
            return None;
        }
        let all: Vec<_> = elements(headers, name).collect();
        Some(match all.as_slice() {
            ["*"] => Self::Any,
            all => Self::These(all.iter().filter_map(|tag| tag.parse().ok()).collect()),
        })
    }

    /// Returns whether one of the tags is among those that `fits` names, `*` included.
    fn any(&self, fits: impl Fn(&EntityTag) -> bool) -> bool {
        match self {
            Self::Any => true,
            Self::These(tags) => tags.iter().any(fits),
        }
    }
}

/// Returns what is between the quotes, as it left this server.
fn sent(tag: &EntityTag) -> &str {
    let text = tag.tag();
    CODINGS
        .iter()
        .find_map(|coding| text.strip_suffix(coding))
        .unwrap_or(text)
}

fn cursor_of(tag: &EntityTag) -> Option<Cursor> {
    sent(tag).parse().ok()
}

/// Evaluates the conditions of a request to read what has the opaque tag `current`, and returns
/// whether the client has it. `has` says whether another tag will do as well.
///
/// # Errors
/// [`ApiError::Changed`] if it is not what the client demands.
fn evaluate(
    request: &HttpRequest,
    current: &str,
    has: impl Fn(&EntityTag) -> bool,
) -> Result<bool, ApiError> {
    if let Some(demanded) = Tags::of(request, header::IF_MATCH) {
        ensure_matches(&demanded, |tag| sent(tag) == current)?;
    }
    let known = Tags::of(request, header::IF_NONE_MATCH);
    Ok(known.is_some_and(|known| known.any(|tag| sent(tag) == current || has(tag))))
}

/// Compares strongly, as `If-Match` has to be.
fn ensure_matches(demanded: &Tags, is_it: impl Fn(&EntityTag) -> bool) -> Result<(), ApiError> {
    if demanded.any(|tag| !tag.weak && is_it(tag)) {
        Ok(())
    } else if demanded.any(is_it) {
        Err(ApiError::WeakTag)
    } else {
        Err(ApiError::Changed)
    }
}

/// Returns whether the client has the list at `cursor`, or a later one.
///
/// # Errors
/// [`ApiError::Changed`] if it is not what the client demands.
pub fn has(request: &HttpRequest, cursor: &Cursor) -> Result<bool, ApiError> {
    let covers = |tag: &EntityTag| cursor_of(tag).is_some_and(|known| known.covers(cursor));
    evaluate(request, &cursor.to_string(), covers)
}

/// Returns the cursor of a list that the client has, if it names one; the latest, if it names
/// several.
pub fn known_cursor(request: &HttpRequest) -> Option<Cursor> {
    match Tags::of(request, header::IF_NONE_MATCH)? {
        Tags::Any => None,
        Tags::These(tags) => {
            let cursors: Vec<_> = tags.iter().filter_map(cursor_of).collect();
            let latest = |one: Cursor, other: Cursor| if other.covers(&one) { other } else { one };
            cursors.into_iter().reduce(latest)
        }
    }
}

/// Returns whether the client has exactly what `tag` stands for.
///
/// # Errors
/// [`ApiError::Changed`] if it is not what the client demands.
pub fn has_tag(request: &HttpRequest, tag: &str) -> Result<bool, ApiError> {
    evaluate(request, tag.trim_matches('"'), |_| false)
}

/// Returns whether the conditions of a request admit a write of what is there and has no tag: no
/// tag matches it, and `*` does.
pub fn admits_untagged(request: &HttpRequest) -> bool {
    let is_demanded = matches!(Tags::of(request, header::IF_MATCH), None | Some(Tags::Any));
    is_demanded && !matches!(Tags::of(request, header::IF_NONE_MATCH), Some(Tags::Any))
}

/// Refuses a write of what is there and has no tag, if the conditions of the request do not admit
/// it. `checked` is what else may be wrong with it; that comes first (RFC 9110, section 13.2.1),
/// and is looked at only then. For administrators' commands [`Administrator`] does the same.
///
/// [`Administrator`]: crate::auth::Administrator
///
/// # Errors
/// [`ApiError::Untagged`] if they do not.
pub async fn ensure_admitted(
    request: &HttpRequest,
    checked: impl Future<Output = Result<(), ApiError>>,
) -> Result<(), ApiError> {
    if admits_untagged(request) {
        return Ok(());
    }
    checked.await?;
    Err(ApiError::Untagged)
}

/// Refuses a post on a board whose list does not meet the conditions of the request, if it has any.
///
/// # Errors
/// [`ApiError::Changed`] if it does not; if the list cannot be read, or the caller may not post.
pub async fn ensure_met(
    request: &HttpRequest,
    state: &AppState,
    caller: &Caller,
    board: &BoardName,
) -> Result<(), ApiError> {
    let headers = request.headers();
    if [header::IF_MATCH, header::IF_NONE_MATCH]
        .iter()
        .all(|name| !headers.contains_key(name))
    {
        return Ok(());
    }
    let view = state.boards.read(caller, board).await?;
    caller
        .authorize(Action::Post, board, view.policies)
        .map_err(|reason| StoreError::not_permitted(reason, board))?;
    if has(request, view.snapshot.cursor())? {
        Err(ApiError::Changed)
    } else {
        Ok(())
    }
}

/// Returns what a client demands of the revision of a topic that it wants to change, and whether
/// weak tags, which cannot be compared, are all of ours that it demands.
pub fn revision_condition(request: &HttpRequest, state: &AppState) -> (RevisionCondition, bool) {
    let epoch = state.boards.follower().epoch();
    let ours = |tag: &EntityTag| -> Option<Revision> {
        let cursor = cursor_of(tag).filter(|cursor| cursor.epoch == epoch)?;
        Some(cursor.revision)
    };
    let (mut condition, mut is_weak) = (RevisionCondition::default(), false);
    if let Some(Tags::These(tags)) = Tags::of(request, header::IF_MATCH) {
        let strong = tags.iter().filter(|tag| !tag.weak).filter_map(ours);
        let strong: Vec<_> = strong.collect();
        is_weak = strong.is_empty() && tags.iter().any(|tag| ours(tag).is_some());
        condition.among = Some(strong);
    }
    match Tags::of(request, header::IF_NONE_MATCH) {
        None => {}
        Some(Tags::Any) => condition.absent = true,
        Some(Tags::These(tags)) => condition.not_among = tags.iter().filter_map(ours).collect(),
    }
    (condition, is_weak)
}

/// Returns what a client is answered whose change of a topic failed.
pub fn refusal(error: StoreError, is_weak: bool) -> ApiError {
    match error {
        StoreError::Changed(_) if is_weak => ApiError::WeakTag,
        error => error.into(),
    }
}

/// Returns the tag of what is at `cursor`.
fn etag(cursor: &Cursor) -> String {
    format!("\"{cursor}\"")
}

/// Returns the tag of what has this tag when it is plain. What is packed has a weak one: its bytes
/// differ, though the content is the same.
fn in_coding(tag: &str, is_packed: bool) -> String {
    format!("{}{tag}", if is_packed { "W/" } else { "" })
}

/// Returns the tag of a topic: its newest change.
pub fn topic_tag(state: &AppState, topic: &Topic) -> String {
    etag(&Cursor {
        epoch: state.boards.follower().epoch(),
        revision: topic.revision,
    })
}

#[cfg(test)]
mod tests;
