//! Who a request says it comes from.

use actix_web::{HttpRequest, http::header};
use kairanban_core::BoardName;
use kairanban_store::Secret;

use crate::{
    auth::{Administrator, BoardAdministrator, Caller, Denied},
    error::ApiError,
    limits::ClientAddress,
    state::AppState,
};

/// Who asks: anybody, or the holder of the token that is shown. Counts what the holder changes.
///
/// # Errors
/// 401 with a token that is not good, 429 after too many of them, or too many changes.
pub async fn of(request: &HttpRequest, state: &AppState) -> Result<Caller, ApiError> {
    let found = match bearer(request) {
        Ok(secret) => state.boards.authenticator().caller(secret).await,
        Err(denied) => Err(denied),
    };
    let caller = found.map_err(|denied| refusal(denied, request, state))?;
    if !request.method().is_safe() {
        state.edits.take(caller.token())?;
    }
    Ok(caller)
}

/// Who wants to watch a board: as [`of`], or the holder of a ticket, since a bare `EventSource` can
/// send no header.
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

/// Asks for a token that allows administering all boards.
///
/// # Errors
/// As [`of`]; 401 without a token, 403 if it is not for this.
pub async fn administrator(
    request: &HttpRequest,
    state: &AppState,
) -> Result<Administrator, ApiError> {
    let found = of(request, state).await?.administrator();
    found.map_err(|denied| refusal(denied, request, state))
}

/// Asks for a token that allows administering `board`.
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

/// Makes a ticket for `board`, by the caller's token.
///
/// # Errors
/// As [`administrator`]; 404 if there is no such board, 429 if the token has too many.
pub async fn create_ticket(
    request: &HttpRequest,
    state: &AppState,
    caller: &Caller,
    board: BoardName,
) -> Result<Secret, ApiError> {
    let made = state
        .boards
        .authenticator()
        .create_ticket(caller, board, state.tickets, state.tickets_per_token_max)
        .await;
    made.map_err(|denied| refusal(denied, request, state))
}

fn refusal(denied: Denied, request: &HttpRequest, state: &AppState) -> ApiError {
    match denied {
        Denied::Failed(error) => error.into(),
        Denied::Forbidden => ApiError::Forbidden,
        Denied::Missing => ApiError::Unauthorized,
        // Counted only now: a good token works whatever was tried before.
        Denied::Unknown => {
            let counted = state
                .bad_tokens
                .take(ClientAddress::of(request, &state.trusted_proxies));
            counted.err().unwrap_or(ApiError::Unauthorized)
        }
    }
}

/// The token in `Authorization: Bearer …`. Never in the address: that stands in logs. Other schemes
/// are for a hop on the way, as a proxy that asks for a password.
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
