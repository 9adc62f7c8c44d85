//! `--state`: what was shown, kept in a file for the next start.

use std::path::{Path, PathBuf};

use kairanban_core::BoardName;
use serde::{Deserialize, Serialize};

use super::events::ShownTopics;
use crate::{exit::ExitError, private_file, small_file};

/// A file beyond this many bytes is not ours.
const BYTES_MAX: u64 = 256 * 1024 * 1024;

/// The file, and what it holds.
#[derive(Clone, Debug)]
pub(super) struct StateFile {
    path: PathBuf,
    board: String,
}

#[derive(Debug, Deserialize, Serialize)]
struct State {
    board: String,
    /// `None` before anything was shown.
    topics: Option<ShownTopics>,
}

impl StateFile {
    /// Opens the file of a board. Returns what was shown, if the file is there.
    ///
    /// # Errors
    /// If it cannot be read, or is another board's.
    pub(super) fn open(
        path: &Path,
        board: &BoardName,
    ) -> Result<(Self, Option<ShownTopics>), ExitError> {
        let file = Self {
            path: path.to_owned(),
            board: board.to_string(),
        };
        let text = small_file::read_if_there(path, BYTES_MAX);
        let Some(text) = text.map_err(|why| file.fault(&why))? else {
            // Finds out whether it can be written, before anything is shown.
            file.rewrite(None)?;
            return Ok((file, None));
        };
        let state: State = serde_json::from_str(&text)
            .map_err(|_| file.fault("is not of `kairanban tail`; name another file"))?;
        if state.board != file.board {
            let why = format!("is of the board {:?}; name another file", state.board);
            return Err(file.fault(&why));
        }
        Ok((file, state.topics))
    }

    /// Replaces what it holds.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn write(&self, topics: &ShownTopics) -> Result<(), ExitError> {
        self.rewrite(Some(topics.clone()))
    }

    fn rewrite(&self, topics: Option<ShownTopics>) -> Result<(), ExitError> {
        let state = State {
            board: self.board.clone(),
            topics,
        };
        let folder = self.path.parent().filter(|path| *path != Path::new(""));
        let (Some(name), Ok(text)) = (self.path.file_name(), serde_json::to_string(&state)) else {
            return Err(self.fault("is not the name of a file"));
        };
        private_file::rewrite(
            folder.unwrap_or(Path::new(".")),
            &name.to_string_lossy(),
            &text,
        )
        .map_err(|error| self.fault(&format!("cannot be written: {error}")))
    }

    fn fault(&self, why: &str) -> ExitError {
        ExitError::Failed(format!("--state: {} {why}", self.path.display()))
    }
}
