//! Where the boards are, where messages go, and the names that stand in the configuration.

use std::net::{Ipv4Addr, Ipv6Addr};

use kairanban_core::BoardName;
use kairanban_store::{DatabaseAddress, url_fault};

use super::{BackplaneKind, Config, ConfigError};

impl Config {
    /// The board at `/`.
    ///
    /// # Errors
    /// If that is no board's name.
    pub fn default_board(&self) -> Result<BoardName, ConfigError> {
        let invalid = |fault: kairanban_core::Invalid| ConfigError::Invalid {
            key: "board.default",
            reason: fault.reason.to_string(),
        };
        self.board.default.parse().map_err(invalid)
    }

    /// Where the boards are.
    ///
    /// # Errors
    /// If the URL is none.
    pub fn address(&self) -> Result<DatabaseAddress, ConfigError> {
        match self.database.url.expose() {
            "" => Ok(DatabaseAddress::Sqlite(
                self.server.data_dir.join("kairanban.db"),
            )),
            url => url.parse().map_err(|reason| ConfigError::Invalid {
                key: "database.url",
                reason,
            }),
        }
    }

    /// Where to listen for notifications and to migrate: past a pooler.
    ///
    /// # Errors
    /// If the URL is none.
    pub fn listen_address(&self) -> Result<DatabaseAddress, ConfigError> {
        match self.database.listen_url.expose() {
            "" => self.address(),
            url => url.parse().map_err(|reason| ConfigError::Invalid {
                key: "database.listen_url",
                reason,
            }),
        }
    }

    /// Where messages between the servers go: by Postgres, by Redis.
    ///
    /// # Errors
    /// If that cannot be with this database, or the URL is none.
    pub fn backplane_addresses(
        &self,
    ) -> Result<(Option<String>, Option<redis::Client>), ConfigError> {
        let wrong = |key, reason: &str| {
            Err(ConfigError::Invalid {
                key,
                reason: reason.to_owned(),
            })
        };
        let url = match (self.backplane.kind, self.listen_address()?) {
            (BackplaneKind::None, _) | (BackplaneKind::Auto, DatabaseAddress::Sqlite(_)) => {
                return Ok((None, None));
            }
            (_, DatabaseAddress::Postgres(url)) => url,
            (..) => {
                return wrong(
                    "backplane.kind",
                    "SQLite has one server, which needs none; several need Postgres",
                );
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
            return wrong(
                "backplane.redis_url",
                "write redis://host:port/number, or rediss:// for TLS",
            );
        };
        if let Some(fault) = rest.and_then(url_fault) {
            return wrong("backplane.redis_url", fault);
        }
        Ok((Some(url), Some(redis)))
    }

    /// The URL at which a server with this configuration would be reached from this machine.
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
