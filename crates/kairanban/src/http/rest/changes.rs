//! The change log of a board: what happened, without text.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path},
};
use kairanban_core::{Cursor, CursorError, LogStart, ResetReason};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{json, paging::PageRequest, responses::RefusalResponses};
use crate::{
    error::{ApiError, Problem},
    http::{board_name, caller, query::Query},
    render::{
        self,
        rest::ChangesView,
        schemas::{BoardNameSchema, CursorSchema},
    },
    state::AppState,
};

/// Query parameters of a board's log.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ChangesQuery {
    /// After this cursor; without it from the beginning.
    #[param(value_type = Option<CursorSchema>)]
    since: Option<String>,
    /// The last row that was read of the revision of `since`; only `Link` knows it.
    #[serde(rename = "place")]
    after_id: Option<i64>,
    /// How many rows to return at most.
    #[param(minimum = 1)]
    limit: Option<usize>,
}

impl ChangesQuery {
    /// Returns where the log is read from.
    fn start(&self) -> Result<LogStart, ApiError> {
        let Some(since) = &self.since else {
            return Ok(LogStart::Beginning);
        };
        let cursor = since
            .parse()
            .map_err(|error: CursorError| ApiError::bad_request_at("since", error.to_string()))?;
        Ok(match self.after_id {
            None => LogStart::After(cursor),
            Some(_) => LogStart::Within(cursor),
        })
    }
}

/// Answers `GET /api/v1/boards/{board}/changes`.
///
/// # Errors
/// If there is no such board, the query cannot be read, or the log does not reach back that far.
#[utoipa::path(
    get,
    path = "/api/v1/boards/{board}/changes",
    tag = "topics",
    summary = "Change log of a board",
    params(
        ("board" = BoardNameSchema, Path, description = "A board's name"),
        ChangesQuery,
    ),
    responses(
        (status = 200, body = ChangesView, description = "Rows of the log, without text, in the order of commits",
            headers(("Link" = String, description = "`rel=\"next\"`, if there is more"))),
        (status = 410, body = Problem, content_type = "application/problem+json",
            description = "The log does not reach back that far, or the cursor is of another \
                history"),
        RefusalResponses,
    ),
    security((), ("token" = [])),
)]
pub async fn get_changes(
    request: HttpRequest,
    state: Data<AppState>,
    board: Path<String>,
    query: Query<ChangesQuery>,
) -> Result<HttpResponse, ApiError> {
    let board = board_name(&board)?;
    let caller = caller::of(&request, &state).await?;
    state.begin_read(&request).await?;
    let page = PageRequest::new(&request, &state, query.limit)?;
    let start = query.start()?;
    // Before the log is read: if history begins again meanwhile, the link must not be of the new
    // one.
    let epoch = state.boards.follower().epoch();
    let read = state
        .boards
        .log(&caller, board, &start, query.after_id, page.limit)
        .await?;
    let entries = read.map_err(|reason| {
        ApiError::Gone(match reason {
            ResetReason::Epoch => {
                "this cursor is of another history; begin with the list of topics"
            }
            _ => "the log no longer reaches back that far; begin with the list of topics",
        })
    })?;
    let next = entries.next.map(|(revision, place)| {
        let since = Cursor { epoch, revision };
        format!("since={since}&place={place}")
    });
    let response = page.begin_answer(next);
    Ok(json(response, render::rest::changes(&entries.rows)))
}
