//! The part of the configuration that the writer gets.

use std::time::Duration;

use kairanban_store::WriterConfig;

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
}
