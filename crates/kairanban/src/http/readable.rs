//! Refuses a request whose query is too long, or cannot be decoded, before anything is read from it.

use actix_web::{
    Error, ResponseError as _,
    body::{EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    middleware::Next,
    web::Data,
};

use super::query;
use crate::{error::ApiError, state::AppState};

/// Refuses a request whose query is longer than `limits.query_bytes_max` or cannot be decoded,
/// whether its parameters mean something at the address or not.
///
/// # Errors
/// Those of the services within.
pub async fn readable_only(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<EitherBody<impl MessageBody>>, Error> {
    match check(&request) {
        Ok(()) => Ok(next.call(request).await?.map_into_left_body()),
        // An answer, not an `Err`: that would pass by the middleware outside of this one.
        Err(error) => Ok(request
            .into_response(error.error_response())
            .map_into_right_body()),
    }
}

fn check(request: &ServiceRequest) -> Result<(), ApiError> {
    let query = request.query_string();
    if let Some(state) = request.app_data::<Data<AppState>>() {
        let bytes_max = state.query_bytes_max;
        if query.len() > bytes_max {
            return Err(ApiError::unreadable_at(
                "query",
                format!(
                    "the query string may have at most {bytes_max} bytes (limits.query_bytes_max)"
                ),
            ));
        }
    }
    if query.contains('%') {
        query::pairs(query)?;
    }
    Ok(())
}
