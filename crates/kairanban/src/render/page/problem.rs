//! The page of an error: it says one thing once.

use actix_web::http::StatusCode;
use minijinja::Error;
use serde::Serialize;

use super::Pages;
use crate::{error::Problem, preferences::Preferences};

/// What the error's template sees.
#[derive(Serialize)]
struct ProblemContext<'a> {
    problem: &'a Problem,
    /// What is stamped on the sheet.
    stamp: &'static str,
    said: &'a str,
    /// What a reader can make of it.
    more: Option<&'a str>,
}

impl Pages {
    /// Renders the page of an error.
    ///
    /// # Errors
    /// If the template fails.
    pub fn problem(&self, reader: &Preferences, problem: &Problem) -> Result<String, Error> {
        let messages = self.messages(reader.language);
        let said = |key: String| messages.get(&key).map(String::as_str);
        let context = ProblemContext {
            problem,
            stamp: stamp(problem.status),
            said: said(format!("problem.{}", problem.code)).unwrap_or(&problem.detail),
            more: said(format!("problem.{}.more", problem.code)),
        };
        self.page("problem.html", reader, None, context)
    }
}

/// Returns what stands in the seal: not in, for members only, full house, closed for today, out of
/// order, not in order.
fn stamp(status: u16) -> &'static str {
    match StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR) {
        StatusCode::NOT_FOUND | StatusCode::GONE => "不在",
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "会員",
        StatusCode::TOO_MANY_REQUESTS => "満員",
        StatusCode::SERVICE_UNAVAILABLE => "休止",
        status if status.is_server_error() => "故障",
        _ => "不備",
    }
}
