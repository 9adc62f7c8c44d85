//! Checks what the types of the keys cannot say.

use url::Host;

use super::{Config, ConfigError, origin};

/// Below this a key can be guessed.
const REDIS_KEY_BYTES_MIN: usize = 16;

impl Config {
    /// Checks the values of single keys, and what two keys have to agree on.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        self.default_board()?;
        self.address()?;
        self.listen_address()?;
        self.backplane_addresses()?;
        self.metrics_address()?;
        self.topic_template()?;
        self.time_zone()?;
        if let Some(index) = self
            .cors
            .origins
            .iter()
            .position(|text| origin(text).is_none())
        {
            let reason = format!(
                "entry {} is not an origin; write https://host or http://host:port, without a path",
                index + 1
            );
            return Err(ConfigError::invalid("cors.origins", reason));
        }
        if !self.server.public_url.is_empty() && self.public_origin().is_none() {
            return Err(ConfigError::invalid(
                "server.public_url",
                "is not the address of a site; write https://host or http://host:port, without a path",
            ));
        }
        if let Some(index) = self
            .server
            .hosts
            .iter()
            .position(|host| Host::parse(host).is_err())
        {
            return Err(ConfigError::invalid(
                "server.hosts",
                format!(
                    "entry {} is not a host name; write it without a port",
                    index + 1
                ),
            ));
        }
        if self.database.write_group_wait >= self.database.write_wait {
            return Err(ConfigError::invalid(
                "database.write_group_wait_ms",
                "must be below database.write_wait_ms",
            ));
        }
        if self.server.data_dir.to_string_lossy().contains("://") {
            return Err(ConfigError::invalid(
                "server.data_dir",
                "is a folder; the URL goes to database.url",
            ));
        }
        if (1..REDIS_KEY_BYTES_MIN).contains(&self.backplane.redis_key.expose().len()) {
            return Err(ConfigError::invalid(
                "backplane.redis_key",
                format!(
                    "must have at least {REDIS_KEY_BYTES_MIN} characters; \
                     `openssl rand -hex 32` makes one"
                ),
            ));
        }
        if self.stream.retry_min > self.stream.retry_max {
            return Err(ConfigError::invalid(
                "stream.retry_min_ms",
                "must not be above stream.retry_max_ms",
            ));
        }
        Ok(())
    }
}
