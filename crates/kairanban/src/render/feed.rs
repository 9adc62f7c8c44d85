//! The feed of a board, in Atom.

use chrono::{DateTime, Utc};
use kairanban_core::{Snapshot, Topic};
use minijinja::{Error, HtmlEscape};
use serde::Serialize;

use crate::{
    encode::{FEED_SLOT, exact_time},
    render::{
        filled::{FilledText, GAP},
        page::Pages,
    },
};

/// What the template of the feed's first lines sees.
#[derive(Serialize)]
struct HeadContext {
    /// The title of the board.
    title: String,
}

/// What the feed's template sees.
#[derive(Serialize)]
struct FeedContext<'a> {
    /// Scheme and host of all addresses.
    site: &'static str,
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
            created_at: exact_time(&topic.created_at),
            updated_at: exact_time(&changed_at(topic)),
        }
    }
}

/// Leaves slashes as they are. What escapes for HTML escapes them, too, and readers of feeds that
/// look at the text of an address would find none.
fn plain_slashes(escaped: String) -> String {
    // An ampersand of the text itself is escaped.
    escaped.replace("&#x2f;", "/")
}

/// Returns when a reader of the feed last saw a change: an edit, not another program's rewrite of
/// the row.
fn changed_at(topic: &Topic) -> DateTime<Utc> {
    topic.edited_at.unwrap_or(topic.created_at)
}

impl Pages {
    /// Renders a board as an Atom feed, the newest first; once, but for its title, and for the
    /// address of the site, which may be as each client wrote it.
    ///
    /// # Errors
    /// If a template fails.
    pub fn feed(&self, site: &str, title: &str, snapshot: &Snapshot) -> Result<FilledText, Error> {
        let head = HeadContext {
            title: xml_text(title),
        };
        let head = self.template("feed-head.xml", head)?;
        let feed = snapshot.wire_cache().get_or_try_encode(FEED_SLOT, || {
            self.feed_of_any_site(snapshot).map(Into::into)
        })?;
        let site = HtmlEscape(site).to_string();
        Ok(FilledText::new(feed, plain_slashes(site)).behind(plain_slashes(head)))
    }

    fn feed_of_any_site(&self, snapshot: &Snapshot) -> Result<String, Error> {
        let newest = snapshot
            .topics()
            .iter()
            .map(|topic| changed_at(topic))
            .max()
            .unwrap_or(DateTime::UNIX_EPOCH);
        let context = FeedContext {
            site: GAP,
            epoch: &snapshot.cursor().epoch.to_string(),
            board: snapshot.board().as_str(),
            updated_at: exact_time(&newest),
            topics: snapshot
                .topics()
                .iter()
                .rev()
                .map(|topic| EntryInFeed::from(topic.as_ref()))
                .collect(),
        };
        self.template("feed.xml", context).map(plain_slashes)
    }
}
