//! `/api/v1`: JSON for programs.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web::{Data, Path, Payload},
};
use kairanban_core::{BoardName, Cursor, Topic};

use crate::{
    bulletin::Reading,
    error::ApiError,
    http::{
        board_name,
        body::{self, Kind},
        pages,
    },
    render,
    state::AppState,
};

/// `GET /api/v1/boards/{board}/topics`
///
/// # Errors
/// If there is no such board, or it cannot be read.
pub async fn get_topics(request: HttpRequest, state: Data<AppState>, board: Path<String>) -> Result<HttpResponse, ApiError> {
    Ok(list(&request, &state.bulletin.read(&board_name(&board)?).await?))
}

/// The live list, or 304 if the client has it.
pub(super) fn list(request: &HttpRequest, reading: &Reading) -> HttpResponse {
    let tag = etag(reading.snapshot.cursor());
    let known =
        request.headers().get_all(header::IF_NONE_MATCH).filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(','));
    let fresh = known.into_iter().any(|known| matches!(known.trim(), known if known == tag || known == "*"));
    let mut response = pages::answer(if fresh { StatusCode::NOT_MODIFIED } else { StatusCode::OK }, reading);
    response.insert_header((header::ETAG, tag)).insert_header((header::VARY, "Accept"));
    if fresh { response.finish() } else { response.content_type("application/json").body(render::topics_json(&reading.snapshot)) }
}

/// `POST /api/v1/boards/{board}/topics`. JSON only, so that no form of another site can reach it.
///
/// # Errors
/// If the topic cannot be read or is not allowed, there is no such board, or the database is away.
pub async fn post_topic(
    request: HttpRequest,
    state: Data<AppState>,
    board: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let board = board_name(&board)?;
    let key = body::idempotency_key(&request)?;
    let topic = body::draft(&request, payload, &state, &[Kind::Json]).await?.check()?;
    let topic = state.bulletin.create_topic(board.clone(), topic, key).await?;
    Ok(created(&state, &board, &topic))
}

/// 201, with the topic.
pub(super) fn created(state: &AppState, board: &BoardName, topic: &Topic) -> HttpResponse {
    let cursor = Cursor { epoch: state.bulletin.following().epoch(), revision: topic.revision };
    HttpResponse::Created()
        .insert_header((header::LOCATION, format!("/api/v1/boards/{board}/topics/{}", topic.id.0)))
        .insert_header((header::ETAG, etag(&cursor)))
        .content_type("application/json")
        .body(render::topic_json(topic))
}

fn etag(cursor: &Cursor) -> String {
    format!("\"{cursor}\"")
}
