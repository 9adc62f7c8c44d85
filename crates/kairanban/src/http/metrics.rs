//! `/metrics` for Prometheus, and what measures requests.

use std::time::Instant;

use actix_web::{
    Error, HttpRequest, HttpResponse,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::header,
    middleware::Next,
    web::Data,
};

use crate::{
    error::{ApiError, Problem},
    http::caller,
    metrics::Exposition,
    state::AppState,
};

/// Answers `GET /metrics`, for administrators or for every client.
///
/// # Errors
/// Without an administrator's token, unless `metrics.public` is set.
pub async fn get_metrics(
    request: HttpRequest,
    state: Data<AppState>,
    exposition: Data<Exposition>,
) -> Result<HttpResponse, ApiError> {
    if !state.metrics_public {
        caller::administrator(&request, &state).await?;
    }
    expose(exposition).await
}

/// Answers `GET /metrics` at an address of its own (`metrics.listen`), for every client that
/// reaches it.
///
/// # Errors
/// If the metrics cannot be written.
pub async fn get_metrics_alone(exposition: Data<Exposition>) -> Result<HttpResponse, ApiError> {
    expose(exposition).await
}

async fn expose(exposition: Data<Exposition>) -> Result<HttpResponse, ApiError> {
    // It reads files of the system, and counts the open ones: streams must not wait for that.
    let written = tokio::task::spawn_blocking(move || exposition.write()).await;
    let failed = |cause: String| ApiError::Internal { cause };
    let text = written
        .map_err(|error| failed(error.to_string()))?
        .map_err(|error| failed(error.to_string()))?;
    Ok(HttpResponse::Ok()
        .content_type(Exposition::MEDIA_TYPE)
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(text))
}

/// Counts each request, by the pattern of its route, and how long the head of its answer took.
///
/// # Errors
/// Those of the services within.
pub async fn measured<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let began = Instant::now();
    let state = request.app_data::<Data<AppState>>().cloned();
    let route = request.match_pattern();
    let answered = next.call(request).await?;
    if let Some(state) = state {
        let (request, response) = (answered.request(), answered.response());
        let status = response.status().as_u16();
        state
            .requests
            .answered(route, request.method().as_str(), status, began.elapsed());
        if let Some(problem) = response.extensions().get::<Problem>() {
            state.requests.refused(problem.code);
        }
    }
    Ok(answered)
}
