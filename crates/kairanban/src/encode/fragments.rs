//! Renders topics as fragments of HTML, from `web/templates/topic.html`: language-neutral, and the
//! same for all readers, so that they are rendered once.
//!
//! Steps are absolute, like those of a patch: a topic is removed, and inserted behind the one that
//! it follows. A page that has it already, or not yet, ends up with it once and in its place.

use std::fmt::Write as _;

use kairanban_core::{Op, Patch, Snapshot, Topic};
use minijinja::{Environment, Error, value::Serde};
use serde::Serialize;

use super::views::{exact_time, shown_time};

/// Renders fragments from the template of a topic.
#[derive(Debug)]
pub struct Fragments(Environment<'static>);

const NAME: &str = "topic.html";

#[derive(Serialize)]
struct TopicContext<'a> {
    id: i64,
    comment: &'a str,
    author: &'a str,
    created_at: String,
    shown_at: String,
}

/// Where a topic is inserted.
enum InsertPosition {
    First,
    Last,
    Behind(i64),
}

impl Fragments {
    /// Parses the template, or the built-in one.
    ///
    /// # Errors
    /// If it is not a valid template.
    pub fn new(template: Option<String>) -> Result<Self, Error> {
        let mut environment = Environment::new();
        match template {
            Some(own) => environment.add_template_owned(NAME, own)?,
            None => environment
                .add_template(NAME, include_str!("../../../../web/templates/topic.html"))?,
        }
        Ok(Self(environment))
    }

    fn topic(&self, topic: &Topic) -> String {
        let context = TopicContext {
            id: topic.id.0,
            comment: &topic.comment,
            author: &topic.author,
            created_at: exact_time(&topic.created_at),
            shown_at: shown_time(&topic.created_at),
        };
        let made = self
            .0
            .get_template(NAME)
            .and_then(|template| template.render(Serde(context)));
        made.unwrap_or_else(|error| {
            // The operator's own template may fail on one topic; the others go on.
            tracing::error!(%error, topic = topic.id.0, "the template topic.html failed");
            String::new()
        })
    }

    /// Renders the items of the list. An empty one has a hidden item: without data, a browser would
    /// dispatch no event.
    pub(super) fn list(&self, snapshot: &Snapshot) -> String {
        let list: String = snapshot
            .topics()
            .iter()
            .map(|topic| self.topic(topic))
            .collect();
        if list.is_empty() {
            "<li hidden></li>".to_owned()
        } else {
            list
        }
    }

    /// Renders a patch as fragments that htmx swaps in out of band.
    pub(super) fn patch(&self, patch: &Patch, snapshot: &Snapshot) -> String {
        steps(
            patch,
            |out, id| write!(out, r#"<li id="topic-{id}" hx-swap-oob="delete"></li>"#),
            |out, topic| {
                let target = match insert_position(topic, snapshot) {
                    InsertPosition::First => "afterbegin:#topics".to_owned(),
                    InsertPosition::Last => "beforeend:#topics".to_owned(),
                    InsertPosition::Behind(id) => format!("afterend:#topic-{id}"),
                };
                write!(
                    out,
                    r#"<ul hx-swap-oob="{target}">{}</ul>"#,
                    self.topic(topic)
                )
            },
        )
    }

    /// Renders the list as a Turbo Streams element.
    pub(super) fn turbo_list(&self, snapshot: &Snapshot) -> String {
        turbo_stream("update", "topics", &self.list(snapshot))
    }

    /// Renders a patch as Turbo Streams elements.
    pub(super) fn turbo_patch(&self, patch: &Patch, snapshot: &Snapshot) -> String {
        steps(
            patch,
            |out, id| {
                write!(
                    out,
                    r#"<turbo-stream action="remove" target="topic-{id}"></turbo-stream>"#
                )
            },
            |out, topic| {
                let (action, target) = match insert_position(topic, snapshot) {
                    InsertPosition::First => ("prepend", "topics".to_owned()),
                    InsertPosition::Last => ("append", "topics".to_owned()),
                    InsertPosition::Behind(id) => ("after", format!("topic-{id}")),
                };
                out.write_str(&turbo_stream(action, &target, &self.topic(topic)))
            },
        )
    }
}

fn turbo_stream(action: &str, target: &str, content: &str) -> String {
    format!(
        "<turbo-stream action=\"{action}\" target=\"{target}\">\
         <template>{content}</template></turbo-stream>"
    )
}

/// Removes what changed, then inserts what is there, in the order of the ids: what a topic follows
/// is in its place before it.
fn steps(
    patch: &Patch,
    remove: impl Fn(&mut String, i64) -> std::fmt::Result,
    insert: impl Fn(&mut String, &Topic) -> std::fmt::Result,
) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = patch
        .ops
        .iter()
        .try_for_each(|op| remove(&mut out, op.topic_id().0));
    let mut set: Vec<_> = patch
        .ops
        .iter()
        .filter_map(|op| {
            if let Op::Set(topic) = op {
                Some(topic)
            } else {
                None
            }
        })
        .collect();
    set.sort_by_key(|topic| topic.id);
    let _ = set
        .into_iter()
        .try_for_each(|topic| insert(&mut out, topic));
    out
}

fn insert_position(topic: &Topic, snapshot: &Snapshot) -> InsertPosition {
    let topics = snapshot.topics();
    let at = topics.partition_point(|other| other.id < topic.id);
    match at.checked_sub(1).map(|before| topics[before].id.0) {
        _ if at + 1 >= topics.len() => InsertPosition::Last,
        None => InsertPosition::First,
        Some(before) => InsertPosition::Behind(before),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chrono::DateTime;
    use kairanban_core::{Digest, TopicId};

    use super::*;

    fn topic(id: i64, comment: &str) -> Arc<Topic> {
        let time = DateTime::UNIX_EPOCH;
        let (comment, author) = (comment.to_owned(), String::new());
        let revision = Default::default();
        Arc::new(Topic {
            id: TopicId(id),
            comment,
            author,
            created_at: time,
            updated_at: time,
            edited_at: None,
            revision,
        })
    }

    fn patch(ids: &[i64], topics: &[Arc<Topic>]) -> (Patch, Snapshot) {
        let (board, to): (kairanban_core::BoardName, kairanban_core::Cursor) = (
            "main".parse().expect("a name"),
            "e-9".parse().expect("a cursor"),
        );
        let snapshot = Snapshot::new(board.clone(), to.clone(), topics.to_vec());
        let ops = ids
            .iter()
            .map(|id| match snapshot.topic(TopicId(*id)) {
                Some(topic) => Op::Set(Arc::clone(topic)),
                None => Op::Delete {
                    id: TopicId(*id),
                    archived: false,
                },
            })
            .collect();
        let patch = Patch {
            board,
            from: Default::default(),
            to,
            digest: Digest::default(),
            ops,
        };
        (patch, snapshot)
    }

    #[test]
    fn a_topic_goes_where_it_belongs() {
        let fragments = Fragments::new(None).expect("a template");
        let (patch, snapshot) = patch(
            &[3, 1, 9, 2],
            &[topic(1, "a"), topic(2, "b"), topic(5, "c"), topic(9, "d")],
        );
        let html = fragments.patch(&patch, &snapshot);
        let targets: Vec<_> = html
            .split("hx-swap-oob=\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .collect();
        assert_eq!(
            targets,
            [
                "delete",
                "delete",
                "delete",
                "delete",
                "afterbegin:#topics",
                "afterend:#topic-1",
                "beforeend:#topics"
            ]
        );
        let turbo = fragments.turbo_patch(&patch, &snapshot);
        assert!(
            turbo.contains(r#"action="after" target="topic-1"><template><li id="topic-2">"#),
            "{turbo}"
        );
    }

    #[test]
    fn text_stays_text() {
        let fragments = Fragments::new(None).expect("a template");
        let (patch, snapshot) = patch(&[1], &[topic(1, "</template><script>alert(1)</script>\"'")]);
        for made in [
            fragments.list(&snapshot),
            fragments.patch(&patch, &snapshot),
            fragments.turbo_patch(&patch, &snapshot),
        ] {
            assert!(
                !made.contains("<script>") && made.contains("&lt;script&gt;"),
                "{made}"
            );
        }
    }
}
