//! A file that stays the same while the server runs: made once, and shared by all answers.

use actix_web::{HttpRequest, HttpResponse, http::header};
use bytes::Bytes;

use crate::{encode::gzip, error::ApiError, http::conditional, render::filled::tag_of};

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
        Self {
            tag: tag_of(&plain),
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
