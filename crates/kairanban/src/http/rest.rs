//! `/api/v1`: JSON for programs.

pub mod boards;
pub mod changes;
pub mod openapi;
mod responses;
pub mod server;
pub mod sessions;
pub mod tokens;
pub mod topic_list;
pub mod topics;

use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, http::header};

use crate::error::ApiError;

/// Returns the last row of a full page, which the next page follows. A page that is not full is the
/// last one.
fn end_of_full_page<T>(rows: &[T], limit: usize) -> Option<&T> {
    rows.last().filter(|_| rows.len() == limit)
}

/// Says where the next page is.
fn link_next(response: &mut HttpResponseBuilder, request: &HttpRequest, query: &str) {
    response.insert_header((
        header::LINK,
        format!("<{}?{query}>; rel=\"next\"", request.path()),
    ));
}

/// Answers with JSON that a cache has to revalidate each time.
fn json(mut response: HttpResponseBuilder, body: Vec<u8>) -> HttpResponse {
    response
        .content_type("application/json")
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .body(body)
}

/// Answers with JSON that no cache stores: it is for administrators, or has a secret in it.
fn no_store_json(mut response: HttpResponseBuilder, body: Vec<u8>) -> HttpResponse {
    response
        .content_type("application/json")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(body)
}

/// Returns how many rows to read: what the client asks for, from 1 to `max`.
fn page_limit(asked: Option<usize>, max: usize) -> Result<usize, ApiError> {
    match asked.unwrap_or(max.min(100)) {
        limit if (1..=max).contains(&limit) => Ok(limit),
        _ => Err(ApiError::unreadable_at(
            "limit",
            format!("limit must be a number from 1 to {max}"),
        )),
    }
}
