//! Requests that change something come from our own pages or from no browser at all.
//!
//! A browser says where a request comes from: in `Sec-Fetch-Site`, or, where it does not send that
//! (plain HTTP off this machine, older ones), in `Origin`. A program sends neither, and needs no
//! protection from itself.

use actix_web::{
    Error,
    body::{EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        header::{self, HeaderValue},
        uri::Authority,
    },
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
    mut request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<EitherBody<impl MessageBody>>, Error> {
    take_host_of_target(&mut request);
    match check_host(&request) {
        Ok(()) => Ok(next.call(request).await?.map_into_left_body()),
        Err(error) => Ok(error_responses::refused(request, &error)),
    }
}

/// Lets the host of the target of a request, if it has one, take the place of `Host`, which does
/// not count then (RFC 9112, section 3.2.2).
fn take_host_of_target(request: &mut ServiceRequest) {
    let target = request.uri().authority().map(Authority::as_str);
    // What is no value of a header is no host either.
    let target = target.map(|target| {
        HeaderValue::from_str(target).unwrap_or_else(|_| HeaderValue::from_static(""))
    });
    if let Some(target) = target {
        request.headers_mut().insert(header::HOST, target);
    }
}

/// Checks the host of a request. A browser always sends one.
fn check_host(request: &ServiceRequest) -> Result<(), ApiError> {
    let Some(state) = request.app_data::<Data<AppState>>() else {
        return Ok(());
    };
    if PROBES.contains(&request.path()) {
        return Ok(());
    }
    let Some(host) = request.headers().get(header::HOST) else {
        return Ok(());
    };
    match state.site.answers_to(host.to_str().unwrap_or_default()) {
        Some(true) => Ok(()),
        Some(false) => Err(ApiError::Misdirected),
        None => Err(ApiError::bad_request(
            "the host of this request is not a valid host, or its port is not valid",
        )),
    }
}
