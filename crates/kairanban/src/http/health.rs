//! Probes: whether the process lives, and whether to send it requests.

use actix_web::{HttpResponse, web::Data};

use crate::state::AppState;

/// `GET /livez`: it does, or nobody would answer.
pub async fn get_livez() -> HttpResponse {
    answer(true, "alive\n")
}

/// `GET /readyz`: not while the server ends, the database is away, or nothing can be written to it.
pub async fn get_readyz(state: Data<AppState>) -> HttpResponse {
    if state.drain.has_begun() {
        answer(false, "draining\n")
    } else if state.bulletin.following().stale_since().is_some() {
        answer(false, "the database is away\n")
    } else if let Some(fault) = state.bulletin.writer_health().fault() {
        answer(false, format!("writing does not work: {fault}\n"))
    } else {
        answer(true, "ready\n")
    }
}

fn answer(good: bool, text: impl Into<String>) -> HttpResponse {
    let mut response = if good { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    response.content_type("text/plain; charset=utf-8").insert_header(("Cache-Control", "no-store")).body(text.into())
}
