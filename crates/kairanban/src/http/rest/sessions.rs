//! Sessions of browsers: looked at and ended by administrators.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path},
};
use kairanban_store::StoreError;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    no_store_json,
    paging::{PageRequest, check_id},
    responses::{Forbidden, RefusalResponses},
};
use crate::{
    error::ApiError,
    http::{caller, query::Query, row_id},
    render::{self, rest::SessionsView},
    state::AppState,
};

/// Query parameters of the list of sessions.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SessionsQuery {
    /// The id of the session before.
    #[param(minimum = 0)]
    after: Option<i64>,
    /// How many sessions to return at most.
    #[param(minimum = 1)]
    limit: Option<usize>,
}

/// Answers `GET /api/v1/sessions`: those that are alive, the oldest first.
///
/// # Errors
/// Without an administrator's token, or if the query cannot be read.
#[utoipa::path(
    get,
    path = "/api/v1/sessions",
    tag = "tokens",
    summary = "Browsers that are signed in",
    params(SessionsQuery),
    responses((status = 200, body = SessionsView<'_>, description = "The sessions that are alive, \
        the oldest first"), RefusalResponses, Forbidden),
    security(("token" = [])),
)]
pub async fn get_sessions(
    request: HttpRequest,
    state: Data<AppState>,
    query: Query<SessionsQuery>,
) -> Result<HttpResponse, ApiError> {
    let administrator = caller::administrator(&request, &state).await?;
    state.begin_read(&request).await?;
    let page = PageRequest::new(&request, &state, query.limit)?;
    let after_id = check_id("after", query.after, 0, "a session")?.unwrap_or(0);
    let sessions = state
        .boards
        .sessions(&administrator, after_id, page.limit)
        .await?;
    let response = page.begin_answer(sessions.next.map(|last| format!("after={last}")));
    Ok(no_store_json(
        response,
        render::rest::sessions(&sessions.rows),
    ))
}

/// Answers `DELETE /api/v1/sessions/{id}`: signs a browser out, and at once ends the streams that
/// the session let in.
///
/// # Errors
/// Without an administrator's token, or if no session that is alive has the id.
#[utoipa::path(
    delete,
    path = "/api/v1/sessions/{id}",
    tag = "tokens",
    summary = "Sign a browser out",
    params(("id" = i64, Path, description = "A session's id", minimum = 1)),
    responses((status = 204, description = "Ended, with its streams"), RefusalResponses, Forbidden),
    security(("token" = [])),
)]
pub async fn delete_session(
    request: HttpRequest,
    state: Data<AppState>,
    id: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let administrator = caller::administrator(&request, &state).await?;
    state
        .boards
        .end_session(&administrator, row_id(&id, StoreError::NO_SESSION)?)
        .await?;
    Ok(HttpResponse::NoContent().finish())
}
