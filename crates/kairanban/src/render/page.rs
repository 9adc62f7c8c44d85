//! Pages, from the templates in `web/templates`.

mod board;
mod comment;
mod index;
mod login;
mod problem;
mod qr;
mod topic_pages;
mod topics;

use chrono_tz::Tz;
use kairanban_core::BoardName;
use minijinja::{Environment, Error, ErrorKind, syntax::SyntaxConfig, value::Serde};
use serde::Serialize;

pub use self::{
    board::BoardPage,
    login::LoginFault,
    topic_pages::{ListedBy, ListedTopics},
};
use crate::{
    language::{Language, Messages},
    preferences::Preferences,
    render::filled::GAP,
    service::{Navigation, title_or_name},
};

/// The templates, what they say in each language, and the zone of the boards.
#[derive(Debug)]
pub struct Pages {
    pub(super) templates: Environment<'static>,
    messages: Vec<(Language, Messages)>,
    zone: Tz,
    default_board: BoardName,
}

/// Reads each template, with its name.
macro_rules! templates {
    ($($name:literal)*) => {
        [$(($name, include_str!(concat!("../../../../web/templates/", $name)))),*]
    };
}

const TEMPLATES: [(&str, &str); 16] = templates![
    "base.html" "board-frame.html" "board.html" "boards.html" "feed-head.xml" "feed.xml" "foot.html" "icons.html"
    "language.html" "listed.html" "login.html" "problem.html" "qr.html" "session.html" "theme.html"
    "topics.html"
];

/// The page on which a reader signs in.
const LOGIN: &str = "/login";

/// What every page shows around its content.
#[derive(Serialize)]
struct Shell<'a> {
    lang: &'static str,
    /// The language to switch to, and where to.
    other_lang: &'static str,
    switch_language: String,
    theme: &'static str,
    next_theme: &'static str,
    path: &'a str,
    query: &'a [(String, String)],
    version: &'static str,
    /// The name of the token that the reader is signed in with.
    signed_in: Option<String>,
    /// Where to sign in, if the reader is not signed in; where to sign out.
    sign_in: Option<String>,
    sign_out: String,
}

impl<'a> Shell<'a> {
    fn new(reader: &'a Preferences) -> Self {
        let other = reader.language.other().tag();
        Self {
            lang: reader.language.tag(),
            other_lang: other,
            switch_language: reader.query_with("lang", other),
            theme: reader.theme.name(),
            next_theme: reader.theme.next().name(),
            path: &reader.path,
            query: &reader.query,
            version: env!("CARGO_PKG_VERSION"),
            signed_in: reader.signed_in.as_deref().map(without_gap),
            sign_in: (reader.signed_in.is_none() && reader.path != LOGIN)
                .then(|| reader.by_way_of(LOGIN)),
            sign_out: reader.by_way_of("/logout"),
        }
    }
}

/// What every page of a board shows around its content: the title, the search, other boards.
#[derive(Serialize)]
struct BoardFrame {
    board: String,
    title: String,
    path: String,
    /// Whether the page is that of the board itself.
    is_board: bool,
    /// The text in the search field.
    sought: String,
    boards: Vec<BoardLink>,
}

#[derive(Serialize)]
struct BoardLink {
    name: String,
    title: String,
    path: String,
    private: bool,
}

/// What a template sees: what all pages have, and what is its own.
#[derive(Serialize)]
struct PageContext<'a, T> {
    t: &'a Messages,
    page: Shell<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nav: Option<BoardFrame>,
    #[serde(flatten)]
    own: T,
}

impl Pages {
    /// Reads the templates.
    ///
    /// # Errors
    /// If one of them is invalid; a test holds that they are valid.
    pub fn new(zone: Tz, default_board: BoardName) -> Result<Self, Error> {
        let mut templates = Environment::new();
        templates.set_syntax(
            SyntaxConfig::builder()
                .trim_blocks(true)
                .lstrip_blocks(true)
                .build()?,
        );
        for (name, template) in TEMPLATES {
            templates.add_template(name, template)?;
        }
        let not_json =
            |error: serde_json::Error| Error::new(ErrorKind::InvalidOperation, error.to_string());
        let messages = Language::ALL
            .into_iter()
            .map(|language| Ok((language, language.messages().map_err(not_json)?)));
        Ok(Self {
            messages: messages.collect::<Result<_, Error>>()?,
            templates,
            zone,
            default_board,
        })
    }

    /// Returns the board at `/`.
    #[must_use]
    pub const fn default_board(&self) -> &BoardName {
        &self.default_board
    }

    /// Returns the zone in which days and times are shown.
    #[must_use]
    pub const fn zone(&self) -> Tz {
        self.zone
    }

    /// Returns the path of a board's page.
    #[must_use]
    pub fn path_of(&self, board: &BoardName) -> String {
        if *board == self.default_board {
            "/".to_owned()
        } else {
            format!("/b/{board}")
        }
    }

    fn board_frame(&self, navigation: &Navigation, board: &BoardName, sought: &str) -> BoardFrame {
        let links = navigation.boards.iter().map(|board| BoardLink {
            title: without_gap(&title_or_name(&board.title, &board.name)),
            path: self.path_of(&board.name),
            private: !board.policies.is_public(),
            name: board.name.to_string(),
        });
        BoardFrame {
            board: board.to_string(),
            title: without_gap(&navigation.title),
            path: self.path_of(board),
            is_board: false,
            sought: without_gap(sought),
            boards: links.collect(),
        }
    }

    /// Renders a whole page.
    fn page(
        &self,
        template: &str,
        reader: &Preferences,
        nav: Option<BoardFrame>,
        own: impl Serialize,
    ) -> Result<String, Error> {
        let context = PageContext {
            t: self.messages(reader.language),
            page: Shell::new(reader),
            nav,
            own,
        };
        self.template(template, context)
    }

    pub(super) fn template(&self, name: &str, context: impl Serialize) -> Result<String, Error> {
        self.templates.get_template(name)?.render(Serde(context))
    }

    fn messages(&self, language: Language) -> &Messages {
        let found = self.messages.iter().find(|(of, _)| *of == language);
        // Every language is there; the first would do if one were not.
        &found.unwrap_or(&self.messages[0]).1
    }

    /// Returns a text of the pages with its gaps, `{name}`, filled.
    fn said(&self, language: Language, key: &str, values: &[(&str, &str)]) -> String {
        let text = self.messages(language).get(key).cloned();
        let filled = values.iter().fold(text, |text, (name, value)| {
            text.map(|text| text.replace(&format!("{{{name}}}"), value))
        });
        filled.unwrap_or_default()
    }

    /// Returns how many topics there are, in words.
    fn count(&self, language: Language, topics: u64) -> String {
        let key = if topics == 1 { "count.one" } else { "count" };
        self.said(language, key, &[("n", &grouped(topics))])
    }
}

/// Writes a number with a comma between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().collect();
    String::from_utf8_lossy(&groups.join(&b',')).into_owned()
}

/// Returns a text that makes no gap in a page; a browser would show the same for it.
fn without_gap(text: &str) -> String {
    text.replace(GAP, "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn the_templates_are_valid() {
        assert!(Pages::new(Tz::UTC, "main".parse().expect("a name")).is_ok());
    }
}
