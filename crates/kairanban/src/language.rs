//! Chooses between Japanese and English, by `Accept-Language`.

use std::{cmp::Reverse, collections::BTreeMap};

use actix_web::{
    HttpRequest,
    http::header::{AcceptLanguage, Header as _, Preference, Quality},
};

/// A language of the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Language {
    /// English, which is the default.
    En,
    /// Japanese, if the client prefers it.
    Ja,
}

/// The texts of the pages, by key.
pub type Messages = BTreeMap<String, String>;

impl Language {
    /// All languages of the pages.
    pub const ALL: [Self; 2] = [Self::En, Self::Ja];

    /// Returns the language that the client prefers among ours; English if it names neither.
    #[must_use]
    pub fn of(request: &HttpRequest) -> Self {
        let accepted =
            AcceptLanguage::parse(request).map_or_else(|_| Vec::new(), |accepted| accepted.0);
        let wish = |language: Self| {
            let all = accepted.iter().enumerate();
            let fitting = all.filter_map(|(index, range)| {
                let is_named = match &range.item {
                    Preference::Any => false,
                    Preference::Specific(tag)
                        if tag.primary_language().eq_ignore_ascii_case(language.tag()) =>
                    {
                        true
                    }
                    Preference::Specific(_) => return None,
                };
                // Any region of a language will do; the wildcard is for languages that are not
                // named.
                Some((is_named, range.quality, Reverse(index)))
            });
            let (is_named, quality, index) = fitting.max()?;
            Some((quality, is_named, index, language)).filter(|_| quality > Quality::ZERO)
        };
        let ours = Self::ALL.into_iter().filter_map(wish);
        ours.max_by_key(|(quality, is_named, index, language)| {
            (*quality, *is_named, *index, Reverse(*language))
        })
        .map_or(Self::En, |(.., language)| language)
    }

    /// Returns the value of `lang="…"`.
    #[must_use]
    pub const fn tag(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Ja => "ja",
        }
    }

    /// Returns the language with this tag.
    #[must_use]
    pub fn named(tag: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|language| language.tag() == tag)
    }

    /// Returns the language to switch to.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::En => Self::Ja,
            Self::Ja => Self::En,
        }
    }

    /// Returns the texts of the pages in this language.
    ///
    /// # Errors
    /// If the built-in file is no JSON; a test checks that it is.
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

    fn of(accepted: &str) -> Language {
        let request = TestRequest::default().insert_header((ACCEPT_LANGUAGE, accepted));
        Language::of(&request.to_http_request())
    }

    fn keys(language: Language) -> Vec<String> {
        language.messages().expect("JSON").into_keys().collect()
    }

    #[test]
    fn the_client_chooses() {
        for accepted in [
            "ja",
            "ja-JP,en;q=0.8",
            "fr,ja;q=0.5,en;q=0.3",
            "en;q=0.1,ja",
            "en;q=0,*",
            "JA",
            "ja-JP;q=0.1,en-GB;q=0",
        ] {
            assert_eq!(of(accepted), Language::Ja, "{accepted}");
        }
        for accepted in [
            "",
            "en-GB",
            "fr",
            "*",
            "!!",
            "en,ja",
            "ja;q=0",
            "ja;q=0,*",
            "ja;q=0.5,*",
            "ja;q=2,en",
        ] {
            assert_eq!(of(accepted), Language::En, "{accepted}");
        }
    }

    #[test]
    fn every_language_says_everything() {
        assert_eq!(keys(Language::En), keys(Language::Ja));
    }

    #[test]
    fn every_code_of_an_error_has_a_text() {
        let source = include_str!("error.rs");
        let (_, table) = source.split_once("const fn code(").expect("the codes");
        let (table, _) = table.split_once("/// ").expect("what follows them");
        let codes: Vec<_> = table.split('"').skip(1).step_by(2).collect();
        assert!(codes.contains(&"upgrade_required"), "{codes:?}");
        let keys = keys(Language::En);
        for code in codes {
            assert!(keys.contains(&format!("problem.{code}")), "{code}");
        }
    }
}
