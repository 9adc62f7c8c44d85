//! The index of boards.

use chrono::{DateTime, Utc};
use kairanban_core::Topic;
use minijinja::Error;
use serde::Serialize;

use super::Pages;
use crate::{
    encode::exact_time,
    language::Language,
    preferences::Preferences,
    render::dates,
    service::{IndexedBoard, title_or_name},
};

/// What the template of the index sees.
#[derive(Serialize)]
struct IndexContext<'a> {
    /// What was searched for.
    sought: &'a str,
    /// Says that there is nothing, if there is nothing.
    blank: String,
    boards: Vec<IndexRow>,
    /// The board behind which the next page begins.
    next: Option<&'a str>,
}

#[derive(Serialize)]
struct IndexRow {
    name: String,
    title: String,
    path: String,
    private: bool,
    count: String,
    newest: Option<NewestTopic>,
}

#[derive(Serialize)]
struct NewestTopic {
    author: String,
    line: String,
    created_at: String,
    ago: String,
}

/// Characters of a line; a browser cuts it where there is no room.
const LINE_CHARS: usize = 120;

impl Pages {
    /// Renders the index as of `now`.
    ///
    /// # Errors
    /// If the template fails.
    pub fn index(
        &self,
        reader: &Preferences,
        sought: &str,
        boards: &[IndexedBoard],
        next: Option<&str>,
        now: &DateTime<Utc>,
    ) -> Result<String, Error> {
        let rows = boards
            .iter()
            .map(|IndexedBoard { board, newest }| IndexRow {
                name: board.name.to_string(),
                title: title_or_name(&board.title, &board.name),
                path: self.path_of(&board.name),
                private: !board.policies.is_public(),
                count: self.count(reader.language, board.topics),
                newest: newest
                    .as_ref()
                    .map(|topic| self.newest(topic, reader.language, now)),
            });
        let blank = if sought.is_empty() {
            self.said(reader.language, "boards.none", &[])
        } else {
            self.said(reader.language, "boards.not_found", &[("q", sought)])
        };
        let context = IndexContext {
            sought,
            blank,
            boards: rows.collect(),
            next,
        };
        self.page("boards.html", reader, None, context)
    }

    fn newest(&self, topic: &Topic, language: Language, now: &DateTime<Utc>) -> NewestTopic {
        let line = topic.comment.split_whitespace();
        let line: String = line.collect::<Vec<_>>().join(" ");
        let at = &topic.created_at;
        NewestTopic {
            author: topic.author.clone(),
            line: line.chars().take(LINE_CHARS).collect(),
            created_at: exact_time(at),
            ago: dates::ago(at, now, self.zone, language, self.messages(language)),
        }
    }
}
