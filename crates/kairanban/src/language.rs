//! Japanese and English, by `Accept-Language`.

use std::collections::BTreeMap;

use actix_web::{
    HttpRequest,
    http::header::{AcceptLanguage, Header as _, Preference},
};

/// A language of the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Language {
    /// English
    En,
    /// 日本語
    Ja,
}

/// What the pages say, by key.
pub type Messages = BTreeMap<String, String>;

impl Language {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::En, Self::Ja];

    /// The one that the client likes best among ours; English if it names neither.
    #[must_use]
    pub fn of(request: &HttpRequest) -> Self {
        let accepted = AcceptLanguage::parse(request)
            .map(|accepted| accepted.ranked())
            .unwrap_or_default();
        let ours = accepted.iter().find_map(|wanted| match wanted {
            Preference::Any => Some(Self::En),
            Preference::Specific(tag) => Self::ALL
                .into_iter()
                .find(|language| tag.primary_language().eq_ignore_ascii_case(language.tag())),
        });
        ours.unwrap_or(Self::En)
    }

    /// As in `lang="…"`.
    #[must_use]
    pub const fn tag(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Ja => "ja",
        }
    }

    /// What the pages say in this language.
    ///
    /// # Errors
    /// If the file that was built in is no JSON; a test holds that it is.
    pub fn messages(self) -> Result<Messages, serde_json::Error> {
        serde_json::from_str(match self {
            Self::En => include_str!("../../../web/locales/en.json"),
            Self::Ja => include_str!("../../../web/locales/ja.json"),
        })
    }
}

#[cfg(test)]
mod tests {
    use actix_web::{http::header::ACCEPT_LANGUAGE, test::TestRequest};

    use super::*;

    #[test]
    fn the_client_chooses() {
        let of = |accepted: &str| {
            Language::of(
                &TestRequest::default()
                    .insert_header((ACCEPT_LANGUAGE, accepted))
                    .to_http_request(),
            )
        };
        for accepted in [
            "ja",
            "ja-JP,en;q=0.8",
            "fr,ja;q=0.5,en;q=0.3",
            "en;q=0.1,ja",
        ] {
            assert_eq!(of(accepted), Language::Ja, "{accepted}");
        }
        for accepted in ["", "en-GB", "fr", "*", "!!", "en,ja"] {
            assert_eq!(of(accepted), Language::En, "{accepted}");
        }
    }

    #[test]
    fn every_language_says_everything() {
        let keys = |language: Language| {
            language
                .messages()
                .expect("JSON")
                .into_keys()
                .collect::<Vec<_>>()
        };
        assert_eq!(keys(Language::En), keys(Language::Ja));
    }
}
