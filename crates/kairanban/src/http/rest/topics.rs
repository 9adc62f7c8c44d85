//! Topics, one at a time: read, post, edit, delete, restore.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web::{Data, Path, Payload},
};
use kairanban_core::{BoardName, Topic, TopicId};
use kairanban_store::StoreError;

use super::responses::{BadBody, Forbidden, RefusalResponses};
use crate::{
    error::{ApiError, Problem},
    http::{
        board_name,
        body::{self, BodyKind, Draft, Edit},
        caller, conditional, row_id,
    },
    render::{
        self, TopicView,
        schemas::{BoardNameSchema, IdempotencyKeySchema},
    },
    state::AppState,
};

/// Answers `GET /api/v1/boards/{board}/topics/{id}`, archived or not.
///
/// # Errors
/// If there is no such board or topic, or the database is away.
#[utoipa::path(
    get,
    path = "/api/v1/boards/{board}/topics/{id}",
    tag = "topics",
    summary = "One topic",
    params(
        ("board" = BoardNameSchema, Path, description = "A board's name"),
        ("id" = i64, Path, description = "A topic's id", minimum = 1),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` from the last response"),
    ),
    responses(
        (status = 200, body = TopicView<'_>, description = "The topic, archived or not",
            headers(("ETag" = String, description = "Its place in history"))),
        (status = 304, description = "Nothing is newer"),
        (status = 412, body = Problem, content_type = "application/problem+json",
            description = "It is not at the `ETag` in `If-Match`"),
        RefusalResponses,
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
    state.begin_read(&request).await?;
    let topic = state.boards.topic(&caller, board, id).await?;
    let tag = conditional::topic_tag(&state, &topic);
    conditional::answer_tagged(&request, &tag, "application/json", || {
        render::rest::topic(&topic)
    })
}

/// Answers `PATCH /api/v1/boards/{board}/topics/{id}`, for administrators.
///
/// # Errors
/// Without an administrator's token, or if there is no such topic, it was changed meanwhile, or the
/// change is not allowed.
#[utoipa::path(
    patch,
    path = "/api/v1/boards/{board}/topics/{id}",
    tag = "topics",
    summary = "Edit a topic",
    params(
        ("board" = BoardNameSchema, Path, description = "A board's name"),
        ("id" = i64, Path, description = "A topic's id", minimum = 1),
    ),
    request_body = Edit,
    responses(
        (status = 200, body = TopicView<'_>, description = "As it stands now",
            headers(("ETag" = String, description = "Its place in history"))),
        RefusalResponses, Forbidden, BadBody,
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
    let (condition, is_weak) = conditional::revision_condition(&request, &state);
    let updated = state
        .boards
        .update_topic(&administrator, id, edit, condition)
        .await;
    let topic = updated.map_err(|error| conditional::refusal(error, is_weak))?;
    Ok(one(&state, &topic))
}

/// Answers `DELETE /api/v1/boards/{board}/topics/{id}`, for administrators.
///
/// # Errors
/// Without an administrator's token, or if there is no such topic, or it was changed meanwhile.
#[utoipa::path(
    delete,
    path = "/api/v1/boards/{board}/topics/{id}",
    tag = "topics",
    summary = "Delete a topic",
    params(
        ("board" = BoardNameSchema, Path, description = "A board's name"),
        ("id" = i64, Path, description = "A topic's id", minimum = 1),
    ),
    responses(
        (status = 204, description = "Deleted; `restore` undoes it"),
        RefusalResponses, Forbidden,
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
    let (condition, is_weak) = conditional::revision_condition(&request, &state);
    let deleted = state
        .boards
        .delete_topic(&administrator, id, condition)
        .await;
    deleted.map_err(|error| conditional::refusal(error, is_weak))?;
    Ok(HttpResponse::NoContent().finish())
}

/// Answers `POST /api/v1/boards/{board}/topics/{id}/restore`, for administrators: undoes a delete.
///
/// # Errors
/// Without an administrator's token, or if that was too long ago, or nothing was deleted.
#[utoipa::path(
    post,
    path = "/api/v1/boards/{board}/topics/{id}/restore",
    tag = "topics",
    summary = "Undo a delete",
    params(
        ("board" = BoardNameSchema, Path, description = "A board's name"),
        ("id" = i64, Path, description = "A topic's id", minimum = 1),
    ),
    responses(
        (status = 200, body = TopicView<'_>, description = "Restored",
            headers(("ETag" = String, description = "Its place in history"))),
        (status = 409, body = Problem, content_type = "application/problem+json",
            description = "The topic was not deleted"),
        RefusalResponses, Forbidden,
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
    let topic = state.boards.restore_topic(&administrator, id).await?;
    Ok(one(&state, &topic))
}

/// Reads the board and the topic that an address names.
fn named((board, id): &(String, String)) -> Result<(BoardName, TopicId), ApiError> {
    Ok((board_name(board)?, topic_id(id)?))
}

/// Reads the topic that an address names. What is no id names no topic.
pub(in crate::http) fn topic_id(text: &str) -> Result<TopicId, ApiError> {
    row_id(text, StoreError::NO_TOPIC).map(TopicId)
}

/// Answers `POST /api/v1/boards/{board}/topics`. JSON only, so that no form of another site can
/// reach it.
///
/// # Errors
/// If the topic cannot be read or is not allowed, there is no such board, or the database is away.
#[utoipa::path(
    post,
    path = "/api/v1/boards/{board}/topics",
    tag = "topics",
    summary = "Post",
    params(
        ("board" = BoardNameSchema, Path, description = "A board's name"),
        ("Idempotency-Key" = Option<IdempotencyKeySchema>, Header,
            description = "The same key leads to the same topic"),
    ),
    request_body = Draft,
    responses(
        (status = 201, body = TopicView<'_>, description = "Posted",
            headers(("Location" = String, description = "Its address"),
                ("ETag" = String, description = "Its place in history"))),
        (status = 410, body = Problem, content_type = "application/problem+json",
            description = "The topic that this key led to was deleted since (`topic_gone`)"),
        RefusalResponses, Forbidden, BadBody,
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
    let topic = body::draft(&request, payload, &state, &[BodyKind::Json])
        .await?
        .check()?;
    conditional::ensure_met(&request, &state, &caller, &board).await?;
    let topic = state
        .boards
        .create_topic(&caller, board.clone(), topic, key)
        .await?;
    Ok(created(&state, &board, &topic))
}

/// Answers 201, with the topic.
pub fn created(state: &AppState, board: &BoardName, topic: &Topic) -> HttpResponse {
    conditional::answer_written(StatusCode::CREATED, state, topic)
        .insert_header((
            header::LOCATION,
            format!("/api/v1/boards/{board}/topics/{}", topic.id.0),
        ))
        .content_type("application/json")
        .body(render::rest::topic(topic))
}

/// Answers 200, with the topic as it stands now.
fn one(state: &AppState, topic: &Topic) -> HttpResponse {
    conditional::answer_written(StatusCode::OK, state, topic)
        .content_type("application/json")
        .body(render::rest::topic(topic))
}
