//! Answers that several addresses share, as the API's description names them.

use utoipa::IntoResponses;

use crate::error::Problem;

/// What any request may be refused with.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only its documentation is used")]
pub enum RefusalResponses {
    /// The request cannot be read; `path` says where.
    #[response(status = 400, content_type = "application/problem+json")]
    BadRequest(Problem),
    /// A token is required, or the one that was sent is invalid.
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorized(Problem),
    /// There is no such thing, or the caller may not know of it.
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(Problem),
    /// The host of the request is not this server's (`server.public_url`, `server.hosts`).
    #[response(status = 421, content_type = "application/problem+json")]
    Misdirected(Problem),
    /// Too much from one address.
    #[response(
        status = 429,
        content_type = "application/problem+json",
        headers(("Retry-After" = u64, description = "Seconds until there is room again"))
    )]
    TooMany(Problem),
    /// The database is away. Whether a write was done is unknown.
    #[response(
        status = 503,
        content_type = "application/problem+json",
        headers(("Retry-After" = u64, description = "Seconds until another attempt may help"))
    )]
    Unavailable(Problem),
}

/// What only a token that allows more may do.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only its documentation is used")]
pub enum Forbidden {
    /// The token does not allow that, or another site's page sent the request.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Problem),
}

/// What a request with a body may be refused with besides.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only its documentation is used")]
pub enum BadBody {
    /// The body did not arrive in time.
    #[response(status = 408, content_type = "application/problem+json")]
    TooSlow(Problem),
    /// The body is too large.
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(Problem),
    /// The body is not JSON in UTF-8.
    #[response(status = 415, content_type = "application/problem+json")]
    UnsupportedMediaType(Problem),
    /// The body can be read but is not allowed, and `errors` names the fields; or the database
    /// refuses it (`refused`).
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(Problem),
}
