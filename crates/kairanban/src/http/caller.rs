//! Who a request says it comes from.

use actix_web::{HttpRequest, http::header};
use kairanban_core::BoardName;

use crate::{
    auth::{Administrator, BoardAdministrator, Denied},
    error::ApiError,
    limits::ClientAddress,
    state::AppState,
};

/// Asks for a token that allows administering all boards.
///
/// # Errors
/// 401 without a good one, 403 if it is not for this, 429 after too many bad ones.
pub async fn administrator(request: &HttpRequest, state: &AppState) -> Result<Administrator, ApiError> {
    state.bulletin.administrator(bearer(request)).await.map_err(|denied| refusal(denied, request, state))
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
    state.bulletin.board_administrator(bearer(request), board).await.map_err(|denied| refusal(denied, request, state))
}

fn refusal(denied: Denied, request: &HttpRequest, state: &AppState) -> ApiError {
    match denied {
        Denied::Failed(error) => error.into(),
        Denied::Forbidden => ApiError::Forbidden,
        // Counted only now: a good token works whatever was tried before.
        Denied::Unknown => {
            let counted = state.bad_tokens.take(ClientAddress::of(request, &state.trusted_proxies));
            counted.err().unwrap_or(ApiError::Unauthorized)
        }
    }
}

/// The token in `Authorization: Bearer …`, if there is exactly one such header. Never in the
/// address: that stands in logs.
fn bearer(request: &HttpRequest) -> Option<&str> {
    let mut headers = request.headers().get_all(header::AUTHORIZATION);
    let only = headers.next().filter(|_| headers.next().is_none())?;
    let (scheme, token) = only.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
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
                .fold(TestRequest::default(), |request, value| request.append_header((header::AUTHORIZATION, *value)));
            bearer(&request.to_http_request()).map(str::to_owned)
        };
        assert_eq!(token(&["Bearer abc"]).as_deref(), Some("abc"));
        assert_eq!(token(&["bEARER abc"]).as_deref(), Some("abc"));
        assert_eq!(token(&["Bearer  abc"]).as_deref(), Some(" abc"), "and that is no token");
        for wrong in [&[][..], &["abc"], &["Basic abc"], &["Bearer a", "Bearer a"]] {
            assert_eq!(token(wrong), None, "{wrong:?}");
        }
    }
}
