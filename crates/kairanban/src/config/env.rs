//! Reads the environment: the variables that set keys, and those that name a file with the value.

use std::{collections::HashMap, path::Path};

use super::{
    ConfigError,
    error::{names_file, suggestion},
    layers::Layers,
};
use crate::small_file::{self, SECRET_BYTES_MAX};

const PREFIX: &str = "KAIRANBAN_";
const FILE: &str = "_FILE";
/// Variables that set no key: where the file is, and what the client reads.
const OTHERS: [&str; 3] = ["KAIRANBAN_CONFIG", "KAIRANBAN_URL", "KAIRANBAN_TOKEN"];
/// Variables without our prefix, as platforms set them.
const PLAIN: [&str; 2] = ["DATABASE_URL", "PORT"];

/// Returns the variables of this process.
///
/// # Errors
/// If one of ours is not Unicode.
pub fn environment() -> Result<Vec<(String, String)>, ConfigError> {
    let mut variables = Vec::new();
    for (name, value) in std::env::vars_os() {
        // Other programs' variables may have any name.
        let Ok(name) = name.into_string() else {
            continue;
        };
        match value.into_string() {
            Ok(value) => variables.push((name, value)),
            Err(_) if is_ours(&name) => {
                return Err(ConfigError::unreadable(name, "is not Unicode"));
            }
            Err(_) => {}
        }
    }
    Ok(variables)
}

fn is_ours(name: &str) -> bool {
    let base = name.strip_suffix(FILE).unwrap_or(name);
    name.starts_with(PREFIX) || PLAIN.contains(&base)
}

/// Returns whether Kubernetes or compose set this for a service called kairanban, or the tests of
/// this project read it.
fn is_of_others(name: &str) -> bool {
    let rest = name.strip_prefix(PREFIX).unwrap_or_default();
    rest == "PORT"
        || ["PORT_", "SERVICE_", "TEST_"]
            .iter()
            .any(|prefix| rest.starts_with(prefix))
}

/// A key that is set by a variable.
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

/// The variables that count, sorted by kind.
#[derive(Default)]
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
            if base != name
                && ours
                    .iter()
                    .any(|(other, value)| other == base && !value.is_empty())
            {
                return Err(ConfigError::unreadable(
                    name,
                    format!("is set beside {base}; only one of them can count"),
                ));
            }
            let is_set_by_file = ours
                .iter()
                .any(|(other, _)| other.strip_suffix(FILE) == Some(name));
            if value.is_empty() && is_set_by_file {
                continue;
            }
            if OTHERS.contains(&name.as_str()) || PLAIN.contains(&base) {
                let value = value_of(name, value)?;
                read.others.insert(base.to_owned(), (name.clone(), value));
            } else if let Some((section, key)) = layers.key_of(&base[PREFIX.len()..]) {
                read.keys.push(Variable {
                    name: name.clone(),
                    section,
                    key,
                    value: value_of(name, value)?,
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

    /// Returns the value of a variable that sets no key, also if it is empty.
    pub(super) fn raw(&self, name: &str) -> Option<&str> {
        self.others.get(name).map(|(_, value)| value.as_str())
    }

    /// Returns the value of a variable that sets no key, unless it is empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.raw(name).filter(|value| !value.is_empty())
    }

    /// Returns the name under which it was set.
    pub(super) fn origin_of(&self, name: &str) -> String {
        self.others
            .get(name)
            .map_or_else(|| name.to_owned(), |(as_set, _)| as_set.clone())
    }
}

fn unknown(name: &str, layers: &Layers) -> ConfigError {
    let known: Vec<_> = layers
        .variables()
        .chain(OTHERS.map(str::to_owned))
        .collect();
    let hint = if name.contains("_SERVICE_") || name.contains("_PORT") {
        ". If Kubernetes sets it for another service: enableServiceLinks: false".to_owned()
    } else {
        suggestion(name, known.iter().map(String::as_str))
    };
    ConfigError::unreadable(name, format!("is not a variable of kairanban{hint}"))
}

/// Returns the value of the variable, or the text of the file that it names.
fn value_of(name: &str, value: &str) -> Result<String, ConfigError> {
    if name.ends_with(FILE) {
        read_file(value).map_err(|reason| ConfigError::unreadable(name, reason))
    } else {
        Ok(value.to_owned())
    }
}

/// Reads a value from a file; the error says what is wrong with the file.
fn read_file(path: &str) -> Result<String, String> {
    let shown = names_file(Path::new(path));
    let text = small_file::read(Path::new(path), SECRET_BYTES_MAX)
        .map_err(|reason| format!("{shown}, which {reason}"))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
