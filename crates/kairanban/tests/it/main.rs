//! The program from outside: the real binary on a real database, real sockets, real second writers.
//!
//! Postgres comes from `KAIRANBAN_TEST_POSTGRES_URL` (`scripts/test` starts one); without it the
//! tests fail, they are not skipped. `psql` and `sqlite3` are the other programs.

mod access;
mod admin;
mod api;
mod api_docs;
mod bad_input;
mod bad_values;
mod bounded_reads;
mod bulk_load;
mod claims;
mod clocks;
mod cluster;
mod command_line;
mod compressed;
mod conditional;
mod copies;
mod crash;
mod crowd;
mod detached;
mod django;
mod faults;
mod foreign_clients;
mod foreign_writers;
mod formats;
mod half_closed;
mod held_keys;
mod held_locks;
mod hidden;
mod hosts;
mod logged;
mod logging;
mod many_boards;
mod metrics;
mod new_comments;
mod node;
mod nodes;
mod open_files;
mod openapi;
mod oracle;
mod pages;
mod pipelined;
mod protocol;
mod proxies;
mod refusals;
mod relay;
mod rest;
mod restored;
mod schemas;
mod search;
mod secrets;
mod shares;
mod sign_in;
mod silent_session;
mod slow_clients;
mod sockets;
mod sse;
mod stalled_readers;
mod start;
mod stopping;
mod streams;
mod supervised;
mod tail;
mod terminal;
mod tidy;
mod transports;
mod tutorial;
mod wire;

/// Runs each story on SQLite and on Postgres.
#[macro_export]
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            use $crate::node::Database;
            $(#[test] fn $name() { super::$name(Database::sqlite()); })*
        }
        mod postgres {
            use $crate::node::Database;
            $(#[test] fn $name() { super::$name(Database::postgres()); })*
        }
    };
}
