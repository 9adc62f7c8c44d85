//! Parses the addresses and names in the configuration: the database, the backplane, the default
//! board.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use kairanban_core::BoardName;
use kairanban_store::{DatabaseAddress, url_fault};
use url::{Origin, Url};

use super::{BackplaneKind, Config, ConfigError};

impl Config {
    /// Parses the name of the board at `/`.
    ///
    /// # Errors
    /// If it is not a valid name of a board.
    pub fn default_board(&self) -> Result<BoardName, ConfigError> {
        let name: Result<_, kairanban_core::Invalid> = self.board.default.parse();
        name.map_err(|fault| ConfigError::invalid("board.default", fault.reason.to_string()))
    }

    /// Parses `server.public_url`. Returns `None` if it is empty, or no origin, which the check
    /// refuses.
    #[must_use]
    pub fn public_origin(&self) -> Option<Origin> {
        let url = &self.server.public_url;
        origin(url.strip_suffix('/').unwrap_or(url))
    }

    /// Parses the address of the database.
    ///
    /// # Errors
    /// If the URL is invalid.
    pub fn address(&self) -> Result<DatabaseAddress, ConfigError> {
        match self.database.url.expose() {
            "" => Ok(DatabaseAddress::Sqlite(
                self.server.data_dir.join("kairanban.db"),
            )),
            url => url
                .parse()
                .map_err(|reason: String| ConfigError::invalid("database.url", reason)),
        }
    }

    /// Parses the address for LISTEN and migrations, which bypasses a pooler.
    ///
    /// # Errors
    /// If the URL is invalid.
    pub fn listen_address(&self) -> Result<DatabaseAddress, ConfigError> {
        match self.database.listen_url.expose() {
            "" => self.address(),
            url => url
                .parse()
                .map_err(|reason: String| ConfigError::invalid("database.listen_url", reason)),
        }
    }

    /// Returns the addresses of the backplane: in Postgres, in Redis.
    ///
    /// # Errors
    /// If this database does not support the backplane, or the URL is invalid.
    pub fn backplane_addresses(
        &self,
    ) -> Result<(Option<String>, Option<redis::Client>), ConfigError> {
        let url = match (self.backplane.kind, self.listen_address()?) {
            (BackplaneKind::None, _) | (BackplaneKind::Auto, DatabaseAddress::Sqlite(_)) => {
                return Ok((None, None));
            }
            (_, DatabaseAddress::Postgres(url)) => url,
            (..) => {
                return Err(ConfigError::invalid(
                    "backplane.kind",
                    "SQLite has one server, which needs none; several need Postgres",
                ));
            }
        };
        if self.backplane.kind != BackplaneKind::Redis {
            return Ok((Some(url), None));
        }
        // The text may hold a password, so it is not repeated.
        let written = self.backplane.redis_url.expose();
        let rest = written
            .strip_prefix("redis://")
            .or_else(|| written.strip_prefix("rediss://"));
        let Some(Ok(redis)) = rest.map(|_| redis::Client::open(written)) else {
            return Err(ConfigError::invalid(
                "backplane.redis_url",
                "write redis://host:port/number, or rediss:// for TLS",
            ));
        };
        if let Some(fault) = rest.and_then(url_fault) {
            return Err(ConfigError::invalid("backplane.redis_url", fault));
        }
        Ok((Some(url), Some(redis)))
    }

    /// Parses `metrics.listen`; `None` if it is empty.
    ///
    /// # Errors
    /// If it is no address.
    pub fn metrics_address(&self) -> Result<Option<SocketAddr>, ConfigError> {
        let written = self.metrics.listen.as_str();
        let address = (!written.is_empty()).then(|| written.parse()).transpose();
        address.map_err(|_| {
            ConfigError::invalid(
                "metrics.listen",
                "is not an address; write an IP address and a port, as in 127.0.0.1:9464",
            )
        })
    }

    /// Returns the URL at which this machine reaches a server with this configuration.
    #[must_use]
    pub fn here(&self) -> String {
        let mut address = self.server.listen;
        if address.ip().is_unspecified() {
            address.set_ip(if address.is_ipv4() {
                Ipv4Addr::LOCALHOST.into()
            } else {
                Ipv6Addr::LOCALHOST.into()
            });
        }
        format!("http://{address}")
    }
}

/// Parses an origin as a browser sends it: scheme, host and perhaps port. A `*` would admit every
/// site.
#[must_use]
pub fn origin(text: &str) -> Option<Origin> {
    let url = Url::parse(text).ok()?;
    let is_bare = matches!(url.scheme(), "http" | "https")
        && url.path() == "/"
        && !text.ends_with('/')
        && !text.contains('*')
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    is_bare.then(|| url.origin())
}
