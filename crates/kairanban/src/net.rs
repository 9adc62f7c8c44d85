//! Connections: accepting them, and how long they may take.

pub mod hijack;
pub mod listener;
pub mod request_clock;
