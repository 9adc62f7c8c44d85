//! The index of boards.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use chrono::Utc;
use kairanban_core::{BoardName, SearchText};
use serde::Deserialize;

use super::answer;
use crate::{
    error::ApiError,
    http::{caller, query::Query, rest::topic_list},
    preferences::Preferences,
    service::IndexedBoard,
    state::AppState,
};

/// Boards on a page of the index.
const BOARDS_ON_PAGE: usize = 100;

/// The query of the index.
#[derive(Debug, Deserialize)]
pub struct IndexQuery {
    /// The name of the board before.
    after: Option<String>,
    /// What the title or the name holds.
    q: Option<String>,
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
        .map_err(|_| ApiError::unreadable_at("after", "after must be the name of a board"))?;
    let caller = caller::of(&request, &state).await?;
    state.count_read(&request)?;
    let sought = query.q.as_deref().map(str::trim).unwrap_or_default();
    // One more row shows that there is another page.
    let limit = BOARDS_ON_PAGE + 1;
    let mut boards = if sought.is_empty() {
        state.boards.index(&caller, after, limit).await?
    } else {
        topic_list::check_search(sought, state.rest.search_chars_max)?;
        let text = SearchText::new(sought);
        state
            .boards
            .find_boards(&caller, text, BOARDS_ON_PAGE)
            .await?
    };
    let has_more = boards.len() > BOARDS_ON_PAGE;
    boards.truncate(BOARDS_ON_PAGE);
    let last = boards.last().filter(|_| has_more);
    let next = last.map(|IndexedBoard { board, .. }| &board.name);
    let reader = Preferences::of(&request);
    let page = state
        .pages
        .index(&reader, sought, &boards, next, &Utc::now())?;
    answer(&request, &reader, HttpResponse::Ok(), page.into())
}
