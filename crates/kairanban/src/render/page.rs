//! Pages, from the templates in `web/templates`.

use std::collections::BTreeMap;

use bytes::Bytes;
use kairanban_core::{
    AUTHOR_CHARS_MAX, COMMENT_CHARS_MAX, Invalid, InvalidReason, PostPolicy, Snapshot, Topic,
    WireSlot,
};
use minijinja::{Environment, Error, ErrorKind, syntax::SyntaxConfig, value::Serde};
use serde::Serialize;

use crate::{
    encode::{ENGLISH_PAGE_SLOT, JAPANESE_PAGE_SLOT, exact_time, shown_time},
    error::Problem,
    language::{Language, Messages},
    render::filled::{FilledText, GAP},
};

/// The templates and what they say in each language.
#[derive(Debug)]
pub struct Pages {
    pub(super) templates: Environment<'static>,
    messages: Vec<(Language, Messages)>,
}

/// What a board page shows.
#[derive(Clone, Copy, Debug)]
pub struct BoardPage<'a> {
    /// Where its form posts to.
    pub action: &'a str,
    /// Whether the reader may post: open if so, and if not, what keeps them.
    pub posting: PostPolicy,
    /// The list that the page shows.
    pub snapshot: &'a Snapshot,
    /// Whether the list may be old.
    pub stale: bool,
    /// What stands in the form.
    pub comment: &'a str,
    /// The author that the form holds.
    pub author: &'a str,
    /// What is wrong with that.
    pub faults: &'a [Invalid],
}

/// What the board's template sees.
#[derive(Serialize)]
struct BoardContext<'a> {
    lang: &'static str,
    t: &'a Messages,
    board: &'a str,
    action: &'a str,
    posting: &'static str,
    cursor: String,
    stale: bool,
    /// The gap for the topics, which are not of this reader alone.
    topics: &'static str,
    is_empty: bool,
    comment: String,
    author: String,
    /// What is wrong, by field.
    faults: BTreeMap<&'static str, String>,
    comment_max: usize,
    author_max: usize,
}

/// What the template of the page's topics sees.
#[derive(Serialize)]
struct TopicsContext<'a> {
    t: &'a Messages,
    topics: Vec<TopicOnPage<'a>>,
}

/// What the error's template sees.
#[derive(Serialize)]
struct ProblemContext<'a> {
    lang: &'static str,
    t: &'a Messages,
    problem: &'a Problem,
    said: &'a str,
}

#[derive(Serialize)]
struct TopicOnPage<'a> {
    id: i64,
    comment: &'a str,
    author: &'a str,
    created_at: String,
    shown_at: String,
    edited: bool,
}

impl Pages {
    /// Reads the templates.
    ///
    /// # Errors
    /// If one of them is invalid; a test holds that they are valid.
    pub fn new() -> Result<Self, Error> {
        let mut templates = Environment::new();
        templates.set_syntax(
            SyntaxConfig::builder()
                .trim_blocks(true)
                .lstrip_blocks(true)
                .build()?,
        );
        templates.add_template(
            "base.html",
            include_str!("../../../../web/templates/base.html"),
        )?;
        templates.add_template(
            "board.html",
            include_str!("../../../../web/templates/board.html"),
        )?;
        templates.add_template(
            "topics.html",
            include_str!("../../../../web/templates/topics.html"),
        )?;
        templates.add_template(
            "feed.xml",
            include_str!("../../../../web/templates/feed.xml"),
        )?;
        templates.add_template(
            "problem.html",
            include_str!("../../../../web/templates/problem.html"),
        )?;
        let not_json =
            |error: serde_json::Error| Error::new(ErrorKind::InvalidOperation, error.to_string());
        let messages = Language::ALL
            .into_iter()
            .map(|language| Ok((language, language.messages().map_err(not_json)?)));
        Ok(Self {
            messages: messages.collect::<Result<_, Error>>()?,
            templates,
        })
    }

    /// Renders a board: for this reader what depends on the reader, and the topics once for all.
    ///
    /// # Errors
    /// If a template fails.
    pub fn board(&self, language: Language, page: &BoardPage<'_>) -> Result<FilledText, Error> {
        let topics = self.topics(language, page.snapshot)?;
        Ok(FilledText::new(self.frame(language, page)?, topics))
    }

    /// Renders the topics of a page, the newest first: that is what a reader came for.
    fn topics(&self, language: Language, snapshot: &Snapshot) -> Result<Bytes, Error> {
        let render = || {
            let topics =
                self.templates
                    .get_template("topics.html")?
                    .render(Serde(TopicsContext {
                        t: self.messages(language),
                        topics: snapshot
                            .topics()
                            .iter()
                            .rev()
                            .map(|topic| TopicOnPage::from(topic.as_ref()))
                            .collect(),
                    }))?;
            Ok(topics.into())
        };
        snapshot
            .wire_cache()
            .get_or_try_encode(page_slot(language), render)
    }

    /// Renders what stands around the topics.
    fn frame(&self, language: Language, page: &BoardPage<'_>) -> Result<String, Error> {
        let messages = self.messages(language);
        self.templates
            .get_template("board.html")?
            .render(Serde(BoardContext {
                lang: language.tag(),
                t: messages,
                board: page.snapshot.board().as_str(),
                action: page.action,
                posting: page.posting.as_str(),
                cursor: page.snapshot.cursor().to_string(),
                stale: page.stale,
                topics: GAP,
                is_empty: page.snapshot.topics().is_empty(),
                // What was typed makes no gap; a browser would show the same for it.
                comment: page.comment.replace(GAP, "\u{fffd}"),
                author: page.author.replace(GAP, "\u{fffd}"),
                faults: page
                    .faults
                    .iter()
                    .map(|fault| (fault.field, fault_text(messages, fault.reason)))
                    .collect(),
                comment_max: COMMENT_CHARS_MAX,
                author_max: AUTHOR_CHARS_MAX,
            }))
    }

    /// Renders an error.
    ///
    /// # Errors
    /// If the template fails.
    pub fn problem(&self, language: Language, problem: &Problem) -> Result<String, Error> {
        let messages = self.messages(language);
        let said = messages
            .get(&format!("problem.{}", problem.code))
            .map(String::as_str);
        let said = said.unwrap_or(&problem.detail);
        self.templates
            .get_template("problem.html")?
            .render(Serde(ProblemContext {
                lang: language.tag(),
                t: messages,
                problem,
                said,
            }))
    }

    fn messages(&self, language: Language) -> &Messages {
        let found = self.messages.iter().find(|(of, _)| *of == language);
        // Every language is there; the first would do if one were not.
        &found.unwrap_or(&self.messages[0]).1
    }
}

const fn page_slot(language: Language) -> WireSlot {
    match language {
        Language::En => ENGLISH_PAGE_SLOT,
        Language::Ja => JAPANESE_PAGE_SLOT,
    }
}

fn fault_text(messages: &Messages, reason: InvalidReason) -> String {
    let text = messages
        .get(&format!("fault.{}", reason.code()))
        .cloned()
        .unwrap_or_else(|| reason.to_string());
    match reason {
        InvalidReason::TooLong { chars_max } => text.replace("{max}", &chars_max.to_string()),
        _ => text,
    }
}

impl<'a> From<&'a Topic> for TopicOnPage<'a> {
    fn from(topic: &'a Topic) -> Self {
        Self {
            id: topic.id.0,
            comment: &topic.comment,
            author: &topic.author,
            created_at: exact_time(&topic.created_at),
            shown_at: shown_time(&topic.created_at),
            edited: topic.edited_at.is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chrono::DateTime;
    use kairanban_core::{Revision, TopicId};

    use super::*;

    fn page(language: Language, comment: &str, faults: &[Invalid]) -> String {
        let at = DateTime::UNIX_EPOCH;
        let topic = Topic {
            id: TopicId(7),
            comment: "<script>alert(1)</script>".to_owned(),
            author: "\"><b>".to_owned(),
            created_at: at,
            updated_at: at,
            edited_at: None,
            revision: Revision::new(1).expect("a revision"),
        };
        let cursor = "e-1".parse().expect("a cursor");
        let snapshot = Snapshot::new(
            "main".parse().expect("a name"),
            cursor,
            vec![Arc::new(topic)],
        );
        let page = BoardPage {
            action: "/",
            posting: PostPolicy::Open,
            snapshot: &snapshot,
            stale: false,
            comment,
            author: "",
            faults,
        };
        let pages = Pages::new().expect("templates");
        pages.board(language, &page).expect("a page").text()
    }

    #[test]
    fn text_stays_text() {
        let page = page(Language::En, "</textarea>", &[]);
        assert!(
            page.contains("&lt;script&gt;alert(1)&lt;&#x2f;script&gt;"),
            "{page}"
        );
        assert!(
            !page.contains("<script>alert")
                && !page.contains("\"><b>")
                && !page.contains("</textarea></textarea>")
        );
    }

    #[test]
    fn what_was_typed_has_no_room_for_the_topics() {
        let page = page(Language::En, "a\0b", &[]);
        assert_eq!(page.matches("topic-7").count(), 1, "{page}");
        assert!(
            page.contains("a\u{fffd}b") && !page.contains('\0'),
            "{page}"
        );
    }

    #[test]
    fn faults_stand_beside_their_field_in_the_readers_language() {
        let fault = Invalid {
            field: "comment",
            reason: InvalidReason::TooLong { chars_max: 2_000 },
        };
        let page = page(Language::Ja, "", &[fault]);
        assert!(
            page.contains("<html lang=\"ja\"")
                && page.contains("2000")
                && page.contains("aria-invalid=\"true\""),
            "{page}"
        );
    }
}
