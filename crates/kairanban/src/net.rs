//! Connections: accepting them, how long they may take, and taking their sockets from actix.

pub mod connection_gate;
pub mod file_limit;
pub mod half_close;
pub mod hijack;
mod incoming;
pub mod listener;
mod one_at_a_time;
pub mod request_clock;
mod split_body;
mod upgrade;
