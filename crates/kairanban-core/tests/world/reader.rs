//! The reader: how a node serves it, and what it shows then.

use std::{sync::Arc, time::Duration};

use kairanban_core::{
    Delivery, LogBounds, Opening, Patch, ReaderPosition, Snapshot, StartAt, is_future, plan_opening,
};

use super::{Link, NOW, Seen, State, node::Step};
use crate::values::{apply, cursor, listed, revision};

impl State {
    /// Sends the reader its opening, once the node has published what the reader has seen and what
    /// it acknowledged.
    pub(super) fn begin(&mut self) -> Option<()> {
        let Link::Joining(at) = self.reader.link else {
            return None;
        };
        let (position, acknowledged) = (self.nodes[at].position, self.nodes[at].acknowledged);
        let seen = self.reader.revision.map(cursor);
        // The stream waits for the follower.
        if position < acknowledged || seen.is_some_and(|seen| is_future(&seen, &cursor(position))) {
            return None;
        }
        let replayed = self.replay(at);
        let channel = &replayed.subscription.as_ref().expect("a reader").channel;
        let live = channel.live();
        let snapshot = Arc::clone(live.current(true, *NOW, Duration::MAX)?);
        let start = self
            .reader
            .revision
            .map_or(StartAt::List, |seen| StartAt::Cursor(cursor(seen)));
        let log = LogBounds {
            published: revision(position),
            trimmed_to: revision(0),
        };
        self.open(plan_opening(&start, &live, log)?.opening, &snapshot);
        if self.reader.revision < Some(acknowledged)
            && self.reader.list != self.list_at(acknowledged)
        {
            self.reader.fault = Some("shown less than the node acknowledged");
        }
        self.reader.link = Link::Open(at, snapshot.revision().get());
        Some(())
    }

    fn open(&mut self, opening: Opening, snapshot: &Snapshot) {
        match opening {
            Opening::Nothing => {}
            Opening::Patch(patch) => {
                self.seen = Some(Seen::Patch);
                self.apply(&patch);
            }
            Opening::SnapshotSince(_) | Opening::Snapshot { reset: None } => self.show(snapshot),
            Opening::Snapshot { reset: Some(_) } => {
                self.reader.fault = Some("a reset without a cause");
            }
        }
    }

    /// Does what a stream does with the next event of its channel.
    pub(super) fn receive(&mut self) -> Option<()> {
        let Link::Open(at, sent) = self.reader.link else {
            return None;
        };
        if self.nodes[at].waiting == 0 {
            return None;
        }
        let replayed = self.step(at, Step::Receive);
        let channel = &replayed.subscription.as_ref().expect("a reader").channel;
        let event = replayed.received.expect("just taken");
        if event.is_err() {
            self.seen = Some(Seen::Lag);
        }
        let mut position = ReaderPosition::new(cursor(sent));
        match position.on(event, || channel.live()).delivery {
            Delivery::Nothing => {}
            Delivery::Patch(update) => self.apply(&update.patch),
            Delivery::List(update) => self.show(&update.snapshot),
            Delivery::Snapshot { snapshot, .. } => self.show(&snapshot),
            Delivery::End => self.reader.fault = Some("an end of a board that is there"),
        }
        self.reader.link = Link::Open(at, position.sent().revision.get());
        Some(())
    }
}

/// The client's part, as in `docs/PROTOCOL.md`.
impl State {
    fn show(&mut self, snapshot: &Snapshot) {
        self.reader.list = listed(snapshot);
        self.complete(snapshot.revision().get());
    }

    fn apply(&mut self, patch: &Patch) {
        let at = self.reader.revision.unwrap_or(0);
        if patch.to.revision.get() <= at {
            return;
        }
        if patch.from.get() > at {
            self.reader.fault = Some("a patch from later than the reader's revision");
        }
        apply(&mut self.reader.list, &patch.ops);
        self.complete(patch.to.revision.get());
    }

    fn complete(&mut self, revision: u64) {
        if Some(revision) < self.reader.revision {
            self.reader.fault = Some("the revision fell");
        } else if self.reader.list != self.list_at(revision) {
            self.reader.fault = Some("a list that never was");
        }
        self.reader.revision = Some(revision);
    }
}
