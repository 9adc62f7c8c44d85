//! Connections: accepting them, how long they may take, and taking their sockets from actix.

pub mod file_limit;
pub mod half_close;
pub mod hijack;
pub mod listener;
pub mod pieces;
pub mod place;
pub mod request_clock;
