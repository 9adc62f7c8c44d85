//! A node: the real hub, and around it what the program does when a reading fails.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use chrono::DateTime;
use kairanban_core::{
    BoardChange, BoardChanges, BoardChannel, BoardId, BoardInfo, BoardLoad, BoardName, Change,
    ChangeKind, Hub, Policies, Published, ReadPolicy, ReplayBuffer, Revision, Snapshot, TopicId,
};

use super::{BOARDS, BoardLife, Commit, CommitKind, LAG_MAX, TOPICS_MAX, life_at, list_at};
use crate::values::{cursor, revision, topic};

/// The time, which stands still.
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

/// Why a board cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is not there, or private.
    Gone,
    /// It cannot be read now.
    Unavailable,
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

/// Returns whether the reader, who has no token, may read a board as far as memory knows.
pub(super) fn may_read(channel: &BoardChannel) -> bool {
    channel.live().policies().is_none_or(Policies::is_public)
}

const fn id(board: usize, life: BoardLife) -> BoardId {
    // Small numbers.
    #[expect(clippy::cast_possible_wrap, reason = "a test has few commits")]
    BoardId(1 + board as i64 + 2 * life.named_at as i64)
}

fn info(board: usize, life: BoardLife) -> BoardInfo {
    let read = if life.is_private {
        ReadPolicy::Token
    } else {
        ReadPolicy::Open
    };
    BoardInfo {
        name: name(board),
        policies: Policies {
            read,
            ..Policies::default()
        },
    }
}

impl Node {
    pub(super) fn head(&self) -> u64 {
        self.log.len() as u64
    }

    /// Returns what a board is now, if it is there.
    fn life(&self, board: usize) -> Option<BoardLife> {
        life_at(&self.log, board, self.head())
    }

    /// Returns whether the reader may read a board now.
    pub(super) fn is_readable(&self, board: usize) -> bool {
        self.life(board).is_some_and(|life| !life.is_private)
    }

    /// Commits what can be done.
    pub(super) fn commit(&mut self, commit: Commit) {
        let is_there = self.life(commit.board).is_some();
        let makes = matches!(commit.kind, CommitKind::SetThere(true));
        if is_there != makes {
            self.log.push(commit);
        }
    }

    pub(super) fn poll(&mut self) {
        if self.is_away {
            return;
        }
        self.hub.apply_policies(&self.board_changes());
        for board in 0..2 {
            let changes = self.changes(board);
            let upto = changes.revision();
            if upto > Revision::ZERO
                && self.hub.publish(&name(board), None, &changes) == Some(Published::Reload)
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

    pub(super) fn get(&self, board: usize) {
        // It is answered, or refused.
        let _ = self.load(board, &self.hub.channel(&name(board)));
    }

    /// Loads a board for a request, unless its list in memory will do.
    pub(super) fn load(&self, board: usize, channel: &Arc<BoardChannel>) -> Result<(), Refusal> {
        let is_watched = channel.is_watched();
        let is_there = channel.live().last_known().is_some();
        let is_current = channel
            .live()
            .current(is_watched, *NOW, Duration::MAX)
            .is_some();
        if may_read(channel) && (is_current || (self.is_away && is_there)) {
            return Ok(());
        }
        if self.is_away {
            return Err(Refusal::Unavailable);
        }
        if !self.is_readable(board) {
            self.hub.evict_absent(&name(board), channel);
            return Err(Refusal::Gone);
        }
        if self.is_unreadable[board] {
            if is_there {
                let since = DateTime::UNIX_EPOCH;
                self.hub.become_stale(&name(board), since, Revision::ZERO);
            }
        } else if !is_current {
            let load = self.read(board).ok_or(Refusal::Gone)?;
            let installed = self.hub.install(channel, load, *NOW);
            installed.map_err(|_| Refusal::Unavailable)?;
        }
        // As memory knows the policies.
        if channel.live().last_known().is_none() {
            Err(Refusal::Unavailable)
        } else if may_read(channel) {
            Ok(())
        } else {
            Err(Refusal::Gone)
        }
    }

    /// Loads a board that changed up to `revision`, or makes it stale.
    fn reload(&self, board: usize, revision: Revision) {
        if self.is_unreadable[board] {
            let since = DateTime::UNIX_EPOCH;
            self.hub.become_stale(&name(board), since, revision);
            return;
        }
        match self.read(board) {
            None => self.hub.end_missing(&name(board)),
            Some(load) => {
                let channel = self.hub.channel(&name(board));
                let (before, now) = (channel.live().board_id(), load.board_id);
                let installed = self.hub.install(&channel, load, *NOW);
                let is_another = before.is_some_and(|before| before != now);
                assert_eq!(
                    installed.is_err(),
                    is_another,
                    "only the follower publishes"
                );
            }
        }
    }

    fn read(&self, board: usize) -> Option<BoardLoad> {
        let life = self.life(board)?;
        let log = (1..).zip(&self.log);
        let of_board = log.filter(|(at, commit)| commit.board == board && *at >= life.named_at);
        let newest = of_board.clone().map(|(at, _)| at).last().unwrap_or(0);
        let unknown = of_board
            .clone()
            .filter(|(_, commit)| !matches!(commit.kind, CommitKind::Set(_)));
        let floor = unknown.map(|(at, _)| at).last().unwrap_or(0);
        let entries = of_board.filter_map(|(at, commit)| match commit.kind {
            CommitKind::Set(topic) if at > floor => Some((revision(at), TopicId(topic))),
            _ => None,
        });
        let topics = list_at(&self.log, board, newest);
        let topics = topics.into_iter().map(|(id, at)| topic(id, at)).collect();
        Some(BoardLoad {
            board_id: id(board, life),
            policies: info(board, life).policies,
            replay_buffer: ReplayBuffer::new(revision(floor), entries, 8),
            snapshot: Snapshot::new(name(board), cursor(newest), topics),
            named_at: revision(life.named_at),
        })
    }

    /// Returns what happened to the boards themselves since the last poll, each as it is now.
    fn board_changes(&self) -> HashMap<BoardId, BoardChange> {
        let mut changes = HashMap::new();
        for (at, commit) in (1..).zip(&self.log) {
            let board = commit.board;
            let names = match commit.kind {
                CommitKind::SetPrivate(_) => false,
                CommitKind::SetThere(is_there) => is_there,
                _ => continue,
            };
            if at <= self.published {
                continue;
            }
            // A board that is deleted was there before.
            let was = life_at(&self.log, board, at).or(life_at(&self.log, board, at - 1));
            let was = id(board, was.expect("a board"));
            let now = self.life(board).filter(|now| id(board, *now) == was);
            let known: Option<&BoardChange> = changes.get(&was);
            let named_at = known.and_then(|known| known.named_at);
            let change = BoardChange {
                revision: revision(at),
                info: now.map(|now| info(board, now)),
                named_at: names.then_some(revision(at)).max(named_at),
            };
            changes.insert(was, change);
        }
        changes
    }

    /// Returns the changes of a board that are not published yet, as they stand now.
    fn changes(&self, board: usize) -> BoardChanges {
        let mut changes = BoardChanges::default();
        let Some(life) = self.life(board) else {
            return changes;
        };
        let now = list_at(&self.log, board, self.head());
        for (at, commit) in (1..).zip(&self.log) {
            if at <= self.published.max(life.named_at) || commit.board != board {
                continue;
            }
            let (kind, topic_id) = match commit.kind {
                CommitKind::Set(topic) => (ChangeKind::Set, Some(topic)),
                CommitKind::Clear(_) => (ChangeKind::Clear, None),
                CommitKind::SetPrivate(_) | CommitKind::SetThere(_) => continue,
            };
            changes.push(&Change {
                revision: revision(at),
                kind,
                board_id: id(board, life),
                board: Some(info(board, life)),
                names_board: false,
                topic_id: topic_id.map(TopicId),
                topic: topic_id.map(|id| topic(id, now[&id])),
            });
        }
        changes
    }
}
