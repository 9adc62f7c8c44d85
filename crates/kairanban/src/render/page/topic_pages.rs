//! Topics that are not the live list: a page of all of them, what a search found, or a single one.

use kairanban_core::{BoardName, Topic, TopicId};
use minijinja::Error;
use serde::Serialize;

use super::{Pages, grouped, topics::TopicsOnPage, without_gap};
use crate::{preferences::Preferences, service::Navigation};

/// What a page of topics shows.
#[derive(Clone, Copy, Debug)]
pub struct ListedTopics<'a> {
    /// What the reader chose.
    pub reader: &'a Preferences,
    /// The boards to go to.
    pub navigation: &'a Navigation,
    /// The board whose topics they are.
    pub board: &'a BoardName,
    /// The topics, the newest first.
    pub topics: &'a [Topic],
    /// How they were found.
    pub found: ListedBy<'a>,
    /// The topic behind which the next page begins; `None` if this is the last.
    pub next: Option<TopicId>,
}

/// How topics were found.
#[derive(Clone, Copy, Debug)]
pub enum ListedBy<'a> {
    /// Page by page, from the newest on.
    All,
    /// Page by page, from behind one of them.
    Older,
    /// By a search for this text; empty for a search that has yet to be made.
    Search(&'a str),
    /// Alone, by its id.
    Single(TopicId),
}

/// What the template sees.
#[derive(Serialize)]
struct ListedContext {
    heading: String,
    is_search: bool,
    is_single: bool,
    said: Option<String>,
    topics: String,
    blank: Option<Blank>,
    next: Option<NextPage>,
}

#[derive(Serialize)]
struct Blank {
    title: String,
    text: String,
}

#[derive(Serialize)]
struct NextPage {
    href: String,
    said: String,
}

impl Pages {
    /// Renders a page of topics.
    ///
    /// # Errors
    /// If a template fails.
    pub fn listed(&self, page: &ListedTopics<'_>) -> Result<String, Error> {
        let sought = match page.found {
            ListedBy::Search(text) => text,
            ListedBy::All | ListedBy::Older | ListedBy::Single(_) => "",
        };
        let on = TopicsOnPage {
            board: page.board.as_str(),
            is_feed: false,
            sought,
        };
        let language = page.reader.language;
        let topics = self.topics(language, on, page.topics.iter())?;
        let heading = match page.found {
            ListedBy::All => self.said(language, "all", &[]),
            ListedBy::Older => self.said(language, "older", &[]),
            ListedBy::Search(_) => self.said(language, "search.heading", &[]),
            ListedBy::Single(id) => self.said(language, "topic", &[("n", &id.0.to_string())]),
        };
        let context = ListedContext {
            heading,
            is_search: matches!(page.found, ListedBy::Search(_)),
            is_single: matches!(page.found, ListedBy::Single(_)),
            said: self.found_in_words(page),
            topics,
            blank: self.blank(page),
            next: page.next.map(|before| self.next_page(page, before)),
        };
        let nav = self.board_frame(page.navigation, page.board, sought);
        self.page("listed.html", page.reader, Some(nav), context)
    }

    /// Says how many a search found.
    fn found_in_words(&self, page: &ListedTopics<'_>) -> Option<String> {
        let ListedBy::Search(text) = page.found else {
            return None;
        };
        let key = match page.next {
            Some(_) => "search.found.part",
            None => "search.found",
        };
        (!page.topics.is_empty()).then(|| {
            let count = grouped(page.topics.len() as u64);
            let values = [("n", count.as_str()), ("q", &without_gap(text))];
            self.said(page.reader.language, key, &values)
        })
    }

    /// Says that there is nothing, if there is nothing.
    fn blank(&self, page: &ListedTopics<'_>) -> Option<Blank> {
        let (title, text, sought) = match page.found {
            _ if !page.topics.is_empty() => return None,
            ListedBy::Search("") => return None,
            ListedBy::Search(text) if page.next.is_some() => {
                ("search.none", "search.none.part", text)
            }
            ListedBy::Search(text) => ("search.none", "search.none.text", text),
            ListedBy::All => ("empty.title", "empty", ""),
            ListedBy::Older | ListedBy::Single(_) => ("older.end", "older.end.text", ""),
        };
        let language = page.reader.language;
        Some(Blank {
            title: self.said(language, title, &[]),
            text: self.said(language, text, &[("q", &without_gap(sought))]),
        })
    }

    fn next_page(&self, page: &ListedTopics<'_>, before: TopicId) -> NextPage {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        let key = match page.found {
            ListedBy::Search(text) => {
                query.append_pair("q", text);
                "search.further"
            }
            ListedBy::All | ListedBy::Older | ListedBy::Single(_) => "older",
        };
        query.append_pair("before", &before.0.to_string());
        NextPage {
            href: format!("/b/{}/topics?{}", page.board, query.finish()),
            said: self.said(page.reader.language, key, &[]),
        }
    }
}
