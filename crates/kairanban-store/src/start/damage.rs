//! What the schema lacks of what the migrations made, and the statements that make it again.

mod postgres;
mod sqlite;

use std::time::Duration;

use diesel::{connection::SimpleConnection as _, prelude::*, sql_query, sql_types::BigInt};

use crate::{
    DatabaseAddress, StoreError, Timeouts, connection::AnyConnection, contents, migrate,
    tx::WriteTx,
};

/// Something that is not as the migrations made it.
#[derive(Debug)]
pub(super) struct Damage {
    /// In words, with what helps if `kairanban migrate` does not.
    pub(super) what: String,
    /// The statements that mend it; `None` if none of ours can.
    mend: Option<String>,
}

impl Damage {
    fn mendable(what: String, mend: String) -> Self {
        Self {
            what,
            mend: Some(mend),
        }
    }

    fn lost(what: &str, name: &str) -> Self {
        Self {
            what: format!("the {what} {name} is missing (restore it from a backup)"),
            mend: None,
        }
    }
}

/// Finds what is missing, disabled, or another program's. For a database at this version's schema.
pub(super) fn find(
    connection: &mut AnyConnection,
    address: &DatabaseAddress,
) -> Result<Vec<Damage>, StoreError> {
    match address {
        DatabaseAddress::Postgres(_) => postgres::find(connection),
        DatabaseAddress::Sqlite(_) => sqlite::find(connection),
    }
}

#[derive(QueryableByName)]
struct BoardKey {
    #[diesel(sql_type = BigInt)]
    id: i64,
}

/// Makes triggers and indexes again that were dropped, and enables triggers that were disabled, as
/// `kairanban migrate` does. Returns what was mended.
///
/// # Errors
/// If the database is away, or the tables are in use or belong to another role.
pub fn mend(address: &DatabaseAddress, timeouts: Timeouts) -> Result<Vec<String>, StoreError> {
    if address.path().is_some_and(|path| !path.exists())
        || AnyConnection::is_pooled(address, timeouts)?
    {
        return Ok(Vec::new());
    }
    let mut connection = AnyConnection::open(address, timeouts)?;
    let compared = migrate::compare(&mut connection)?;
    if compared.is_ahead || !compared.pending.is_empty() {
        return Ok(Vec::new());
    }
    let damage = find(&mut connection, address)?;
    let (mended, statements): (Vec<_>, Vec<_>) = damage
        .into_iter()
        .filter_map(|damage| Some((damage.what, damage.mend?)))
        .unzip();
    if mended.is_empty() {
        return Ok(mended);
    }
    connection.transaction(|connection| {
        migrate::wait_for_tables(connection, migrate::LOCK_WAIT)?;
        connection.batch_execute(&statements.join("; "))
    })?;
    log_all_boards(&mut connection)?;
    Ok(mended)
}

/// Lets our sequences count one by one again. Waits for them at most for `lock_wait`.
pub(crate) fn repair_sequences(
    connection: &mut AnyConnection,
    lock_wait: Duration,
) -> Result<(), StoreError> {
    let wrong = if connection.has_sequences() {
        postgres::wrong_sequences(connection)?
    } else {
        Vec::new()
    };
    if wrong.is_empty() {
        return Ok(());
    }
    let sequences = wrong.len();
    let mend: Vec<_> = wrong.into_iter().filter_map(|damage| damage.mend).collect();
    connection.transaction(|connection| {
        migrate::wait_for_tables(connection, lock_wait)?;
        connection.batch_execute(&mend.join("; "))
    })?;
    tracing::warn!(
        sequences,
        "sequences did not count one by one: they do again"
    );
    log_all_boards(connection)
}

/// Lets every server read all boards again, with their policies: what was written meanwhile is not
/// in the log.
fn log_all_boards(connection: &mut AnyConnection) -> Result<(), StoreError> {
    let mut tx = WriteTx::on_connection(connection)?;
    tx.run(|connection| {
        let boards: Vec<BoardKey> = sql_query("SELECT id FROM boards").load(connection)?;
        for BoardKey { id } in boards {
            contents::log_again(connection, id, true)?;
        }
        Ok(connection.begin_stamp()?)
    })?;
    tx.stamp()?;
    tx.commit()
}
