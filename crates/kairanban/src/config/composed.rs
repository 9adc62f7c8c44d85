//! Composes from the settings what other modules and the store are configured with.

use chrono_tz::Tz;
use kairanban_store::{OnWait, StoreConfig, TicketTimes, Timeouts, WriterConfig};

use super::{Config, ConfigError};
use crate::small_file::{self, TEXT_BYTES_MAX};

impl Config {
    /// Returns the time limits of the database.
    #[must_use]
    pub fn timeouts(&self) -> Timeouts {
        Timeouts {
            connect: self.database.connect_timeout,
            statement: self.database.statement_timeout,
            key: self.database.write_key_wait,
        }
    }

    /// Returns the time limits of the first connection, for which no request waits.
    #[must_use]
    pub fn first_timeouts(&self) -> Timeouts {
        Timeouts {
            connect: self.database.first_connect,
            ..self.timeouts()
        }
    }

    /// Returns the configuration of the store.
    ///
    /// # Errors
    /// If the URL is invalid.
    pub fn store(&self) -> Result<StoreConfig, ConfigError> {
        Ok(StoreConfig {
            address: self.address()?,
            timeouts: self.timeouts(),
            first_connect: self.database.first_connect,
            pool_max: self.database.pool_max.get(),
            pool_abandoned_max: self.database.pool_abandoned_max,
            pool_wait: self.database.pool_wait,
            topics_max: self.board.topics_max.get(),
            replay_max: self.stream.replay_max,
            resume_max: self.history.resume_max.get(),
            changes_max: self.database.changes_max.get(),
            on_wait: OnWait::default(),
        })
    }

    /// Reads the operator's own template of a topic, if one is configured.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn topic_template(&self) -> Result<Option<String>, ConfigError> {
        let path = &self.board.topic_template;
        if path.as_os_str().is_empty() {
            return Ok(None);
        }
        small_file::read(path, TEXT_BYTES_MAX)
            .map(Some)
            .map_err(|reason| {
                ConfigError::invalid("board.topic_template", format!("the file {reason}"))
            })
    }

    /// Returns the zone in which pages show days and times.
    ///
    /// # Errors
    /// If it is no name of a zone.
    pub fn time_zone(&self) -> Result<Tz, ConfigError> {
        self.board.time_zone.parse().map_err(|_| {
            ConfigError::invalid(
                "board.time_zone",
                "is not a time zone; write one of the tz database, as in Asia/Tokyo",
            )
        })
    }

    /// Returns the configuration of the writer.
    #[must_use]
    pub fn writer(&self) -> WriterConfig {
        WriterConfig {
            queue_max: self.database.write_queue_max.get(),
            group_max: self.database.write_group_max.get(),
            group_wait: self.database.write_group_wait,
            tries_max: self.database.write_tries_max.get(),
            abandoned_max: self.database.write_abandoned_max,
            lock_wait: self.database.write_lock_wait,
        }
    }

    /// Returns how long a ticket is valid.
    #[must_use]
    pub const fn tickets(&self) -> TicketTimes {
        TicketTimes {
            first_use: self.tickets.first_use,
            idle: self.tickets.idle,
        }
    }
}
