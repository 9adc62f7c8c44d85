//! Reads the files that settings name. They are small: what never ends, or never begins, as a
//! device or a pipe does, would keep the server from starting without a word.

use std::{fs, io::Read as _, path::Path};

/// Longest file that holds a secret, in bytes.
pub(super) const SECRET_BYTES_MAX: u64 = 64 * 1024;
/// Longest configuration or template, in bytes.
pub(super) const TEXT_BYTES_MAX: u64 = 1024 * 1024;

/// Reads a regular file of at most `bytes_max`. The error follows the name of the file and "which".
pub(super) fn read(path: &Path, bytes_max: u64) -> Result<String, String> {
    // Asked first: to open a pipe waits for its writer.
    if !fs::metadata(path)
        .map_err(|error| cannot(&error))?
        .is_file()
    {
        return Err("cannot be read: it is not a regular file".to_owned());
    }
    let mut text = String::new();
    fs::File::open(path)
        .and_then(|file| file.take(bytes_max + 1).read_to_string(&mut text))
        .map_err(|error| cannot(&error))?;
    if text.len() as u64 > bytes_max {
        return Err(format!("is too long: at most {bytes_max} bytes"));
    }
    Ok(text)
}

fn cannot(error: &std::io::Error) -> String {
    format!("cannot be read: {}", error.kind())
}
