//! The environment: which variables are ours, and those that name a file with the value.

use std::{collections::HashMap, fs, io::Read as _, path::Path};

use super::{ConfigError, error::suggestion, layers::Layers};

const PREFIX: &str = "KAIRANBAN_";
const FILE: &str = "_FILE";
/// Not keys of the file: where it is, and what the client reads.
const OTHERS: [&str; 3] = ["KAIRANBAN_CONFIG", "KAIRANBAN_URL", "KAIRANBAN_TOKEN"];
/// Without our prefix, as platforms set them.
const PLAIN: [&str; 2] = ["DATABASE_URL", "PORT"];
/// Bound of a file that holds a secret.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// The variables of this process.
///
/// # Errors
/// If one of ours is not Unicode.
pub fn environment() -> Result<Vec<(String, String)>, ConfigError> {
    let mut variables = Vec::new();
    for (name, value) in std::env::vars_os() {
        // Of other programs' variables nothing has to be known.
        let Ok(name) = name.into_string() else {
            continue;
        };
        match value.into_string() {
            Ok(value) => variables.push((name, value)),
            Err(_) if is_ours(&name) => return Err(unreadable(&name, "is not Unicode")),
            Err(_) => {}
        }
    }
    Ok(variables)
}

fn is_ours(name: &str) -> bool {
    let base = name.strip_suffix(FILE).unwrap_or(name);
    name.starts_with(PREFIX) || PLAIN.contains(&base)
}

/// What Kubernetes and compose set by themselves for a service that is called kairanban, and what the tests of this
/// project read.
fn is_of_others(name: &str) -> bool {
    let rest = name.strip_prefix(PREFIX).unwrap_or_default();
    rest == "PORT"
        || ["PORT_", "SERVICE_", "TEST_"]
            .iter()
            .any(|prefix| rest.starts_with(prefix))
}

/// A key that is set by a variable.
#[derive(Debug)]
pub(super) struct Variable {
    name: String,
    pub(super) section: String,
    pub(super) key: String,
    pub(super) value: String,
}

impl Variable {
    pub(super) fn origin(&self) -> String {
        self.name.clone()
    }
}

/// What the environment says.
#[derive(Debug, Default)]
pub(super) struct Environment {
    keys: Vec<Variable>,
    /// The others, by name without `_FILE`, with the name as it was set.
    others: HashMap<String, (String, String)>,
}

impl Environment {
    /// Sorts the variables, and reads the files that some of them name.
    pub(super) fn read(
        variables: impl IntoIterator<Item = (String, String)>,
        layers: &Layers,
    ) -> Result<Self, ConfigError> {
        let mut read = Self::default();
        let mut ours: Vec<_> = variables
            .into_iter()
            .filter(|(name, _)| is_ours(name) && !is_of_others(name))
            .collect();
        ours.sort();
        for (name, value) in &ours {
            let base = name.strip_suffix(FILE).unwrap_or(name);
            let twice = || {
                unreadable(
                    name,
                    &format!("stands beside {base}; only one of them can count"),
                )
            };
            if base != name
                && ours
                    .iter()
                    .any(|(other, value)| other == base && !value.is_empty())
            {
                return Err(twice());
            }
            let value = || {
                if base == name {
                    Ok(value.clone())
                } else {
                    read_file(name, value)
                }
            };
            if OTHERS.contains(&name.as_str()) || PLAIN.contains(&base) {
                read.others
                    .insert(base.to_owned(), (name.clone(), value()?));
            } else if let Some((section, key)) = layers.key_of(&base[PREFIX.len()..]) {
                read.keys.push(Variable {
                    name: name.clone(),
                    section,
                    key,
                    value: value()?,
                });
            } else {
                return Err(unknown(name, layers));
            }
        }
        Ok(read)
    }

    pub(super) fn keys(&self) -> &[Variable] {
        &self.keys
    }

    /// What a variable that is no key says, if it says anything.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.others
            .get(name)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// The name under which it was set.
    pub(super) fn origin_of(&self, name: &str) -> String {
        self.others
            .get(name)
            .map_or_else(|| name.to_owned(), |(as_set, _)| as_set.clone())
    }
}

fn unreadable(name: &str, reason: &str) -> ConfigError {
    ConfigError::Unreadable {
        origin: name.to_owned(),
        reason: reason.to_owned(),
    }
}

fn unknown(name: &str, layers: &Layers) -> ConfigError {
    let known: Vec<_> = layers
        .variables()
        .chain(OTHERS.map(str::to_owned))
        .collect();
    let hint = suggestion(name, known.iter().map(String::as_str));
    let service = if name.contains("_SERVICE_") || name.contains("_PORT") {
        ". If Kubernetes sets it for another service: enableServiceLinks: false"
    } else {
        ""
    };
    unreadable(name, &format!("is no variable of kairanban{hint}{service}"))
}

fn read_file(name: &str, path: &str) -> Result<String, ConfigError> {
    // Somebody may have put the secret itself here, so only what can hardly be one is shown.
    let is_plain = Path::new(path).is_absolute() && !path.contains(['@', ':']);
    let shown = if is_plain {
        format!("names {path}")
    } else {
        "names a file".to_owned()
    };
    let failed = |reason: &str| unreadable(name, &format!("{shown}, which {reason}"));
    let mut text = String::new();
    let file = fs::File::open(path)
        .map_err(|error| failed(&format!("cannot be read: {}", error.kind())))?;
    let read = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
    read.map_err(|error| failed(&format!("cannot be read: {}", error.kind())))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(failed("is too long for a value"));
    }
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
