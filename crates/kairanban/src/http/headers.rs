//! Headers that stand on every answer.

use actix_web::middleware::DefaultHeaders;

/// Nothing but what this server itself sends may run, load or frame its pages.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Returns the headers that every answer has.
#[must_use]
pub fn on_every_answer() -> DefaultHeaders {
    DefaultHeaders::new()
        .add(("Content-Security-Policy", POLICY))
        .add(("X-Content-Type-Options", "nosniff"))
        .add(("Referrer-Policy", "same-origin"))
}
