//! Authenticates the caller of a request.

use std::future::ready;

use actix_web::{HttpMessage as _, HttpRequest, http::header};
use kairanban_core::BoardName;
use kairanban_store::Secret;

use crate::{
    auth::{Administrator, BoardAdministrator, Caller, Credential, Denied},
    error::ApiError,
    http::{
        conditional,
        session::{self, EndedSession},
    },
    limits::ClientAddress,
    preferences::SignedIn,
    state::AppState,
};

/// Authenticates the caller by the token in `Authorization`, or else by the session of a browser.
/// A browser whose session is over is anonymous. Counts a change against the token's quota.
///
/// # Errors
/// 401 with a token that is not valid, 429 after too many of them, or too many changes.
pub async fn of(request: &HttpRequest, state: &AppState) -> Result<Caller, ApiError> {
    let shown = presented(request, state).map_err(|denied| refusal(denied, request, state))?;
    let is_session = matches!(shown, Some(Credential::Session(_)));
    let caller = match state.boards.authenticator().caller(shown).await {
        Err(Denied::Unknown) if is_session => anonymous_after_session(request, state)?,
        found => found.map_err(|denied| refusal(denied, request, state))?,
    };
    note_signed_in(request, &caller);
    count_change(request, state, &caller)?;
    Ok(caller)
}

/// Takes a browser whose session is over for an anonymous one, whose cookie the answer removes.
fn anonymous_after_session(request: &HttpRequest, state: &AppState) -> Result<Caller, ApiError> {
    count_bad_token(request, state)?;
    request.extensions_mut().insert(EndedSession);
    Ok(Caller::default())
}

/// Notes for the page as whom the browser is signed in.
fn note_signed_in(request: &HttpRequest, caller: &Caller) {
    if let Some(name) = caller.signed_in_as() {
        request.extensions_mut().insert(SignedIn { name });
    }
}

/// Finds out as whom a browser is signed in that is shown the page of an error, where the handler
/// was not asked, or does not look. What the page says is not the error's cause, so it never fails.
pub async fn note_on_error_page(request: &HttpRequest, state: &AppState) {
    let is_known = {
        let known = request.extensions();
        known.contains::<SignedIn>() || known.contains::<EndedSession>()
    };
    let session = session::presented(request, state).filter(|_| !is_known);
    let Some(session) = session.map(Credential::Session) else {
        return;
    };
    match state.boards.authenticator().caller(Some(session)).await {
        Ok(caller) => note_signed_in(request, &caller),
        // Counted as in [`of`]; past the limit the answer stays what it is.
        Err(Denied::Unknown) => drop(anonymous_after_session(request, state)),
        Err(_) => {}
    }
}

/// Counts a request that changes something, against the quota of its token.
fn count_change(request: &HttpRequest, state: &AppState, caller: &Caller) -> Result<(), ApiError> {
    if request.method().is_safe() {
        Ok(())
    } else {
        state.edits.take(caller.token())
    }
}

/// Counts a token, ticket or session that is not valid. A valid one works whatever was tried
/// before.
fn count_bad_token(request: &HttpRequest, state: &AppState) -> Result<(), ApiError> {
    let client = ClientAddress::of(request, &state.trusted_proxies);
    state.bad_tokens.take(client)
}

/// Authenticates a reader of a page as [`of`]. A session that cannot be looked up, because the
/// database is away, keeps no browser from a board that is public.
///
/// # Errors
/// As [`of`].
pub async fn of_page(
    request: &HttpRequest,
    state: &AppState,
    board: &BoardName,
) -> Result<Caller, ApiError> {
    match of(request, state).await {
        Err(error)
            if error.outage().is_some()
                && state.boards.is_public(board)
                && matches!(presented(request, state), Ok(Some(Credential::Session(_)))) =>
        {
            Ok(Caller::default())
        }
        found => found,
    }
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
    let found = found.map_err(|denied| refusal(denied, request, state))?;
    Ok(found.admitted(conditional::admits_untagged(request)))
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
    let found = found.map_err(|denied| refusal(denied, request, state))?;
    Ok(found.admitted(conditional::admits_untagged(request)))
}

/// Creates a ticket for `board`, for the caller's token.
///
/// # Errors
/// As [`administrator`]; 404 if there is no such board, 429 if the token has too many, and 412 as
/// [`conditional::ensure_admitted`].
pub async fn create_ticket(
    request: &HttpRequest,
    state: &AppState,
    caller: &Caller,
    board: BoardName,
) -> Result<Secret, ApiError> {
    let checked = check_ticket(request, state, caller, &board);
    conditional::ensure_admitted(request, checked).await?;
    let ticket = state
        .boards
        .authenticator()
        .create_ticket(caller, board, state.tickets, state.tickets_per_token_max)
        .await;
    ticket.map_err(|denied| refusal(denied, request, state))
}

/// Checks that the caller may have a ticket for `board`, and that it is there.
async fn check_ticket(
    request: &HttpRequest,
    state: &AppState,
    caller: &Caller,
    board: &BoardName,
) -> Result<(), ApiError> {
    caller
        .ensure_may_have_ticket(board)
        .map_err(|denied| refusal(denied, request, state))?;
    state.boards.board(caller, board.clone()).await?;
    Ok(())
}

/// Signs the browser in with a token. Returns what it will present.
///
/// # Errors
/// 401 if the token is not valid, 429 if it changes too much, and 412 as
/// [`conditional::ensure_admitted`].
pub async fn sign_in(
    request: &HttpRequest,
    state: &AppState,
    token: String,
) -> Result<Secret, ApiError> {
    let authenticator = state.boards.authenticator();
    let token = authenticator.token(token).await;
    let token = token.map_err(|denied| refusal(denied, request, state))?;
    state.edits.take(Some(token.token.id))?;
    conditional::ensure_admitted(request, ready(Ok(()))).await?;
    let earlier = session::held(request, state);
    let begun = authenticator.sign_in(token, state.sessions, earlier).await;
    begun.map_err(|denied| refusal(denied, request, state))
}

/// Signs the browser out, if it is signed in.
///
/// # Errors
/// 412 as [`conditional::ensure_admitted`]; if the database is away.
pub async fn sign_out(request: &HttpRequest, state: &AppState) -> Result<(), ApiError> {
    conditional::ensure_admitted(request, ready(Ok(()))).await?;
    let Some(session) = session::held(request, state) else {
        return Ok(());
    };
    let ended = state.boards.authenticator().sign_out(session).await;
    ended.map_err(|denied| refusal(denied, request, state))
}

/// Returns what a client that is denied is answered, and counts a token that is not valid.
fn refusal(denied: Denied, request: &HttpRequest, state: &AppState) -> ApiError {
    match denied {
        Denied::Failed(error) => error.into(),
        Denied::Forbidden => ApiError::Forbidden,
        Denied::Missing => ApiError::Unauthorized,
        Denied::Unknown => match count_bad_token(request, state) {
            Ok(()) => ApiError::Unauthorized,
            Err(too_many) => too_many,
        },
    }
}

/// Returns what the client presents: a token that the client sends by itself counts before the
/// cookie, which the browser adds.
fn presented(request: &HttpRequest, state: &AppState) -> Result<Option<Credential>, Denied> {
    if let Some(token) = bearer(request)? {
        return Ok(Some(Credential::Token(token.to_owned())));
    }
    Ok(session::presented(request, state).map(Credential::Session))
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
    // One space or more (RFC 9110, section 11.4).
    let token = token.trim_start_matches(' ');
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
        assert_eq!(token(&["Bearer   abc"]), some("abc"));
        for headers in [&[][..], &["abc"], &["Basic abc"]] {
            assert_eq!(token(headers), Ok(None), "{headers:?}");
        }
        assert_eq!(token(&["Bearer a", "Bearer a"]), Err(()));
    }
}
