//! Tokens and tickets: made, looked at, ended.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{Data, Path, Payload},
};
use chrono::{DateTime, Utc};
use kairanban_core::{BoardName, Scope, TokenName, expiry};
use kairanban_store::{NewToken, StoreError};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::{
    no_store_json,
    paging::{PageRequest, check_id},
    responses::{BadBody, Forbidden, RefusalResponses},
};
use crate::{
    error::ApiError,
    http::{body, caller, query::Query, row_id},
    render::{
        self,
        rest::{NewTokenView, TicketView, TokenView, TokensView},
        schemas::{BoardNameSchema, ScopeSchema, TokenNameSchema},
    },
    state::AppState,
};

/// Query parameters of the list of tokens.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TokensQuery {
    /// The id of the token before.
    #[param(minimum = 0)]
    after: Option<i64>,
    /// How many tokens to return at most.
    #[param(minimum = 1)]
    limit: Option<usize>,
}

/// A token to be made, not checked yet.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "an object with `name`, `scope` and, if you like, `board` and `expires_at`"
)]
pub struct TokenDraft {
    /// What it is for.
    #[schema(value_type = TokenNameSchema)]
    name: String,
    /// What it allows; each includes those before it.
    #[schema(value_type = ScopeSchema)]
    scope: String,
    /// The one board that it is for; without it all of them.
    #[schema(value_type = Option<BoardNameSchema>)]
    board: Option<String>,
    /// When it expires; without it never.
    expires_at: Option<DateTime<Utc>>,
}

impl TokenDraft {
    fn check(self, now: DateTime<Utc>) -> Result<NewToken, ApiError> {
        let Self {
            name,
            scope,
            board,
            expires_at,
        } = self;
        let board = board.map(|board| board.parse::<BoardName>()).transpose();
        let expires_at = expires_at.map(|at| expiry(at, now)).transpose();
        match (
            name.parse::<TokenName>(),
            scope.parse::<Scope>(),
            board,
            expires_at,
        ) {
            (Ok(name), Ok(scope), Ok(board), Ok(expires_at)) => Ok(NewToken {
                name,
                scope,
                board,
                expires_at,
            }),
            (name, scope, board, expires_at) => {
                let faults = [name.err(), scope.err(), board.err(), expires_at.err()];
                Err(ApiError::Invalid(faults.into_iter().flatten().collect()))
            }
        }
    }
}

/// What a ticket is wanted for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object with `board`")]
pub struct TicketDraft {
    #[schema(value_type = BoardNameSchema)]
    board: String,
}

/// Answers `GET /api/v1/tokens`, the oldest first.
///
/// # Errors
/// Without an administrator's token, or if the query cannot be read.
#[utoipa::path(
    get,
    path = "/api/v1/tokens",
    tag = "tokens",
    summary = "Tokens",
    params(TokensQuery),
    responses((status = 200, body = TokensView<'_>, description = "All of them, the oldest \
        first"), RefusalResponses, Forbidden),
    security(("token" = [])),
)]
pub async fn get_tokens(
    request: HttpRequest,
    state: Data<AppState>,
    query: Query<TokensQuery>,
) -> Result<HttpResponse, ApiError> {
    let administrator = caller::administrator(&request, &state).await?;
    state.begin_read(&request).await?;
    let page = PageRequest::new(&request, &state, query.limit)?;
    let after_id = check_id("after", query.after, 0, "a token")?.unwrap_or(0);
    let tokens = state
        .boards
        .tokens(&administrator, after_id, page.limit)
        .await?;
    let response = page.begin_answer(tokens.next.map(|last| format!("after={last}")));
    Ok(no_store_json(response, render::rest::tokens(&tokens.rows)))
}

/// Answers `POST /api/v1/tokens`: makes one, and shows it this once.
///
/// # Errors
/// Without an administrator's token, or if the new one is not allowed, or its board is not there.
#[utoipa::path(
    post,
    path = "/api/v1/tokens",
    tag = "tokens",
    summary = "Create a token",
    request_body = TokenDraft,
    responses(
        (status = 201, body = NewTokenView<'_>, description = "Created, and shown this \
            once", headers(("Location" = String, description = "Its address"))),
        RefusalResponses, Forbidden, BadBody,
    ),
    security(("token" = [])),
)]
pub async fn post_token(
    request: HttpRequest,
    state: Data<AppState>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let administrator = caller::administrator(&request, &state).await?;
    let draft = body::json_object::<TokenDraft>(&request, payload, &state).await?;
    let new = draft.check(state.boards.now(&administrator).await?)?;
    let (token, secret) = state.boards.create_token(&administrator, new).await?;
    let mut response = HttpResponse::Created();
    response.insert_header((header::LOCATION, format!("/api/v1/tokens/{}", token.id)));
    Ok(no_store_json(
        response,
        render::rest::new_token(&token, &secret),
    ))
}

/// Answers `GET /api/v1/tokens/{id}`.
///
/// # Errors
/// Without an administrator's token, or if there is no such token.
#[utoipa::path(
    get,
    path = "/api/v1/tokens/{id}",
    tag = "tokens",
    summary = "One token",
    params(("id" = i64, Path, description = "A token's id", minimum = 1)),
    responses((status = 200, body = TokenView<'_>, description = "The token, without its \
        secret"), RefusalResponses, Forbidden),
    security(("token" = [])),
)]
pub async fn get_token(
    request: HttpRequest,
    state: Data<AppState>,
    id: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let administrator = caller::administrator(&request, &state).await?;
    state.begin_read(&request).await?;
    let token = state
        .boards
        .token(&administrator, row_id(&id, StoreError::NO_TOKEN)?)
        .await?;
    Ok(no_store_json(
        HttpResponse::Ok(),
        render::rest::token(&token),
    ))
}

/// Answers `DELETE /api/v1/tokens/{id}`: ends it, and at once the streams that it let in.
///
/// # Errors
/// Without an administrator's token, or if no valid token has the id.
#[utoipa::path(
    delete,
    path = "/api/v1/tokens/{id}",
    tag = "tokens",
    summary = "Revoke a token",
    params(("id" = i64, Path, description = "A token's id", minimum = 1)),
    responses((status = 204, description = "Revoked, with the streams that it let \
        in"), RefusalResponses, Forbidden),
    security(("token" = [])),
)]
pub async fn delete_token(
    request: HttpRequest,
    state: Data<AppState>,
    id: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let administrator = caller::administrator(&request, &state).await?;
    state
        .boards
        .revoke_token(&administrator, row_id(&id, StoreError::NO_TOKEN)?)
        .await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Answers `POST /api/v1/tickets`, for the holder of a token that may read the board.
///
/// # Errors
/// Without a token that may read the board, or if there is no such board.
#[utoipa::path(
    post,
    path = "/api/v1/tickets",
    tag = "tokens",
    summary = "Create a ticket for one stream",
    request_body = TicketDraft,
    responses((status = 201, body = TicketView<'_>, description = "A ticket for one stream, by \
        `?ticket=`"), RefusalResponses, Forbidden, BadBody),
    security(("token" = [])),
)]
pub async fn post_ticket(
    request: HttpRequest,
    state: Data<AppState>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let caller = caller::of(&request, &state).await?;
    let TicketDraft { board } = body::json_object(&request, payload, &state).await?;
    let board = board
        .parse::<BoardName>()
        .map_err(|fault| ApiError::Invalid(vec![fault]))?;
    let ticket = caller::create_ticket(&request, &state, &caller, board.clone()).await?;
    Ok(no_store_json(
        HttpResponse::Created(),
        render::rest::ticket(&ticket, &board, state.tickets),
    ))
}
