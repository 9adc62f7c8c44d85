//! Requests that change something come from our own pages or from no browser at all.
//!
//! A browser says where a request comes from: in `Sec-Fetch-Site`, or, where it does not send that
//! (plain HTTP off this machine, older ones), in `Origin`. A program sends neither, and needs no
//! protection from itself.

use actix_web::{
    Error, ResponseError as _,
    body::{EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{Method, header},
    middleware::Next,
};

use crate::error::ApiError;

/// Refuses what another site's page sends.
///
/// # Errors
/// Those of the services within.
pub async fn same_site_only(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<EitherBody<impl MessageBody>>, Error> {
    let safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE);
    if safe || is_ours(&request) {
        return Ok(next.call(request).await?.map_into_left_body());
    }
    // An answer, not an `Err`: that would pass by the middleware outside of this one.
    Ok(request.into_response(ApiError::CrossSite.error_response()).map_into_right_body())
}

fn is_ours(request: &ServiceRequest) -> bool {
    let text = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap_or("?"));
    match (text("sec-fetch-site"), text(header::ORIGIN.as_str())) {
        (Some(site), _) => matches!(site, "same-origin" | "none"),
        // Behind a proxy that ends TLS our own scheme is not known, so only the host counts.
        (None, Some(origin)) => {
            let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
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
            let request = headers.iter().fold(request, |request, header| request.append_header(*header));
            is_ours(&request.to_srv_request())
        };
        for headers in [
            &[][..],
            &[("Sec-Fetch-Site", "same-origin")],
            &[("Sec-Fetch-Site", "none")],
            &[("Origin", "http://board.example:8080")],
            &[("Origin", "https://board.example:8080")],
        ] {
            assert!(ours(headers), "{headers:?}");
        }
        for headers in [
            &[("Sec-Fetch-Site", "cross-site")][..],
            &[("Sec-Fetch-Site", "same-site"), ("Origin", "http://board.example:8080")],
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
