//! Wire forms, made at most once and shared by everyone who is sent them.

use std::sync::OnceLock;

use bytes::Bytes;

/// The forms that a snapshot or a patch can take on the wire. The encoders are the server's; this
/// is only the list of slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireSlot {
    /// The list in the tutorial's shape, as an event.
    Tutorial,
    /// The tutorial's shape plus the revision, as an event.
    List,
    /// A `snapshot` or a `patch` event.
    Patch,
    /// The same, as a line of JSON.
    Ndjson,
    /// Fragments of HTML, as an event.
    Html,
    /// The whole list in HTML, as an event.
    HtmlList,
    /// Turbo's stream elements, as an event.
    Turbo,
    /// Comments, an event each.
    Raw,
    /// As [`List`](Self::List), one board of several.
    ListOfMany,
    /// As [`Patch`](Self::Patch), one board of several.
    PatchOfMany,
    /// As [`Ndjson`](Self::Ndjson), one board of several.
    NdjsonOfMany,
    /// The JSON body of the REST list.
    Json,
}

const FORMS: usize = WireSlot::Json as usize + 1;

type Slots = [OnceLock<Bytes>; FORMS];

/// Two slots per [`WireSlot`]: plain, and compressed for those who asked for that.
#[derive(Debug, Default)]
pub struct WireCache {
    plain: Slots,
    /// Few readers ask, so there is no room for it until the first does.
    packed: OnceLock<Box<Slots>>,
}

impl WireCache {
    /// The bytes of `form`; the first caller encodes, those who come meanwhile wait for it.
    pub fn get_or_encode(&self, form: WireSlot, encode: impl FnOnce() -> Bytes) -> Bytes {
        self.plain[form as usize].get_or_init(encode).clone()
    }

    /// The same, compressed.
    pub fn get_or_pack(&self, form: WireSlot, pack: impl FnOnce() -> Bytes) -> Bytes {
        self.packed.get_or_init(Box::default)[form as usize]
            .get_or_init(pack)
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_each_form_once() {
        let forms = WireCache::default();
        let first = forms.get_or_encode(WireSlot::List, || Bytes::from_static(b"a"));
        let second = forms.get_or_encode(WireSlot::List, || unreachable!("made already"));
        assert_eq!((first.as_ref(), second.as_ref()), (&b"a"[..], &b"a"[..]));
        assert_eq!(
            forms.get_or_encode(WireSlot::Patch, || Bytes::from_static(b"b")),
            "b"
        );
    }
}
