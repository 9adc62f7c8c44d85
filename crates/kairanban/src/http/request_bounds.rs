//! Refuses a request whose query or lists are too long, or cannot be decoded, before anything is
//! read from them.

use actix_web::{
    Error,
    body::{EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    middleware::Next,
    web::Data,
};

use super::{accept, error_responses, query};
use crate::{error::ApiError, state::AppState};

/// Refuses a request whose query is longer than `limits.query_bytes_max` or cannot be decoded,
/// whether its parameters mean something at the address or not, or that has a list of more than
/// `limits.list_elements_max` elements in a header.
///
/// # Errors
/// Those of the services within.
pub async fn readable_only(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<EitherBody<impl MessageBody>>, Error> {
    match check(&request) {
        Ok(()) => Ok(next.call(request).await?.map_into_left_body()),
        Err(error) => Ok(error_responses::refused(request, &error)),
    }
}

fn check(request: &ServiceRequest) -> Result<(), ApiError> {
    let query = request.query_string();
    if let Some(state) = request.app_data::<Data<AppState>>() {
        let (bytes_max, elements_max) = (state.query_bytes_max, state.list_elements_max);
        if query.len() > bytes_max {
            return Err(ApiError::bad_request_at(
                "query",
                format!(
                    "the query string may have at most {bytes_max} bytes (limits.query_bytes_max)"
                ),
            ));
        }
        if let Some(name) = accept::long_list(request.headers(), elements_max) {
            return Err(ApiError::bad_request_at(
                name.as_str(),
                format!(
                    "{name} may have at most {elements_max} elements (limits.list_elements_max)"
                ),
            ));
        }
    }
    if query.contains('%') {
        query::pairs(query)?;
    }
    Ok(())
}
