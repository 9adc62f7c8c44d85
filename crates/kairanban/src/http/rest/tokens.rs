//! Tokens and tickets: made, looked at, ended.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{Data, Path, Payload, Query},
};
use chrono::{DateTime, Utc};
use kairanban_core::{BoardName, Invalid, InvalidReason, Scope, TokenName};
use kairanban_store::NewToken;
use serde::Deserialize;

use super::{link_next, page_limit};
use crate::{
    error::ApiError,
    http::{body, caller},
    render,
    state::AppState,
};

/// What may stand behind the `?`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokensQuery {
    after: Option<i64>,
    limit: Option<usize>,
}

/// A token to be made, not checked yet.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with `name`, `scope` and, if you like, `board` and `expires_at`")]
struct TokenDraft {
    name: String,
    scope: String,
    board: Option<String>,
    expires_at: Option<DateTime<Utc>>,
}

impl TokenDraft {
    fn check(self, now: DateTime<Utc>) -> Result<NewToken, ApiError> {
        let Self { name, scope, board, expires_at } = self;
        let board = board.map(|board| board.parse::<BoardName>()).transpose();
        let past = expires_at.filter(|at| *at <= now).map(|_| Invalid { field: "expires_at", reason: InvalidReason::Past });
        match (name.parse::<TokenName>(), scope.parse::<Scope>(), board, past) {
            (Ok(name), Ok(scope), Ok(board), None) => Ok(NewToken { name, scope, board, expires_at }),
            (name, scope, board, past) => {
                let faults = [name.err(), scope.err(), board.err(), past];
                Err(ApiError::Invalid(faults.into_iter().flatten().collect()))
            }
        }
    }
}

/// What a ticket is wanted for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with `board`")]
struct TicketDraft {
    board: String,
}

/// `GET /api/v1/tokens`, the oldest first.
///
/// # Errors
/// Without a token for it; if the query cannot be read.
pub async fn get_tokens(
    request: HttpRequest,
    state: Data<AppState>,
    query: Query<TokensQuery>,
) -> Result<HttpResponse, ApiError> {
    let administrator = caller::administrator(&request, &state).await?;
    let limit = page_limit(query.limit, state.rest.page_max.get())?;
    let tokens = state.bulletin.tokens(&administrator, query.after.unwrap_or(0), limit).await?;
    let mut response = HttpResponse::Ok();
    if let Some(last) = tokens.last().filter(|_| tokens.len() == limit) {
        link_next(&mut response, &request, &format!("after={}&limit={limit}", last.id));
    }
    Ok(response
        .content_type("application/json")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(render::tokens_json(&tokens)))
}

/// `POST /api/v1/tokens`: makes one, and shows it this once.
///
/// # Errors
/// Without a token for it; if the new one is not allowed, or its board is not there.
pub async fn post_token(request: HttpRequest, state: Data<AppState>, payload: Payload) -> Result<HttpResponse, ApiError> {
    let administrator = caller::administrator(&request, &state).await?;
    let new = body::json_object::<TokenDraft>(&request, payload, &state).await?.check(Utc::now())?;
    let (token, secret) = state.bulletin.create_token(&administrator, new).await?;
    Ok(HttpResponse::Created()
        .insert_header((header::LOCATION, format!("/api/v1/tokens/{}", token.id)))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .content_type("application/json")
        .body(render::new_token_json(&token, &secret)))
}

/// `GET /api/v1/tokens/{id}`
///
/// # Errors
/// Without a token for it; if there is no such token.
pub async fn get_token(request: HttpRequest, state: Data<AppState>, id: Path<String>) -> Result<HttpResponse, ApiError> {
    let administrator = caller::administrator(&request, &state).await?;
    let token = state.bulletin.token(&administrator, token_id(&id)?).await?;
    Ok(HttpResponse::Ok()
        .content_type("application/json")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(render::token_json(&token)))
}

/// `DELETE /api/v1/tokens/{id}`: ends it, and at once the streams that it let in.
///
/// # Errors
/// Without a token for it; if there is no such token that is still good.
pub async fn delete_token(request: HttpRequest, state: Data<AppState>, id: Path<String>) -> Result<HttpResponse, ApiError> {
    let administrator = caller::administrator(&request, &state).await?;
    state.bulletin.revoke_token(&administrator, token_id(&id)?).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `POST /api/v1/tickets`, for whoever has a token that may read the board.
///
/// # Errors
/// Without a token for it; if there is no such board.
pub async fn post_ticket(request: HttpRequest, state: Data<AppState>, payload: Payload) -> Result<HttpResponse, ApiError> {
    // Before the body: what it says is nobody's business without a token.
    caller::of(&request, &state).await?;
    let TicketDraft { board } = body::json_object(&request, payload, &state).await?;
    let board = board.parse::<BoardName>().map_err(|fault| ApiError::Invalid(vec![fault]))?;
    let ticket = caller::create_ticket(&request, &state, board.clone()).await?;
    Ok(HttpResponse::Created()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .content_type("application/json")
        .body(render::ticket_json(&ticket, &board, state.tickets)))
}

fn token_id(text: &str) -> Result<i64, ApiError> {
    let id = text.parse::<i64>().ok().filter(|id| *id > 0 && id.to_string() == text);
    id.ok_or_else(|| ApiError::NotFound(format!("there is no token {text:?}")))
}
