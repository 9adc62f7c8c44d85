//! Small files in the data folder, which only this user may read.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write as _},
    path::Path,
};

/// Replaces a file atomically, and creates the folder if it is missing.
///
/// # Errors
/// If the folder or the file cannot be written.
pub fn rewrite(folder: &Path, name: &str, text: &str) -> io::Result<()> {
    let mut make = DirBuilder::new();
    make.recursive(true);
    let mut open = OpenOptions::new();
    open.write(true).create_new(true);
    #[cfg(unix)]
    {
        std::os::unix::fs::DirBuilderExt::mode(&mut make, 0o700);
        std::os::unix::fs::OpenOptionsExt::mode(&mut open, 0o600);
    }
    make.create(folder)?;
    // A name of this process alone, as another may share the folder. A file of a killed process
    // with the same id is old.
    let written = folder.join(format!("{name}.{}", std::process::id()));
    match fs::remove_file(&written) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    open.open(&written)?.write_all(text.as_bytes())?;
    fs::rename(&written, folder.join(name))
}
