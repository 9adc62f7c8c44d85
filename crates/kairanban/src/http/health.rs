//! Probes: whether the process lives, and whether to send it requests.

use actix_web::{HttpResponse, web::Data};

use crate::{metrics::Build, readiness::Status, state::AppState};

/// Answers `GET /livez`: the process lives if it answers.
pub async fn get_livez() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/plain; charset=utf-8")
        .insert_header(("Cache-Control", "no-store"))
        .body("alive\n")
}

/// Answers `GET /readyz`: 503 while others should serve instead, with the reasons; 200 also when
/// degraded.
pub async fn get_readyz(state: Data<AppState>) -> HttpResponse {
    let report = state.readiness.report();
    let mut response = match report.status {
        Status::Ready | Status::Degraded => HttpResponse::Ok(),
        Status::NotReady => HttpResponse::ServiceUnavailable(),
    };
    response
        .insert_header(("Cache-Control", "no-store"))
        .json(report)
}

/// Answers `GET /version`: what the program is.
pub async fn get_version(state: Data<AppState>) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header(("Cache-Control", "no-store"))
        .json(Build::on(state.boards.database_kind()))
}
