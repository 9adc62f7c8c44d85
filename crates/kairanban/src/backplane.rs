//! "Look again", between processes.
//!
//! A message says nothing but that something was committed; the follower reads what it was. So it
//! may be lost, doubled or reordered without harm. Without Postgres there is no other process to
//! tell: SQLite's own file tells (see [`crate::data_version`]).

mod postgres;
mod tls;

use std::sync::Arc;

use kairanban_store::DatabaseAddress;
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::follower::Wake;

/// Tells the other processes of a commit. Cheap to clone; several commits before the message goes
/// out share it.
#[derive(Clone, Debug, Default)]
pub struct Backplane(Arc<Notify>);

impl Backplane {
    /// Asks for a message.
    pub fn tell(&self) {
        self.0.notify_one();
    }

    /// Listens and tells, until told to stop.
    pub fn start(&self, address: &DatabaseAddress, wake: Wake, tasks: &TaskTracker, stop: CancellationToken) {
        if let DatabaseAddress::Postgres(url) = address {
            let (url, asked) = (url.clone(), Arc::clone(&self.0));
            tasks.spawn(async move { postgres::run(&url, &wake, &asked, &stop).await });
        }
    }
}
