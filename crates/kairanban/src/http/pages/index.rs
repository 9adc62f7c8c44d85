//! The index of boards.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use chrono::Utc;
use kairanban_core::SearchText;
use serde::Deserialize;

use super::{answer, answer_as_text};
use crate::{
    error::ApiError,
    http::{accept::Representation, board_after, caller, query::Query, rest::topic_list},
    preferences::Preferences,
    render,
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
    let after_name = board_after(query.after.as_deref())?;
    let caller = caller::of(&request, &state).await?;
    state.begin_read(&request).await?;
    let sought = query.q.as_deref().map(str::trim).unwrap_or_default();
    let (boards, next) = if sought.is_empty() {
        let boards = state.boards.index(&caller, after_name, BOARDS_ON_PAGE);
        let page = boards.await?;
        (page.rows, page.next)
    } else {
        topic_list::check_search(sought, state.rest.search_chars_max)?;
        let text = SearchText::new(sought);
        let found = state.boards.find_boards(&caller, text, BOARDS_ON_PAGE);
        (found.await?, None)
    };
    if Representation::of_page(&request) == Representation::Text {
        let mut text = render::text::boards(&boards, state.pages.zone());
        if let Some(next) = &next {
            let site = state.site.address(request.headers());
            text.push_str(&format!("# more: curl '{site}/boards?after={next}'\n"));
        }
        return Ok(answer_as_text(&request, text));
    }
    let reader = Preferences::of(&request);
    let page = state
        .pages
        .index(&reader, sought, &boards, next.as_deref(), &Utc::now())?;
    answer(&request, &reader, HttpResponse::Ok(), page.into())
}
