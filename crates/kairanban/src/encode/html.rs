//! Encodes lists and patches as fragments of HTML in Server-Sent Events.

use std::borrow::Cow;

use bytes::Bytes;
use kairanban_core::{Patch, Snapshot, Update};

use super::{
    event_encoder::{EventEncoder, Framing},
    fragments::Fragments,
    sse::{self, Sse},
};

/// Sends fragments of HTML in Server-Sent Events.
pub(super) struct FragmentEncoder {
    /// The name of the event that carries the list; `None` for an unnamed event.
    pub(super) list_event: Option<&'static str>,
    /// The name of the event that carries a patch.
    pub(super) patch_event: Option<&'static str>,
    /// Renders the whole list.
    pub(super) list: fn(&Fragments, &Snapshot) -> String,
    /// Renders a patch that leads to the snapshot.
    pub(super) patch: fn(&Fragments, &Patch, &Snapshot) -> String,
}

impl EventEncoder for FragmentEncoder {
    fn framing(&self) -> &'static dyn Framing {
        &Sse
    }

    fn snapshot(&self, fragments: &Fragments, snapshot: &Snapshot) -> Bytes {
        let list = (self.list)(fragments, snapshot);
        let list = without_separators(&list);
        sse::text(self.list_event, Some(snapshot.cursor()), &list)
    }

    fn patch(&self, fragments: &Fragments, patch: &Patch, after: &Snapshot) -> Bytes {
        let steps = (self.patch)(fragments, patch, after);
        let steps = without_separators(&steps);
        sse::text(self.patch_event, Some(&patch.to), &steps)
    }

    fn update(&self, fragments: &Fragments, update: &Update) -> Bytes {
        self.patch(fragments, &update.patch, &update.snapshot)
    }
}

/// Escapes the line and the paragraph separator: some readers of lines end one there.
fn without_separators(html: &str) -> Cow<'_, str> {
    if !html.contains('\u{2028}') && !html.contains('\u{2029}') {
        return html.into();
    }
    let escaped = html.replace('\u{2028}', "&#x2028;");
    escaped.replace('\u{2029}', "&#x2029;").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_reader_of_lines_ends_one_within_a_fragment() {
        assert_eq!(without_separators("<b>a</b>"), "<b>a</b>");
        assert_eq!(
            without_separators("a\u{2028}b\u{2029}c"),
            "a&#x2028;b&#x2029;c"
        );
    }
}
