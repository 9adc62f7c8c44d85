//! Whether the pages of a SQLite file fit together.

use std::{fs, io::Read as _, path::Path};

use diesel::{
    QueryableByName, RunQueryDsl as _, connection::SimpleConnection as _, sql_query,
    sql_types::Text,
};

use crate::{
    DatabaseAddress, StoreError, Timeouts,
    classified::sqlite::meaning,
    connection::AnyConnection,
    error::{FaultKind, MALFORMED_SQLITE},
    files,
    sql::Number,
};

/// The largest file that is read from end to end before it is used: that takes about a second. Of a
/// larger one, damage shows when it is met.
const BYTES_MAX: i64 = 256 << 20;

/// Findings of SQLite that are no damage: unused pages, values of other types than the schema's,
/// what a virtual table of the owner's says of itself, headings, and that nothing is wrong.
const HARMLESS: &[&str] = &[
    "*** in database",
    "never used",
    " value in ",
    "inverted index",
];

#[derive(QueryableByName)]
struct Finding {
    #[diesel(sql_type = Text)]
    found: String,
}

/// Checks a file before it is used, unless it is large.
pub(crate) fn check(connection: &mut AnyConnection) -> Result<(), StoreError> {
    let size = sql_query(
        "SELECT page_count * page_size AS number FROM pragma_page_count, pragma_page_size",
    );
    let size: Number = size.get_result(connection).map_err(meaning)?;
    if size.number.is_some_and(|bytes| bytes > BYTES_MAX) {
        tracing::info!("the database is large: it is not read from end to end at the start");
        return Ok(());
    }
    refuse_findings(connection, "quick_check")
}

/// Checks a file, of whatever size, with its indexes.
pub(crate) fn check_all(connection: &mut AnyConnection) -> Result<(), StoreError> {
    refuse_findings(connection, "integrity_check")
}

/// Returns whether a file is in WAL mode. As long as connections are open, SQLite sets no other
/// mode. By SQLite's file format two bytes of its header say so.
pub(crate) fn is_in_wal_mode(path: &Path) -> bool {
    let mut header = [0; 20];
    let read = fs::File::open(path).and_then(|mut file| file.read_exact(&mut header));
    read.is_ok() && header[18..] == [2, 2]
}

/// Checks a file as it is without its `-wal`.
pub(crate) fn check_without_wal(path: &Path, timeouts: Timeouts) -> Result<(), StoreError> {
    // SQLite takes an empty one for sound.
    if files::is_empty(path) {
        return Err(StoreError::fault(FaultKind::Damaged, "it is empty"));
    }
    let path = path.to_string_lossy();
    let path = path.replace('%', "%25").replace('?', "%3f");
    let path = path.replace('#', "%23");
    // An absolute path follows an empty host.
    let host = if path.starts_with('/') { "//" } else { "" };
    let uri = format!("file:{host}{path}?mode=ro&immutable=1");
    let address = DatabaseAddress::Sqlite(uri.into());
    check_all(&mut AnyConnection::connect(&address, timeouts)?)
}

fn refuse_findings(connection: &mut AnyConnection, pragma: &str) -> Result<(), StoreError> {
    // A value that breaks a CHECK is no damage, and one that a CHECK cannot be asked about (the
    // time `now`) would end the whole check with an error.
    set_checks_ignored(connection, true)?;
    let found = sql_query(format!("SELECT {pragma} AS found FROM pragma_{pragma}"));
    let found = found.load::<Finding>(connection).map_err(meaning);
    set_checks_ignored(connection, false)?;
    let found = found?;
    let mut lines = found.iter().flat_map(|finding| finding.found.lines());
    match lines.find(|line| !is_harmless(line)) {
        None => Ok(()),
        Some(line) => Err(StoreError::fault(
            FaultKind::Damaged,
            format!("{MALFORMED_SQLITE}: {line}"),
        )),
    }
}

fn set_checks_ignored(connection: &mut AnyConnection, ignored: bool) -> Result<(), StoreError> {
    let set = format!("PRAGMA ignore_check_constraints = {ignored}");
    connection.batch_execute(&set).map_err(meaning)
}

fn is_harmless(line: &str) -> bool {
    line == "ok" || HARMLESS.iter().any(|words| line.contains(words))
}
