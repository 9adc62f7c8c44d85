//! What a reader chose for the pages: language and theme, in the address (`?lang=`, `?theme=`) or,
//! from then on, in a cookie.

use actix_web::{
    HttpMessage as _, HttpRequest,
    http::header::{self, HeaderMap},
};
use url::form_urlencoded;

use crate::language::Language;

const LANGUAGE: &str = "lang";
const THEME: &str = "theme";
/// What begins the names of our cookies.
const COOKIES: &str = "kairanban-";
const A_YEAR_S: u32 = 31_536_000;

/// The colours of the pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Theme {
    /// As the reader's system wishes.
    #[default]
    System,
    /// Dark text on light paper.
    Light,
    /// Light text on dark paper.
    Dark,
}

/// A browser that is signed in, as authentication leaves it with the request.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// The name of the token.
    pub name: String,
}

/// The choices of a reader, and the address that they ask for, without them.
#[derive(Clone, Debug)]
pub struct Preferences {
    /// The language of the page.
    pub language: Language,
    /// The colours of the page.
    pub theme: Theme,
    /// The path of the page.
    pub path: String,
    /// The query parameters of the page.
    pub query: Vec<(String, String)>,
    /// The name of the token that the reader is signed in with.
    pub signed_in: Option<String>,
}

impl Theme {
    const ALL: [Self; 3] = [Self::System, Self::Light, Self::Dark];

    /// Returns the value of `?theme=`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    /// Returns the theme that the switch leads to.
    #[must_use]
    pub const fn next(self) -> Self {
        match self {
            Self::System => Self::Light,
            Self::Light => Self::Dark,
            Self::Dark => Self::System,
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|theme| theme.name() == name)
    }
}

impl Preferences {
    /// Reads the choices from the address, else from cookies. Without one, the browser's language
    /// counts.
    #[must_use]
    pub fn of(request: &HttpRequest) -> Self {
        let all = form_urlencoded::parse(request.query_string().as_bytes());
        let (chosen, query): (Vec<_>, Vec<_>) = all
            .into_owned()
            .partition(|(key, _)| key == LANGUAGE || key == THEME);
        let choice = |name: &str| {
            let in_address = chosen.iter().rev().find(|(key, _)| key == name);
            let value = in_address.map(|(_, value)| value.as_str());
            value.or_else(|| cookie(request.headers(), name))
        };
        Self {
            language: choice(LANGUAGE)
                .and_then(Language::named)
                .unwrap_or_else(|| Language::of(request)),
            theme: choice(THEME).and_then(Theme::named).unwrap_or_default(),
            path: request.path().to_owned(),
            query,
            signed_in: request
                .extensions()
                .get::<SignedIn>()
                .map(|signed_in| signed_in.name.clone()),
        }
    }

    /// Returns the cookies that keep what the address of a request chooses.
    #[must_use]
    pub fn cookies(&self, request: &HttpRequest) -> Vec<String> {
        let is_chosen = |name: &str| {
            form_urlencoded::parse(request.query_string().as_bytes()).any(|(key, _)| key == name)
        };
        let choices = [(LANGUAGE, self.language.tag()), (THEME, self.theme.name())];
        let chosen = choices.into_iter().filter(|(name, _)| is_chosen(name));
        chosen
            .map(|(name, value)| {
                format!("{COOKIES}{name}={value}; Path=/; Max-Age={A_YEAR_S}; SameSite=Lax")
            })
            .collect()
    }

    /// Returns the query of this page; nothing if it is empty.
    #[must_use]
    pub fn query_alone(&self) -> String {
        if self.query.is_empty() {
            return String::new();
        }
        let mut query = form_urlencoded::Serializer::new("?".to_owned());
        query
            .extend_pairs(&self.query)
            .finish()
            .replacen("?&", "?", 1)
    }

    /// Returns a path with this page as where to go on from there.
    #[must_use]
    pub fn by_way_of(&self, path: &str) -> String {
        let here = format!("{}{}", self.path, self.query_alone());
        let mut query = form_urlencoded::Serializer::new(format!("{path}?"));
        let address = query.append_pair("next", &here).finish();
        address.replacen("?&", "?", 1)
    }

    /// Returns the query of this page with one more parameter.
    #[must_use]
    pub fn query_with(&self, key: &str, value: &str) -> String {
        let mut query = form_urlencoded::Serializer::new("?".to_owned());
        query.extend_pairs(&self.query).append_pair(key, value);
        query.finish().replacen("?&", "?", 1)
    }
}

/// Returns the value of one of our cookies.
fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let ours = cookies(headers).filter(|(key, _)| key.strip_prefix(COOKIES) == Some(name));
    ours.last().map(|(_, value)| value)
}

/// Returns the names and values of all cookies.
pub fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let lines = headers.get_all(header::COOKIE);
    let pairs = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'));
    pairs.filter_map(|pair| pair.trim().split_once('='))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn of(address: &str, headers: &[(&'static str, &str)]) -> (Preferences, Vec<String>) {
        let request = TestRequest::with_uri(address);
        let request = headers
            .iter()
            .fold(request, |request, header| request.append_header(*header))
            .to_http_request();
        let preferences = Preferences::of(&request);
        let cookies = preferences.cookies(&request);
        (preferences, cookies)
    }

    #[test]
    fn the_address_counts_before_the_cookie_and_the_cookie_before_the_browser() {
        let accepted = ("Accept-Language", "en");
        let kept = ("Cookie", "a=b; kairanban-lang=ja; kairanban-theme=dark");
        for (address, headers, language, theme) in [
            ("/", &[][..], Language::En, Theme::System),
            (
                "/",
                &[("Accept-Language", "ja")],
                Language::Ja,
                Theme::System,
            ),
            ("/", &[accepted, kept], Language::Ja, Theme::Dark),
            ("/?lang=en&theme=light", &[kept], Language::En, Theme::Light),
            ("/?lang=ja", &[accepted], Language::Ja, Theme::System),
            (
                "/?lang=xx&theme=neon",
                &[accepted],
                Language::En,
                Theme::System,
            ),
            (
                "/",
                &[("Cookie", "kairanban-lang=\"><script>")],
                Language::En,
                Theme::System,
            ),
        ] {
            let (found, _) = of(address, headers);
            assert_eq!(
                (found.language, found.theme),
                (language, theme),
                "{address}"
            );
        }
    }

    #[test]
    fn what_the_address_chooses_is_kept_and_nothing_else() {
        let (_, none) = of("/?q=lang", &[("Cookie", "kairanban-lang=ja")]);
        assert_eq!(none, Vec::<String>::new());
        let (_, both) = of("/?theme=dark&lang=ja", &[]);
        assert!(
            both[0].starts_with("kairanban-lang=ja; Path=/; "),
            "{both:?}"
        );
        assert!(both[1].starts_with("kairanban-theme=dark; "), "{both:?}");
    }

    #[test]
    fn the_rest_of_the_address_stays() {
        let (found, _) = of("/b/main/topics?q=a%26b&lang=ja&before=7", &[]);
        assert_eq!(found.path, "/b/main/topics");
        assert_eq!(found.query_with("lang", "en"), "?q=a%26b&before=7&lang=en");
        assert_eq!(of("/", &[]).0.query_with("lang", "en"), "?lang=en");
    }
}
