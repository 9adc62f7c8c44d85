//! `/api/v1`: JSON for programs.

pub mod administration;
pub mod boards;
pub mod changes;
pub mod openapi;
mod paging;
mod responses;
pub mod sessions;
pub mod tokens;
pub mod topic_list;
pub mod topics;
mod write_conditions;

use actix_web::{HttpResponse, HttpResponseBuilder, http::header};

use crate::http::conditional::revalidated;

/// Answers with JSON that a cache has to revalidate each time.
fn json(mut response: HttpResponseBuilder, body: Vec<u8>) -> HttpResponse {
    revalidated(&mut response)
        .content_type("application/json")
        .body(body)
}

/// Answers with JSON that no cache stores: it is for administrators, or has a secret in it.
fn no_store_json(mut response: HttpResponseBuilder, body: Vec<u8>) -> HttpResponse {
    response
        .content_type("application/json")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(body)
}
