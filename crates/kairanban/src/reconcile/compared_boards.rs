//! What boards were when they were compared last, kept in a small file in the data folder: so rows
//! that change without a revision are found as well while their board has no reader, and while the
//! server is away.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    path::{Path, PathBuf},
};

use kairanban_core::{BoardId, Epoch};
use kairanban_store::BoardContent;
use serde::{Deserialize, Serialize};

use crate::{private_file, small_file};

/// The file's name in the data folder.
const FILE: &str = "compared-boards.json";
/// The longest that the file has of a board, and what it has beside them.
const BOARD_BYTES_MAX: u64 = 128;

/// The boards that were compared, at most `boards_max`.
#[derive(Debug)]
pub(super) struct ComparedBoards {
    folder: PathBuf,
    boards_max: usize,
    kept: KeptBoards,
    /// When each board was in memory last, as the number of a comparison.
    in_memory: HashMap<BoardId, u64>,
    comparisons: u64,
    is_written: bool,
}

/// What the file has. It counts for this epoch, and for lists of this length.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct KeptBoards {
    epoch: String,
    topics_max: usize,
    /// The revision of each board, and the checksum of its list.
    boards: BTreeMap<i64, (u64, i64)>,
}

impl ComparedBoards {
    /// Reads what the last process kept. A file that is missing or cannot be read is no error: what
    /// changed while the server was away is not noticed then.
    pub(super) fn read(folder: &Path, topics_max: usize, boards_max: usize) -> Self {
        let bytes_max = (boards_max as u64 + 1).saturating_mul(BOARD_BYTES_MAX);
        let kept: KeptBoards = match small_file::read_if_there(&folder.join(FILE), bytes_max) {
            Ok(text) => text
                .and_then(|text| serde_json::from_str(&text).ok())
                .unwrap_or_default(),
            Err(reason) => {
                tracing::warn!("{FILE}, what boards were when they were compared last, {reason}");
                KeptBoards::default()
            }
        };
        let kept = if kept.topics_max == topics_max {
            kept
        } else {
            KeptBoards {
                topics_max,
                ..KeptBoards::default()
            }
        };
        Self {
            folder: folder.to_owned(),
            boards_max,
            kept,
            in_memory: HashMap::new(),
            comparisons: 0,
            is_written: true,
        }
    }

    /// Drops all boards of another epoch.
    pub(super) fn begin(&mut self, epoch: &Epoch) {
        if self.kept.epoch != epoch.as_str() {
            self.kept.epoch = epoch.as_str().to_owned();
            self.kept.boards.clear();
            self.in_memory.clear();
            self.is_written = false;
        }
    }

    /// Returns the boards that were compared.
    pub(super) fn ids(&self) -> impl Iterator<Item = BoardId> {
        self.kept.boards.keys().map(|id| BoardId(*id))
    }

    /// Returns whether a board shows something else than the last time, at the same revision.
    pub(super) fn differs(&self, now: &BoardContent) -> bool {
        let before = self.kept.boards.get(&now.id.0);
        before.is_some_and(|(revision, sum)| *revision == now.revision.get() && *sum != now.sum)
    }

    /// Notes what a board is. One that is not in memory only if it was known.
    pub(super) fn note(&mut self, now: &BoardContent, is_in_memory: bool) {
        self.comparisons += 1;
        if is_in_memory {
            self.in_memory.insert(now.id, self.comparisons);
        } else if !self.kept.boards.contains_key(&now.id.0) {
            return;
        }
        let content = (now.revision.get(), now.sum);
        let before = if now.info.is_some() {
            self.kept.boards.insert(now.id.0, content)
        } else {
            self.in_memory.remove(&now.id);
            self.kept.boards.remove(&now.id.0)
        };
        self.is_written &= before == Some(content);
        while self.kept.boards.len() > self.boards_max {
            let ids = self.kept.boards.keys().copied();
            let Some(id) = ids.min_by_key(|id| self.in_memory.get(&BoardId(*id))) else {
                return;
            };
            self.kept.boards.remove(&id);
            self.in_memory.remove(&BoardId(id));
        }
    }

    /// Writes the file, if anything changed.
    pub(super) async fn write(&mut self) -> io::Result<()> {
        if self.is_written {
            return Ok(());
        }
        let text = serde_json::to_string(&self.kept)?;
        let folder = self.folder.clone();
        let written =
            tokio::task::spawn_blocking(move || private_file::rewrite(&folder, FILE, &text));
        written.await.map_err(io::Error::other)??;
        self.is_written = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use kairanban_core::{BoardInfo, Policies, Revision};

    use super::*;

    fn content(id: i64, revision: u64, sum: i64) -> BoardContent {
        BoardContent {
            id: BoardId(id),
            info: Some(BoardInfo {
                name: "main".parse().expect("a name"),
                policies: Policies::default(),
            }),
            revision: Revision::new(revision).expect("a revision"),
            sum,
        }
    }

    fn read(folder: &tempfile::TempDir, topics_max: usize) -> ComparedBoards {
        let mut compared = ComparedBoards::read(folder.path(), topics_max, 2);
        compared.begin(&"a1".parse().expect("an epoch"));
        compared
    }

    #[tokio::test]
    async fn knows_after_a_restart_what_boards_were() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut compared = read(&folder, 500);
        compared.note(&content(1, 7, 70), true);
        compared.note(&content(2, 8, 80), false);
        compared.write().await.expect("written");
        let compared = read(&folder, 500);
        assert!(compared.differs(&content(1, 7, 71)));
        assert!(!compared.differs(&content(1, 7, 70)) && !compared.differs(&content(1, 8, 71)));
        assert!(
            !compared.differs(&content(2, 8, 81)),
            "it never was in memory"
        );
        assert!(
            !read(&folder, 40).differs(&content(1, 7, 71)),
            "lists of another length"
        );
        let mut later = read(&folder, 500);
        later.begin(&"b2".parse().expect("an epoch"));
        assert!(!later.differs(&content(1, 7, 71)), "another epoch");
    }

    #[test]
    fn a_file_that_is_too_long_is_not_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let kept = r#"{"epoch":"a1","topics_max":500,"boards":{"1":[7,70]}}"#;
        let mut found = Vec::new();
        for padding in [0, 1 << 20] {
            let text = format!("{kept}{}", " ".repeat(padding));
            std::fs::write(folder.path().join(FILE), text).expect("written");
            found.push(read(&folder, 500).differs(&content(1, 7, 71)));
        }
        assert_eq!(found, [true, false]);
    }

    #[test]
    fn keeps_the_boards_that_were_read_last() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut compared = ComparedBoards::read(folder.path(), 500, 2);
        for id in [1, 2, 1, 3] {
            compared.note(&content(id, 7, 70), true);
        }
        let ids: Vec<_> = compared.ids().map(|id| id.0).collect();
        assert_eq!(ids, [1, 3]);
        compared.note(
            &BoardContent {
                info: None,
                ..content(3, 9, 0)
            },
            false,
        );
        assert_eq!(compared.ids().count(), 1, "one that is gone");
    }
}
