//! Pages of lists: which one a client asks for, and where the next one is.

use std::fmt::Display;

use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, http::header};

use crate::{error::ApiError, state::AppState};

/// Rows on a page, if the client asks for no number.
const ROWS: usize = 100;

/// A page that a client asks for.
pub(super) struct PageRequest<'a> {
    request: &'a HttpRequest,
    /// How many rows to read.
    pub limit: usize,
}

impl<'a> PageRequest<'a> {
    /// Reads how many rows a client asks for, from 1 to `rest.page_max`.
    ///
    /// # Errors
    /// If the number is another one.
    pub fn new(
        request: &'a HttpRequest,
        state: &AppState,
        limit: Option<usize>,
    ) -> Result<Self, ApiError> {
        let max = state.rest.page_max.get();
        match limit.unwrap_or(max.min(ROWS)) {
            limit if (1..=max).contains(&limit) => Ok(Self { request, limit }),
            _ => Err(ApiError::bad_request_at(
                "limit",
                format!("limit must be a number from 1 to {max}"),
            )),
        }
    }

    /// Begins the answer. Says where the next page is, by the query parameters that lead to it;
    /// `None` if this is the last one.
    pub fn begin_answer(&self, next: Option<impl Display>) -> HttpResponseBuilder {
        let mut response = HttpResponse::Ok();
        if let Some(next) = next {
            let (path, limit) = (self.request.path(), self.limit);
            let link = format!("<{path}?{next}&limit={limit}>; rel=\"next\"");
            response.insert_header((header::LINK, link));
        }
        response
    }
}

/// Checks the id by which a query says where a page begins: the `parameter` is the id of `what`,
/// and not less than `min`.
///
/// # Errors
/// If it is less.
pub(super) fn check_id(
    parameter: &'static str,
    id: Option<i64>,
    min: i64,
    what: &str,
) -> Result<Option<i64>, ApiError> {
    if id.is_some_and(|id| id < min) {
        let detail = format!("{parameter} must be the id of {what}");
        return Err(ApiError::bad_request_at(parameter, detail));
    }
    Ok(id)
}
