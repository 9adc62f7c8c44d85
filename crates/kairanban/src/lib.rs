//! kairanban, a live bulletin board server: process and network.
//!
//! A request goes `http` → `service` → store and core; only `routes`, `server` and, for the fuzz
//! targets, `fuzzing` import `http`. `service` knows no actix, and only `server` puts things
//! together. A write ends in the writing thread, which wakes the `follower`, which publishes on the
//! hub; a `stream` waits there.

mod archiver;
mod auth;
mod backplane;
mod blocking;
mod board_directory;
mod board_finder;
mod board_loader;
pub mod cli;
mod config;
mod data_version;
mod empty_reads;
mod encode;
mod error;
mod exit;
mod failpoint;
mod follower;
mod forwarded;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod high_water;
mod housekeeping;
mod http;
mod language;
mod last_seen;
mod limits;
mod lookup_queue;
mod memory;
mod metrics;
mod net;
mod preferences;
mod private_file;
mod readiness;
mod reconcile;
mod render;
mod routes;
mod server;
mod service;
mod shared_snapshots;
mod shutdown;
mod site;
mod small_file;
mod start;
mod state;
mod stream;
mod supervise;
mod telemetry;
