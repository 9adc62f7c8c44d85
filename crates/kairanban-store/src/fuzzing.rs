//! What the fuzz targets in `fuzz/` reach of the store: how it decodes what Postgres sends.
//!
//! Only with the feature `fuzzing`, which no build of the server has. SQLite is asked itself, as a
//! library.

use std::num::NonZeroU32;

use chrono::{DateTime, Utc};
use diesel::{
    deserialize::FromSql,
    pg::{Pg, PgValue},
    sql_types::{Text, Timestamp},
};

use crate::lenient::{LossyText, Time};

/// No decoder here asks for the type.
const TYPE: NonZeroU32 = NonZeroU32::MIN;

/// Decodes a time, and whether it is the one that was sent.
///
/// # Errors
/// If it has not the eight bytes of a time.
pub fn postgres_time(bytes: &[u8]) -> Result<(DateTime<Utc>, bool), String> {
    let time = <Time as FromSql<Timestamp, Pg>>::from_sql(PgValue::new(bytes, &TYPE));
    time.map(|time| (time.utc(), time.is_exact()))
        .map_err(|error| error.to_string())
}

/// Decodes a text.
///
/// # Errors
/// Never fails: bytes that are not UTF-8 are replaced.
pub fn postgres_text(bytes: &[u8]) -> Result<String, String> {
    let text = <LossyText as FromSql<Text, Pg>>::from_sql(PgValue::new(bytes, &TYPE));
    text.map(|text| text.0).map_err(|error| error.to_string())
}
