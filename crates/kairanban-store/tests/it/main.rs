//! What the database promises, held on SQLite and on Postgres: one story for both, and beside it
//! what only one of them can do.
//!
//! Postgres comes from `KAIRANBAN_TEST_POSTGRES_URL` (`scripts/test` starts one); without it the
//! tests fail, they are not skipped.

mod access;
mod archived;
mod board_names;
mod broken;
mod browser_sessions;
mod change_log;
mod clocks;
mod contract;
mod damaged;
mod foreign_triggers;
mod foreign_writes;
mod given_ids;
mod grants;
mod history;
mod isolation;
mod names;
mod owner_triggers;
mod place;
mod postgres;
mod public_schema;
mod read_only;
mod replaced_rows;
mod replication;
mod restored;
mod roles;
mod schema_names;
mod spellings;
mod sqlite;
mod tokens;
mod unlogged;
mod upgrade;
mod upgrade_sqlite;

/// Runs each story on SQLite and on Postgres.
#[macro_export]
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            use $crate::place::{DatabaseKind, Place};
            $(#[test] fn $name() { super::$name(&Place::new(DatabaseKind::Sqlite)); })*
        }
        mod postgres {
            use $crate::place::{DatabaseKind, Place};
            $(#[test] fn $name() { super::$name(&Place::new(DatabaseKind::Postgres)); })*
        }
    };
}
