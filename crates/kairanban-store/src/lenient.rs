//! Values as they are found where another program may have written them: read as far as they can
//! be, in this one place.
//!
//! One row must not hide a board, and one board not the others. So a time that cannot be read is
//! the nearest one that can, text that is no UTF-8 has replacement characters, and what has no
//! meaning at all is left out by who asked for it. The schema refuses most of this; a constraint
//! that was added later, or was switched off, does not.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeDelta, Utc};
use diesel::{
    backend::Backend,
    data_types::PgTimestamp,
    deserialize::{FromSql, FromSqlRow, Result},
    pg::{Pg, PgValue},
    sql_types::{BigInt, Text, Timestamp},
    sqlite::Sqlite,
};
use kairanban_core::Revision;
use parking_lot::Mutex;

use crate::connection::{MultiBackend, MultiRawValue};

type SqliteValue<'a> = <Sqlite as Backend>::RawValue<'a>;

/// Times that every reader of ours can say: years of four digits.
const FIRST: NaiveDateTime = NaiveDate::from_ymd_opt(1, 1, 1)
    .expect("a day")
    .and_hms_opt(0, 0, 0)
    .expect("a time");
const LAST: NaiveDateTime = NaiveDate::from_ymd_opt(9999, 12, 31)
    .expect("a day")
    .and_hms_micro_opt(23, 59, 59, 999_999)
    .expect("a time");
/// Where Postgres begins to count.
const POSTGRES_EPOCH: NaiveDateTime = NaiveDate::from_ymd_opt(2000, 1, 1)
    .expect("a day")
    .and_hms_opt(0, 0, 0)
    .expect("a time");

/// A point in time. One that cannot be read becomes the beginning of 1970: a token that was to
/// expire then has expired.
#[derive(Clone, Copy, Debug, FromSqlRow)]
pub(crate) struct Time {
    at: NaiveDateTime,
    is_exact: bool,
}

impl Time {
    pub(crate) const UNREADABLE: Self = Self {
        at: DateTime::UNIX_EPOCH.naive_utc(),
        is_exact: false,
    };

    fn new(at: NaiveDateTime) -> Self {
        Self {
            at: at.clamp(FIRST, LAST),
            is_exact: (FIRST..=LAST).contains(&at),
        }
    }

    pub(crate) const fn utc(self) -> DateTime<Utc> {
        self.at.and_utc()
    }

    /// Returns whether this is the time that was written, and not the nearest that can be
    /// expressed.
    pub(crate) const fn is_exact(self) -> bool {
        self.is_exact
    }
}

impl FromSql<Timestamp, Pg> for Time {
    fn from_sql(value: PgValue<'_>) -> Result<Self> {
        // "infinity" and its opposite are the ends of the range.
        let PgTimestamp(micros) = FromSql::<Timestamp, Pg>::from_sql(value)?;
        let end = if micros < 0 { FIRST } else { LAST };
        let at = POSTGRES_EPOCH.checked_add_signed(TimeDelta::microseconds(micros));
        Ok(at.map_or(
            Self {
                at: end,
                is_exact: false,
            },
            Self::new,
        ))
    }
}

impl FromSql<Timestamp, Sqlite> for Time {
    fn from_sql(mut value: SqliteValue<'_>) -> Result<Self> {
        if let Some(at) = plain_time(value.read_text().as_bytes()) {
            return Ok(Self::new(at));
        }
        // Other ways to write a time, which the schema of an earlier version took.
        let other = <NaiveDateTime as FromSql<Timestamp, Sqlite>>::from_sql(value);
        Ok(other.map_or(Self::UNREADABLE, Self::new))
    }
}

impl FromSql<Timestamp, MultiBackend> for Time {
    fn from_sql(value: MultiRawValue<'_>) -> Result<Self> {
        value.from_sql::<Self, Timestamp>()
    }

    fn from_nullable_sql(value: Option<MultiRawValue<'_>>) -> Result<Self> {
        value.map_or(
            Ok(Self::UNREADABLE),
            <Self as FromSql<Timestamp, MultiBackend>>::from_sql,
        )
    }
}

/// Reads `2026-01-02 03:04:05`, with or without a fraction, as the schema has it: every topic of a
/// board is read by this.
fn plain_time(text: &[u8]) -> Option<NaiveDateTime> {
    let (seconds, fraction) = text.split_at_checked(19)?;
    let number = |from: usize, to: usize| {
        let digit = |sum: Option<u32>, byte: &u8| {
            Some(sum? * 10 + u32::from(byte.is_ascii_digit().then(|| byte - b'0')?))
        };
        seconds[from..to].iter().fold(Some(0), digit)
    };
    let marks = [
        seconds[4],
        seconds[7],
        seconds[10],
        seconds[13],
        seconds[16],
    ];
    if marks != *b"-- ::" {
        return None;
    }
    let nanos = match fraction {
        [] => 0,
        [b'.', digits @ ..]
            if matches!(digits.len(), 1..=9) && digits.iter().all(u8::is_ascii_digit) =>
        {
            let padded = digits
                .iter()
                .copied()
                .chain(std::iter::repeat(b'0'))
                .take(9);
            padded.fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'))
        }
        _ => return None,
    };
    let day = NaiveDate::from_ymd_opt(
        i32::try_from(number(0, 4)?).ok()?,
        number(5, 7)?,
        number(8, 10)?,
    )?;
    day.and_hms_nano_opt(number(11, 13)?, number(14, 16)?, number(17, 19)?, nanos)
}

/// Text, with replacement characters where it is not UTF-8. NULL is read as empty.
#[derive(Clone, Debug, PartialEq, Eq, FromSqlRow)]
pub(crate) struct LossyText(pub(crate) String);

impl FromSql<Text, Pg> for LossyText {
    fn from_sql(value: PgValue<'_>) -> Result<Self> {
        Ok(Self(String::from_utf8_lossy(value.as_bytes()).into_owned()))
    }
}

impl FromSql<Text, Sqlite> for LossyText {
    fn from_sql(mut value: SqliteValue<'_>) -> Result<Self> {
        Ok(Self(value.read_text().to_owned()))
    }
}

impl FromSql<Text, MultiBackend> for LossyText {
    fn from_sql(value: MultiRawValue<'_>) -> Result<Self> {
        value.from_sql::<Self, Text>()
    }

    fn from_nullable_sql(value: Option<MultiRawValue<'_>>) -> Result<Self> {
        value.map_or_else(
            || Ok(Self(String::new())),
            <Self as FromSql<Text, MultiBackend>>::from_sql,
        )
    }
}

/// A number. NULL is read as 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromSqlRow)]
pub(crate) struct AnyNumber(pub(crate) i64);

impl FromSql<BigInt, MultiBackend> for AnyNumber {
    fn from_sql(value: MultiRawValue<'_>) -> Result<Self> {
        value.from_sql::<i64, BigInt>().map(Self)
    }

    fn from_nullable_sql(value: Option<MultiRawValue<'_>>) -> Result<Self> {
        value.map_or(
            Ok(Self(0)),
            <Self as FromSql<BigInt, MultiBackend>>::from_sql,
        )
    }
}

impl AnyNumber {
    /// Returns the revision with this number; `None` if it is out of range.
    pub(crate) fn revision(self) -> Option<Revision> {
        u64::try_from(self.0).ok().and_then(Revision::new)
    }
}

/// How many rows are remembered as logged, at most.
const SAID_MAX: usize = 10_000;
/// Rows that were logged already: each has one line in the log, not one per read.
static SAID: Mutex<BTreeSet<(&str, i64)>> = Mutex::new(BTreeSet::new());

/// Logs once that a row holds a value that cannot be shown as it is, and whether the row `counts`
/// all the same.
#[cold]
pub(crate) fn log_unreadable(table: &'static str, key: i64, counts: bool) {
    if !is_news(table, key) {
        return;
    }
    let what = "a row holds a value that cannot be read or is out of range";
    if counts {
        tracing::warn!(table, key, "{what}: it is read as near as can be");
    } else {
        tracing::warn!(table, key, "{what}: the row is left out");
    }
}

fn is_news(table: &'static str, key: i64) -> bool {
    let mut said = SAID.lock();
    said.len() < SAID_MAX && said.insert((table, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_spoken_of_once() {
        assert!(is_news("a table of this test", 1) && is_news("a table of this test", 2));
        assert!(!is_news("a table of this test", 1));
    }

    #[test]
    fn a_plain_time_is_read_as_chrono_reads_it() {
        for text in [
            "2026-01-02 03:04:05",
            "2026-01-02 03:04:05.6",
            "2024-02-29 23:59:59.999999999",
            "0001-01-01 00:00:00",
        ] {
            let chronos = NaiveDateTime::parse_from_str(text, "%F %T%.f").expect("a time");
            assert_eq!(plain_time(text.as_bytes()), Some(chronos), "{text}");
        }
        for text in [
            "",
            "2026-01-02",
            "2026-01-02 24:00:00",
            "2024-02-30 00:00:00",
            "2026-01-02 03:04:05.",
            "2026-01-02 03:04:05.x",
            "2026-01-02 03:04:05\0",
            "2026-01-02T03:04:05",
            "2026-01-02 03:04:05.1234567890",
            "+026-01-02 03:04:05",
            "日本2026-01-02 03:04",
        ] {
            assert_eq!(plain_time(text.as_bytes()), None, "{text}");
        }
    }
}
