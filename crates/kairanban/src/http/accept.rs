//! Which form of an answer a client wants, by RFC 9110, section 12: weights, 0 for what is refused,
//! and the most specific range that fits. What cannot be read in a header is as if it were not
//! there.

use actix_web::{
    HttpRequest,
    http::header::{
        self, AcceptEncoding, Header as _, HeaderMap, HeaderName, Preference, Quality, QualityItem,
    },
};
use mime::Mime;

/// A form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Representation {
    /// A page, for a browser.
    Html,
    /// JSON, for programs.
    Json,
    /// Plain text, for a terminal.
    Text,
}

/// The lists of which each element is read.
const LISTS: [HeaderName; 6] = [
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
    header::CONTENT_ENCODING,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
];

/// Returns the header that is a list of more than `elements_max` elements, if there is one. Empty
/// ones count, and so do commas within quotes. What is too long to be read is refused, not read in
/// part (RFC 9110, section 5.4): of a condition, no part would do.
#[must_use]
pub fn long_list(headers: &HeaderMap, elements_max: usize) -> Option<HeaderName> {
    LISTS.into_iter().find(|name| {
        let elements = headers.get_all(name).map(|line| {
            let commas = line.as_bytes().iter().filter(|byte| **byte == b',');
            commas.count() + 1
        });
        elements.sum::<usize>() > elements_max
    })
}

/// Splits the values of a header that is a list at their commas, but for those within quotes.
pub fn elements(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    // In a tag a backslash is a letter as any other (RFC 9110, section 8.8.3).
    let has_escapes = name != header::IF_MATCH && name != header::IF_NONE_MATCH;
    let lines = headers.get_all(name).filter_map(|line| line.to_str().ok());
    lines
        .flat_map(move |line| {
            let (mut is_quoted, mut is_escaped) = (false, false);
            line.split(move |letter| {
                let is_escape = has_escapes && is_quoted && letter == '\\' && !is_escaped;
                if letter == '"' && !is_escaped {
                    is_quoted = !is_quoted;
                }
                is_escaped = is_escape;
                letter == ',' && !is_quoted
            })
        })
        .map(|element| element.trim_matches([' ', '\t']))
        .filter(|element| !element.is_empty())
}

/// How well a range of media types fits a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Any,
    Family,
    /// By name, with this number of parameters.
    Named(usize),
}

/// The media types that a client takes.
struct Accepted(Vec<QualityItem<Mime>>);

/// What a client makes of something that it could be sent. Ordered, the most wanted last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Wish {
    quality: Quality,
    is_named: bool,
    /// Of two with the same weight, the one further to the front is preferred.
    index: std::cmp::Reverse<usize>,
}

impl Accepted {
    /// Reads `Accept`; `None` if there is nothing in it that can be read, which means that
    /// everything is taken.
    fn of(request: &HttpRequest) -> Option<Self> {
        let ranges = elements(request.headers(), header::ACCEPT).filter_map(media_range);
        Some(Self(ranges.collect())).filter(|accepted| !accepted.0.is_empty())
    }

    /// Returns the client's preference for a type, from the most specific range that matches;
    /// `None` if none does.
    fn wish(&self, media_type: &Mime) -> Option<Wish> {
        let fitting = self.0.iter().enumerate().filter_map(|(index, range)| {
            let index = std::cmp::Reverse(index);
            Some((fit(&range.item, media_type)?, index, range.quality))
        });
        let (fit, index, quality) = fitting.max_by_key(|(fit, index, _)| (*fit, *index))?;
        Some(Wish {
            quality,
            is_named: fit > Fit::Family,
            index,
        })
    }

    /// Returns the client's preference for a type that has other names, too. Those count only if
    /// they are named.
    fn wish_of(&self, names: &[&str]) -> Option<Wish> {
        let wishes = names.iter().enumerate().filter_map(|(at, name)| {
            let wish = self.wish(&name.parse().ok()?)?;
            (at == 0 || wish.is_named).then_some(wish)
        });
        wishes.max()
    }
}

/// Reads one range of media types with its weight. mime reads neither space around semicolons nor
/// `*`, which old clients send.
fn media_range(text: &str) -> Option<QualityItem<Mime>> {
    let tidy = tidy_parameters(text);
    let tidy = match tidy.strip_prefix('*') {
        Some(rest) if rest.is_empty() || rest.starts_with(';') => format!("*/*{rest}"),
        _ => tidy,
    };
    tidy.parse().ok()
}

/// Takes away what may stand around the semicolons between parameters: space, and empty parameters.
pub fn tidy_parameters(text: &str) -> String {
    let mut tidy = String::with_capacity(text.len());
    let (mut is_quoted, mut is_escaped) = (false, false);
    for letter in text.chars() {
        if !is_quoted && letter == ';' {
            tidy.truncate(tidy.trim_end_matches([' ', '\t']).len());
        }
        let is_left_out = matches!(letter, ' ' | '\t' | ';') && tidy.ends_with(';');
        if is_quoted || !is_left_out {
            tidy.push(letter);
        }
        let is_escape = is_quoted && letter == '\\' && !is_escaped;
        if letter == '"' && !is_escaped {
            is_quoted = !is_quoted;
        }
        is_escaped = is_escape;
    }
    if !is_quoted && tidy.ends_with(';') {
        tidy.pop();
    }
    tidy
}

fn fit(range: &Mime, media_type: &Mime) -> Option<Fit> {
    if (range.type_(), range.subtype()) == (mime::STAR, mime::STAR) {
        return Some(Fit::Any);
    }
    if range.type_() != media_type.type_() {
        return None;
    }
    if range.subtype() == mime::STAR {
        return Some(Fit::Family);
    }
    // All that is sent here is UTF-8, whether its type says so or not.
    let has = |(name, value): (mime::Name<'_>, mime::Name<'_>)| {
        media_type.get_param(name) == Some(value) || (name, value) == (mime::CHARSET, mime::UTF_8)
    };
    let is_named = range.subtype() == media_type.subtype()
        && range.suffix() == media_type.suffix()
        && range.params().all(has);
    is_named.then(|| Fit::Named(range.params().count()))
}

/// The beginnings of `User-Agent` of programs that print in a terminal what they are sent.
const TERMINAL_PROGRAMS: [&str; 3] = ["curl/", "HTTPie/", "xh/"];

fn is_for_terminals(request: &HttpRequest) -> bool {
    let agent = request.headers().get(header::USER_AGENT);
    let agent = agent
        .and_then(|agent| agent.to_str().ok())
        .unwrap_or_default();
    let mut programs = TERMINAL_PROGRAMS.iter();
    programs.any(|program| agent.starts_with(program))
}

/// Returns whether the client accepts a type. One that does not say accepts everything.
#[must_use]
pub fn allows(request: &HttpRequest, media_type: &str) -> bool {
    Accepted::of(request).is_none_or(|accepted| {
        let wish = accepted.wish_of(&[media_type]);
        wish.is_some_and(|wish| wish.quality > Quality::ZERO)
    })
}

/// Returns whether the client accepts gzip. One that does not say accepts everything.
#[must_use]
pub fn allows_gzip(request: &HttpRequest) -> bool {
    if !request.headers().contains_key(header::ACCEPT_ENCODING) {
        return true;
    }
    // A coding by name counts before the wildcard; `x-gzip` is another name of `gzip`.
    let gzip = coding_quality(request, &["gzip", "x-gzip", "*"]);
    gzip.is_some_and(|quality| quality > Quality::ZERO)
}

/// Returns the weight of the first of these codings that a client names.
fn coding_quality(request: &HttpRequest, names: &[&str]) -> Option<Quality> {
    let accepted = AcceptEncoding::parse(request).ok()?;
    names.iter().find_map(|wanted| {
        let range = accepted.iter().find(|range| match &range.item {
            Preference::Any => *wanted == "*",
            Preference::Specific(found) => found.to_string().eq_ignore_ascii_case(wanted),
        });
        range.map(|range| range.quality)
    })
}

/// Returns whether the client asks for gzip. One that does not may be unable to unpack it, as
/// `curl` is; and one may prefer the bytes as they are.
#[must_use]
pub fn asks_for_gzip(request: &HttpRequest) -> bool {
    request.headers().contains_key(header::ACCEPT_ENCODING)
        && allows_gzip(request)
        && coding_quality(request, &["identity"])
            <= coding_quality(request, &["gzip", "x-gzip", "*"])
}

/// Returns whether the client names lines of JSON, and prefers no event stream to them.
#[must_use]
pub fn prefers_ndjson(request: &HttpRequest) -> bool {
    let Some(accepted) = Accepted::of(request) else {
        return false;
    };
    let wish = |name| {
        accepted
            .wish_of(&[name])
            .filter(|wish| wish.quality > Quality::ZERO)
    };
    let lines = wish("application/x-ndjson").filter(|wish| wish.is_named);
    lines.is_some() && lines > wish("text/event-stream")
}

impl Representation {
    /// Returns the names that stand for the form in `Accept`.
    const fn names(self) -> &'static [&'static str] {
        match self {
            Self::Html => &["text/html", "application/xhtml+xml"],
            Self::Json => &["application/json", "application/problem+json"],
            Self::Text => &["text/plain"],
        }
    }

    /// Chooses the form that the client wants most. Of those that it only takes, `default` comes
    /// first, then the order here. If it takes none of them, it is sent the first that it does not
    /// refuse outright, else the default, and may make of that what it likes.
    fn chosen(request: &HttpRequest, default: Self) -> Self {
        let Some(accepted) = Accepted::of(request) else {
            return default;
        };
        let all = [default, Self::Html, Self::Json, Self::Text];
        let wanted = all.into_iter().rev().filter_map(|form| {
            let wish = accepted.wish_of(form.names())?;
            let named = wish.is_named.then_some(wish.index);
            Some((wish.quality, named, form)).filter(|_| wish.quality > Quality::ZERO)
        });
        // Of equals it is the last, which is the default.
        let wanted = wanted.max_by_key(|(quality, named, _)| (*quality, *named));
        wanted.map_or_else(
            || {
                let mut left = all.into_iter();
                left.find(|form| accepted.wish_of(form.names()).is_none())
                    .unwrap_or(default)
            },
            |(.., form)| form,
        )
    }

    /// Selects the form of a page: HTML unless text or JSON is asked for by name. A program that
    /// prints in a terminal what it is sent, and names nothing, is sent text.
    #[must_use]
    pub fn of_page(request: &HttpRequest) -> Self {
        Self::chosen(
            request,
            if is_for_terminals(request) {
                Self::Text
            } else {
                Self::Html
            },
        )
    }

    /// Returns whether the form of a page depends on the program that asks: it names none.
    #[must_use]
    pub fn depends_on_program(request: &HttpRequest) -> bool {
        let Some(accepted) = Accepted::of(request) else {
            return true;
        };
        let forms = [Self::Html, Self::Json, Self::Text];
        !forms.into_iter().any(|form| {
            let wish = accepted.wish_of(form.names());
            wish.is_some_and(|wish| wish.is_named)
        })
    }

    /// Selects the form of the answer to a post: a page only for clients that name it.
    #[must_use]
    pub fn of_post(request: &HttpRequest) -> Self {
        Self::chosen(request, Self::Json)
    }

    /// Selects the form of an error: JSON from the API, otherwise text unless something else is
    /// named.
    #[must_use]
    pub fn of_error(request: &HttpRequest) -> Self {
        let default = if request.path().starts_with("/api/") {
            Self::Json
        } else {
            Self::Text
        };
        Self::chosen(request, default)
    }
}

#[cfg(test)]
mod tests;
