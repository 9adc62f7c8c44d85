//! Defaults, file, environment and command line, one over the other, with a note of where each value is from.

use std::{collections::HashMap, fs, path::Path};

use toml::{
    Table, Value,
    de::{DeTable, DeValue},
};

use super::{Config, ConfigError, DEFAULT, error::suggestion};

/// Values by section and key, and where each is from.
#[derive(Debug)]
pub(super) struct Layers {
    merged: Table,
    origins: HashMap<String, String>,
}

impl Layers {
    /// The defaults. They hold every key, so they say which there are and of which kind.
    pub(super) fn new() -> Result<Self, ConfigError> {
        let merged = DEFAULT
            .parse()
            .map_err(|error: toml::de::Error| ConfigError::Unreadable {
                origin: "the defaults".to_owned(),
                reason: error.message().to_owned(),
            })?;
        Ok(Self {
            merged,
            origins: HashMap::new(),
        })
    }

    /// The section and the key that a variable names, without its prefix: `LIMITS__STREAMS_MAX`.
    pub(super) fn key_of(&self, name: &str) -> Option<(String, String)> {
        let (section, key) = name.split_once("__")?;
        let (section, key) = (section.to_lowercase(), key.to_lowercase());
        self.get(&section, &key).is_some().then_some((section, key))
    }

    /// The names of the variables that set keys.
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

    /// Puts a file on top.
    pub(super) fn add_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let file = path.display();
        let failed = |origin: String, reason: String| ConfigError::Unreadable { origin, reason };
        let text = fs::read_to_string(path).map_err(|error| {
            failed(
                file.to_string(),
                format!("cannot be read: {}", error.kind()),
            )
        })?;
        let at = |offset: usize| {
            format!(
                "{file}, line {}",
                text[..offset.min(text.len())].matches('\n').count() + 1
            )
        };
        // The parser's own words would quote the line.
        let wrong = |error: toml::de::Error| {
            let place = at(error.span().map_or(0, |span| span.start));
            failed(
                place,
                "this is no TOML; a text stands in quotes, as in key = \"text\"".to_owned(),
            )
        };
        let places = DeTable::parse(&text).map_err(wrong)?;
        for (section, keys) in places.get_ref() {
            let (place, section) = (at(section.span().start), section.get_ref().as_ref());
            let known = self.merged.keys().map(String::as_str);
            if !self.merged.contains_key(section) {
                // What stands above the first section looks like a section, too.
                let hint = suggestion(section, known);
                return Err(failed(
                    place,
                    format!("there is no section [{}]{hint}", shown(section)),
                ));
            }
            let DeValue::Table(keys) = keys.get_ref() else {
                return Err(failed(
                    place,
                    format!("{section} is a section: write [{section}] on a line of its own"),
                ));
            };
            for (key, value) in keys {
                let (place, key) = (at(key.span().start), key.get_ref().as_ref());
                let Some(default) = self.get(section, key) else {
                    let hint =
                        suggestion(key, self.merged.get(section).into_iter().flat_map(keys_of));
                    return Err(failed(
                        place,
                        format!("[{section}] has no key {}{hint}", shown(key)),
                    ));
                };
                let value = of_kind(default, value.get_ref()).ok_or_else(|| {
                    failed(place.clone(), format!("{section}.{key} {}", kind(default)))
                })?;
                self.set(place, section, key, value);
            }
        }
        Ok(())
    }

    /// Puts a value on top that is written as text.
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
        let parts = || {
            text.split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty())
        };
        let value = match default {
            Value::String(_) => Some(Value::String(text.to_owned())),
            Value::Integer(_) => text.parse().ok().map(Value::Integer),
            Value::Boolean(_) => text.to_ascii_lowercase().parse().ok().map(Value::Boolean),
            Value::Array(_) => Some(Value::Array(
                parts().map(|part| Value::String(part.to_owned())).collect(),
            )),
            _ => None,
        };
        let wrong = || ConfigError::Unreadable {
            origin: origin.clone(),
            reason: format!("{section}.{key} {}", kind(default)),
        };
        let value = value.ok_or_else(wrong)?;
        self.set(origin, section, key, value);
        Ok(())
    }

    /// The configuration that the layers come to.
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
            ConfigError::Unreadable {
                origin: self.origin_of(&key),
                reason: format!("{key}: {reason}"),
            }
        })
    }

    /// Adds to an error where its value is from.
    pub(super) fn locate(&self, error: ConfigError) -> ConfigError {
        match error {
            ConfigError::Invalid { key, reason } if self.origins.contains_key(key) => {
                ConfigError::Unreadable {
                    origin: self.origin_of(key),
                    reason: format!("{key}: {reason}"),
                }
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

/// A name from the file, unless it is more than a name can be: a URL in quotes is a key, too.
fn shown(name: &str) -> &str {
    let is_name = name.len() <= 40
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if is_name { name } else { "of this name" }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "is a text, in quotes",
        Value::Integer(_) => "is a whole number",
        Value::Boolean(_) => "is true or false",
        _ => "is a list of texts, as in [\"a\", \"b\"]",
    }
}

/// A value of the file, if it is of the same kind as the default.
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
            let text = |value: &toml::Spanned<DeValue<'_>>| {
                value
                    .get_ref()
                    .as_str()
                    .map(|text| Value::String(text.to_owned()))
            };
            values
                .iter()
                .map(text)
                .collect::<Option<Vec<_>>>()
                .map(Value::Array)
        }
        _ => None,
    }
}
