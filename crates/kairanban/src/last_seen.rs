//! Keeps the last position in the log that this node has read in a small file in the data folder,
//! to notice at the start a database that was restored while the server was away.

use std::{io, path::Path, time::Duration};

use kairanban_core::{LogPosition, LogRow};
use serde::{Deserialize, Serialize};
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    failpoint, private_file,
    small_file::{self, SECRET_BYTES_MAX},
};

/// The file's name in the data folder.
pub const FILE: &str = "last-seen.json";

/// The position as the file has it.
#[derive(Debug, Serialize, Deserialize)]
struct KeptPosition {
    epoch: String,
    mark: String,
    last: Option<LogRow>,
}

/// Reads the position that was seen last. A file that is missing or cannot be read is no error: a
/// restored database is not noticed then.
#[must_use]
#[expect(
    clippy::cognitive_complexity,
    reason = "each log line expands to branches, which count"
)]
pub fn read(folder: &Path) -> Option<LogPosition> {
    let path = folder.join(FILE);
    let text = match small_file::read_if_there(&path, SECRET_BYTES_MAX) {
        Ok(Some(text)) => text,
        Ok(None) => {
            tracing::info!(path = %path.display(), "this server has not seen a database before, so \
                it cannot tell whether this one was restored");
            return None;
        }
        Err(reason) => {
            tracing::warn!(path = %path.display(), "what was seen last {reason}; a restored \
                database is not noticed at this start");
            return None;
        }
    };
    let kept = parse(&text);
    if kept.is_none() {
        tracing::warn!(path = %path.display(), "this is not what was seen last; a restored \
            database is not noticed at this start");
    }
    kept
}

fn parse(text: &str) -> Option<LogPosition> {
    let KeptPosition { epoch, mark, last } = serde_json::from_str(text).ok()?;
    Some(LogPosition {
        epoch: epoch.parse().ok()?,
        mark,
        last,
    })
}

/// Keeps the file up to date until `stop`, and writes it a last time then.
pub async fn run(
    folder: &Path,
    seen: &mut watch::Receiver<LogPosition>,
    every: Duration,
    stop: &CancellationToken,
) {
    let mut known_bad = false;
    loop {
        let position = seen.borrow_and_update().clone();
        failpoint::pass("last-seen");
        let folder = folder.to_owned();
        let written = tokio::task::spawn_blocking(move || write(&folder, &position)).await;
        let failed = written
            .map_err(io::Error::other)
            .and_then(|written| written)
            .err();
        if let Some(error) = failed.as_ref().filter(|_| !known_bad) {
            tracing::warn!(%error, "cannot keep what was seen last in server.data_dir; a restored \
                database is not noticed at the next start");
        }
        known_bad = failed.is_some();
        if stop.is_cancelled() && !seen.has_changed().unwrap_or(false) {
            return;
        }
        // Not for each commit.
        tokio::select! {
            () = stop.cancelled() => continue,
            () = sleep(every) => {}
        }
        tokio::select! {
            () = stop.cancelled() => {}
            changed = seen.changed() => if changed.is_err() { return },
        }
    }
}

fn write(folder: &Path, position: &LogPosition) -> io::Result<()> {
    let LogPosition { epoch, mark, last } = position;
    let kept = KeptPosition {
        epoch: epoch.to_string(),
        mark: mark.clone(),
        last: last.clone(),
    };
    private_file::rewrite(folder, FILE, &serde_json::to_string(&kept)?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use kairanban_core::Revision;

    use super::*;

    #[test]
    fn what_is_kept_is_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let inside = folder.path().join("data");
        assert_eq!(read(&inside), None);
        let last = LogRow {
            revision: Revision::new(7).expect("a revision"),
            id: 9,
            kind: "set".to_owned(),
            board_id: 1,
            topic_id: Some(3),
            at: "2026-01-01 00:00:00.000001".to_owned(),
        };
        for last in [None, Some(last)] {
            let position = LogPosition {
                epoch: "a1".parse().expect("an epoch"),
                mark: "1/2".to_owned(),
                last,
            };
            write(&inside, &position).expect("written");
            assert_eq!(read(&inside), Some(position));
        }
        #[cfg(unix)]
        for (path, mode) in [(inside.clone(), 0o700), (inside.join(FILE), 0o600)] {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(
                fs::metadata(&path).expect("there").permissions().mode() & 0o777,
                mode,
                "{path:?}"
            );
        }
        for wrong in ["", "{", "{}", r#"{"epoch":"-","mark":"","last":null}"#] {
            fs::write(inside.join(FILE), wrong).expect("written");
            assert_eq!(read(&inside), None, "{wrong}");
        }
        let padded = format!(
            r#"{{"epoch":"a1","mark":"","last":null}}{}"#,
            " ".repeat(1 << 20)
        );
        fs::write(inside.join(FILE), padded).expect("written");
        assert_eq!(read(&inside), None, "it is longer than any that was kept");
    }
}
