//! HTTP: handlers, what they read of a request, what they answer with, and middleware. A handler
//! reads the request, asks the board service, and writes the answer. docs/ARCHITECTURE.md says what
//! each file is for.

pub mod accept;
mod admission;
pub mod assets;
pub mod body;
mod caller;
pub mod conditional;
pub mod error_responses;
pub mod forms;
pub mod headers;
pub mod health;
pub mod metrics;
pub mod origin;
pub mod pages;
pub mod probes;
pub mod query;
pub mod request_bounds;
pub mod rest;
pub mod session;
pub mod shared_file;
pub mod socket;
pub mod stream_handlers;
pub mod stream_query;
mod urlencoded;

use kairanban_core::BoardName;
use kairanban_store::StoreError;

use crate::error::ApiError;

/// Parses an id in an address, in its one spelling. What is not one leads to nothing: `missing`
/// says so of it, as the store does of an id that no row has.
fn row_id(text: &str, missing: &str) -> Result<i64, ApiError> {
    text.parse()
        .ok()
        .filter(|id: &i64| *id > 0 && id.to_string() == text)
        .ok_or_else(|| ApiError::nothing_named(missing, text))
}

/// Parses the name of a board in an address. What is not a valid name leads to no board.
fn board_name(text: &str) -> Result<BoardName, ApiError> {
    text.parse()
        .map_err(|_| ApiError::nothing_named(StoreError::NO_BOARD, text))
}

/// Parses `after`, the query parameter with which a page of boards begins.
fn board_after(after: Option<&str>) -> Result<Option<BoardName>, ApiError> {
    after
        .map(str::parse)
        .transpose()
        .map_err(|_| ApiError::bad_request_at("after", "after must be the name of a board"))
}
