//! Lists of topics: the live list, and pages through all of them.

use std::{sync::Arc, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{Data, Path},
};
use kairanban_core::{BoardName, SearchText, TopicId};
use kairanban_store::Page;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use tokio::time::timeout;
use utoipa::IntoParams;

use super::{
    json,
    paging::{PageRequest, check_id},
    responses::RefusalResponses,
};
use crate::{
    auth::Caller,
    error::{ApiError, Problem},
    http::{accept, admission::admit_long_poll, board_name, caller, conditional, query::Query},
    limits::ClientAddress,
    render::{self, rest::TopicListView, schemas::BoardNameSchema},
    service::{BoardView, SearchedPage},
    state::{AppState, TURN_WAIT},
};

/// Query parameters of a list of topics. Their bounds are settings: `openapi::set_bounds`.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TopicsQuery {
    /// Topics older than this one.
    #[param(minimum = 1)]
    before: Option<i64>,
    /// Number of topics, at most.
    #[param(minimum = 1)]
    limit: Option<usize>,
    /// With this text in their comment, whatever its case, width or normal form.
    q: Option<String>,
    /// With `If-None-Match`: seconds to wait for something newer.
    wait: Option<u64>,
}

/// Answers `GET /api/v1/boards/{board}/topics`: the live list, or, with `before`, `limit` or `q`, a
/// page of all topics, the newest first.
///
/// # Errors
/// If there is no such board, it cannot be read, or the query cannot.
#[utoipa::path(
    get,
    path = "/api/v1/boards/{board}/topics",
    tag = "topics",
    summary = "The live list, or a page of all topics",
    params(
        ("board" = BoardNameSchema, Path, description = "A board's name"),
        TopicsQuery,
        ("If-None-Match" = Option<String>, Header,
            description = "The list's `ETag` from the last response"),
    ),
    responses(
        (status = 200, description = "The live list, or with `before`, `limit` or `q` a page of \
            all topics",
            content((TopicListView<'_> = "application/json")),
            headers(("ETag" = String, description = "The cursor, of the live list \
                only"), ("Link" = String, description = "`rel=\"next\"`, of a page that is not the \
                    last"))),
        (status = 304, description = "Nothing is newer"),
        (status = 412, body = Problem, content_type = "application/problem+json",
            description = "The list has changed since the `ETag` in `If-Match`"),
        RefusalResponses,
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
    let unloaded = state.begin_unloaded(&request, &caller, [&board]).await?;
    match query.wait {
        None => list(&request, &state.boards.read(&caller, &board).await?),
        Some(wait) => {
            if unloaded.is_some() {
                // Reads it first, so that the reading does not last as long as the wait.
                state.boards.read(&caller, &board).await?;
            }
            drop(unloaded);
            let wait = Duration::from_secs(wait);
            let update = wait_for_update(&request, &state, &mut caller, &board, wait).await?;
            list(&request, &update)
        }
    }
}

/// Waits until the live list is another one than the client has, at most for `wait`, and returns
/// it.
async fn wait_for_update(
    request: &HttpRequest,
    state: &AppState,
    caller: &mut Caller,
    board: &BoardName,
    wait: Duration,
) -> Result<BoardView, ApiError> {
    if wait > state.rest.wait_max {
        return Err(ApiError::bad_request_at(
            "wait",
            format!(
                "wait must be a number of seconds, at most {}",
                state.rest.wait_max.as_secs()
            ),
        ));
    }
    let Some(known) = conditional::known_cursor(request) else {
        return Ok(state.boards.read(caller, board).await?);
    };
    let _ends = admit_long_poll(request, state)?;
    Ok(state
        .boards
        .wait(caller, board, &known, wait, &state.drain)
        .await?)
}

/// Refuses a search that the database could not take, or would take too long over.
pub(in crate::http) fn check_search(text: &str, chars_max: usize) -> Result<(), ApiError> {
    if text.chars().nth(chars_max).is_some() {
        return Err(ApiError::bad_request_at(
            "q",
            format!("q must have at most {chars_max} characters"),
        ));
    }
    if text.contains('\0') {
        Err(ApiError::bad_request_at("q", "q must not contain NUL"))
    } else {
        Ok(())
    }
}

/// Reads the topic that a page begins behind.
pub(in crate::http) fn before(id: Option<i64>) -> Result<Option<TopicId>, ApiError> {
    Ok(check_id("before", id, 1, "a topic")?.map(TopicId))
}

async fn page(
    request: &HttpRequest,
    state: &AppState,
    caller: &Caller,
    board: BoardName,
    query: &TopicsQuery,
) -> Result<HttpResponse, ApiError> {
    state.begin_read(request).await?;
    let page = PageRequest::new(request, state, query.limit)?;
    let wanted = Page {
        before: before(query.before)?,
        limit: page.limit,
    };
    if let Some(text) = query.q.as_deref().filter(|text| !text.is_empty()) {
        let searched = search(request, state, caller, board, text, wanted).await?;
        let text = utf8_percent_encode(text, NON_ALPHANUMERIC);
        let next = searched
            .next
            .map(|last| format!("before={}&q={text}", last.0));
        let response = page.begin_answer(next);
        return Ok(json(response, render::rest::search_page(&searched)));
    }
    let topics = state.boards.page(caller, board, wanted).await?;
    let response = page.begin_answer(topics.next.map(|last| format!("before={last}")));
    Ok(json(response, render::rest::topic_page(&topics.rows)))
}

/// Searches a board, once it is this client's turn.
pub(in crate::http) async fn search(
    request: &HttpRequest,
    state: &AppState,
    caller: &Caller,
    board: BoardName,
    text: &str,
    wanted: Page,
) -> Result<SearchedPage, ApiError> {
    check_search(text, state.rest.search_chars_max)?;
    let looked_at_max = state.rest.search_topics_max.get();
    let client = ClientAddress::of(request, &state.trusted_proxies);
    let permit = state.search_gate.enter(client).ok_or(ApiError::TooMany {
        what: "searches by one address at a time",
        setting: "limits.searches_per_client_max",
        retry_after: Duration::from_secs(1),
    })?;
    let slot = Arc::clone(&state.search_slots).acquire_owned();
    let Ok(Ok(slot)) = timeout(TURN_WAIT, slot).await else {
        return Err(ApiError::SearchesBusy);
    };
    Ok(state
        .boards
        .search(
            caller,
            board,
            SearchText::new(text),
            wanted,
            looked_at_max,
            Arc::new((permit, slot)),
        )
        .await?)
}

/// Answers with the live list, or with 304 if the client has it, or, from another node, a later
/// one.
///
/// # Errors
/// 412, if it is not the list that the client demands.
pub fn list(request: &HttpRequest, view: &BoardView) -> Result<HttpResponse, ApiError> {
    let is_packed = accept::asks_for_gzip(request);
    let (mut response, is_known) = conditional::start_list(request, view, is_packed)?;
    response.insert_header((header::VARY, "Accept, Accept-Encoding"));
    if is_known {
        return Ok(response.finish());
    }
    response.content_type("application/json");
    Ok(if is_packed {
        response
            .insert_header((header::CONTENT_ENCODING, "gzip"))
            .body(render::rest::live_list_in_gzip(&view.snapshot))
    } else {
        response.body(render::rest::live_list(&view.snapshot))
    })
}
