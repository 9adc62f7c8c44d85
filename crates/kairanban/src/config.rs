//! Reads the configuration, checks it once, and hands it down in pieces.
//!
//! `config/default.toml` is the bottom layer and holds every key, so the code knows no default of
//! its own: a key that is missing there, or unknown here, refuses to start.

mod addresses;
mod check;
mod composed;
mod durations;
mod env;
mod error;
mod layers;
mod settings;

use std::path::{Path, PathBuf};

use layers::Layers;

pub use addresses::origin;
pub use env::environment;
pub use error::ConfigError;
pub use settings::{
    BackplaneKind, Config, CorsSettings, LimitsSettings, RestSettings, SecretText, StreamSettings,
};

/// The file with every key and its default.
pub const DEFAULT: &str = include_str!("../../../config/default.toml");

/// Settings of the command line.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// The file, of `--config`.
    pub file: Option<PathBuf>,
    /// The address, of `--listen`.
    pub listen: Option<String>,
    /// The URL, of `--database-url`.
    pub database_url: Option<SecretText>,
}

impl Config {
    /// Merges the layers: defaults, file, environment, command line.
    ///
    /// # Errors
    /// If a key is unknown, or a value is not allowed.
    pub fn load(
        overrides: &Overrides,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut layers = Layers::new()?;
        let environment = env::Environment::read(environment, &layers)?;
        let by_variable = environment
            .get("KAIRANBAN_CONFIG")
            .map(|file| ("KAIRANBAN_CONFIG", Path::new(file)));
        let by_option = overrides.file.as_deref().map(|file| ("--config", file));
        if let Some((origin, file)) = by_option.or(by_variable) {
            layers.add_file(origin, file)?;
        }
        for variable in environment.keys() {
            layers.add_text(
                variable.origin(),
                &variable.section,
                &variable.key,
                &variable.value,
            )?;
        }
        if let Some(url) = environment.raw("DATABASE_URL") {
            layers.add_text(
                environment.origin_of("DATABASE_URL"),
                "database",
                "url",
                url,
            )?;
        }
        if let Some(url) = &overrides.database_url {
            layers.add_text("--database-url".to_owned(), "database", "url", url.expose())?;
        }
        if let Some(listen) = &overrides.listen {
            layers.add_text("--listen".to_owned(), "server", "listen", listen)?;
        }
        let mut config = layers.read()?;
        if let Some(port) = environment
            .get("PORT")
            .filter(|_| overrides.listen.is_none())
        {
            let port = port
                .parse()
                .map_err(|_| ConfigError::invalid("PORT", "is a number up to 65535"))?;
            config.server.listen.set_port(port);
        }
        config.check().map_err(|error| layers.locate(error))?;
        Ok(config)
    }
}

#[cfg(test)]
mod tests;
