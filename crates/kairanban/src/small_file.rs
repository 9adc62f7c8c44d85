//! Reads small files: those that settings name, and those in the data folder. What never ends, or
//! never begins, as a device or a pipe does, would keep the server from starting without a word.

use std::{fs, io, io::Read as _, path::Path};

/// Longest file that holds a secret, or where the server was, in bytes.
pub const SECRET_BYTES_MAX: u64 = 64 * 1024;
/// Longest configuration or template, in bytes.
pub const TEXT_BYTES_MAX: u64 = 1024 * 1024;

/// Reads a regular file of at most `bytes_max`.
///
/// # Errors
/// If it cannot be read, in words that follow the name of the file and "which".
pub fn read(path: &Path, bytes_max: u64) -> Result<String, String> {
    read_if_there(path, bytes_max)?.ok_or_else(|| cannot(io::ErrorKind::NotFound))
}

/// Reads a file as [`read`] does. Returns `None` if there is no such file.
///
/// # Errors
/// As those of [`read`].
pub fn read_if_there(path: &Path, bytes_max: u64) -> Result<Option<String>, String> {
    // Asked first: to open a pipe waits for its writer.
    let metadata = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        metadata => metadata.map_err(|error| cannot(error.kind()))?,
    };
    if !metadata.is_file() {
        return Err("cannot be read: it is not a regular file".to_owned());
    }
    let mut text = String::new();
    fs::File::open(path)
        .and_then(|file| file.take(bytes_max + 1).read_to_string(&mut text))
        .map_err(|error| cannot(error.kind()))?;
    if text.len() as u64 > bytes_max {
        return Err(format!("is too long: at most {bytes_max} bytes"));
    }
    Ok(Some(text))
}

fn cannot(kind: io::ErrorKind) -> String {
    format!("cannot be read: {kind}")
}
