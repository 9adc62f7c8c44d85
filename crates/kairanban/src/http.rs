//! HTTP: one file per kind of address. Handlers read the request, ask the board service, and write
//! the answer; what is true of all answers is in [`present`] and [`headers`].

pub mod accept;
mod admission;
pub mod assets;
pub mod body;
mod caller;
pub mod conditional;
pub mod forms;
pub mod headers;
pub mod health;
pub mod metrics;
pub mod origin;
pub mod pages;
pub mod present;
pub mod probes;
pub mod query;
pub mod readable;
pub mod rest;
pub mod session;
pub mod shared_file;
pub mod socket;
pub mod stream;
pub mod stream_query;
mod urlencoded;

use kairanban_core::BoardName;

use crate::error::ApiError;

/// Parses an id in an address, in its one spelling. What is not one leads to nothing: `missing`
/// says so of it, as the store does of an id that no row has.
fn row_id(text: &str, missing: &str) -> Result<i64, ApiError> {
    text.parse()
        .ok()
        .filter(|id: &i64| *id > 0 && id.to_string() == text)
        .ok_or_else(|| ApiError::NotFound(format!("{missing} {text:?}")))
}

/// Parses the name of a board in an address. What is not a valid name leads to no board.
fn board_name(text: &str) -> Result<BoardName, ApiError> {
    text.parse()
        .map_err(|_| ApiError::NotFound(format!("no board is named {text:?}")))
}
