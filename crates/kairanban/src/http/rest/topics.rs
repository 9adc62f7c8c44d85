//! Topics: the live list, pages through all of them, one of them, a new one.

use std::time::Duration;

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::{StatusCode, header},
    web::{Data, Path, Payload, Query},
};
use kairanban_core::{BoardName, Cursor, Revision, Topic, TopicId};
use kairanban_store::Page;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    bad_query, json, link_next,
    openapi::{BadBody, Forbidden, Refusal},
    page_limit,
};
use crate::{
    auth::Caller,
    error::{ApiError, Problem},
    http::{
        accept, board_name,
        body::{self, Draft, Edit, Kind},
        caller, pages,
    },
    limits::ClientAddress,
    render::{self, TopicView, rest::LiveListView},
    service::BoardView,
    state::AppState,
};

/// What may stand behind the `?`.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TopicsQuery {
    /// Topics older than this one.
    #[param(minimum = 1)]
    before: Option<i64>,
    /// So many at most.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
    /// With this text in their comment, whatever its case. At most 200 characters.
    #[param(max_length = 200)]
    q: Option<String>,
    /// With `If-None-Match`: seconds to wait for something newer.
    #[param(maximum = 60)]
    wait: Option<u64>,
}

/// `GET /api/v1/boards/{board}/topics`: the live list, or, with `before`, `limit` or `q`, a page of
/// all topics, the newest first.
///
/// # Errors
/// If there is no such board, it cannot be read, or the query cannot.
#[utoipa::path(
    method(get, head),
    path = "/api/v1/boards/{board}/topics",
    tag = "topics",
    summary = "The live list, or a page of all topics",
    params(("board" = String, Path, description = "A board's name", pattern = "^[a-z0-9][a-z0-9-]{0,62}$"), TopicsQuery, ("If-None-Match" = Option<String>, Header, description = "The `ETag` of the list that one has")),
    responses(
        (status = 200, description = "The live list, or with `before`, `limit` or `q` a page of all topics",
            content((LiveListView<'_> = "application/json")),
            headers(("ETag" = String, description = "The cursor, of the live list only"), ("Link" = String, description = "`rel=\"next\"`, of a page that is not the last"))),
        (status = 304, description = "Nothing is newer"),
        Refusal,
    ),
    security((), ("token" = [])),
)]
pub async fn get_topics(
    request: HttpRequest,
    state: Data<AppState>,
    board: Path<String>,
    query: Query<TopicsQuery>,
) -> Result<HttpResponse, ApiError> {
    let board = board_name(&board)?;
    let mut caller = caller::of(&request, &state).await?;
    if query.before.is_some() || query.limit.is_some() || query.q.is_some() {
        return page(&request, &state, &caller, board, &query).await;
    }
    match query.wait {
        None => Ok(list(&request, &state.bulletin.read(&caller, &board).await?)),
        Some(wait) => Ok(list(
            &request,
            &wait_for_news(&request, &state, &mut caller, &board, wait).await?,
        )),
    }
}

/// The live list once it is another one than the client has, at the latest after `wait_s`.
async fn wait_for_news(
    request: &HttpRequest,
    state: &AppState,
    caller: &mut Caller,
    board: &BoardName,
    wait_s: u64,
) -> Result<BoardView, ApiError> {
    if wait_s > state.rest.wait_max_s {
        return Err(bad_query(
            "wait",
            &format!(
                "wait is a number of seconds up to {}",
                state.rest.wait_max_s
            ),
        ));
    }
    let Some(known) =
        known_tags(request).find_map(|tag| tag.trim_matches('"').parse::<Cursor>().ok())
    else {
        return Ok(state.bulletin.read(caller, board).await?);
    };
    // It holds a connection like a stream does, and counts as one.
    let client = ClientAddress::of(request, &state.trusted_proxies);
    let _permit = state
        .gate
        .enter(client)
        .ok_or(ApiError::TooMany { retry_after_s: 5 })?;
    Ok(state
        .bulletin
        .wait(
            caller,
            board,
            &known,
            Duration::from_secs(wait_s),
            &state.drain,
        )
        .await?)
}

/// What the database could not take, or would take too long over.
fn check_search(text: &str, chars_max: usize) -> Result<(), ApiError> {
    if text.chars().nth(chars_max).is_some() {
        return Err(bad_query(
            "q",
            &format!("q is a text of at most {chars_max} characters"),
        ));
    }
    if text.contains('\0') {
        Err(bad_query("q", "q must not contain NUL"))
    } else {
        Ok(())
    }
}

async fn page(
    request: &HttpRequest,
    state: &AppState,
    caller: &Caller,
    board: BoardName,
    query: &TopicsQuery,
) -> Result<HttpResponse, ApiError> {
    let limit = page_limit(query.limit, state.rest.page_max.get())?;
    let before = query.before.map(|id| {
        if id > 0 {
            Ok(TopicId(id))
        } else {
            Err(bad_query("before", "before is the id of a topic"))
        }
    });
    if let Some(text) = &query.q {
        check_search(text, state.rest.search_chars_max)?;
    }
    let wanted = Page {
        before: before.transpose()?,
        text: query.q.clone().filter(|text| !text.is_empty()),
        limit,
    };
    let topics = state.bulletin.page(caller, board, wanted).await?;
    let mut response = HttpResponse::Ok();
    if let Some(last) = topics.last().filter(|_| topics.len() == limit) {
        let text = query.q.as_deref().map(|text| {
            format!(
                "&q={}",
                percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
            )
        });
        link_next(
            &mut response,
            request,
            &format!(
                "before={}&limit={limit}{}",
                last.id.0,
                text.unwrap_or_default()
            ),
        );
    }
    Ok(json(response, render::rest::topic_page(&topics)))
}

/// `GET /api/v1/boards/{board}/topics/{id}`, archived or not.
///
/// # Errors
/// If there is no such board or topic, or the database is away.
#[utoipa::path(
    method(get, head),
    path = "/api/v1/boards/{board}/topics/{id}",
    tag = "topics",
    summary = "One topic",
    params(("board" = String, Path, description = "A board's name", pattern = "^[a-z0-9][a-z0-9-]{0,62}$"), ("id" = i64, Path, description = "A topic's id", minimum = 1), ("If-None-Match" = Option<String>, Header, description = "The `ETag` that one has")),
    responses(
        (status = 200, body = TopicView<'_>, description = "The topic, archived or not", headers(("ETag" = String, description = "Its place in history"))),
        (status = 304, description = "Nothing is newer"),
        Refusal,
    ),
    security((), ("token" = [])),
)]
pub async fn get_topic(
    request: HttpRequest,
    state: Data<AppState>,
    path: Path<(String, String)>,
) -> Result<HttpResponse, ApiError> {
    let (board, id) = named(&path)?;
    let caller = caller::of(&request, &state).await?;
    let topic = state.bulletin.topic(&caller, board, id).await?;
    let tag = etag(&Cursor {
        epoch: state.bulletin.following().epoch(),
        revision: topic.revision,
    });
    let fresh = known_tags(&request).any(|known| known == "*" || known == tag);
    let mut response = if fresh {
        HttpResponse::NotModified()
    } else {
        HttpResponse::Ok()
    };
    response
        .insert_header((header::ETAG, tag))
        .insert_header((header::CACHE_CONTROL, "no-cache"));
    Ok(if fresh {
        response.finish()
    } else {
        response
            .content_type("application/json")
            .body(render::rest::topic(&topic))
    })
}

/// `PATCH /api/v1/boards/{board}/topics/{id}`, for administrators.
///
/// # Errors
/// Without a token for it; if there is no such topic, it was changed meanwhile, or the change is not allowed.
#[utoipa::path(
    patch,
    path = "/api/v1/boards/{board}/topics/{id}",
    tag = "topics",
    summary = "Edit a topic",
    params(("board" = String, Path, description = "A board's name", pattern = "^[a-z0-9][a-z0-9-]{0,62}$"), ("id" = i64, Path, description = "A topic's id", minimum = 1), ("If-Match" = Option<String>, Header, description = "The `ETag` of the topic as one knows it")),
    request_body = Edit,
    responses(
        (status = 200, body = TopicView<'_>, description = "As it stands now", headers(("ETag" = String, description = "Its place in history"))),
        (status = 412, body = Problem, content_type = "application/problem+json", description = "It was changed meanwhile"),
        Refusal, Forbidden, BadBody,
    ),
    security(("token" = [])),
)]
pub async fn patch_topic(
    request: HttpRequest,
    state: Data<AppState>,
    path: Path<(String, String)>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let (board, id) = named(&path)?;
    let administrator = caller::board_administrator(&request, &state, board).await?;
    let edit = body::json_object::<Edit>(&request, payload, &state)
        .await?
        .check()?;
    let expected = expected_revision(&request, &state)?;
    let topic = state
        .bulletin
        .update_topic(&administrator, id, edit, expected)
        .await?;
    Ok(one(&state, &topic))
}

/// `DELETE /api/v1/boards/{board}/topics/{id}`, for administrators.
///
/// # Errors
/// Without a token for it; if there is no such topic, or it was changed meanwhile.
#[utoipa::path(
    delete,
    path = "/api/v1/boards/{board}/topics/{id}",
    tag = "topics",
    summary = "Delete a topic",
    params(("board" = String, Path, description = "A board's name", pattern = "^[a-z0-9][a-z0-9-]{0,62}$"), ("id" = i64, Path, description = "A topic's id", minimum = 1), ("If-Match" = Option<String>, Header, description = "The `ETag` of the topic as one knows it")),
    responses(
        (status = 204, description = "Gone, but for `restore`"),
        (status = 412, body = Problem, content_type = "application/problem+json", description = "It was changed meanwhile"),
        Refusal, Forbidden,
    ),
    security(("token" = [])),
)]
pub async fn delete_topic(
    request: HttpRequest,
    state: Data<AppState>,
    path: Path<(String, String)>,
) -> Result<HttpResponse, ApiError> {
    let (board, id) = named(&path)?;
    let administrator = caller::board_administrator(&request, &state, board).await?;
    let expected = expected_revision(&request, &state)?;
    state
        .bulletin
        .delete_topic(&administrator, id, expected)
        .await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `POST /api/v1/boards/{board}/topics/{id}/restore`, for administrators: undoes a delete.
///
/// # Errors
/// Without a token for it; if that was too long ago, or nothing was deleted.
#[utoipa::path(
    post,
    path = "/api/v1/boards/{board}/topics/{id}/restore",
    tag = "topics",
    summary = "Undo a delete",
    params(("board" = String, Path, description = "A board's name", pattern = "^[a-z0-9][a-z0-9-]{0,62}$"), ("id" = i64, Path, description = "A topic's id", minimum = 1)),
    responses(
        (status = 200, body = TopicView<'_>, description = "It is back", headers(("ETag" = String, description = "Its place in history"))),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "It is there"),
        Refusal, Forbidden,
    ),
    security(("token" = [])),
)]
pub async fn restore_topic(
    request: HttpRequest,
    state: Data<AppState>,
    path: Path<(String, String)>,
) -> Result<HttpResponse, ApiError> {
    let (board, id) = named(&path)?;
    let administrator = caller::board_administrator(&request, &state, board).await?;
    let topic = state.bulletin.restore_topic(&administrator, id).await?;
    Ok(one(&state, &topic))
}

/// The revision that `If-Match` asks for; `*` and no header ask for none.
fn expected_revision(
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
    // A tag of another history, or that is none of ours, matches nothing.
    let ours = cursor
        .filter(|cursor| cursor.epoch == state.bulletin.following().epoch())
        .ok_or(ApiError::Changed)?;
    Ok(Some(ours.revision))
}

/// The board and the topic that an address names.
fn named((board, id): &(String, String)) -> Result<(BoardName, TopicId), ApiError> {
    Ok((board_name(board)?, topic_id(id)?))
}

/// The topic that an address names, in its one spelling. What is no id names no topic.
fn topic_id(text: &str) -> Result<TopicId, ApiError> {
    let id = text
        .parse::<i64>()
        .ok()
        .filter(|id| *id > 0 && id.to_string() == text);
    id.map(TopicId)
        .ok_or_else(|| ApiError::NotFound(format!("there is no topic {text:?}")))
}

/// The live list, or 304 if the client has it, or, from another node, a later one.
pub fn list(request: &HttpRequest, reading: &BoardView) -> HttpResponse {
    if has(request, reading.snapshot.cursor()) {
        return tagged(StatusCode::NOT_MODIFIED, reading).finish();
    }
    let mut response = tagged(StatusCode::OK, reading);
    response
        .content_type("application/json")
        .insert_header((header::VARY, "Accept, Accept-Encoding"));
    if accept::asks_for_gzip(request) {
        // Other bytes than those of the tag without `W/`, though they come to the same.
        let weak = format!("W/{}", etag(reading.snapshot.cursor()));
        response
            .insert_header((header::CONTENT_ENCODING, "gzip"))
            .insert_header((header::ETAG, weak));
        return response.body(render::rest::live_list_in_gzip(&reading.snapshot));
    }
    response.body(render::rest::live_list(&reading.snapshot))
}

/// Whether the client has the list at `cursor`, or a later one.
pub fn has(request: &HttpRequest, cursor: &Cursor) -> bool {
    let covers = |tag: &str| {
        tag.trim_matches('"')
            .parse::<Cursor>()
            .is_ok_and(|known| known.covers(cursor))
    };
    known_tags(request).any(|tag| tag == "*" || covers(tag))
}

/// An answer that says at which place in history its list is.
pub fn tagged(status: StatusCode, reading: &BoardView) -> HttpResponseBuilder {
    let mut response = pages::answer(status, reading);
    response
        .insert_header((header::ETAG, etag(reading.snapshot.cursor())))
        .insert_header((header::VARY, "Accept"));
    response
}

/// What the client says that it has.
fn known_tags(request: &HttpRequest) -> impl Iterator<Item = &str> {
    let lines = request
        .headers()
        .get_all(header::IF_NONE_MATCH)
        .filter_map(|line| line.to_str().ok());
    lines
        .flat_map(|line| line.split(','))
        .map(|tag| tag.trim().trim_start_matches("W/"))
}

/// `POST /api/v1/boards/{board}/topics`. JSON only, so that no form of another site can reach it.
///
/// # Errors
/// If the topic cannot be read or is not allowed, there is no such board, or the database is away.
#[utoipa::path(
    post,
    path = "/api/v1/boards/{board}/topics",
    tag = "topics",
    summary = "Post",
    params(("board" = String, Path, description = "A board's name", pattern = "^[a-z0-9][a-z0-9-]{0,62}$"), ("Idempotency-Key" = Option<String>, Header, description = "The same key leads to the same topic", pattern = "^[!-~]{1,255}$")),
    request_body = Draft,
    responses(
        (status = 201, body = TopicView<'_>, description = "Posted", headers(("Location" = String, description = "Its address"), ("ETag" = String, description = "Its place in history"))),
        Refusal, Forbidden, BadBody,
    ),
    security((), ("token" = [])),
)]
pub async fn post_topic(
    request: HttpRequest,
    state: Data<AppState>,
    board: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let board = board_name(&board)?;
    let caller = caller::of(&request, &state).await?;
    let key = body::idempotency_key(&request)?;
    let topic = body::draft(&request, payload, &state, &[Kind::Json])
        .await?
        .check()?;
    let topic = state
        .bulletin
        .create_topic(&caller, board.clone(), topic, key)
        .await?;
    Ok(created(&state, &board, &topic))
}

/// 201, with the topic.
pub fn created(state: &AppState, board: &BoardName, topic: &Topic) -> HttpResponse {
    let cursor = Cursor {
        epoch: state.bulletin.following().epoch(),
        revision: topic.revision,
    };
    HttpResponse::Created()
        .insert_header((
            header::LOCATION,
            format!("/api/v1/boards/{board}/topics/{}", topic.id.0),
        ))
        .insert_header((header::ETAG, etag(&cursor)))
        .content_type("application/json")
        .body(render::rest::topic(topic))
}

/// 200, with the topic as it stands now.
fn one(state: &AppState, topic: &Topic) -> HttpResponse {
    let tag = etag(&Cursor {
        epoch: state.bulletin.following().epoch(),
        revision: topic.revision,
    });
    HttpResponse::Ok()
        .insert_header((header::ETAG, tag))
        .content_type("application/json")
        .body(render::rest::topic(topic))
}

fn etag(cursor: &Cursor) -> String {
    format!("\"{cursor}\"")
}
