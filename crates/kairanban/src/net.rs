//! Connections: accepting them, how long they may take, and taking their sockets from actix.

pub mod hijack;
pub mod listener;
pub mod request_clock;
