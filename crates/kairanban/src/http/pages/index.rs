//! The index of boards.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Query},
};
use chrono::Utc;
use kairanban_core::BoardName;
use serde::Deserialize;

use super::answer;
use crate::{
    error::ApiError, http::caller, preferences::Preferences, service::IndexedBoard, state::AppState,
};

/// Boards on a page of the index.
const BOARDS_ON_PAGE: usize = 100;

/// The query of the index.
#[derive(Debug, Deserialize)]
pub struct IndexQuery {
    /// The name of the board before.
    after: Option<String>,
}

/// Answers `GET /boards`: the boards that the caller may read.
///
/// # Errors
/// If the database is away.
pub async fn get_index(
    request: HttpRequest,
    state: Data<AppState>,
    query: Query<IndexQuery>,
) -> Result<HttpResponse, ApiError> {
    let after = query.after.as_deref().map(str::parse::<BoardName>);
    let after = after
        .transpose()
        .map_err(|_| ApiError::unreadable_at("after", "after is the name of a board"))?;
    let caller = caller::of(&request, &state).await?;
    state.count_read(&request)?;
    // One more tells whether there is another page.
    let mut boards = state
        .boards
        .index(&caller, after, BOARDS_ON_PAGE + 1)
        .await?;
    let has_more = boards.len() > BOARDS_ON_PAGE;
    boards.truncate(BOARDS_ON_PAGE);
    let last = boards.last().filter(|_| has_more);
    let next = last.map(|IndexedBoard { board, .. }| &board.name);
    let reader = Preferences::of(&request);
    let page = state.pages.index(&reader, &boards, next, &Utc::now())?;
    answer(&request, &reader, HttpResponse::Ok(), page.into())
}
