//! Requests that change something come from our own pages or from no browser at all.
//!
//! A browser says where a request comes from: in `Sec-Fetch-Site`, or, where it does not send that
//! (plain HTTP off this machine, older ones), in `Origin`. A program sends neither, and needs no
//! protection from itself.

use actix_web::{
    Error,
    body::{EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{header, uri::Authority},
    middleware::Next,
    web::Data,
};

use crate::{
    config::{CorsSettings, origin},
    error::ApiError,
    http::{error_responses, probes::PROBES},
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
    if request.method().is_safe()
        || site.is_some_and(|site| site.is_from_trusted_page(request.headers()))
    {
        return Ok(next.call(request).await?.map_into_left_body());
    }
    Ok(error_responses::refused(request, &ApiError::CrossSite))
}

/// Refuses requests for a name that is not ours.
///
/// # Errors
/// Those of the services within.
pub async fn known_hosts_only(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<EitherBody<impl MessageBody>>, Error> {
    match check_host(&request) {
        Ok(()) => Ok(next.call(request).await?.map_into_left_body()),
        Err(error) => Ok(error_responses::refused(request, &error)),
    }
}

/// Checks the host of a request, and that of its target if it has one. A browser always sends one.
fn check_host(request: &ServiceRequest) -> Result<(), ApiError> {
    let Some(state) = request.app_data::<Data<AppState>>() else {
        return Ok(());
    };
    if PROBES.contains(&request.path()) {
        return Ok(());
    }
    let host = request.headers().get(header::HOST);
    let host = host.map(|host| host.to_str().unwrap_or_default());
    let target = request.uri().authority().map(Authority::as_str);
    for name in host.into_iter().chain(target) {
        match state.site.answers_to(name) {
            Some(true) => {}
            Some(false) => return Err(ApiError::Misdirected),
            None => {
                return Err(ApiError::bad_request(
                    "the Host header is not a valid host, or its port is not valid",
                ));
            }
        }
    }
    Ok(())
}
