//! The cookie that signs a browser in: for which requests it counts, and what an answer to one of
//! them must not leave behind (ADR 17).

use actix_web::{
    Error, HttpMessage as _, HttpRequest,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::header::{self, HeaderValue},
    middleware::Next,
    web::Data,
};
use kairanban_store::Secret;

use crate::{
    http::accept::Representation,
    preferences::{SignedIn, cookies},
    state::AppState,
};

/// The name of the cookie. Under https a prefix keeps other names of the site, and pages of plain
/// HTTP, from setting it.
const NAME: &str = "kairanban-session";
const SECURE_NAME: &str = "__Host-kairanban-session";

/// Marks a request whose session is over.
#[derive(Clone, Copy, Debug)]
pub(super) struct EndedSession;

/// Returns what the browser holds, if it counts for this request: one that our own page sent, or
/// with which a person follows a link to here. CORS lends no session.
pub(super) fn presented(request: &HttpRequest, state: &AppState) -> Option<String> {
    let accepts = state
        .site
        .accepts_session(request.method(), request.headers());
    held(request, state).filter(|_| accepts)
}

/// Returns what the browser holds. Of several values none is known to be ours.
pub(super) fn held(request: &HttpRequest, state: &AppState) -> Option<String> {
    let name = name(request, state);
    let mut values = cookies(request.headers()).filter(|(key, _)| *key == name);
    let (_, first) = values.next().filter(|(_, value)| !value.is_empty())?;
    values
        .all(|(_, other)| other == first)
        .then(|| first.to_owned())
}

/// Returns the name of the cookie. Browsers send it to every port of a host, so it has the port of
/// this server, or two servers of one machine would sign each other's readers out.
fn name(request: &HttpRequest, state: &AppState) -> String {
    if state.site.is_secure() {
        return SECURE_NAME.to_owned();
    }
    let host = request.headers().get(header::HOST);
    let port = host
        .and_then(|host| host.to_str().ok()?.rsplit_once(':')?.1.parse::<u16>().ok())
        .map(|port| format!("-{port}"));
    format!("{NAME}{}", port.unwrap_or_default())
}

/// Writes the cookie of a session: until the browser ends, or for as long as the session lasts.
pub(super) fn cookie(
    request: &HttpRequest,
    state: &AppState,
    secret: &Secret,
    is_kept: bool,
) -> String {
    let age = state.sessions.age_max.as_secs();
    let lasts = is_kept.then(|| format!("; Max-Age={age}"));
    written(request, state, secret.reveal(), &lasts.unwrap_or_default())
}

/// Writes the cookie that takes the place of that of a session, and is gone at once.
pub(super) fn no_cookie(request: &HttpRequest, state: &AppState) -> String {
    written(request, state, "", "; Max-Age=0")
}

fn written(request: &HttpRequest, state: &AppState, value: &str, lasts: &str) -> String {
    let secure = if state.site.is_secure() {
        "; Secure"
    } else {
        ""
    };
    let name = name(request, state);
    format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax{secure}{lasts}")
}

/// Keeps what a session was shown from every cache, and takes a cookie away from a browser whose
/// session is over.
///
/// # Errors
/// Those of the services within.
pub async fn keep_private(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let mut response = next.call(request).await?;
    let request = response.request().clone();
    if request.extensions().contains::<SignedIn>() {
        let headers = response.headers_mut();
        let before = headers.get(header::CACHE_CONTROL);
        let is_whole = before.is_some_and(|value| value.as_bytes().ends_with(b"no-transform"));
        let private = if is_whole {
            "private, no-store, no-transform"
        } else {
            "private, no-store"
        };
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(private));
    }
    // Only with a page: a stream that comes back late must not take away the cookie of a sign-in
    // that came between.
    let is_ended = request.extensions().contains::<EndedSession>();
    if let Some(state) = request.app_data::<Data<AppState>>()
        && is_ended
        && Representation::of_error(&request) == Representation::Html
        && !response.headers().contains_key(header::SET_COOKIE)
        && let Ok(cookie) = HeaderValue::from_str(&no_cookie(&request, state))
    {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}
