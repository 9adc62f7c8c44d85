//! Requests that change something come from our own pages or from no browser at all.
//!
//! A browser says where a request comes from: in `Sec-Fetch-Site`, or, where it does not send that
//! (plain HTTP off this machine, older ones), in `Origin`. A program sends neither, and needs no
//! protection from itself.

use actix_web::{
    Error, ResponseError as _,
    body::{EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::header,
    middleware::Next,
    web::Data,
};

use crate::{
    config::{CorsSettings, origin},
    error::ApiError,
    http::probes::PROBES,
    state::AppState,
};

/// Lets pages of other sites read the answers, those that the configuration names. Without
/// credentials: a token travels in a header that the page sets itself.
#[must_use]
pub fn sharing(config: &CorsSettings) -> Option<actix_cors::Cors> {
    let cors = config
        .origins
        .iter()
        .filter_map(|text| origin(text))
        .fold(actix_cors::Cors::default(), |cors, origin| {
            cors.allowed_origin(&origin.ascii_serialization())
        })
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
    let site = request
        .app_data::<Data<AppState>>()
        .map(|state| &state.site);
    if request.method().is_safe() || site.is_some_and(|site| site.is_ours(request.headers())) {
        return Ok(next.call(request).await?.map_into_left_body());
    }
    // An answer, not an `Err`: that would pass by the middleware outside of this one.
    Ok(request
        .into_response(ApiError::CrossSite.error_response())
        .map_into_right_body())
}

/// Refuses requests for a name that is not ours.
///
/// # Errors
/// Those of the services within.
pub async fn known_hosts_only(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<EitherBody<impl MessageBody>>, Error> {
    if is_for_us(&request) {
        return Ok(next.call(request).await?.map_into_left_body());
    }
    // An answer, not an `Err`: that would pass by the middleware outside of this one.
    Ok(request
        .into_response(ApiError::Misdirected.error_response())
        .map_into_right_body())
}

fn is_for_us(request: &ServiceRequest) -> bool {
    let Some(host) = request.headers().get(header::HOST) else {
        // A browser always sends one.
        return true;
    };
    let site = request
        .app_data::<Data<AppState>>()
        .map(|state| &state.site);
    PROBES.contains(&request.path())
        || host
            .to_str()
            .is_ok_and(|host| site.is_some_and(|site| site.answers_to(host)))
}
