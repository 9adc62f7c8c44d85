//! What the pages load: built into the program.

use std::sync::OnceLock;

use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;

use super::shared_file::SharedFile;
use crate::error::ApiError;

/// A file of the pages.
struct Asset {
    /// The path in its address.
    path: &'static str,
    media_type: &'static str,
    content: &'static [u8],
    prepared: OnceLock<SharedFile>,
}

/// `path, media type` of the files in `web`.
macro_rules! assets {
    ($($file:literal at $path:literal is $media_type:literal,)*) => {
        [$(Asset {
            path: $path,
            media_type: $media_type,
            content: include_bytes!(concat!("../../../../web/", $file)),
            prepared: OnceLock::new(),
        }),*]
    };
}

static FILES: [Asset; 9] = assets! {
    "dist/board.css" at "/assets/board.css" is "text/css; charset=utf-8",
    "dist/board.js" at "/assets/board.js" is "text/javascript; charset=utf-8",
    "dist/act.js" at "/assets/act.js" is "text/javascript; charset=utf-8",
    "app/icon.svg" at "/assets/icon.svg" is "image/svg+xml",
    "app/icon-unread.svg" at "/assets/icon-unread.svg" is "image/svg+xml",
    "app/icon-maskable.svg" at "/assets/icon-maskable.svg" is "image/svg+xml",
    "app/icon-180.png" at "/assets/icon-180.png" is "image/png",
    "app/manifest.webmanifest" at "/manifest.webmanifest" is "application/manifest+json",
    "app/robots.txt" at "/robots.txt" is "text/plain; charset=utf-8",
};

/// Answers `GET /assets/{name}`, `/robots.txt` and `/manifest.webmanifest`
pub async fn get_asset(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let file = FILES.iter().find(|file| file.path == request.path());
    let file = file.ok_or_else(|| ApiError::NotFound("there is no such file".to_owned()))?;
    let shared = file
        .prepared
        .get_or_init(|| SharedFile::new(Bytes::from_static(file.content)));
    shared.answer(&request, file.media_type)
}
