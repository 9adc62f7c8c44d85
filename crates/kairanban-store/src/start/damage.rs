//! What the schema lacks of what the migrations made, and the statements that make it again.

mod postgres;
mod sqlite;

use std::time::Duration;

use diesel::{connection::SimpleConnection as _, prelude::*, sql_query, sql_types::BigInt};

use crate::{
    DatabaseAddress, StoreError, Timeouts, board_checksums, connection::AnyConnection, migrate,
    tx::WriteTx,
};

/// Something that is not as the migrations made it.
#[derive(Debug)]
pub(super) struct Damage {
    /// In words, with what helps if `kairanban migrate` does not.
    pub(super) what: String,
    /// The statements that repair it; `None` if none of ours can.
    repair_sql: Option<String>,
    /// Whether it only lets in values that a server copes with.
    pub(super) is_tolerable: bool,
}

impl Damage {
    fn repairable(what: String, repair_sql: String) -> Self {
        Self {
            what,
            repair_sql: Some(repair_sql),
            is_tolerable: false,
        }
    }

    /// Creates a damage that only the owner can repair; `what` says how.
    fn by_hand(what: String) -> Self {
        Self {
            what,
            repair_sql: None,
            is_tolerable: false,
        }
    }

    fn lost(what: &str, name: &str) -> Self {
        Self::by_hand(format!(
            "the {what} {name} is missing (restore it from a backup)"
        ))
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

/// Returns what a server cannot do without, and a warning of the rest.
pub(super) fn sorted(damage: Vec<Damage>) -> (Vec<String>, Option<String>) {
    let (tolerable, damage): (Vec<_>, Vec<_>) =
        damage.into_iter().partition(|damage| damage.is_tolerable);
    let [damage, tolerable] = [damage, tolerable].map(|all| {
        all.into_iter()
            .map(|damage| damage.what)
            .collect::<Vec<_>>()
    });
    let warning = (!tolerable.is_empty()).then(|| {
        format!(
            "{}. Run `kairanban migrate` as the owner of the tables",
            tolerable.join("; ")
        )
    });
    (damage, warning)
}

#[derive(QueryableByName)]
struct BoardKey {
    #[diesel(sql_type = BigInt)]
    id: i64,
}

/// Makes triggers and indexes again that were dropped, and enables triggers that were disabled, as
/// `kairanban migrate` does. Returns what was repaired.
///
/// # Errors
/// If the database is away, or the tables are in use or belong to another role.
pub fn repair(address: &DatabaseAddress, timeouts: Timeouts) -> Result<Vec<String>, StoreError> {
    if address.path().is_some_and(|path| !path.exists())
        || AnyConnection::is_pooled(address, timeouts)?
    {
        return Ok(Vec::new());
    }
    let mut connection = migrate::open(address, timeouts)?;
    let compared = migrate::compare(&mut connection)?;
    if compared.is_ahead || !compared.pending.is_empty() {
        return Ok(Vec::new());
    }
    let damage = find(&mut connection, address)?;
    let (tolerable, damage): (Vec<_>, Vec<_>) =
        damage.into_iter().partition(|damage| damage.is_tolerable);
    let (mut repaired, statements): (Vec<_>, Vec<_>) = damage
        .into_iter()
        .filter_map(|damage| Some((damage.what, damage.repair_sql?)))
        .unzip();
    if !repaired.is_empty() {
        run(&mut connection, &statements.join("; "))?;
    }
    for Damage {
        what, repair_sql, ..
    } in tolerable
    {
        match repair_sql.map(|sql| run(&mut connection, &sql)) {
            Some(Ok(())) => repaired.push(what),
            Some(Err(error)) => tracing::warn!(%error, "cannot repair: {what}"),
            None => {}
        }
    }
    if !repaired.is_empty() {
        log_all_boards(&mut connection)?;
    }
    Ok(repaired)
}

fn run(connection: &mut AnyConnection, statements: &str) -> Result<(), StoreError> {
    connection.transaction(|connection| {
        migrate::wait_for_tables(connection, migrate::LOCK_WAIT)?;
        Ok(connection.batch_execute(statements)?)
    })
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
    let repair_sql: Vec<_> = wrong
        .into_iter()
        .filter_map(|damage| damage.repair_sql)
        .collect();
    connection.transaction(|connection| {
        migrate::wait_for_tables(connection, lock_wait)?;
        connection.batch_execute(&repair_sql.join("; "))
    })?;
    tracing::warn!(sequences, "reset sequences to increment by one");
    log_all_boards(connection)
}

/// Lets every server read all boards again, with their policies: what was written meanwhile is not
/// in the log.
fn log_all_boards(connection: &mut AnyConnection) -> Result<(), StoreError> {
    let mut tx = WriteTx::on_connection(connection)?;
    tx.run(|connection| {
        let boards: Vec<BoardKey> = sql_query("SELECT id FROM boards").load(connection)?;
        for BoardKey { id } in boards {
            board_checksums::log_again(connection, id, true)?;
        }
        Ok(connection.begin_stamp()?)
    })?;
    tx.stamp()?;
    tx.commit()
}
