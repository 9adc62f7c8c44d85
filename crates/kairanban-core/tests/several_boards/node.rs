//! A node: the real hub, and around it what the program does when a reading fails.

use std::{
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use chrono::DateTime;
use kairanban_core::{
    BoardChanges, BoardChannel, BoardId, BoardInfo, BoardLoad, BoardName, Change, ChangeKind, Hub,
    Policies, Published, ReplayBuffer, Revision, Snapshot, TopicId,
};

use super::{BOARDS, Commit, LAG_MAX, TOPICS_MAX, list_at};
use crate::values::{cursor, revision, topic};

/// Time stands still.
static NOW: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A node and its database.
pub(super) struct Node {
    pub(super) hub: Hub,
    pub(super) log: Vec<Commit>,
    pub(super) is_away: bool,
    pub(super) is_unreadable: [bool; 2],
    /// The revision up to which everything is published.
    pub(super) published: u64,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            hub: Hub::new(TOPICS_MAX, LAG_MAX),
            log: Vec::new(),
            is_away: false,
            is_unreadable: [false; 2],
            published: 0,
        }
    }
}

pub(super) fn name(board: usize) -> BoardName {
    BOARDS[board].parse().expect("a name")
}

impl Node {
    pub(super) fn head(&self) -> u64 {
        self.log.len() as u64
    }

    pub(super) fn poll(&mut self) {
        if self.is_away {
            return;
        }
        for board in 0..2 {
            let changes = self.changes(board);
            let upto = changes.revision();
            if upto > Revision::ZERO
                && self.hub.publish(&name(board), &changes) == Published::Reload
            {
                self.reload(board, upto);
            }
        }
        self.published = self.head();
    }

    pub(super) fn reload_outdated(&self) {
        if self.is_away {
            return;
        }
        let outdated = self.hub.outdated();
        for board in (0..2).filter(|board| outdated.contains(&name(*board))) {
            self.reload(board, Revision::ZERO);
        }
    }

    /// Loads a board for a request, unless its list in memory will do. Returns its channel if there
    /// is a list.
    pub(super) fn load(&self, board: usize) -> Option<Arc<BoardChannel>> {
        let channel = self.hub.channel(&name(board));
        let is_watched = channel.is_watched();
        let is_current = channel
            .live()
            .current(is_watched, *NOW, Duration::MAX)
            .is_some();
        let is_there = channel.live().last_known().is_some();
        if is_current || (self.is_away && is_there) {
            return Some(channel);
        }
        if self.is_away || self.is_unreadable[board] {
            if is_there {
                let since = DateTime::UNIX_EPOCH;
                self.hub.become_stale(&name(board), since, Revision::ZERO);
            }
            return is_there.then_some(channel);
        }
        let load = self.read(board);
        self.hub
            .install(&channel, load, *NOW)
            .is_ok()
            .then_some(channel)
    }

    /// Loads a board that changed up to `revision`, or makes it stale.
    fn reload(&self, board: usize, revision: Revision) {
        if self.is_unreadable[board] {
            let since = DateTime::UNIX_EPOCH;
            self.hub.become_stale(&name(board), since, revision);
        } else {
            let channel = self.hub.channel(&name(board));
            self.hub
                .install(&channel, self.read(board), *NOW)
                .expect("only the follower publishes");
        }
    }

    fn read(&self, board: usize) -> BoardLoad {
        let log = (1..).zip(&self.log);
        let of_board = log.filter(|(_, commit)| commit.board == board);
        let newest = of_board.clone().map(|(at, _)| at).last().unwrap_or(0);
        let cleared = of_board.clone().filter(|(_, commit)| commit.is_clear);
        let floor = cleared.map(|(at, _)| at).last().unwrap_or(0);
        let entries = of_board
            .filter(|(at, _)| *at > floor)
            .map(|(at, commit)| (revision(at), TopicId(commit.topic)));
        let topics = list_at(&self.log, board, newest);
        let topics = topics.into_iter().map(|(id, at)| topic(id, at)).collect();
        BoardLoad {
            board_id: BoardId(1 + i64::from(board == 1)),
            policies: Policies::default(),
            replay_buffer: ReplayBuffer::new(revision(floor), entries, 8),
            snapshot: Snapshot::new(name(board), cursor(newest), topics),
            named_at: Revision::ZERO,
        }
    }

    /// Returns the changes of a board that are not published yet, as they stand now.
    fn changes(&self, board: usize) -> BoardChanges {
        let now = list_at(&self.log, board, self.head());
        let mut changes = BoardChanges::default();
        for (at, commit) in (1..).zip(&self.log) {
            if at <= self.published || commit.board != board {
                continue;
            }
            let (kind, id) = if commit.is_clear {
                (ChangeKind::Clear, None)
            } else {
                (ChangeKind::Set, Some(commit.topic))
            };
            changes.push(&Change {
                revision: revision(at),
                kind,
                board_id: BoardId(1 + i64::from(board == 1)),
                board: Some(BoardInfo {
                    name: name(board),
                    policies: Policies::default(),
                }),
                names_board: false,
                topic_id: id.map(TopicId),
                topic: id.map(|id| topic(id, now[&id])),
            });
        }
        changes
    }
}
