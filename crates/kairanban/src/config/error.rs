//! What is wrong with the configuration. No message repeats a value: it may be a password that was
//! put in the wrong place.

use std::path::Path;

use thiserror::Error;

/// What keeps the server from starting.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// A file, or a value, that cannot be read.
    #[error("{origin}: {reason}")]
    Unreadable {
        /// The file and the line in it, the environment variable, or the option of the command
        /// line.
        origin: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A value that is not allowed.
    #[error("{key}: {reason}")]
    Invalid {
        /// The key, as in `board.default`.
        key: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl ConfigError {
    /// Creates the error of a value that is read, but not allowed.
    pub(super) fn invalid(key: &'static str, reason: impl Into<String>) -> Self {
        Self::Invalid {
            key,
            reason: reason.into(),
        }
    }

    /// Creates the error of what cannot be read, at `origin`: a place in a file, a variable, an
    /// option.
    pub(super) fn unreadable(origin: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Unreadable {
            origin: origin.into(),
            reason: reason.into(),
        }
    }
}

/// Says which file a value names. The value may be a secret that was put there by mistake, so only
/// what hardly can be one is shown.
pub(super) fn names_file(path: &Path) -> String {
    let shown = path
        .to_str()
        .filter(|text| path.is_absolute() && !text.contains(['@', ':', '?', '=', '+', ' ']));
    shown.map_or_else(|| "names a file".to_owned(), |path| format!("names {path}"))
}

/// Returns the known name that is most like `name`, as a hint to follow a sentence. A name without
/// its section is most like the key.
pub(super) fn suggestion<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    const ALIKE_MIN: f64 = 0.8;
    let alike = known
        .into_iter()
        .map(|known| (likeness(name, known), known));
    let nearest = alike
        .filter(|(alike, _)| *alike >= ALIKE_MIN)
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    nearest
        .map(|(_, known)| format!("; did you mean {known}?"))
        .unwrap_or_default()
}

fn likeness(name: &str, known: &str) -> f64 {
    // What all variables begin with makes none of them alike.
    let [name, known] = [name, known].map(|name| name.strip_prefix("KAIRANBAN").unwrap_or(name));
    let key = known.rsplit("__").next().unwrap_or(known);
    let is_key = known != key
        && name
            .strip_suffix(key)
            .is_some_and(|rest| rest.ends_with('_'));
    let similarity = strsim::jaro_winkler(name, known);
    // Of several keys the one that explains most of the name.
    if is_key {
        similarity + key.split('_').map(|_| 1.0).sum::<f64>()
    } else {
        similarity
    }
}
