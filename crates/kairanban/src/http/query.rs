//! Refuses a query that is too long, before anything is read from it.

use actix_web::{
    Error, ResponseError as _,
    body::{EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    middleware::Next,
    web::Data,
};

use crate::{error::ApiError, state::AppState};

/// Refuses a request whose query is longer than `limits.query_bytes_max`.
///
/// # Errors
/// Those of the services within.
pub async fn short_only(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<EitherBody<impl MessageBody>>, Error> {
    let bytes_max = request
        .app_data::<Data<AppState>>()
        .map_or(usize::MAX, |state| state.query_bytes_max);
    if request.query_string().len() <= bytes_max {
        return Ok(next.call(request).await?.map_into_left_body());
    }
    let error = ApiError::bad_request_at(
        "query",
        format!("the query string may have at most {bytes_max} bytes (limits.query_bytes_max)"),
    );
    // An answer, not an `Err`: that would pass by the middleware outside of this one.
    Ok(request
        .into_response(error.error_response())
        .map_into_right_body())
}
