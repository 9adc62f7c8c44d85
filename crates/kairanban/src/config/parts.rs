//! Parts of the configuration, in the types of those who get them.

use std::time::Duration;

use kairanban_store::{TicketTimes, WriterConfig};

use super::Config;

impl Config {
    /// The writer's part.
    #[must_use]
    pub fn writer(&self) -> WriterConfig {
        WriterConfig {
            queue_max: self.database.write_queue_max.get(),
            group_max: self.database.write_group_max.get(),
            group_wait: Duration::from_millis(self.database.write_group_wait_ms.get()),
            tries_max: self.database.write_tries_max.get(),
            abandoned_max: self.database.write_abandoned_max,
        }
    }

    /// Within which each board in memory is compared with the database.
    #[must_use]
    pub const fn reconcile_interval(&self) -> Duration {
        Duration::from_secs(self.history.reconcile_s.get())
    }

    /// How often the last change that was read is noted.
    #[must_use]
    pub const fn last_seen_every(&self) -> Duration {
        Duration::from_millis(self.history.last_seen_ms.get())
    }

    /// How long a ticket is good.
    #[must_use]
    pub const fn tickets(&self) -> TicketTimes {
        TicketTimes {
            first_use: Duration::from_secs(self.tickets.first_use_s),
            idle: Duration::from_secs(self.tickets.idle_s),
        }
    }
}
