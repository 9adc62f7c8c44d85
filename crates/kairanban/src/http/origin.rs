//! Requests that change something come from our own pages or from no browser at all.
//!
//! A browser says where a request comes from: in `Sec-Fetch-Site`, or, where it does not send that
//! (plain HTTP off this machine, older ones), in `Origin`. A program sends neither, and needs no
//! protection from itself.

use actix_web::{
    Error, ResponseError as _,
    body::{EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method,
        header::{self, HeaderMap},
    },
    middleware::Next,
    web::Data,
};

use crate::{config::Cors, error::ApiError, state::AppState};

/// Lets pages of other sites read the answers, those that the configuration names. Without
/// credentials: a token travels in a header that the page sets itself.
#[must_use]
pub fn sharing(config: &Cors) -> Option<actix_cors::Cors> {
    let named = |cors: actix_cors::Cors, origin: &String| cors.allowed_origin(origin);
    let cors = config
        .origins
        .iter()
        .fold(actix_cors::Cors::default(), named);
    let cors = cors
        .allowed_methods(["GET", "HEAD", "POST", "PATCH", "DELETE"])
        .allowed_headers([
            "Authorization",
            "Content-Type",
            "Idempotency-Key",
            "If-Match",
            "If-None-Match",
            "Last-Event-ID",
        ])
        .expose_headers([
            "ETag",
            "Link",
            "Location",
            "Retry-After",
            "Kairanban-Stale-Since",
        ])
        .max_age(3_600);
    (!config.origins.is_empty()).then_some(cors)
}

/// Refuses what another site's page sends.
///
/// # Errors
/// Those of the services within.
pub async fn same_site_only(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<EitherBody<impl MessageBody>>, Error> {
    let safe = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE
    );
    let allowed = request
        .app_data::<Data<AppState>>()
        .map(|state| state.cors_origins.as_slice())
        .unwrap_or_default();
    if safe || is_ours(request.headers(), allowed) {
        return Ok(next.call(request).await?.map_into_left_body());
    }
    // An answer, not an `Err`: that would pass by the middleware outside of this one.
    Ok(request
        .into_response(ApiError::CrossSite.error_response())
        .map_into_right_body())
}

/// Whether our own page sent this, or one of a site that is allowed, or no browser.
#[must_use]
pub fn is_ours(headers: &HeaderMap, allowed: &[String]) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    match (text("sec-fetch-site"), text(header::ORIGIN.as_str())) {
        (_, Some(origin)) if allowed.iter().any(|allowed| allowed == origin) => true,
        (Some(site), _) => matches!(site, "same-origin" | "none"),
        // Behind a proxy that ends TLS our own scheme is not known, so only the host counts.
        (None, Some(origin)) => {
            let host = origin
                .strip_prefix("http://")
                .or_else(|| origin.strip_prefix("https://"));
            host.is_some() && host == text(header::HOST.as_str())
        }
        (None, None) => true,
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn only_our_own_pages_and_programs_may_write() {
        let ours = |headers: &[(&str, &str)]| {
            let request = TestRequest::post().insert_header((header::HOST, "board.example:8080"));
            let request = headers
                .iter()
                .fold(request, |request, header| request.append_header(*header));
            is_ours(
                request.to_srv_request().headers(),
                &["https://app.example".to_owned()],
            )
        };
        for headers in [
            &[][..],
            &[("Sec-Fetch-Site", "same-origin")],
            &[("Sec-Fetch-Site", "none")],
            &[("Origin", "http://board.example:8080")],
            &[("Origin", "https://board.example:8080")],
            &[
                ("Origin", "https://app.example"),
                ("Sec-Fetch-Site", "cross-site"),
            ],
        ] {
            assert!(ours(headers), "{headers:?}");
        }
        for headers in [
            &[("Sec-Fetch-Site", "cross-site")][..],
            &[
                ("Sec-Fetch-Site", "same-site"),
                ("Origin", "http://board.example:8080"),
            ],
            &[("Origin", "null")],
            &[("Origin", "http://board.example")],
            &[("Origin", "http://board.example:8080.evil")],
            &[("Origin", "http://evil.example")],
            &[("Origin", "\u{ff}")],
        ] {
            assert!(!ours(headers), "{headers:?}");
        }
    }
}
