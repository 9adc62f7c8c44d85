//! What the types of the keys cannot say.

use super::{Config, ConfigError};

/// Below this a key can be guessed.
const REDIS_KEY_BYTES_MIN: usize = 16;

impl Config {
    /// Checks what is one key's matter, and what two keys have to agree on.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        self.default_board()?;
        self.address()?;
        self.listen_address()?;
        self.backplane_addresses()?;
        self.topic_template()?;
        if let Some(place) = self
            .cors
            .origins
            .iter()
            .position(|origin| !is_origin(origin))
        {
            let reason = format!(
                "entry {} is no origin; write https://host or http://host:port, without a path",
                place + 1
            );
            return Err(ConfigError::Invalid {
                key: "cors.origins",
                reason,
            });
        }
        let wrong = |key, reason: &str| {
            Err(ConfigError::Invalid {
                key,
                reason: reason.to_owned(),
            })
        };
        if self.database.write_group_wait >= self.database.write_wait {
            return wrong(
                "database.write_group_wait_ms",
                "must be below database.write_wait_ms",
            );
        }
        if self.server.data_dir.to_string_lossy().contains("://") {
            return wrong(
                "server.data_dir",
                "is a folder; the URL goes to database.url",
            );
        }
        if (1..REDIS_KEY_BYTES_MIN).contains(&self.backplane.redis_key.expose().len()) {
            let reason = format!(
                "must have at least {REDIS_KEY_BYTES_MIN} characters; `openssl rand -hex 32` makes \
                 one"
            );
            return Err(ConfigError::Invalid {
                key: "backplane.redis_key",
                reason,
            });
        }
        if self.stream.retry_min > self.stream.retry_max {
            return wrong(
                "stream.retry_min_ms",
                "must not be above stream.retry_max_ms",
            );
        }
        Ok(())
    }
}

/// As a browser sends it: scheme, host and perhaps port. A `*` would let everybody in.
fn is_origin(text: &str) -> bool {
    let host = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"))
        .unwrap_or_default();
    let fits = |byte: u8| {
        byte.is_ascii_lowercase()
            || byte.is_ascii_digit()
            || matches!(byte, b'.' | b'-' | b':' | b'[' | b']')
    };
    !host.is_empty() && host.bytes().all(fits)
}
