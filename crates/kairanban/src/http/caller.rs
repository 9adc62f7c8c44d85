//! Authenticates the caller of a request.

use actix_web::{HttpRequest, http::header};
use kairanban_core::BoardName;
use kairanban_store::Secret;

use crate::{
    auth::{Administrator, BoardAdministrator, Caller, Credential, Denied},
    error::ApiError,
    limits::ClientAddress,
    state::AppState,
};

/// Authenticates the caller by the token in `Authorization`. Counts a change against the token's
/// quota.
///
/// # Errors
/// 401 with a token that is not valid, 429 after too many of them, or too many changes.
pub async fn of(request: &HttpRequest, state: &AppState) -> Result<Caller, ApiError> {
    let found = match bearer(request) {
        Ok(secret) => {
            let shown = secret.map(|secret| Credential::Token(secret.to_owned()));
            state.boards.authenticator().caller(shown).await
        }
        Err(denied) => Err(denied),
    };
    let caller = found.map_err(|denied| refusal(denied, request, state))?;
    if !request.method().is_safe() {
        state.edits.take(caller.token())?;
    }
    Ok(caller)
}

/// Authenticates a reader of a board: by a ticket if there is one, since an `EventSource` can send
/// no header; otherwise as [`of`].
///
/// # Errors
/// As [`of`]; the ticket is counted like a token.
pub async fn of_stream(
    request: &HttpRequest,
    state: &AppState,
    board: &BoardName,
    ticket: Option<&str>,
) -> Result<Caller, ApiError> {
    let Some(ticket) = ticket else {
        return of(request, state).await;
    };
    let client = ClientAddress::of(request, &state.trusted_proxies);
    let client = client.map(|client| client.to_string()).unwrap_or_default();
    let found = state
        .boards
        .authenticator()
        .caller_with_ticket(ticket, board, &client, state.tickets)
        .await;
    found.map_err(|denied| refusal(denied, request, state))
}

/// Requires a token that allows administering all boards.
///
/// # Errors
/// As [`of`]; 401 without a token, 403 with one that does not allow this.
pub async fn administrator(
    request: &HttpRequest,
    state: &AppState,
) -> Result<Administrator, ApiError> {
    let found = of(request, state).await?.administrator();
    found.map_err(|denied| refusal(denied, request, state))
}

/// Requires a token that allows administering `board`.
///
/// # Errors
/// As [`administrator`].
pub async fn board_administrator(
    request: &HttpRequest,
    state: &AppState,
    board: BoardName,
) -> Result<BoardAdministrator, ApiError> {
    let found = of(request, state).await?.board_administrator(board);
    found.map_err(|denied| refusal(denied, request, state))
}

/// Creates a ticket for `board`, for the caller's token.
///
/// # Errors
/// As [`administrator`]; 404 if there is no such board, 429 if the token has too many.
pub async fn create_ticket(
    request: &HttpRequest,
    state: &AppState,
    caller: &Caller,
    board: BoardName,
) -> Result<Secret, ApiError> {
    let ticket = state
        .boards
        .authenticator()
        .create_ticket(caller, board, state.tickets, state.tickets_per_token_max)
        .await;
    ticket.map_err(|denied| refusal(denied, request, state))
}

fn refusal(denied: Denied, request: &HttpRequest, state: &AppState) -> ApiError {
    match denied {
        Denied::Failed(error) => error.into(),
        Denied::Forbidden => ApiError::Forbidden,
        Denied::Missing => ApiError::Unauthorized,
        // Counted only here: a valid token works whatever was tried before.
        Denied::Unknown => {
            let counted = state
                .bad_tokens
                .take(ClientAddress::of(request, &state.trusted_proxies));
            counted.err().unwrap_or(ApiError::Unauthorized)
        }
    }
}

/// Returns the token in `Authorization: Bearer …`. It is never part of the address, because
/// addresses are logged. Other schemes are ignored: they are for a hop on the way, such as a proxy
/// that asks for a password.
fn bearer(request: &HttpRequest) -> Result<Option<&str>, Denied> {
    let mut headers = request.headers().get_all(header::AUTHORIZATION);
    let Some(only) = headers.next() else {
        return Ok(None);
    };
    if headers.next().is_some() {
        return Err(Denied::Unknown);
    }
    let (scheme, token) = only
        .to_str()
        .map_err(|_| Denied::Unknown)?
        .split_once(' ')
        .unwrap_or_default();
    Ok(scheme.eq_ignore_ascii_case("bearer").then_some(token))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn one_bearer_and_nothing_else() {
        let token = |headers: &[&str]| {
            let request = headers
                .iter()
                .fold(TestRequest::default(), |request, value| {
                    request.append_header((header::AUTHORIZATION, *value))
                });
            bearer(&request.to_http_request())
                .map(|token| token.map(str::to_owned))
                .map_err(drop)
        };
        let some = |token: &str| Ok(Some(token.to_owned()));
        assert_eq!(token(&["Bearer abc"]), some("abc"));
        assert_eq!(token(&["bEARER abc"]), some("abc"));
        assert_eq!(
            token(&["Bearer  abc"]),
            some(" abc"),
            "and that is no token"
        );
        for headers in [&[][..], &["abc"], &["Basic abc"]] {
            assert_eq!(token(headers), Ok(None), "{headers:?}");
        }
        assert_eq!(token(&["Bearer a", "Bearer a"]), Err(()));
    }
}
