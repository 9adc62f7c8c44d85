//! Signing in and out, by forms that need no script.

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder, ResponseError as _,
    http::{StatusCode, header},
    web::{Data, Payload},
};
use url::Url;

use super::VARY;
use crate::{
    error::{ApiError, whole_seconds},
    http::{accept::Representation, body, caller, session},
    limits::ClientAddress,
    preferences::Preferences,
    render::page::LoginFault,
    state::AppState,
};

/// The field of the address that says where to go from here.
const NEXT: &str = "next";
/// Where to go without it.
const HOME: &str = "/";

/// Answers `GET /login`.
///
/// # Errors
/// If the template fails, or the database is away.
pub async fn get_login(
    request: HttpRequest,
    state: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    // The page shows who is signed in.
    caller::of(&request, &state).await?;
    page(&request, &state, StatusCode::OK, None)
}

/// Answers `POST /login`, the form of that page.
///
/// # Errors
/// If another site's page sends it, or the form cannot be read; if the token is not valid, for a
/// client that wants no page; or if the database is away.
pub async fn post_login(
    request: HttpRequest,
    state: Data<AppState>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    ours_only(&request, &state)?;
    match sign_in(&request, &state, payload).await {
        Ok(cookie) => Ok(leave(&request, cookie)),
        Err(error) if Representation::of_post(&request) == Representation::Html => {
            refused(&request, &state, error)
        }
        Err(error) => Err(error),
    }
}

/// Answers `POST /logout`: ends the session, on every node.
///
/// # Errors
/// If another site's page sends it, or the database is away.
pub async fn post_logout(
    request: HttpRequest,
    state: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    ours_only(&request, &state)?;
    caller::sign_out(&request, &state).await?;
    Ok(leave(&request, session::no_cookie(&request, &state)))
}

fn ours_only(request: &HttpRequest, state: &AppState) -> Result<(), ApiError> {
    if state.site.is_same_origin(request.headers()) {
        Ok(())
    } else {
        Err(ApiError::CrossSite)
    }
}

/// Counts the attempt, whatever its outcome, and signs in. Returns the cookie.
async fn sign_in(
    request: &HttpRequest,
    state: &AppState,
    payload: Payload,
) -> Result<String, ApiError> {
    let client = ClientAddress::of(request, &state.trusted_proxies);
    state.logins.take(client)?;
    let [token, keep] = body::fields(request, payload, state, ["token", "keep"]).await?;
    // One that was copied has a space, or a line, behind it.
    let token = token.as_deref().unwrap_or_default().trim().to_owned();
    let secret = caller::sign_in(request, state, token).await?;
    Ok(session::cookie(request, state, &secret, keep.is_some()))
}

/// Shows the page again, with what is wrong.
fn refused(
    request: &HttpRequest,
    state: &AppState,
    error: ApiError,
) -> Result<HttpResponse, ApiError> {
    let fault = match error {
        ApiError::Unauthorized => LoginFault::BadToken,
        ApiError::TooMany { retry_after, .. } => LoginFault::TooMany { retry_after },
        error => return Err(error),
    };
    page(request, state, error.status_code(), Some(fault))
}

fn page(
    request: &HttpRequest,
    state: &AppState,
    status: StatusCode,
    fault: Option<LoginFault>,
) -> Result<HttpResponse, ApiError> {
    let reader = Preferences::of(request);
    let page = state.pages.login(&reader, fault)?;
    let mut response = HttpResponseBuilder::new(status);
    if let Some(LoginFault::TooMany { retry_after }) = fault {
        response.insert_header((header::RETRY_AFTER, whole_seconds(retry_after)));
    }
    for cookie in reader.cookies(request) {
        response.append_header((header::SET_COOKIE, cookie));
    }
    Ok(response
        .content_type("text/html; charset=utf-8")
        .insert_header((header::VARY, VARY))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(page))
}

/// Goes to where the reader came from.
fn leave(request: &HttpRequest, cookie: String) -> HttpResponse {
    let reader = Preferences::of(request);
    let asked = reader.query.iter().find(|(key, _)| key == NEXT);
    let next = asked.and_then(|(_, next)| local(next));
    HttpResponse::SeeOther()
        .insert_header((header::LOCATION, next.unwrap_or_else(|| HOME.to_owned())))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .append_header((header::SET_COOKIE, cookie))
        .finish()
}

/// Returns a path and query of this server as browsers read them; `None` for what leads anywhere
/// else.
fn local(next: &str) -> Option<String> {
    let is_path = next.starts_with('/') && !next.contains(['\\', '\0', '\t', '\r', '\n']);
    let here = Url::parse("http://here.invalid").ok()?;
    let there = here.join(next).ok().filter(|_| is_path)?;
    let query = there.query().map(|query| format!("?{query}"));
    let path = format!("{}{}", there.path(), query.unwrap_or_default());
    // A path that begins with two slashes would be taken for a host.
    (there.origin() == here.origin() && !path.starts_with("//")).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_this_server_are_gone_to() {
        for (next, path) in [
            ("/", "/"),
            ("/b/secret?view=wall&q=a%26b", "/b/secret?view=wall&q=a%26b"),
            ("/b/x#topic-7", "/b/x"),
            ("/a/../b/x", "/b/x"),
            ("/b/\u{56de}", "/b/%E5%9B%9E"),
            (
                "/login?next=https://evil.example",
                "/login?next=https://evil.example",
            ),
        ] {
            assert_eq!(local(next).as_deref(), Some(path), "{next}");
        }
        for next in [
            "",
            "b/secret",
            "https://evil.example/",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            "\t//evil.example",
            " //evil.example",
            "/..//evil.example",
            "/.//evil.example",
            "/%2e//evil.example",
            "javascript:alert(1)",
            "data:text/html,x",
            "@evil.example",
            "http:evil.example",
            "http:/evil.example",
            "/\r\nSet-Cookie: a=b",
        ] {
            assert_eq!(local(next), None, "{next:?}");
        }
    }
}
