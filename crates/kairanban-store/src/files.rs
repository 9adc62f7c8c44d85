//! The files of a server: who may read them, and that they are what they seem.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{StartError, StoreError};

/// Looks at a file, what SQLite puts beside it, and its folder. Returns what the owner should know.
///
/// # Errors
/// If one of them is a symbolic link, unless `follow_symlinks`: another user who may place one
/// would choose which file is written.
pub fn check_files(file: &Path, follow_symlinks: bool) -> Result<Vec<String>, StartError> {
    if file.as_os_str().as_encoded_bytes().ends_with(b"/") {
        return Err(names_folder(file));
    }
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
        let is_folder = Some(path) == folder.as_ref();
        check_kind(path, is_folder)?;
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

fn names_folder(path: &Path) -> StartError {
    StartError::Final(format!(
        "{} is a folder; name a file in it, as in sqlite://{}",
        path.display(),
        path.join("kairanban.db").display()
    ))
}

/// Refuses what is neither a folder nor a file where one has to be: a FIFO would be waited for, and
/// a device is not ours.
fn check_kind(path: &Path, is_folder: bool) -> Result<(), StartError> {
    // What a link points to counts, not the link.
    let Ok(metadata) = fs::metadata(path) else {
        return Ok(());
    };
    let kind = match kind(metadata.file_type()) {
        FileKind::Folder if is_folder => return Ok(()),
        FileKind::File if !is_folder => return Ok(()),
        FileKind::Folder => return Err(names_folder(path)),
        FileKind::File => "file",
        FileKind::Other(kind) => kind,
    };
    let path = path.display();
    Err(StartError::Final(if is_folder {
        format!(
            "{path} is a {kind}, not a folder, so the database cannot be in it: name another path"
        )
    } else {
        format!("{path} is a {kind}, not a file: name another path")
    }))
}

enum FileKind {
    Folder,
    File,
    Other(&'static str),
}

fn kind(kind: fs::FileType) -> FileKind {
    if kind.is_dir() {
        return FileKind::Folder;
    }
    if kind.is_file() {
        return FileKind::File;
    }
    FileKind::Other(special(kind))
}

#[cfg(unix)]
fn special(kind: fs::FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt as _;
    if kind.is_fifo() {
        "FIFO"
    } else if kind.is_socket() {
        "socket"
    } else {
        "device"
    }
}

#[cfg(not(unix))]
const fn special(_: fs::FileType) -> &'static str {
    "device"
}

/// Checks that SQLite may write the file and what it puts beside it, without doing it.
pub(crate) fn check_writable(file: &Path) -> Result<(), StartError> {
    let folder = folder(file).unwrap_or_else(|| ".".into());
    // What is not there yet is made in the nearest folder that is.
    let nearest = folder.ancestors().find(|folder| folder.exists());
    let nearest = nearest.unwrap_or_else(|| Path::new("."));
    let files = with_companions(file);
    let files = files
        .iter()
        .map(PathBuf::as_path)
        .filter(|path| path.exists());
    match std::iter::once(nearest)
        .chain(files)
        .find_map(|path| Some((path, may_write(path).err()?)))
    {
        None => Ok(()),
        Some((path, error)) => Err(StartError::Final(format!(
            "{} cannot be written ({error}): run as the user whom it belongs to, chown it, or name \
             another path",
            path.display()
        ))),
    }
}

#[cfg(unix)]
fn may_write(path: &Path) -> io::Result<()> {
    use rustix::fs::{Access, access};
    // Names are made in a folder by who may also pass it.
    let wanted = if path.is_dir() {
        Access::WRITE_OK | Access::EXEC_OK
    } else {
        Access::READ_OK | Access::WRITE_OK
    };
    Ok(access(path, wanted)?)
}

#[cfg(not(unix))]
fn may_write(path: &Path) -> io::Result<()> {
    if fs::metadata(path)?.permissions().readonly() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    Ok(())
}

/// Creates the folder, for the owner alone, and an empty file, which SQLite takes for a new
/// database; its companions get the mode of the file.
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
    ["", "-wal", "-shm", "-journal"].map(|ending| companion(file, ending))
}

/// Returns whether there is nothing in a file.
pub(crate) fn is_empty(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|metadata| metadata.len() == 0)
}

/// Returns the path of what lies beside a file, under its name with an ending.
pub(crate) fn companion(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(ending);
    name.into()
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
