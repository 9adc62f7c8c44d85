//! Probes: whether the process lives, and whether to send it requests.

use actix_web::{HttpResponse, web::Data};

use crate::state::AppState;

/// `GET /livez`: it does, or nobody would answer.
pub async fn get_livez() -> HttpResponse {
    answer(true, "alive\n")
}

/// `GET /readyz`: not while the server ends or the database is away.
pub async fn get_readyz(state: Data<AppState>) -> HttpResponse {
    if state.drain.has_begun() {
        answer(false, "draining\n")
    } else if state.bulletin.following().stale_since().is_some() {
        answer(false, "the database is away\n")
    } else {
        answer(true, ready(&state))
    }
}

/// What a ready server says: which boards it cannot read, if there are any. Who may read them is not known here, so it
/// names those that are open.
fn ready(state: &AppState) -> String {
    let stale = state.bulletin.following().stale_boards();
    if stale.is_empty() {
        return "ready\n".to_owned();
    }
    let (open, others): (Vec<_>, Vec<_>) = stale.iter().partition(|board| state.bulletin.is_open(board));
    let mut names: Vec<_> = open.into_iter().map(ToString::to_string).collect();
    if !others.is_empty() {
        names.push(format!("{} that take a token", others.len()));
    }
    format!("ready, degraded: boards that cannot be read: {}\n", names.join(", "))
}

fn answer(good: bool, text: impl Into<String>) -> HttpResponse {
    let mut response = if good { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    response.content_type("text/plain; charset=utf-8").insert_header(("Cache-Control", "no-store")).body(text.into())
}
