//! What streams send, in every format, plain and within gzip: an independent parser reads back what
//! was put in.
//!
//! The input is whatever `arbitrary` makes two lists of.

mod shown;
mod wire;

use std::{
    io::Read as _,
    sync::{Arc, OnceLock},
    time::Duration,
};

use arbitrary::{Result, Unstructured};
use chrono::{DateTime, SecondsFormat, Utc};
use flate2::read::GzDecoder;
use kairanban::fuzzing::{Bye, Encoder, Fragments, Frame, StreamFormat, payload_of};
use kairanban_core::{
    Applied, Cursor, Digest, ReplayBuffer, ResetReason, Revision, Snapshot, Topic, TopicId, Update,
};
use serde_json::{Value, json};

use self::{
    shown::{Shown, ShownContent},
    wire::{assert_is_chunk, read},
};
use crate::event_stream::Event;

const WAIT: Duration = Duration::from_millis(2_345);
const LONG_WAIT: Duration = Duration::from_secs(9);

pub fn check(input: &[u8]) {
    let mut bytes = Unstructured::new(input);
    if let (Ok(visible_heartbeat), Ok(story)) = (bytes.arbitrary(), Story::make(&mut bytes)) {
        for format in StreamFormat::all() {
            story.check(&Encoder::new(format, visible_heartbeat, fragments()));
        }
    }
}

/// Returns the built-in template, parsed once.
pub fn fragments() -> Arc<Fragments> {
    static BUILT_IN: OnceLock<Arc<Fragments>> = OnceLock::new();
    let made = BUILT_IN.get_or_init(|| Arc::new(Fragments::new(None).expect("a template")));
    Arc::clone(made)
}

/// A list, and what became of it.
struct Story {
    before: Arc<Snapshot>,
    after: Arc<Snapshot>,
    /// `None` if both show the same.
    update: Option<Arc<Update>>,
}

impl Story {
    fn make(bytes: &mut Unstructured<'_>) -> Result<Self> {
        let topics_max = bytes.int_in_range(1..=8)?;
        let first = bytes.int_in_range(1..=1_u64 << 52)?;
        let second = first + bytes.int_in_range(1..=1_000_u64)?;
        let (mut id, mut before) = (0, Vec::new());
        for _ in 0..bytes.int_in_range(0..=6)? {
            id += bytes.int_in_range(1..=1_i64 << 40)?;
            before.push(topic(bytes, id, first)?);
        }
        let mut after = Vec::new();
        for old in &before {
            match bytes.int_in_range(0..=2)? {
                0 => after.push(Arc::clone(old)),
                1 => after.push(topic(bytes, old.id.0, second)?),
                _ => {}
            }
        }
        for _ in 0..bytes.int_in_range(0..=3)? {
            id += bytes.int_in_range(1..=1_i64 << 40)?;
            after.push(topic(bytes, id, second)?);
        }
        let before = Arc::new(list(first, &before, topics_max));
        let after = list(second, &after, topics_max);
        let (after, update) = match before.replaced_by(after, &ReplayBuffer::default(), topics_max)
        {
            Applied::Same(after) => (after, None),
            Applied::Updated(update) => (Arc::clone(&update.snapshot), Some(update)),
            Applied::Reload => unreachable!("only a log asks for that"),
        };
        Ok(Self {
            before,
            after,
            update,
        })
    }

    /// Encodes a stream, plain and within gzip, and reads it back.
    fn check(&self, encoder: &Encoder) {
        let chunks = encoder.wire().encode(self.frames(encoder), true);
        for chunk in &chunks {
            assert_is_chunk(chunk.as_ref());
        }
        let plain = payload_of(&chunks);
        let events = read(encoder.format, &plain);
        let mut expected = self.expected(encoder.format);
        if encoder.visible_heartbeat {
            let at = expected.len() - 2 - self.shown(encoder.format, &self.after).len();
            expected.insert(
                at,
                Shown::new("heartbeat", None, ShownContent::Json(json!({}))),
            );
        }
        assert_eq!(
            events.len(),
            expected.len(),
            "{:?} {events:?}",
            encoder.format
        );
        for (event, expected) in events.iter().zip(&expected) {
            expected.assert_is(event, encoder.format);
        }
        if encoder.format == StreamFormat::Patch {
            self.follow(&events);
        }

        let mut encoder = encoder.clone();
        encoder.gzip = true;
        let packed = payload_of(&encoder.wire().encode(self.frames(&encoder), true));
        let mut unpacked = Vec::new();
        GzDecoder::new(&packed[..])
            .read_to_end(&mut unpacked)
            .expect("a whole gzip stream");
        assert_eq!(unpacked, plain);
    }

    /// Encodes a stream from its opening to its end.
    fn frames(&self, encoder: &Encoder) -> Vec<Frame> {
        let mut frames: Vec<Frame> = vec![encoder.retry(WAIT).into()];
        frames.push(encoder.snapshot(&self.before));
        frames.extend(self.update.as_ref().map(|update| encoder.update(update)));
        frames.push(encoder.heartbeat().into());
        frames.push(encoder.reset(ResetReason::Lagged).into());
        frames.push(encoder.snapshot(&self.after));
        frames.push(encoder.bye(Bye::Rotate, LONG_WAIT).into());
        frames
    }

    fn expected(&self, format: StreamFormat) -> Vec<Shown> {
        let mut events = self.shown(format, &self.before);
        if let Some(update) = &self.update {
            events.extend(self.shown_update(format, update));
        }
        events.push(Shown::new("reset", Some(String::new()), reason("lagged")));
        events.extend(self.shown(format, &self.after));
        events.push(Shown::new("bye", None, reason("rotate")));
        events
    }

    /// Returns the events of a list.
    fn shown(&self, format: StreamFormat, list: &Snapshot) -> Vec<Shown> {
        let id = Some(list.cursor().to_string());
        let topics = list.topics();
        let revision = list.revision().get();
        let event = match format {
            StreamFormat::Tutorial => {
                let list = json!({"contents": contents(topics)});
                Shown::new("", id, ShownContent::Json(list))
            }
            StreamFormat::List => {
                let list = json!({"revision": revision, "contents": contents(topics)});
                Shown::new("", id, ShownContent::Json(list))
            }
            StreamFormat::Patch | StreamFormat::Ndjson => {
                let topics: Vec<Value> = topics.iter().map(|topic| view(topic)).collect();
                let list = json!({"board": "main", "revision": revision, "digest": digest(list), "topics": topics});
                Shown::new("snapshot", id, ShownContent::Json(list))
            }
            StreamFormat::Html => Shown::new("snapshot", id, ShownContent::Html(topics.to_vec())),
            StreamFormat::HtmlList | StreamFormat::Turbo => {
                Shown::new("", id, ShownContent::Html(topics.to_vec()))
            }
            StreamFormat::Raw => return comments(topics, list.cursor()),
        };
        vec![event]
    }

    /// Returns the events of an update.
    fn shown_update(&self, format: StreamFormat, update: &Update) -> Vec<Shown> {
        let id = Some(update.patch.to.to_string());
        // `follow` reads what is in a patch, for the one format that has a reader of patches.
        let event = match format {
            StreamFormat::Raw => return comments(&update.posted, &update.patch.to),
            StreamFormat::Tutorial | StreamFormat::List | StreamFormat::HtmlList => {
                return self.shown(format, &self.after);
            }
            StreamFormat::Turbo => Shown::new("", id, ShownContent::Unread),
            StreamFormat::Patch | StreamFormat::Ndjson | StreamFormat::Html => {
                Shown::new("patch", id, ShownContent::Unread)
            }
        };
        vec![event]
    }

    /// Applies what a patch says to the list before it, as a client does.
    fn follow(&self, events: &[Event]) {
        let list = data(&events[0]);
        let mut topics = list["topics"].as_array().expect("a list").clone();
        let patch = events.iter().find(|event| event.name == "patch").map(data);
        if let Some(patch) = &patch {
            let known = list["revision"].as_u64();
            assert!(patch["from"].as_u64() <= known && known < patch["revision"].as_u64());
            for op in patch["ops"].as_array().expect("ops") {
                let id = match op["op"].as_str() {
                    Some("set") => &op["topic"]["id"],
                    Some("delete") => &op["id"],
                    _ => panic!("{op}"),
                };
                topics.retain(|topic| topic["id"] != *id);
                topics.extend(op.get("topic").cloned());
            }
            topics.sort_by_key(|topic| topic["id"].as_i64());
            assert_eq!(patch["digest"], digest(&self.after));
        }
        let expected: Vec<Value> = self
            .after
            .topics()
            .iter()
            .map(|topic| view(topic))
            .collect();
        assert_eq!(topics, expected);
    }
}

/// Returns the list that shows the newest of these topics.
fn list(revision: u64, topics: &[Arc<Topic>], topics_max: usize) -> Snapshot {
    let topics = topics[topics.len().saturating_sub(topics_max)..].to_vec();
    Snapshot::new("main".parse().expect("a name"), cursor(revision), topics)
}

fn cursor(revision: u64) -> Cursor {
    format!("0123456789abcdef-{revision}")
        .parse()
        .expect("a cursor")
}

fn topic(bytes: &mut Unstructured<'_>, id: i64, revision: u64) -> Result<Arc<Topic>> {
    let (comment, author) = (bytes.arbitrary()?, bytes.arbitrary()?);
    let edited_at = bytes
        .arbitrary::<bool>()?
        .then(|| time(bytes))
        .transpose()?;
    Ok(Arc::new(Topic {
        id: TopicId(id),
        comment,
        author,
        created_at: time(bytes)?,
        updated_at: time(bytes)?,
        edited_at,
        revision: Revision::new(revision).expect("a revision"),
    }))
}

/// Returns a time in the years 1 to 9999: all that the store returns.
fn time(bytes: &mut Unstructured<'_>) -> Result<DateTime<Utc>> {
    let seconds = bytes.int_in_range(-62_135_596_800..=253_402_300_799_i64)?;
    let nanos = bytes.int_in_range(0..=999_999_999_u32)?;
    Ok(DateTime::from_timestamp(seconds, nanos).expect("in range"))
}

/// Returns the topic in JSON, as docs/API.md has it.
fn view(topic: &Topic) -> Value {
    json!({
        "id": topic.id.0,
        "comment": topic.comment,
        "author": topic.author,
        "created_at": written(topic.created_at),
        "updated_at": written(topic.updated_at),
        "edited_at": topic.edited_at.map(written),
        "revision": topic.revision.get(),
    })
}

fn written(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// Returns the topics as the tutorial has them.
fn contents(topics: &[Arc<Topic>]) -> Vec<Value> {
    let contents = topics
        .iter()
        .map(|topic| json!({"id": topic.id.0, "comment": topic.comment}));
    contents.collect()
}

fn reason(reason: &str) -> ShownContent {
    ShownContent::Json(json!({"reason": reason}))
}

fn data(event: &Event) -> Value {
    serde_json::from_str(&event.data).expect("JSON")
}

fn digest(list: &Snapshot) -> String {
    let pairs = list.topics().iter();
    Digest::of_pairs(pairs.map(|topic| (topic.id.get(), topic.revision.get()))).to_string()
}

fn comments(topics: &[Arc<Topic>], cursor: &Cursor) -> Vec<Shown> {
    let shown = topics.iter().enumerate().map(|(at, topic)| {
        let id = (at + 1 == topics.len()).then(|| cursor.to_string());
        Shown::new("", id, ShownContent::Text(topic.comment.clone()))
    });
    shown.collect()
}
