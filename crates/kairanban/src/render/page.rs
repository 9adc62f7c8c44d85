//! Pages, from the templates in `web/templates`.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use kairanban_core::{
    AUTHOR_CHARS_MAX, COMMENT_CHARS_MAX, Invalid, InvalidReason, PostPolicy, Snapshot, Topic,
};
use minijinja::{Environment, Error, ErrorKind, syntax::SyntaxConfig, value::Serde};
use serde::Serialize;

use crate::{
    error::Problem,
    language::{Language, Messages},
};

/// The templates and what they say in each language.
#[derive(Debug)]
pub struct Pages {
    templates: Environment<'static>,
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
    topics: Vec<TopicOnPage<'a>>,
    comment: &'a str,
    author: &'a str,
    /// What is wrong, by field.
    faults: BTreeMap<&'static str, String>,
    comment_max: usize,
    author_max: usize,
}

/// What the error's template sees.
#[derive(Serialize)]
struct ProblemContext<'a> {
    lang: &'static str,
    t: &'a Messages,
    problem: &'a Problem,
    said: &'a str,
}

/// What the feed's template sees.
#[derive(Serialize)]
struct FeedContext<'a> {
    /// Scheme and host of all addresses.
    site: &'a str,
    /// Makes the ids unique in the world.
    epoch: &'a str,
    board: &'a str,
    updated_at: String,
    topics: Vec<EntryInFeed>,
}

#[derive(Serialize)]
struct EntryInFeed {
    id: i64,
    title: String,
    comment: String,
    author: String,
    created_at: String,
    updated_at: String,
}

/// Characters of a title, which is the beginning of the comment.
const TITLE_CHARS: usize = 80;

/// Leaves out the characters that XML cannot represent; other programs may have written them.
fn xml_text(text: &str) -> String {
    text.chars()
        .filter(|c| {
            matches!(c, '\t' | '\n' | ' '..='\u{D7FF}')
                || matches!(c, '\u{E000}'..='\u{FFFD}' | '\u{10000}'..)
        })
        .collect()
}

impl From<&Topic> for EntryInFeed {
    fn from(topic: &Topic) -> Self {
        let first_line = topic
            .comment
            .lines()
            .find(|line| !line.trim().is_empty())
            .unwrap_or_default();
        Self {
            id: topic.id.0,
            title: xml_text(first_line).chars().take(TITLE_CHARS).collect(),
            comment: xml_text(&topic.comment),
            author: xml_text(&topic.author),
            created_at: exact(&topic.created_at),
            updated_at: exact(&changed_at(topic)),
        }
    }
}

/// What a reader of the feed saw change: an edit, not that some program wrote the row again.
fn changed_at(topic: &Topic) -> DateTime<Utc> {
    topic.edited_at.unwrap_or(topic.created_at)
}

fn exact(time: &DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
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

    /// A board.
    ///
    /// # Errors
    /// If the template fails.
    pub fn board(&self, language: Language, page: &BoardPage<'_>) -> Result<String, Error> {
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
                // The newest first: that is what a reader came for.
                topics: page
                    .snapshot
                    .topics()
                    .iter()
                    .rev()
                    .map(|topic| TopicOnPage::from(topic.as_ref()))
                    .collect(),
                comment: page.comment,
                author: page.author,
                faults: page
                    .faults
                    .iter()
                    .map(|fault| (fault.field, fault_text(messages, fault.reason)))
                    .collect(),
                comment_max: COMMENT_CHARS_MAX,
                author_max: AUTHOR_CHARS_MAX,
            }))
    }

    /// A board as an Atom feed, the newest first.
    ///
    /// # Errors
    /// If the template fails.
    pub fn feed(&self, site: &str, snapshot: &Snapshot) -> Result<String, Error> {
        let newest = snapshot
            .topics()
            .iter()
            .map(|topic| changed_at(topic))
            .max()
            .unwrap_or(DateTime::UNIX_EPOCH);
        self.templates
            .get_template("feed.xml")?
            .render(Serde(FeedContext {
                site,
                epoch: &snapshot.cursor().epoch.to_string(),
                board: snapshot.board().as_str(),
                updated_at: exact(&newest),
                topics: snapshot
                    .topics()
                    .iter()
                    .rev()
                    .map(|topic| EntryInFeed::from(topic.as_ref()))
                    .collect(),
            }))
    }

    /// An error.
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
            created_at: exact(&topic.created_at),
            shown_at: topic.created_at.format("%Y-%m-%d %H:%M UTC").to_string(),
            edited: topic.edited_at.is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kairanban_core::{Revision, TopicId};

    use super::*;

    fn page(language: Language, faults: &[Invalid]) -> String {
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
            comment: "</textarea>",
            author: "",
            faults,
        };
        Pages::new()
            .expect("templates")
            .board(language, &page)
            .expect("a page")
    }

    #[test]
    fn text_stays_text() {
        let page = page(Language::En, &[]);
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
    fn faults_stand_beside_their_field_in_the_readers_language() {
        let fault = Invalid {
            field: "comment",
            reason: InvalidReason::TooLong { chars_max: 2_000 },
        };
        let page = page(Language::Ja, &[fault]);
        assert!(
            page.contains("<html lang=\"ja\"")
                && page.contains("2000")
                && page.contains("aria-invalid=\"true\""),
            "{page}"
        );
    }
}
