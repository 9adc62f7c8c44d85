//! A file that stays the same while the server runs: made once, and shared by all answers.

use actix_web::{HttpRequest, HttpResponse, http::header};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::{encode::gzip, error::ApiError, http::conditional};

/// A file in each coding that it is sent in.
#[derive(Clone, Debug)]
pub struct SharedFile {
    /// Changes with the content, and stands in quotes.
    tag: String,
    plain: Bytes,
    packed: Bytes,
}

impl SharedFile {
    /// Packs a file, and makes its tag.
    pub fn new(plain: Bytes) -> Self {
        let digest = Sha256::digest(&plain);
        let hex: String = digest[..8]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Self {
            tag: format!("\"{hex}\""),
            packed: gzip(&plain),
            plain,
        }
    }

    /// Answers a client: in the coding that it asks for, or with a 304 if it has the file.
    ///
    /// # Errors
    /// As [`conditional::has_tag`].
    pub fn answer(
        &self,
        request: &HttpRequest,
        media_type: &'static str,
    ) -> Result<HttpResponse, ApiError> {
        let response = HttpResponse::Ok()
            .content_type(media_type)
            .insert_header((header::VARY, "Accept-Encoding"))
            .insert_header((header::CACHE_CONTROL, "no-cache"))
            .finish();
        conditional::answer_in_coding(request, response, &self.tag, |is_packed| {
            if is_packed {
                self.packed.clone()
            } else {
                self.plain.clone()
            }
        })
    }
}
