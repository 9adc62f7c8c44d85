//! Refuses WebSocket handshakes that actix would accept although they are invalid, or refuse
//! without saying what to send.

use actix_web::{
    HttpRequest,
    http::{
        Method, Version,
        header::{self, HeaderMap, HeaderName},
    },
};

use crate::error::ApiError;

/// Checks whether a request asks for a WebSocket. Its key is left to the library.
///
/// # Errors
/// If it does not, if actix would take what follows it for a body, or if it has several keys.
pub(super) fn check(request: &HttpRequest) -> Result<(), ApiError> {
    let (head, headers) = (request.head(), request.headers());
    let asks = request.method() == Method::GET
        && request.version() == Version::HTTP_11
        && head.upgrade()
        // Of several protocols actix would choose none, and answer in chunks.
        && is(headers, header::UPGRADE, "websocket")
        && is(headers, header::SEC_WEBSOCKET_VERSION, "13");
    if !asks {
        return Err(ApiError::UpgradeRequired);
    }
    let has_body = headers.contains_key(header::TRANSFER_ENCODING)
        || headers
            .get(header::CONTENT_LENGTH)
            .is_some_and(|length| length != "0");
    if has_body {
        return Err(ApiError::bad_request(
            "a WebSocket handshake must not have a body",
        ));
    }
    // The library takes the first of several.
    if headers.get_all(header::SEC_WEBSOCKET_KEY).count() > 1 {
        return Err(ApiError::bad_request_at(
            header::SEC_WEBSOCKET_KEY.as_str(),
            "a WebSocket handshake must have only one Sec-WebSocket-Key",
        ));
    }
    Ok(())
}

/// Returns whether a header has one line, with this value.
fn is(headers: &HeaderMap, name: HeaderName, value: &str) -> bool {
    let mut lines = headers.get_all(name);
    lines.next().is_some_and(|line| {
        line.to_str()
            .is_ok_and(|line| line.trim().eq_ignore_ascii_case(value))
    }) && lines.next().is_none()
}
