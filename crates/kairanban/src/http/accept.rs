//! Which form of an answer a client wants.

use actix_web::{
    HttpRequest,
    http::header::{self, AcceptEncoding, Encoding, Header as _, Preference, Quality},
};

/// A form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A page, for a browser.
    Html,
    /// JSON, for programs.
    Json,
    /// Plain text, for a terminal.
    Text,
}

/// The media ranges that `Accept` names, in their order.
fn ranges(request: &HttpRequest) -> impl Iterator<Item = &str> {
    let lines = request
        .headers()
        .get_all(header::ACCEPT)
        .filter_map(|line| line.to_str().ok());
    lines
        .flat_map(|line| line.split(','))
        .map(|range| range.split(';').next().unwrap_or_default().trim())
}

/// Whether the client takes that. One that says nothing takes everything.
#[must_use]
pub fn allows(request: &HttpRequest, media_type: &str) -> bool {
    let wanted = media_type.split(';').next().unwrap_or_default();
    let family = wanted.split('/').next().unwrap_or_default();
    let fits =
        |range: &str| range == wanted || range == "*/*" || range.strip_suffix("/*") == Some(family);
    let mut ranges = ranges(request).peekable();
    ranges.peek().is_none() || ranges.any(fits)
}

/// Whether the client takes gzip. One that says nothing takes everything.
#[must_use]
pub fn allows_gzip(request: &HttpRequest) -> bool {
    if !request.headers().contains_key(header::ACCEPT_ENCODING) {
        return true;
    }
    let Ok(accepted) = AcceptEncoding::parse(request) else {
        return false;
    };
    let named = |wanted: Preference<Encoding>| accepted.iter().find(|range| range.item == wanted);
    // What stands there by name counts before the wildcard.
    let gzip = named(Preference::Specific(Encoding::gzip())).or_else(|| named(Preference::Any));
    gzip.is_some_and(|range| range.quality > Quality::ZERO)
}

/// Whether the client asks for gzip. One that says nothing may not be able to unpack it: `curl` is not.
#[must_use]
pub fn asks_for_gzip(request: &HttpRequest) -> bool {
    request.headers().contains_key(header::ACCEPT_ENCODING) && allows_gzip(request)
}

/// Whether the client names lines of JSON, and no event stream before them.
#[must_use]
pub fn prefers_ndjson(request: &HttpRequest) -> bool {
    let stream = ranges(request)
        .find(|range| matches!(*range, "text/event-stream" | "application/x-ndjson"));
    stream == Some("application/x-ndjson")
}

/// The first form that `Accept` names; wildcards name none.
fn named(request: &HttpRequest) -> Option<Form> {
    ranges(request).find_map(|range| match range {
        "text/html" | "application/xhtml+xml" => Some(Form::Html),
        "application/json" | "application/problem+json" => Some(Form::Json),
        "text/plain" => Some(Form::Text),
        _ => None,
    })
}

impl Form {
    /// For a page's address: HTML unless text or JSON is asked for by name.
    #[must_use]
    pub fn of_page(request: &HttpRequest) -> Self {
        named(request).unwrap_or(Self::Html)
    }

    /// For what a post is answered with: a page only for those who name it.
    #[must_use]
    pub fn of_post(request: &HttpRequest) -> Self {
        named(request).unwrap_or(Self::Json)
    }

    /// For an error: JSON from the API, otherwise text unless something else is named.
    #[must_use]
    pub fn of_error(request: &HttpRequest) -> Self {
        let default = if request.path().starts_with("/api/") {
            Self::Json
        } else {
            Self::Text
        };
        named(request).unwrap_or(default)
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn gzip_is_sent_to_whoever_takes_it() {
        let allows = |accept: &str| {
            allows_gzip(
                &TestRequest::default()
                    .insert_header((header::ACCEPT_ENCODING, accept))
                    .to_http_request(),
            )
        };
        assert!(allows_gzip(&TestRequest::default().to_http_request()));
        assert!(allows("gzip, deflate, br") && allows("*"));
        assert!(!allows("identity") && !allows("gzip;q=0, *"));
    }

    #[test]
    fn browsers_terminals_and_programs() {
        let form = |accept: &str, path: &str| {
            let request = TestRequest::with_uri(path)
                .insert_header((header::ACCEPT, accept))
                .to_http_request();
            (
                Form::of_page(&request),
                Form::of_post(&request),
                Form::of_error(&request),
            )
        };
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        assert_eq!(form(browser, "/"), (Form::Html, Form::Html, Form::Html));
        assert_eq!(form("*/*", "/"), (Form::Html, Form::Json, Form::Text));
        assert_eq!(
            form("*/*", "/api/v1/x"),
            (Form::Html, Form::Json, Form::Json)
        );
        assert_eq!(
            form("text/plain", "/"),
            (Form::Text, Form::Text, Form::Text)
        );
        assert_eq!(
            form("application/json", "/"),
            (Form::Json, Form::Json, Form::Json)
        );
    }
}
