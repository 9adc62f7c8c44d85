//! Topics as pages show them: the newest first, each day under its heading.

use chrono::NaiveDate;
use kairanban_core::{Revision, Topic};
use minijinja::Error;
use serde::Serialize;

use super::{
    Pages,
    comment::{self, CommentPiece},
};
use crate::{
    encode::exact_time,
    language::{Language, Messages},
    render::dates,
};

/// Topics of a board on a page.
#[derive(Clone, Copy, Debug)]
pub(super) struct TopicsOnPage<'a> {
    pub(super) board: &'a str,
    /// Whether they are the live list, all of it.
    pub(super) is_feed: bool,
    /// What was searched for.
    pub(super) sought: &'a str,
}

/// What the template of topics sees.
#[derive(Serialize)]
struct TopicsContext<'a> {
    t: &'a Messages,
    board: &'a str,
    is_feed: bool,
    topics: Vec<TopicOnPage<'a>>,
}

#[derive(Serialize)]
struct TopicOnPage<'a> {
    id: i64,
    revision: Revision,
    comment: Vec<CommentPiece<'a>>,
    author: &'a str,
    /// The first letter of the author.
    seal: String,
    created_at: String,
    clock: String,
    edited_at: Option<String>,
    /// The day, if it is another one than that of the topic above.
    day: Option<DayHeading>,
}

#[derive(Serialize)]
struct DayHeading {
    date: String,
    said: String,
}

impl Pages {
    /// Renders topics, which come the newest first.
    pub(super) fn topics<'a>(
        &self,
        language: Language,
        on: TopicsOnPage<'_>,
        topics: impl Iterator<Item = &'a Topic>,
    ) -> Result<String, Error> {
        let mut above: Option<NaiveDate> = None;
        let topics = topics.map(|topic| {
            let day = dates::day(&topic.created_at, self.zone);
            let heading = (above.replace(day) != Some(day)).then(|| DayHeading {
                date: day.to_string(),
                said: dates::heading(day, language),
            });
            TopicOnPage {
                id: topic.id.0,
                revision: topic.revision,
                comment: comment::pieces(&topic.comment, on.sought),
                author: &topic.author,
                seal: seal(&topic.author),
                created_at: exact_time(&topic.created_at),
                clock: dates::clock(&topic.created_at, self.zone),
                edited_at: topic.edited_at.as_ref().map(exact_time),
                day: heading,
            }
        });
        self.template(
            "topics.html",
            TopicsContext {
                t: self.messages(language),
                board: on.board,
                is_feed: on.is_feed,
                topics: topics.collect(),
            },
        )
    }
}

/// Returns the first letter of a name, in upper case if that is one letter as well.
fn seal(author: &str) -> String {
    let Some(first) = author.trim().chars().next() else {
        return String::new();
    };
    let upper: String = first.to_uppercase().collect();
    if upper.chars().count() == 1 {
        upper
    } else {
        first.to_string()
    }
}
