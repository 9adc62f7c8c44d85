//! What the page loads: built into the program.

use actix_web::{HttpRequest, HttpResponse, web::Path};

use crate::{error::ApiError, http::conditional};

/// `(name, media type, content)`
const FILES: [(&str, &str, &str); 3] = [
    (
        "board.css",
        "text/css; charset=utf-8",
        include_str!("../../../../web/app/board.css"),
    ),
    (
        "board.js",
        "text/javascript; charset=utf-8",
        include_str!("../../../../web/app/board.js"),
    ),
    (
        "icon.svg",
        "image/svg+xml",
        include_str!("../../../../web/app/icon.svg"),
    ),
];
/// Changes with the program, and what is built into it changes only with it.
const VERSION: &str = concat!("\"", env!("CARGO_PKG_VERSION"), "\"");

/// Answers `GET /assets/{name}`
pub async fn get_asset(request: HttpRequest, name: Path<String>) -> Result<HttpResponse, ApiError> {
    let file = FILES.iter().find(|(file, ..)| *file == name.as_str());
    let (_, kind, content) =
        file.ok_or_else(|| ApiError::NotFound("there is no such file".to_owned()))?;
    conditional::answer_tagged(&request, VERSION, kind, || *content)
}
