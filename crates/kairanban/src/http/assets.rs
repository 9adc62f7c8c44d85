//! What the pages load: built into the program.

use std::sync::OnceLock;

use actix_web::{HttpRequest, HttpResponse, http::header};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::{encode::gzip, error::ApiError, http::conditional};

/// A file of the pages.
struct Asset {
    /// The path in its address.
    path: &'static str,
    media_type: &'static str,
    content: &'static [u8],
    prepared: OnceLock<PreparedAsset>,
}

/// What is made of a file for its first reader.
struct PreparedAsset {
    /// Changes with the content, and stands in quotes.
    tag: String,
    packed: Bytes,
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

impl Asset {
    fn prepared(&self) -> &PreparedAsset {
        self.prepared.get_or_init(|| {
            let digest = Sha256::digest(self.content);
            let hex: String = digest[..8]
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            PreparedAsset {
                tag: format!("\"{hex}\""),
                packed: gzip(self.content),
            }
        })
    }
}

/// Answers `GET /assets/{name}`, `/robots.txt` and `/manifest.webmanifest`
pub async fn get_asset(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let file = FILES.iter().find(|file| file.path == request.path());
    let file = file.ok_or_else(|| ApiError::NotFound("there is no such file".to_owned()))?;
    let PreparedAsset { tag, packed } = file.prepared();
    let response = HttpResponse::Ok()
        .content_type(file.media_type)
        .insert_header((header::VARY, "Accept-Encoding"))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .finish();
    conditional::answer_in_coding(&request, response, tag, |is_packed| {
        if is_packed {
            packed.clone()
        } else {
            Bytes::from_static(file.content)
        }
    })
}
