//! The reader: how a node serves it, and what it makes of that.

use std::{sync::Arc, time::Duration};

use kairanban_core::{
    BoardEvent, Lagged, LogBounds, Opening, Patch, Snapshot, StartAt, plan_opening,
};

use super::{Link, NOW, Seen, State, node::Step};
use crate::values::{apply, cursor, listed, revision};

impl State {
    /// The first thing that a reader is sent, once the node has come as far as it must.
    pub(super) fn begin(&mut self) -> Option<()> {
        let Link::Joining(at) = self.reader.link else {
            return None;
        };
        let (position, acknowledged) = (self.nodes[at].position, self.nodes[at].acknowledged);
        if position < acknowledged.max(self.reader.revision.unwrap_or(0)) {
            // It waits for the follower; for a cursor that it does not know, until it has asked the database.
            return None;
        }
        let played = self.play(at);
        let channel = &played.subscription.as_ref().expect("a reader").channel;
        let live = channel.live();
        let snapshot = Arc::clone(live.current(true, *NOW, Duration::MAX)?);
        let start = self
            .reader
            .revision
            .map_or(StartAt::List, |held| StartAt::Cursor(cursor(held)));
        let log = LogBounds {
            published: revision(position),
            trimmed_to: revision(0),
        };
        match plan_opening(&start, &live, log)?.opening {
            Opening::Nothing => {}
            Opening::Patch(patch) => {
                self.seen = Some(Seen::Patch);
                self.apply(&patch);
            }
            Opening::SnapshotSince(_) | Opening::Snapshot { reset: None } => self.show(&snapshot),
            Opening::Snapshot { reset: Some(_) } => {
                self.reader.fault = Some("a reset without a cause");
            }
        }
        if self.reader.revision < Some(acknowledged)
            && self.reader.list != self.list_at(acknowledged)
        {
            self.reader.fault = Some("shown less than the node acknowledged");
        }
        self.reader.link = Link::Open(at, snapshot.revision().get());
        Some(())
    }

    /// What a stream does with the next of its channel.
    pub(super) fn receive(&mut self) -> Option<()> {
        let Link::Open(at, mut sent) = self.reader.link else {
            return None;
        };
        if self.nodes[at].waiting == 0 {
            return None;
        }
        let played = self.step(at, Step::Receive);
        match played.received.expect("just taken") {
            Ok(BoardEvent::Update(update)) if update.revision().get() > sent => {
                // A patch from later than where the reader stands would leave a hole.
                if update.patch.from.get() > sent {
                    self.show(&update.snapshot)
                } else {
                    self.apply(&update.patch)
                }
                sent = update.revision().get();
            }
            Ok(_) => {}
            Err(Lagged) => {
                self.seen = Some(Seen::Lag);
                let channel = &played.subscription.as_ref().expect("a reader").channel;
                let newest = channel.live().last_known().map(Arc::clone);
                if let Some(newest) = newest.filter(|newest| newest.revision().get() > sent) {
                    self.show(&newest);
                    sent = newest.revision().get();
                }
            }
        }
        self.reader.link = Link::Open(at, sent);
        Some(())
    }
}

/// What a client does, by `docs/PROTOCOL.md`.
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
            self.reader.fault = Some("a patch from later than the reader stands");
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
