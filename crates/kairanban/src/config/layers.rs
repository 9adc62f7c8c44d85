//! Merges defaults, file, environment and command line, and remembers where each value is from.

use std::{borrow::Cow, collections::HashMap, path::Path};

use toml::{
    Spanned, Table, Value,
    de::{DeTable, DeValue},
};

use super::{
    Config, ConfigError, DEFAULT,
    error::{names_file, suggestion},
};
use crate::small_file::{self, TEXT_BYTES_MAX};

/// Keys whose values are not shown. What sets one of them to nothing is a mistake, like a secret
/// that was not mounted: without a URL the server would begin with an embedded database that is
/// empty.
const SECRETS: [(&str, &str); 4] = [
    ("database", "url"),
    ("database", "listen_url"),
    ("backplane", "redis_url"),
    ("backplane", "redis_key"),
];

/// Values by section and key, and where each is from.
pub(super) struct Layers {
    merged: Table,
    origins: HashMap<String, String>,
}

impl Layers {
    /// Starts with the defaults. They hold every key, which defines the keys and their kinds.
    pub(super) fn new() -> Result<Self, ConfigError> {
        let merged = DEFAULT.parse().map_err(|error: toml::de::Error| {
            ConfigError::unreadable("the defaults", error.message())
        })?;
        Ok(Self {
            merged,
            origins: HashMap::new(),
        })
    }

    /// Returns the section and the key that a variable sets. `name` is without its prefix:
    /// `LIMITS__STREAMS_MAX`.
    pub(super) fn key_of(&self, name: &str) -> Option<(String, String)> {
        let (section, key) = name.split_once("__")?;
        let (section, key) = (section.to_lowercase(), key.to_lowercase());
        self.get(&section, &key).is_some().then_some((section, key))
    }

    /// Returns the names of the variables that set keys.
    pub(super) fn variables(&self) -> impl Iterator<Item = String> + '_ {
        let keys = self
            .merged
            .iter()
            .flat_map(|(section, keys)| keys_of(keys).map(move |key| (section, key)));
        keys.map(|(section, key)| {
            format!(
                "KAIRANBAN_{}__{}",
                section.to_uppercase(),
                key.to_uppercase()
            )
        })
    }

    /// Adds the values of a file, which `origin` names: an option or a variable.
    pub(super) fn add_file(&mut self, origin: &str, path: &Path) -> Result<(), ConfigError> {
        let text = small_file::read(path, TEXT_BYTES_MAX).map_err(|reason| {
            ConfigError::unreadable(origin, format!("{}, which {reason}", names_file(path)))
        })?;
        let lines = Lines { path, text: &text };
        let sections = DeTable::parse(&text).map_err(|error| {
            // The parser's own words would quote the line.
            lines.error(
                error.span().map_or(0, |span| span.start),
                "this is not TOML; put texts in quotes, as in key = \"text\"",
            )
        })?;
        // In the order of their lines, so that the first mistake is named.
        for (section, keys) in by_line(sections.get_ref()) {
            let (at, section) = (section.span().start, section.get_ref().as_ref());
            if !self.merged.contains_key(section) {
                // A key above the first section looks like a section, too.
                let hint = suggestion(section, self.merged.keys().map(String::as_str));
                let reason = format!("there is no section of this name{hint}");
                return Err(lines.error(at, &reason));
            }
            let DeValue::Table(keys) = keys.get_ref() else {
                let reason =
                    format!("{section} is a section: write [{section}] on a line of its own");
                return Err(lines.error(at, &reason));
            };
            for (key, value) in by_line(keys) {
                let (at, key) = (key.span().start, key.get_ref().as_ref());
                let value = self
                    .checked(section, key, value.get_ref())
                    .map_err(|reason| lines.error(at, &reason))?;
                self.set(lines.origin(at), section, key, value);
            }
        }
        Ok(())
    }

    /// Returns a value of the file if there is such a key and the value is of its kind; otherwise
    /// what is wrong.
    fn checked(&self, section: &str, key: &str, value: &DeValue<'_>) -> Result<Value, String> {
        let Some(default) = self.get(section, key) else {
            let known = self.merged.get(section).into_iter().flat_map(keys_of);
            let hint = suggestion(key, known);
            return Err(format!("[{section}] has no key of this name{hint}"));
        };
        of_kind(default, value).ok_or_else(|| format!("{section}.{key} {}", kind(default)))
    }

    /// Adds one value, which is written as text.
    pub(super) fn add_text(
        &mut self,
        origin: String,
        section: &str,
        key: &str,
        text: &str,
    ) -> Result<(), ConfigError> {
        let Some(default) = self.get(section, key) else {
            return Ok(());
        };
        let text = text.trim_matches(' ');
        if SECRETS.contains(&(section, key)) && text.trim().is_empty() {
            let reason = format!(
                "sets {section}.{key} to nothing (a secret that was not mounted?); leave it out \
                 if the default is meant"
            );
            return Err(ConfigError::unreadable(origin, reason));
        }
        let value = match default {
            Value::String(_) => Some(Value::String(text.to_owned())),
            Value::Integer(_) => text.parse().ok().map(Value::Integer),
            Value::Boolean(_) => text.to_ascii_lowercase().parse().ok().map(Value::Boolean),
            Value::Array(_) => {
                let entries = text.split(',').map(str::trim);
                let entries = entries.filter(|entry| !entry.is_empty());
                Some(Value::Array(
                    entries
                        .map(|entry| Value::String(entry.to_owned()))
                        .collect(),
                ))
            }
            _ => None,
        };
        let Some(value) = value else {
            let reason = format!("{section}.{key} {}", kind(default));
            return Err(ConfigError::unreadable(origin, reason));
        };
        self.set(origin, section, key, value);
        Ok(())
    }

    /// Reads the configuration from the merged layers.
    pub(super) fn read(&self) -> Result<Config, ConfigError> {
        let deserializer = Value::Table(self.merged.clone());
        serde_path_to_error::deserialize(deserializer).map_err(|error| {
            let key = error.path().to_string();
            let mut reason = match key.as_str() {
                "server.listen" => {
                    "expected an IP address and a port, as in 127.0.0.1:8080".to_owned()
                }
                _ => error.inner().message().to_owned(),
            };
            // A text may have been meant for another key, and be a secret there.
            let value = key
                .split_once('.')
                .and_then(|(section, key)| self.get(section, key.split(['[', '.']).next()?));
            for text in value.into_iter().flat_map(texts) {
                reason = reason.replace(text, "this");
            }
            if let Some(Value::Integer(number)) = value {
                reason = reason.replace(&format!("integer `{number}`"), "this number");
            }
            ConfigError::unreadable(self.origin_of(&key), format!("{key}: {reason}"))
        })
    }

    /// Adds the origin of the value to an error.
    pub(super) fn locate(&self, error: ConfigError) -> ConfigError {
        match error {
            ConfigError::Invalid { key, reason } if self.origins.contains_key(key) => {
                ConfigError::unreadable(self.origin_of(key), format!("{key}: {reason}"))
            }
            other => other,
        }
    }

    fn origin_of(&self, key: &str) -> String {
        let key = key.split('[').next().unwrap_or(key);
        self.origins
            .get(key)
            .cloned()
            .unwrap_or_else(|| "the defaults".to_owned())
    }

    fn get(&self, section: &str, key: &str) -> Option<&Value> {
        self.merged.get(section)?.get(key)
    }

    fn set(&mut self, origin: String, section: &str, key: &str, value: Value) {
        if let Some(slot) = self
            .merged
            .get_mut(section)
            .and_then(|keys| keys.get_mut(key))
        {
            *slot = value;
            self.origins.insert(format!("{section}.{key}"), origin);
        }
    }
}

/// A file, to name its lines in errors.
struct Lines<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Lines<'_> {
    /// Names the line with the byte at `offset`.
    fn origin(&self, offset: usize) -> String {
        let before = &self.text[..offset.min(self.text.len())];
        let line = before.matches('\n').count() + 1;
        format!("{}, line {line}", self.path.display())
    }

    fn error(&self, offset: usize, reason: &str) -> ConfigError {
        ConfigError::unreadable(self.origin(offset), reason)
    }
}

fn keys_of(section: &Value) -> impl Iterator<Item = &str> {
    section
        .as_table()
        .into_iter()
        .flat_map(Table::keys)
        .map(String::as_str)
}

fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) if !text.is_empty() => vec![text],
        Value::Array(values) => values.iter().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

/// Returns the entries in the order of their places in the file.
fn by_line<'t, 'f>(
    table: &'t DeTable<'f>,
) -> Vec<(&'t Spanned<Cow<'f, str>>, &'t Spanned<DeValue<'f>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    entries
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "must be a text, in quotes",
        Value::Integer(_) => "must be a whole number",
        Value::Boolean(_) => "must be true or false",
        _ => "must be a list of texts, as in [\"a\", \"b\"]",
    }
}

/// Returns a value of the file, if it is of the same kind as the default.
fn of_kind(default: &Value, value: &DeValue<'_>) -> Option<Value> {
    match (default, value) {
        (Value::String(_), DeValue::String(text)) => Some(Value::String(text.clone().into_owned())),
        (Value::Integer(_), DeValue::Integer(number)) => {
            i64::from_str_radix(&number.as_str().replace('_', ""), number.radix())
                .ok()
                .map(Value::Integer)
        }
        (Value::Boolean(_), DeValue::Boolean(value)) => Some(Value::Boolean(*value)),
        (Value::Array(_), DeValue::Array(values)) => {
            let texts = values.iter().map(|value| value.get_ref().as_str());
            texts
                .map(|text| Some(Value::String(text?.to_owned())))
                .collect::<Option<Vec<_>>>()
                .map(Value::Array)
        }
        _ => None,
    }
}
