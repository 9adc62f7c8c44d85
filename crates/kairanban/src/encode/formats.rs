//! The formats of streams, and the table of how each is encoded and cached.

use kairanban_core::{StartAt, WireSlot};

use super::{
    comments::CommentEncoder,
    event_encoder::EventEncoder,
    fragments::Fragments,
    html::FragmentEncoder,
    ndjson::Ndjson,
    sse::SseJson,
    views::{self, json},
};

/// What a stream sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamFormat {
    /// The tutorial's format: unnamed events with the whole list.
    Tutorial,
    /// The whole list and the revision.
    List,
    /// Events `snapshot`, then `patch`.
    Patch,
    /// The events of `Patch`, a line of JSON each.
    Ndjson,
    /// `snapshot`, then `patch`, in fragments of HTML that carry their position.
    Html,
    /// The whole list in HTML, in unnamed events.
    HtmlList,
    /// The list, then patches, in Turbo's elements, in unnamed events.
    Turbo,
    /// New comments and nothing else.
    Raw,
}

/// How many boards a stream is of. Some formats are for one board only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoardsOfStream {
    /// Only streams of one board.
    One,
    /// As many as its address names, perhaps only one.
    Several,
}

/// The slot of the REST API's live list, which shares the cache with the streams.
pub const LIVE_LIST_SLOT: WireSlot = WireSlot::at::<11>();
/// The topics of the page in English.
pub const ENGLISH_PAGE_SLOT: WireSlot = WireSlot::at::<12>();
/// The topics of the page in Japanese.
pub const JAPANESE_PAGE_SLOT: WireSlot = WireSlot::at::<13>();
/// The slot of the Atom feed.
pub const FEED_SLOT: WireSlot = WireSlot::at::<14>();
/// The list as text.
pub const TEXT_SLOT: WireSlot = WireSlot::at::<15>();

/// How a format is encoded, and where the result is cached.
pub(super) struct FormatEncoding {
    pub(super) encoder: &'static dyn EventEncoder,
    /// Caches what `encoder` makes of a snapshot, and of an update. No other encoder uses it.
    pub(super) slot: WireSlot,
    /// Whether an update is sent as the whole list instead of a patch.
    pub(super) repeats_list: bool,
}

/// A row of the table of formats.
pub(super) struct FormatRow {
    format: StreamFormat,
    /// The value of `?format=`; `None` for a format that has an address of its own.
    name: Option<&'static str>,
    media_type: &'static str,
    /// The encoding on a stream of one board.
    pub(super) one_board: &'static FormatEncoding,
    /// The encoding of one board on a stream of several; `None` for a format that such a stream
    /// cannot have.
    pub(super) of_many: Option<&'static FormatEncoding>,
}

const SSE: &str = "text/event-stream; charset=utf-8";
const NDJSON: &str = "application/x-ndjson; charset=utf-8";

/// The formats in the order of [`StreamFormat`].
static FORMATS: [FormatRow; 8] = [
    row(StreamFormat::Tutorial, None, SSE, &TUTORIAL, None),
    row(
        StreamFormat::List,
        Some("list"),
        SSE,
        &LIST,
        Some(&LIST_OF_MANY),
    ),
    row(
        StreamFormat::Patch,
        Some("patch"),
        SSE,
        &PATCH,
        Some(&PATCH_OF_MANY),
    ),
    row(
        StreamFormat::Ndjson,
        Some("ndjson"),
        NDJSON,
        &LINES,
        Some(&LINES_OF_MANY),
    ),
    row(StreamFormat::Html, Some("html"), SSE, &HTML, None),
    row(
        StreamFormat::HtmlList,
        Some("html-list"),
        SSE,
        &HTML_LIST,
        None,
    ),
    row(StreamFormat::Turbo, Some("turbo"), SSE, &TURBO, None),
    row(StreamFormat::Raw, Some("raw"), SSE, &COMMENTS, None),
];

static TUTORIAL: FormatEncoding = FormatEncoding {
    encoder: &SseJson {
        list_event: None,
        has_id: true,
        list: |snapshot| json(&views::tutorial(snapshot)),
    },
    slot: WireSlot::at::<0>(),
    repeats_list: true,
};

static LIST: FormatEncoding = FormatEncoding {
    encoder: &SseJson {
        list_event: None,
        has_id: true,
        list: |snapshot| json(&views::list(snapshot)),
    },
    slot: WireSlot::at::<1>(),
    repeats_list: true,
};

static LIST_OF_MANY: FormatEncoding = FormatEncoding {
    encoder: &SseJson {
        list_event: None,
        has_id: false,
        list: |snapshot| json(&views::board_list(snapshot)),
    },
    slot: WireSlot::at::<2>(),
    repeats_list: true,
};

static PATCH: FormatEncoding = FormatEncoding {
    encoder: &SseJson {
        list_event: Some("snapshot"),
        has_id: true,
        list: |snapshot| json(&views::snapshot(snapshot)),
    },
    slot: WireSlot::at::<3>(),
    repeats_list: false,
};

static PATCH_OF_MANY: FormatEncoding = FormatEncoding {
    encoder: &SseJson {
        list_event: Some("snapshot"),
        has_id: false,
        list: |snapshot| json(&views::snapshot(snapshot)),
    },
    slot: WireSlot::at::<4>(),
    repeats_list: false,
};

static LINES: FormatEncoding = FormatEncoding {
    encoder: &Ndjson { has_id: true },
    slot: WireSlot::at::<5>(),
    repeats_list: false,
};

static LINES_OF_MANY: FormatEncoding = FormatEncoding {
    encoder: &Ndjson { has_id: false },
    slot: WireSlot::at::<6>(),
    repeats_list: false,
};

static HTML: FormatEncoding = FormatEncoding {
    encoder: &FragmentEncoder {
        list_event: Some("snapshot"),
        patch_event: Some("patch"),
        list: Fragments::list,
        patch: Fragments::patch,
    },
    slot: WireSlot::at::<7>(),
    repeats_list: false,
};

static HTML_LIST: FormatEncoding = FormatEncoding {
    encoder: &FragmentEncoder {
        list_event: None,
        patch_event: Some("patch"),
        list: Fragments::list,
        patch: Fragments::patch,
    },
    slot: WireSlot::at::<8>(),
    repeats_list: true,
};

static TURBO: FormatEncoding = FormatEncoding {
    encoder: &FragmentEncoder {
        list_event: None,
        patch_event: None,
        list: Fragments::turbo_list,
        patch: Fragments::turbo_patch,
    },
    slot: WireSlot::at::<9>(),
    repeats_list: false,
};

static COMMENTS: FormatEncoding = FormatEncoding {
    encoder: &CommentEncoder,
    slot: WireSlot::at::<10>(),
    repeats_list: false,
};

const fn row(
    format: StreamFormat,
    name: Option<&'static str>,
    media_type: &'static str,
    one_board: &'static FormatEncoding,
    of_many: Option<&'static FormatEncoding>,
) -> FormatRow {
    FormatRow {
        format,
        name,
        media_type,
        one_board,
        of_many,
    }
}

impl FormatRow {
    const fn is_for(&self, boards: BoardsOfStream) -> bool {
        match boards {
            BoardsOfStream::One => true,
            BoardsOfStream::Several => self.of_many.is_some(),
        }
    }
}

impl StreamFormat {
    /// The format of WebSockets.
    pub const OF_SOCKETS: Self = Self::Ndjson;

    /// Returns the format that `?format=` names, if streams of `boards` can have it.
    #[must_use]
    pub fn named(name: &str, boards: BoardsOfStream) -> Option<Self> {
        let mut rows = FORMATS.iter().filter(|row| row.is_for(boards));
        rows.find(|row| row.name == Some(name))
            .map(|row| row.format)
    }

    /// Returns the names of the formats that streams of `boards` can have.
    #[must_use]
    pub fn names(boards: BoardsOfStream) -> Vec<&'static str> {
        let rows = FORMATS.iter().filter(|row| row.is_for(boards));
        rows.filter_map(|row| row.name).collect()
    }

    /// Returns all formats, in the order of their table.
    pub fn all() -> impl Iterator<Item = Self> {
        FORMATS.iter().map(|row| row.format)
    }

    /// Returns the name of the format in metrics and logs.
    #[must_use]
    pub fn label(self) -> &'static str {
        self.row().name.unwrap_or("tutorial")
    }

    /// Returns the value of `Content-Type`.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        self.row().media_type
    }

    /// Returns where a reader begins who does not ask for a place.
    #[must_use]
    pub fn default_start(self) -> StartAt {
        self.row().one_board.encoder.default_start()
    }

    pub(super) fn row(self) -> &'static FormatRow {
        &FORMATS[self as usize]
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, iter, ptr};

    use super::*;

    #[test]
    fn each_format_has_its_row_and_its_name() {
        for (at, row) in FORMATS.iter().enumerate() {
            assert_eq!(row.format as usize, at, "{:?}", row.format);
            let named = |name| StreamFormat::named(name, BoardsOfStream::One);
            assert_eq!(row.name.and_then(named), row.name.map(|_| row.format));
        }
        assert_eq!(StreamFormat::named("tutorial", BoardsOfStream::One), None);
        assert_eq!(StreamFormat::Ndjson.media_type(), NDJSON);
    }

    #[test]
    fn some_formats_are_for_one_board_only() {
        for (boards, names) in [
            (
                BoardsOfStream::One,
                "list patch ndjson html html-list turbo raw",
            ),
            (BoardsOfStream::Several, "list patch ndjson"),
        ] {
            assert_eq!(StreamFormat::names(boards).join(" "), names);
        }
        let named = |name| StreamFormat::named(name, BoardsOfStream::Several);
        assert_eq!(named("patch"), Some(StreamFormat::Patch));
        assert_eq!(named("html"), None);
    }

    /// Two encodings in one slot would send some readers another format.
    #[test]
    fn no_two_encodings_share_a_slot() {
        let encodings: HashSet<*const FormatEncoding> = FORMATS
            .iter()
            .flat_map(|row| iter::once(row.one_board).chain(row.of_many))
            .map(ptr::from_ref)
            .collect();
        let mut slots = vec![
            LIVE_LIST_SLOT,
            ENGLISH_PAGE_SLOT,
            JAPANESE_PAGE_SLOT,
            FEED_SLOT,
            TEXT_SLOT,
        ];
        let others = slots.len();
        for row in &FORMATS {
            for encoding in iter::once(row.one_board).chain(row.of_many) {
                if !slots.contains(&encoding.slot) {
                    slots.push(encoding.slot);
                }
            }
        }
        assert_eq!(slots.len(), encodings.len() + others);
        assert_eq!(slots.len(), WireSlot::COUNT, "no slot is unused");
    }
}
