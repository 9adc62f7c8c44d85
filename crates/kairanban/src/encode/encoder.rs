//! Encodes what one stream sends, and shares what other streams of its format send as well.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use kairanban_core::{
    BoardName, MultiBoardCursor, Patch, ResetReason, Revision, Snapshot, Update, WireCache,
    WireSlot,
};
use serde::Serialize;

use super::{
    event_encoder::{EventEncoder, Framing},
    formats::{FormatEncoding, StreamFormat},
    fragments::Fragments,
    frame::{Chunk, Frame, Wire, block},
    views::{self, ReasonView, json},
};

/// A stream's format and options.
#[derive(Clone, Debug)]
pub struct Encoder {
    /// What the stream sends.
    pub format: StreamFormat,
    /// Whether a heartbeat is an event that scripts can see.
    pub visible_heartbeat: bool,
    /// Whether the reader asked for gzip.
    pub gzip: bool,
    fragments: Arc<Fragments>,
}

impl Encoder {
    /// Creates an encoder without gzip.
    #[must_use]
    pub const fn new(
        format: StreamFormat,
        visible_heartbeat: bool,
        fragments: Arc<Fragments>,
    ) -> Self {
        Self {
            format,
            visible_heartbeat,
            gzip: false,
            fragments,
        }
    }

    /// Returns what turns the stream's frames into chunks.
    #[must_use]
    pub fn wire(&self) -> Wire {
        if self.gzip {
            Wire::gzip()
        } else {
            Wire::default()
        }
    }

    /// Encodes the beginning of a stream, with the time to wait before reconnecting.
    #[must_use]
    pub fn retry(&self, wait: Duration) -> Bytes {
        self.framing().retry(wait)
    }

    /// Encodes the whole list.
    #[must_use]
    pub fn snapshot(&self, snapshot: &Snapshot) -> Frame {
        self.snapshot_in(self.format.row().one_board, snapshot)
    }

    /// Encodes the list for a reader who has seen everything up to `revision`. A format of new
    /// comments sends the newer ones only.
    #[must_use]
    pub fn snapshot_since(&self, snapshot: &Snapshot, revision: Revision) -> Frame {
        match self.events().snapshot_since(snapshot, revision) {
            Some(newer) => newer.into(),
            None => self.snapshot(snapshot),
        }
    }

    /// Encodes an update. The frame is empty if the format has no event for it.
    #[must_use]
    pub fn update(&self, update: &Update) -> Frame {
        self.update_in(self.format.row().one_board, update)
    }

    /// Encodes the list of an update, for a reader whom its patch does not fit. A format of new
    /// comments sends the new ones only.
    #[must_use]
    pub fn list(&self, update: &Update) -> Frame {
        match self.events().list(update) {
            Some(posted) => posted.into(),
            None => self.snapshot(&update.snapshot),
        }
    }

    /// Encodes what a reader missed, a patch that leads to `snapshot`; or that list, if the patch
    /// is long.
    #[must_use]
    pub fn missed(&self, missed: &Patch, snapshot: &Snapshot) -> Frame {
        self.missed_in(self.format.row().one_board, missed, snapshot)
    }

    /// Encodes the list of one board of several. It has no id, which only [`cursor`](Self::cursor)
    /// has.
    #[must_use]
    pub fn board_snapshot(&self, snapshot: &Snapshot) -> Frame {
        self.snapshot_in(self.of_many(), snapshot)
    }

    /// Encodes an update of one board of several.
    #[must_use]
    pub fn board_update(&self, update: &Update) -> Frame {
        self.update_in(self.of_many(), update)
    }

    /// Encodes what a reader missed of one board of several.
    #[must_use]
    pub fn board_missed(&self, missed: &Patch, snapshot: &Snapshot) -> Frame {
        self.missed_in(self.of_many(), missed, snapshot)
    }

    /// Encodes `cursor`: the place in history that all boards of a stream have reached, but for
    /// those that ended.
    #[must_use]
    pub fn cursor(&self, cursor: &MultiBoardCursor) -> Bytes {
        let revision = cursor.cursor.revision;
        let view = views::CursorView { revision };
        let id = Some(cursor.to_string());
        self.framing().event("cursor", id, json(&view))
    }

    /// Encodes `reset` of one board of several. Its list follows; the other boards keep their
    /// state.
    #[must_use]
    pub fn board_reset(&self, board: &BoardName, reason: ResetReason) -> Bytes {
        self.named(
            "reset",
            &views::BoardReason {
                board: board.as_str(),
                reason: reason.as_str(),
            },
        )
    }

    /// Encodes `bye` of one board of several. The stream goes on with the others, so there is no
    /// time to wait.
    #[must_use]
    pub fn board_bye(&self, board: &BoardName, reason: Bye) -> Bytes {
        self.named(
            "bye",
            &views::BoardReason {
                board: board.as_str(),
                reason: reason.as_str(),
            },
        )
    }

    /// Encodes an event that completes no state.
    #[must_use]
    pub fn named(&self, name: &'static str, data: &impl Serialize) -> Bytes {
        self.framing().event(name, None, json(data))
    }

    /// Encodes `reset`, which a snapshot follows. Its empty id makes a client drop its cursor.
    #[must_use]
    pub fn reset(&self, reason: ResetReason) -> Bytes {
        let reason = reason.as_str();
        let data = json(&ReasonView { reason });
        self.framing().event("reset", Some(String::new()), data)
    }

    /// Encodes a heartbeat: an event, or a comment.
    #[must_use]
    pub fn heartbeat(&self) -> Bytes {
        if self.visible_heartbeat {
            self.named("heartbeat", &serde_json::json!({}))
        } else {
            self.framing().keep_alive()
        }
    }

    /// Encodes `bye`, the planned end of a stream, with the time to wait before reconnecting.
    #[must_use]
    pub fn bye(&self, reason: Bye, retry: Duration) -> Bytes {
        let reason = reason.as_str();
        self.framing().bye(ReasonView { reason }, retry)
    }

    fn events(&self) -> &'static dyn EventEncoder {
        self.format.row().one_board.encoder
    }

    fn framing(&self) -> &'static dyn Framing {
        self.events().framing()
    }

    /// Returns the encoding of one board of several. No stream of several boards begins with a
    /// format that has none.
    fn of_many(&self) -> &'static FormatEncoding {
        let row = self.format.row();
        row.of_many.unwrap_or(row.one_board)
    }

    fn snapshot_in(&self, encoding: &FormatEncoding, snapshot: &Snapshot) -> Frame {
        self.shared(snapshot.wire_cache(), encoding.slot, || {
            encoding.encoder.snapshot(&self.fragments, snapshot)
        })
    }

    fn update_in(&self, encoding: &FormatEncoding, update: &Update) -> Frame {
        if encoding.repeats_list {
            return self.snapshot_in(encoding, &update.snapshot);
        }
        self.shared(update.wire_cache(), encoding.slot, || {
            encoding.encoder.update(&self.fragments, update)
        })
    }

    fn missed_in(&self, encoding: &FormatEncoding, missed: &Patch, snapshot: &Snapshot) -> Frame {
        if encoding.repeats_list || (encoding.encoder.may_send_list() && missed.is_long()) {
            return self.snapshot_in(encoding, snapshot);
        }
        let patch = encoding.encoder.patch(&self.fragments, missed, snapshot);
        patch.into()
    }

    /// Encodes, frames and compresses what no stream has sent before, and shares the result.
    fn shared(&self, cache: &WireCache, slot: WireSlot, encode: impl FnOnce() -> Bytes) -> Frame {
        let plain = cache.get_or_encode(slot, || Chunk::new(&encode()).framed());
        let plain = Chunk::of_framed(plain);
        let packed = self.gzip.then(|| {
            let packed = cache.get_or_pack(slot, || Chunk::new(&block(&plain.payload())).framed());
            Chunk::of_framed(packed)
        });
        Frame::shared(plain, packed)
    }
}

/// The reason why a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bye {
    /// Its lifetime is over; the client reconnects.
    Rotate,
    /// The server is about to end.
    Shutdown,
    /// The board is gone.
    Gone,
    /// The reader may no longer read the board.
    Auth,
    /// A limit of streams is reached.
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
