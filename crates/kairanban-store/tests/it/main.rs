//! What the database promises, held on SQLite and on Postgres: one story for both, and beside it
//! what only one of them can do.
//!
//! Postgres comes from `KAIRANBAN_TEST_POSTGRES_URL` (`scripts/test` starts one); without it the
//! tests fail, they are not skipped.

mod contract;
mod place;
mod postgres;
mod sqlite;
