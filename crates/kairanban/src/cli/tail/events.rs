//! What happened to topics: what is shown already, compared with the list as it is now. So nothing
//! is lost or doubled when the list comes as a whole, as after a reset or a long absence.

use std::collections::BTreeMap;

use clap::ValueEnum;
use kairanban_client::{BoardCopy, ListOp, ListedTopic};
use kairanban_core::hex;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// What happened to a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum EventKind {
    /// It was on the list at the beginning.
    #[value(skip)]
    Listed,
    /// It was posted, or restored
    New,
    /// Its text or author changed
    Edited,
    /// Something else of its row changed
    Touched,
    /// It was deleted by a client
    Deleted,
    /// Pushed out by newer topics, because the board was full
    Archived,
    /// Gone from a list that was received as a whole: deleted or archived
    Left,
}

impl EventKind {
    /// Returns the name in JSON and in the environment of a command.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Listed => "listed",
            Self::New => "new",
            Self::Edited => "edited",
            Self::Touched => "touched",
            Self::Deleted => "deleted",
            Self::Archived => "archived",
            Self::Left => "left",
        }
    }

    /// Returns the first character of its line.
    pub(super) const fn mark(self) -> char {
        match self {
            Self::Listed => '=',
            Self::New => '+',
            Self::Edited | Self::Touched => '~',
            Self::Deleted | Self::Left => '-',
            Self::Archived => '.',
        }
    }
}

/// Something that happened to a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TopicEvent {
    pub(super) kind: EventKind,
    pub(super) id: i64,
    /// The topic as it is now, if it is on the list.
    pub(super) topic: Option<ListedTopic>,
    /// The place in history that is complete with this event, if one is.
    pub(super) cursor: Option<String>,
}

impl TopicEvent {
    pub(super) const fn of(kind: EventKind, topic: ListedTopic) -> Self {
        Self {
            kind,
            id: topic.id,
            topic: Some(topic),
            cursor: None,
        }
    }

    const fn removal(kind: EventKind, id: i64) -> Self {
        Self {
            kind,
            id,
            topic: None,
            cursor: None,
        }
    }
}

/// What of a topic was shown last.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
struct ShownTopic {
    revision: u64,
    /// A digest of author and comment.
    text: String,
}

impl From<&ListedTopic> for ShownTopic {
    fn from(topic: &ListedTopic) -> Self {
        let hash = Sha256::new()
            .chain_update(topic.author.len().to_be_bytes())
            .chain_update(&topic.author)
            .chain_update(&topic.comment)
            .finalize();
        Self {
            revision: topic.revision,
            text: hex(&hash[..8]),
        }
    }
}

/// The topics that were shown, as they were then.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct ShownTopics(BTreeMap<i64, ShownTopic>);

impl ShownTopics {
    /// Returns how the whole list differs from what was shown.
    pub(super) fn compare_list(&self, copy: &BoardCopy) -> Vec<TopicEvent> {
        let now: BTreeMap<i64, &ListedTopic> =
            copy.topics().map(|topic| (topic.id, topic)).collect();
        let gone = self.0.keys().filter(|id| !now.contains_key(id));
        let gone = gone.map(|id| TopicEvent::removal(EventKind::Left, *id));
        let changed = copy.topics().filter_map(|topic| self.compare_topic(topic));
        completed(gone.chain(changed).collect(), copy)
    }

    /// Returns what the steps of a patch change of what was shown.
    pub(super) fn compare_steps(&self, steps: &[ListOp], copy: &BoardCopy) -> Vec<TopicEvent> {
        let events = steps.iter().filter_map(|step| match step {
            ListOp::Set { topic } => self.compare_topic(topic),
            ListOp::Delete { id, archived } => {
                let kind = if *archived {
                    EventKind::Archived
                } else {
                    EventKind::Deleted
                };
                let is_shown = self.0.contains_key(id);
                is_shown.then(|| TopicEvent::removal(kind, *id))
            }
        });
        completed(events.collect(), copy)
    }

    fn compare_topic(&self, topic: &ListedTopic) -> Option<TopicEvent> {
        let now = ShownTopic::from(topic);
        let kind = match self.0.get(&topic.id) {
            None => EventKind::New,
            Some(shown) if *shown == now => return None,
            Some(shown) if shown.text == now.text => EventKind::Touched,
            Some(_) => EventKind::Edited,
        };
        Some(TopicEvent::of(kind, topic.clone()))
    }

    /// Records that an event was shown.
    pub(super) fn record(&mut self, event: &TopicEvent) {
        match &event.topic {
            Some(topic) => drop(self.0.insert(topic.id, topic.into())),
            None => drop(self.0.remove(&event.id)),
        }
    }

    /// Records a whole list.
    pub(super) fn record_list(&mut self, copy: &BoardCopy) {
        self.0 = copy
            .topics()
            .map(|topic| (topic.id, topic.into()))
            .collect();
    }
}

/// Puts the cursor on the last event: before it, the state is not complete.
fn completed(mut events: Vec<TopicEvent>, copy: &BoardCopy) -> Vec<TopicEvent> {
    if let Some(last) = events.last_mut() {
        last.cursor = copy.cursor().map(str::to_owned);
    }
    events
}
