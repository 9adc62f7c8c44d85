//! Board pages: complete without script, live with it.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web::{Data, Path},
};
use kairanban_core::{Action, BoardName, Invalid, PostPolicy};

use crate::{
    auth::Caller,
    error::ApiError,
    http::{accept::Form, board_name, body::Draft, caller, conditional, rest::topic_list},
    language::Language,
    render::{self, page::BoardPage},
    service::BoardView,
    state::AppState,
};

/// Answers `GET /`
///
/// # Errors
/// If the board cannot be read.
pub async fn get_default_board(
    request: HttpRequest,
    state: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    get(&request, &state, &state.default_board).await
}

/// Answers `GET /b/{board}`
///
/// # Errors
/// If there is no such board, or it cannot be read.
pub async fn get_board(
    request: HttpRequest,
    state: Data<AppState>,
    board: Path<String>,
) -> Result<HttpResponse, ApiError> {
    get(&request, &state, &board_name(&board)?).await
}

/// Answers `GET /b/{board}/feed.xml`: the board in Atom, for feed readers.
///
/// # Errors
/// As [`get_board`].
pub async fn get_feed(
    request: HttpRequest,
    state: Data<AppState>,
    board: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let caller = caller::of(&request, &state).await?;
    let board = board_name(&board)?;
    state.count_unloaded(&request, &caller, [&board])?;
    let reading = state.boards.read(&caller, &board).await?;
    let (mut response, is_known) = conditional::start_list(&request, &reading)?;
    if is_known {
        return Ok(response.finish());
    }
    let feed = state
        .pages
        .feed(&state.site.address(request.headers()), &reading.snapshot)?;
    Ok(response
        .content_type("application/atom+xml; charset=utf-8")
        .body(feed))
}

async fn get(
    request: &HttpRequest,
    state: &AppState,
    board: &BoardName,
) -> Result<HttpResponse, ApiError> {
    let caller = caller::of(request, state).await?;
    state.count_unloaded(request, &caller, [board])?;
    let reading = state.boards.read(&caller, board).await?;
    match Form::of_page(request) {
        Form::Json => topic_list::list(request, &reading),
        Form::Text => Ok(text(&reading)),
        Form::Html => page(
            request,
            state,
            &caller,
            &reading,
            StatusCode::OK,
            &Draft::default(),
            &[],
        ),
    }
}

fn text(reading: &BoardView) -> HttpResponse {
    let mut response = conditional::answer(StatusCode::OK, reading);
    response
        .content_type("text/plain; charset=utf-8")
        .insert_header((header::VARY, "Accept"))
        .body(render::text::live_list(&reading.snapshot))
}

/// Renders the page; after a post that was refused, with what was typed and what is wrong with it.
pub(super) fn page(
    request: &HttpRequest,
    state: &AppState,
    caller: &Caller,
    reading: &BoardView,
    status: StatusCode,
    draft: &Draft,
    faults: &[Invalid],
) -> Result<HttpResponse, ApiError> {
    let action = if reading.snapshot.board() == &state.default_board {
        "/".to_owned()
    } else {
        format!("/b/{}", reading.snapshot.board())
    };
    let page = BoardPage {
        action: &action,
        posting: if caller.may(Action::Post, reading.snapshot.board(), reading.policies) {
            PostPolicy::Open
        } else {
            reading.policies.post
        },
        snapshot: &reading.snapshot,
        stale: reading.stale_since.is_some(),
        comment: &draft.comment,
        author: &draft.author,
        faults,
    };
    let body = state.pages.board(Language::of(request), &page)?;
    Ok(conditional::answer(status, reading)
        .content_type("text/html; charset=utf-8")
        .insert_header((header::VARY, "Accept, Accept-Language"))
        .body(body))
}
