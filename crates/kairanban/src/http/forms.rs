//! Posting from a form, a terminal or a program, at the address of the page.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web::{Data, Path, Payload},
};
use kairanban_core::BoardName;

use crate::{
    auth::Caller,
    error::ApiError,
    http::{
        accept::Representation,
        board_name,
        body::{self, BodyKind, Draft},
        caller, conditional, pages,
        rest::topics,
    },
    state::AppState,
};

/// Answers `POST /`
///
/// # Errors
/// If the topic cannot be read or is not allowed, or the database is away.
pub async fn post_default_board(
    request: HttpRequest,
    state: Data<AppState>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    post(&request, &state, payload, &state.default_board, "/").await
}

/// Answers `POST /b/{board}`
///
/// # Errors
/// As [`post_default_board`], and if there is no such board.
pub async fn post_board(
    request: HttpRequest,
    state: Data<AppState>,
    board: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let board = board_name(&board)?;
    post(&request, &state, payload, &board, &format!("/b/{board}")).await
}

async fn post(
    request: &HttpRequest,
    state: &AppState,
    payload: Payload,
    board: &BoardName,
    page: &str,
) -> Result<HttpResponse, ApiError> {
    let caller = caller::of(request, state).await?;
    let key = body::idempotency_key(request)?;
    let draft = body::draft(
        request,
        payload,
        state,
        &[BodyKind::Form, BodyKind::Text, BodyKind::Json],
    )
    .await?;
    let wants_page = Representation::of_post(request) == Representation::Html;
    let topic = match draft.check() {
        Err(ApiError::Invalid(faults)) if wants_page => {
            return refused(request, state, &caller, board, &draft, &faults).await;
        }
        checked => checked?,
    };
    conditional::ensure_met(request, state, &caller, board).await?;
    let topic = state
        .boards
        .create_topic(&caller, board.clone(), topic, key)
        .await?;
    if wants_page {
        // So that reloading the page does not post again.
        return Ok(HttpResponse::SeeOther()
            .insert_header((header::LOCATION, page))
            .finish());
    }
    Ok(topics::created(state, board, &topic))
}

async fn refused(
    request: &HttpRequest,
    state: &AppState,
    caller: &Caller,
    board: &BoardName,
    draft: &Draft,
    faults: &[kairanban_core::Invalid],
) -> Result<HttpResponse, ApiError> {
    let view = state.boards.read(caller, board).await?;
    pages::page(
        request,
        state,
        caller,
        &view,
        StatusCode::UNPROCESSABLE_ENTITY,
        draft,
        faults,
    )
    .await
}
