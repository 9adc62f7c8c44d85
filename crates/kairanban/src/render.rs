//! Wire forms of snapshots and patches. Each is encoded at most once and shared (`WireCache` in the core).

pub mod fragments;
mod frame;
pub mod page;
pub mod rest;
mod sse;
mod views;

use std::sync::Arc;

use bytes::Bytes;
use kairanban_core::{
    BoardName, Cursor, Op, Patch, ResetReason, Revision, Snapshot, Topic, Update, WireCache,
    WireSlot,
};
use serde::Serialize;

use crate::error::Problem;
use fragments::Fragments;
pub use frame::{Chunk, Frame, Wire, payload_of};
pub use views::TopicView;

/// What a stream speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamFormat {
    /// The tutorial's: unnamed events with the whole list.
    Tutorial,
    /// The same, plus the revision.
    List,
    /// `snapshot`, then `patch`.
    Patch,
    /// The same events, a line of JSON each.
    Ndjson,
    /// `snapshot`, then `patch`, in fragments of HTML that find their place by themselves.
    Html,
    /// The whole list in HTML, unnamed.
    HtmlList,
    /// `snapshot`, then `patch`, in Turbo's elements, unnamed.
    Turbo,
    /// New comments and nothing else.
    Raw,
}

impl StreamFormat {
    /// The one that `?format=` names.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "list" => Self::List,
            "patch" => Self::Patch,
            "ndjson" => Self::Ndjson,
            "html" => Self::Html,
            "html-list" => Self::HtmlList,
            "turbo" => Self::Turbo,
            "raw" => Self::Raw,
            _ => return None,
        })
    }

    /// As `Content-Type` says it.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Ndjson => "application/x-ndjson; charset=utf-8",
            _ => "text/event-stream; charset=utf-8",
        }
    }

    const fn form(self) -> WireSlot {
        match self {
            Self::Tutorial => WireSlot::Tutorial,
            Self::List => WireSlot::List,
            Self::Patch => WireSlot::Patch,
            Self::Ndjson => WireSlot::Ndjson,
            Self::Html => WireSlot::Html,
            Self::HtmlList => WireSlot::HtmlList,
            Self::Turbo => WireSlot::Turbo,
            Self::Raw => WireSlot::Raw,
        }
    }
}

/// A dialect, and what it takes to speak it.
#[derive(Clone, Debug)]
pub struct Encoder {
    /// The dialect.
    pub dialect: StreamFormat,
    /// Whether a heartbeat is something that a script can see.
    pub visible_heartbeat: bool,
    /// Whether the reader asked for gzip.
    pub gzip: bool,
    fragments: Arc<Fragments>,
}

impl Encoder {
    /// A way to speak `dialect`.
    #[must_use]
    pub const fn new(
        dialect: StreamFormat,
        visible_heartbeat: bool,
        fragments: Arc<Fragments>,
    ) -> Self {
        Self {
            dialect,
            visible_heartbeat,
            gzip: false,
            fragments,
        }
    }

    /// How a stream's frames go out.
    #[must_use]
    pub fn wire(&self) -> Wire {
        if self.gzip {
            Wire::gzip()
        } else {
            Wire::default()
        }
    }

    fn shared(&self, forms: &WireCache, form: WireSlot, encode: impl FnOnce() -> Bytes) -> Frame {
        let plain = Chunk::of_framed(forms.get_or_encode(form, || Chunk::new(&encode()).framed()));
        let pack = || Chunk::new(&frame::block(&plain.payload())).framed();
        let block = self
            .gzip
            .then(|| Chunk::of_framed(forms.get_or_pack(form, pack)));
        Frame::shared(plain, block)
    }

    /// How a stream begins: with the time to wait before coming back.
    #[must_use]
    pub fn opening(&self, retry_ms: u64) -> Bytes {
        if self.dialect == StreamFormat::Ndjson {
            Bytes::new()
        } else {
            sse::retry(retry_ms)
        }
    }

    /// The whole list.
    #[must_use]
    pub fn snapshot(&self, snapshot: &Snapshot) -> Frame {
        self.shared(snapshot.forms(), self.dialect.form(), || {
            let cursor = Some(snapshot.cursor());
            match self.dialect {
                StreamFormat::Tutorial => sse::event(None, cursor, &views::tutorial(snapshot)),
                StreamFormat::List => sse::event(None, cursor, &views::list(snapshot)),
                StreamFormat::Patch => {
                    sse::event(Some("snapshot"), cursor, &views::snapshot(snapshot))
                }
                StreamFormat::Ndjson => line("snapshot", cursor, &views::snapshot(snapshot)),
                StreamFormat::Html => {
                    sse::text(Some("snapshot"), cursor, self.fragments.list(snapshot))
                }
                StreamFormat::HtmlList => sse::text(None, cursor, self.fragments.list(snapshot)),
                StreamFormat::Turbo => sse::text(None, cursor, self.fragments.turbo_list(snapshot)),
                StreamFormat::Raw => comments(snapshot.topics(), snapshot.cursor()),
            }
        })
    }

    /// The whole list for a reader who stands at `revision`; one who takes only new comments is sent those.
    #[must_use]
    pub fn snapshot_since(&self, snapshot: &Snapshot, revision: Revision) -> Frame {
        match self.dialect {
            StreamFormat::Raw => {
                let newer = snapshot
                    .topics()
                    .iter()
                    .filter(|topic| topic.revision > revision);
                comments(&written(newer), snapshot.cursor()).into()
            }
            _ => self.snapshot(snapshot),
        }
    }

    /// What a change is told by; nothing if this dialect has no word for it.
    #[must_use]
    pub fn update(&self, update: &Update) -> Frame {
        match self.dialect {
            StreamFormat::Tutorial | StreamFormat::List | StreamFormat::HtmlList => {
                self.snapshot(&update.snapshot)
            }
            StreamFormat::Raw => self.shared(update.forms(), WireSlot::Raw, || {
                comments(&update.posted, &update.patch.to)
            }),
            _ => self.shared(update.forms(), self.dialect.form(), || {
                self.patch(&update.patch, &update.snapshot)
            }),
        }
    }

    /// What a reader is told by who has missed exactly `missed`, which leads to `snapshot`.
    #[must_use]
    pub fn missed(&self, missed: &Patch, snapshot: &Snapshot) -> Frame {
        match self.dialect {
            StreamFormat::Tutorial | StreamFormat::List | StreamFormat::HtmlList => {
                self.snapshot(snapshot)
            }
            _ => self.patch(missed, snapshot).into(),
        }
    }

    fn patch(&self, patch: &Patch, snapshot: &Snapshot) -> Bytes {
        let cursor = Some(&patch.to);
        match self.dialect {
            StreamFormat::Tutorial | StreamFormat::List | StreamFormat::Patch => {
                sse::event(Some("patch"), cursor, &views::patch(patch))
            }
            StreamFormat::Ndjson => line("patch", cursor, &views::patch(patch)),
            StreamFormat::Html | StreamFormat::HtmlList => {
                sse::text(Some("patch"), cursor, self.fragments.patch(patch, snapshot))
            }
            StreamFormat::Turbo => {
                sse::text(None, cursor, self.fragments.turbo_patch(patch, snapshot))
            }
            StreamFormat::Raw => comments(&written(set(patch)), &patch.to),
        }
    }

    /// The whole list of one board of several: without an id, which only [`cursor`](Self::cursor) has.
    #[must_use]
    pub fn one_of_many(&self, snapshot: &Snapshot) -> Frame {
        self.shared(snapshot.forms(), self.form_of_many(), || {
            match self.dialect {
                StreamFormat::Ndjson => line("snapshot", None, &views::snapshot(snapshot)),
                StreamFormat::Patch => {
                    sse::event(Some("snapshot"), None, &views::snapshot(snapshot))
                }
                _ => sse::event(None, None, &views::list_of(snapshot)),
            }
        })
    }

    /// The same for a change.
    #[must_use]
    pub fn one_of_many_changed(&self, update: &Update) -> Frame {
        match self.dialect {
            StreamFormat::Patch | StreamFormat::Ndjson => {
                self.shared(update.forms(), self.form_of_many(), || {
                    self.patch_of_many(&update.patch)
                })
            }
            _ => self.one_of_many(&update.snapshot),
        }
    }

    /// The same for what a reader has missed.
    #[must_use]
    pub fn one_of_many_missed(&self, missed: &Patch, snapshot: &Snapshot) -> Frame {
        match self.dialect {
            StreamFormat::Patch | StreamFormat::Ndjson => self.patch_of_many(missed).into(),
            _ => self.one_of_many(snapshot),
        }
    }

    fn patch_of_many(&self, patch: &Patch) -> Bytes {
        if self.dialect == StreamFormat::Ndjson {
            line("patch", None, &views::patch(patch))
        } else {
            sse::event(Some("patch"), None, &views::patch(patch))
        }
    }

    const fn form_of_many(&self) -> WireSlot {
        match self.dialect {
            StreamFormat::Ndjson => WireSlot::NdjsonOfMany,
            StreamFormat::Patch => WireSlot::PatchOfMany,
            _ => WireSlot::ListOfMany,
        }
    }

    /// The place in history that all boards of a stream have come to.
    #[must_use]
    pub fn cursor(&self, cursor: &Cursor) -> Bytes {
        let revision = views::Place {
            revision: cursor.revision,
        };
        match self.dialect {
            StreamFormat::Ndjson => line("cursor", Some(cursor), &revision),
            _ => sse::event(Some("cursor"), Some(cursor), &revision),
        }
    }

    /// `reset` of one board of several: its list follows, the others are as they were.
    #[must_use]
    pub fn fell_behind(&self, board: &BoardName, reason: ResetReason) -> Bytes {
        self.named(
            "reset",
            &views::BoardReason {
                board: board.as_str(),
                reason: reason.as_str(),
            },
        )
    }

    /// An event that completes no state.
    #[must_use]
    pub fn named(&self, name: &'static str, data: &impl Serialize) -> Bytes {
        if self.dialect == StreamFormat::Ndjson {
            line(name, None, data)
        } else {
            sse::named(name, data)
        }
    }

    /// The `reset` event; a snapshot follows. The empty id makes a client forget its cursor.
    #[must_use]
    pub fn reset(&self, reason: ResetReason) -> Bytes {
        let reason = views::Reason {
            reason: reason.as_str(),
        };
        if self.dialect == StreamFormat::Ndjson {
            line("reset", None, &reason)
        } else {
            sse::reset(&reason)
        }
    }

    /// What keeps a stream open.
    #[must_use]
    pub fn heartbeat(&self) -> Bytes {
        match (self.visible_heartbeat, self.dialect) {
            (true, _) => self.named("heartbeat", &serde_json::json!({})),
            (false, StreamFormat::Ndjson) => Bytes::from_static(b"\n"),
            (false, _) => sse::comment(),
        }
    }

    /// The planned end of a stream: `bye`, with the time to wait before coming back.
    #[must_use]
    pub fn bye(&self, reason: Bye, retry_ms: u64) -> Bytes {
        let reason = views::Reason {
            reason: reason.as_str(),
        };
        match self.dialect {
            StreamFormat::Ndjson => line("bye", None, &views::Bye { reason, retry_ms }),
            _ => [sse::retry(retry_ms), sse::named("bye", &reason)]
                .concat()
                .into(),
        }
    }
}

/// One line of `ndjson`.
fn line(event: &'static str, cursor: Option<&Cursor>, data: &impl Serialize) -> Bytes {
    let mut line = json(&views::Line {
        event,
        id: cursor.map(ToString::to_string),
        data,
    });
    line.push(b'\n');
    line.into()
}

/// What a request on a socket is answered with when it was done.
#[must_use]
pub fn ack(key: Option<&str>, topic: &Topic) -> Bytes {
    line(
        "ack",
        None,
        &views::Ack {
            key,
            topic: TopicView::from(topic),
        },
    )
}

/// What a request on a socket is answered with when it was not done.
#[must_use]
pub fn refused(key: Option<&str>, problem: &Problem) -> Bytes {
    line("error", None, &views::Refused { key, problem })
}

/// An event each; only the last completes a state.
fn comments(topics: &[Arc<Topic>], cursor: &Cursor) -> Bytes {
    let last = topics.len().saturating_sub(1);
    let event = |(n, topic): (usize, &Arc<Topic>)| {
        sse::text(
            None,
            Some(cursor).filter(|_| n == last),
            topic.comment.clone(),
        )
    };
    topics
        .iter()
        .enumerate()
        .map(event)
        .collect::<Vec<_>>()
        .concat()
        .into()
}

/// The topics that were never edited: the nearest to what is new to a reader who was away.
fn written<'a>(topics: impl Iterator<Item = &'a Arc<Topic>>) -> Vec<Arc<Topic>> {
    topics
        .filter(|topic| topic.edited_at.is_none())
        .map(Arc::clone)
        .collect()
}

fn set(patch: &Patch) -> impl Iterator<Item = &Arc<Topic>> {
    patch.ops.iter().filter_map(|op| {
        if let Op::Set(topic) = op {
            Some(topic)
        } else {
            None
        }
    })
}

/// Why a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bye {
    /// It has lived long enough; come back.
    Rotate,
    /// The server stops.
    Shutdown,
    /// The board is gone.
    Gone,
    /// The reader may no longer read the board.
    Auth,
    /// There is no room.
    Limit,
    /// The board cannot be read now.
    Unavailable,
}

impl Bye {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Rotate => "rotate",
            Self::Shutdown => "shutdown",
            Self::Gone => "gone",
            Self::Auth => "auth",
            Self::Limit => "limit",
            Self::Unavailable => "unavailable",
        }
    }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    // Our views hold strings, numbers and lists: nothing that JSON cannot say.
    serde_json::to_vec(value).unwrap_or_default()
}
