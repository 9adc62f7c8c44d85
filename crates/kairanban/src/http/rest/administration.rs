//! The server itself, for administrators: what it does now, and what was done with it.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    no_store_json,
    paging::{PageRequest, check_id},
    responses::{Forbidden, RefusalResponses},
};
use crate::{
    error::ApiError,
    http::{caller, query::Query},
    render::{
        self,
        rest::{AuditPageView, Stats},
    },
    state::AppState,
};

/// Query parameters of the audit.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// Entries older than this one.
    #[param(minimum = 1)]
    before: Option<i64>,
    /// Number of entries, at most.
    #[param(minimum = 1)]
    limit: Option<usize>,
}

/// Answers `GET /api/v1/audit`: what administrators did, the newest first.
///
/// # Errors
/// Without an administrator's token, or if the query cannot be read.
#[utoipa::path(
    get,
    path = "/api/v1/audit",
    tag = "server",
    summary = "Audit log",
    params(AuditQuery),
    responses((status = 200, body = AuditPageView<'_>, description = "What administrators did, the \
        newest first"), RefusalResponses, Forbidden),
    security(("token" = [])),
)]
pub async fn get_audit(
    request: HttpRequest,
    state: Data<AppState>,
    query: Query<AuditQuery>,
) -> Result<HttpResponse, ApiError> {
    let administrator = caller::administrator(&request, &state).await?;
    state.begin_read(&request).await?;
    let page = PageRequest::new(&request, &state, query.limit)?;
    let before = check_id("before", query.before, 1, "an entry")?;
    let entries = state
        .boards
        .audit(&administrator, before, page.limit)
        .await?;
    let response = page.begin_answer(entries.next.map(|last| format!("before={last}")));
    Ok(no_store_json(response, render::rest::audit(&entries.rows)))
}

/// Answers `GET /api/v1/stats`: this node, now.
///
/// # Errors
/// Without an administrator's token.
#[utoipa::path(
    get,
    path = "/api/v1/stats",
    tag = "server",
    summary = "Statistics of this node",
    responses((status = 200, body = Stats, description = "What this node does \
        now"), RefusalResponses, Forbidden),
    security(("token" = [])),
)]
pub async fn get_stats(
    request: HttpRequest,
    state: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    caller::administrator(&request, &state).await?;
    let follower = state.boards.follower();
    let figures = state.figures();
    let stats = Stats {
        version: env!("CARGO_PKG_VERSION"),
        uptime_s: state.started.elapsed().as_secs(),
        streams: figures.streams,
        streams_max: figures.streams_max,
        database_reads: figures.database_reads,
        boards_in_memory: figures.boards,
        epoch: follower.epoch().to_string(),
        revision: follower.revision(),
        stale_since: follower.stale_since(),
    };
    Ok(no_store_json(
        HttpResponse::Ok(),
        render::rest::stats(&stats),
    ))
}
