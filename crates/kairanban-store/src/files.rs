//! The files of a server: who may read them, and that they are what they seem.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{StartError, StoreError};

/// Looks at a file, what SQLite puts beside it, and its folder. Returns what the owner should know.
///
/// # Errors
/// If one of them is a symbolic link, unless `follow_symlinks`: another user who may place one would choose which file is written.
pub fn check_files(file: &Path, follow_symlinks: bool) -> Result<Vec<String>, StartError> {
    let mut warnings = Vec::new();
    let folder = folder(file);
    for path in folder.iter().chain(&with_companions(file)) {
        let Some(metadata) = found(path)? else {
            continue;
        };
        if metadata.is_symlink() && !follow_symlinks {
            return Err(StartError::Final(format!(
                "{} is a symbolic link; name what it points to, or set database.follow_symlinks = \
                 true",
                path.display()
            )));
        }
        // What a link points to counts, not the link.
        let is_folder = Some(path) == folder.as_ref();
        if is_folder != path.is_dir() {
            return Err(StartError::Final(if is_folder {
                format!(
                    "{} is no folder; the database cannot be in it",
                    path.display()
                )
            } else {
                format!(
                    "{0} is a folder; name a file in it, as in sqlite://{0}/kairanban.db",
                    path.display()
                )
            }));
        }
        let open_to_others = fs::metadata(path)
            .ok()
            .and_then(|metadata| open_to_others(&metadata));
        if let Some(mode) = open_to_others.filter(|_| !is_folder || path.as_os_str() != ".") {
            let wanted = if is_folder { "700" } else { "600" };
            warnings.push(format!(
                "{} is open to other users (mode {mode:o}): chmod {wanted} {0}",
                path.display()
            ));
        }
    }
    Ok(warnings)
}

/// Creates the folder, for the owner alone, and an empty file, which SQLite takes for a new database; its companions
/// get the mode of the file.
pub(crate) fn make(file: &Path) -> Result<(), StoreError> {
    if let Some(folder) = folder(file).filter(|folder| !folder.exists()) {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder
            .create(&folder)
            .map_err(|error| cannot_make(&folder, &error))?;
    }
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(file) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(cannot_make(file, &error))
        }
        _ => Ok(()),
    }
}

fn cannot_make(path: &Path, error: &io::Error) -> StoreError {
    StoreError::Internal(format!("cannot make {}: {error}", path.display()))
}

fn folder(file: &Path) -> Option<PathBuf> {
    file.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .map(Path::to_path_buf)
}

fn with_companions(file: &Path) -> [PathBuf; 4] {
    ["", "-wal", "-shm", "-journal"].map(|ending| {
        let mut name = file.as_os_str().to_owned();
        name.push(ending);
        name.into()
    })
}

fn found(path: &Path) -> Result<Option<fs::Metadata>, StartError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StartError::Final(format!(
            "cannot look at {}: {error}",
            path.display()
        ))),
    }
}

#[cfg(unix)]
fn open_to_others(metadata: &fs::Metadata) -> Option<u32> {
    let mode = std::os::unix::fs::MetadataExt::mode(metadata) & 0o777;
    (mode & 0o077 != 0).then_some(mode)
}

#[cfg(not(unix))]
const fn open_to_others(_: &fs::Metadata) -> Option<u32> {
    None
}
