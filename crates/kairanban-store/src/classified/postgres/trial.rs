//! A write like those of a server, to be rolled back: much that is wrong with a schema shows only
//! when a row is written.
//!
//! An owner's trigger may refuse this topic, as it may refuse any other: that says nothing of
//! the other topics. What our own functions, tables and rights lack fails every write.

use diesel::{
    PgConnection, RunQueryDsl as _, connection::SimpleConnection as _, sql_query, sql_types::Text,
};

use super::{is_owners, modify_returning, run};
use crate::{
    StoreError,
    classified::triggers_off,
    error::{Fault, FaultKind},
    needs,
    sql::{DRAW_TOPIC_ID, Number},
};

const BEGIN: &str = "SAVEPOINT kairanban_trial";
const UNDO: &str = "ROLLBACK TO kairanban_trial; RELEASE kairanban_trial";
const STAMP: &str = "SELECT stamp_last(); SET CONSTRAINTS ALL IMMEDIATE";
/// The revision that was drawn, in SQL.
const DRAWN: &str = "nullif(current_setting('kairanban.revision', true), '')::bigint";

/// Logs a change, and writes a topic, each with its revision, as every commit does. To be rolled
/// back.
pub(crate) fn check_stamping(connection: &mut PgConnection) -> Result<(), StoreError> {
    check_sequences(connection)?;
    connection.batch_execute(BEGIN)?;
    log_a_change(connection)?;
    connection.batch_execute(&format!("{UNDO}; {BEGIN}"))?;
    write_a_topic(connection)?;
    Ok(connection.batch_execute(UNDO)?)
}

fn check_sequences(connection: &mut PgConnection) -> Result<(), StoreError> {
    let query = format!(
        "(SELECT coalesce(string_agg(seqrelid::regclass::text, ', '), '') FROM pg_sequence \
         WHERE {})",
        needs::WRONG_SEQUENCES
    );
    let wrong: String = diesel::select(diesel::dsl::sql::<Text>(&query)).get_result(connection)?;
    if wrong.is_empty() {
        return Ok(());
    }
    let text = format!("sequences do not count one by one: {wrong}");
    Err(StoreError::fault(FaultKind::Installation, text))
}

/// Logs a change, and stamps it. Only tables that are ours alone take part in this.
fn log_a_change(connection: &mut PgConnection) -> Result<(), StoreError> {
    let logged = format!(
        "INSERT INTO changes (kind, board_id) VALUES ('token', 0); SELECT transaction_begun(); {STAMP}"
    );
    match run(connection, &logged) {
        Err(StoreError::Refused(refusal)) => {
            let message = refusal.sentence.or(refusal.cause);
            return Err(in_the_way(connection, message)?);
        }
        done => done?,
    }
    let logged = format!(
        "SELECT count(*) AS number FROM changes \
         WHERE revision = {DRAWN} AND writer = pg_current_xact_id()"
    );
    let logged: Number = sql_query(logged).get_result(connection)?;
    if logged.number == Some(1) {
        Ok(())
    } else {
        Err(in_the_way(connection, None)?)
    }
}

fn write_a_topic(connection: &mut PgConnection) -> Result<(), StoreError> {
    let write = format!(
        "INSERT INTO topics (id, board_id, comment, author) \
        SELECT {DRAW_TOPIC_ID}, boards.id, 'kairanban finds out whether it can write', '' FROM boards \
        ORDER BY boards.id::text <> coalesce((SELECT value FROM identity WHERE key = 'default_board'), '') \
        LIMIT 1 RETURNING id"
    );
    let id = match modify_returning(connection, sql_query(write)) {
        Ok(Some(id)) => id,
        // Dropped by an owner's trigger; or there is no board to write to.
        Ok(None) => return Ok(()),
        Err(error) => return of_every_write(connection, error),
    };
    if let Err(error) = run(connection, STAMP) {
        return of_every_write(connection, error);
    }
    // The owner's triggers may have removed or archived it.
    let unseen = format!(
        "SELECT count(*) AS number FROM topics \
         WHERE id = {id} AND NOT archived AND revision IS DISTINCT FROM {DRAWN}"
    );
    let unseen: Number = sql_query(unseen).get_result(connection)?;
    if unseen.number == Some(0) {
        Ok(())
    } else {
        Err(in_the_way(connection, None)?)
    }
}

/// Returns the error if every other write would meet it, too: something of ours is missing. What
/// an owner's trigger lacks is said of this topic.
fn of_every_write(connection: &mut PgConnection, error: StoreError) -> Result<(), StoreError> {
    use FaultKind::{Busy, Installation, Other, Unclear};
    match &error {
        StoreError::Refused(_) => Ok(()),
        StoreError::Fault(Fault {
            kind: Busy | Other | Unclear,
            ..
        }) => Ok(()),
        StoreError::Fault(Fault {
            kind: Installation, ..
        }) if is_owners(connection, STAMP)? => Ok(()),
        _ => Err(error),
    }
}

/// Returns the error for a log that does not take what it should, with what stands in its way.
fn in_the_way(
    connection: &mut PgConnection,
    message: Option<String>,
) -> Result<StoreError, StoreError> {
    let query = format!(
        "coalesce((SELECT string_agg(format('DROP TRIGGER %I ON %s', tgname, tgrelid::regclass), \
         '; ' ORDER BY tgname) FROM pg_trigger WHERE {}), '')",
        needs::foreign_triggers_sql()
    );
    let found: String = diesel::select(diesel::dsl::sql::<Text>(&query)).get_result(connection)?;
    Ok(match (found.is_empty(), message) {
        (false, _) => StoreError::foreign_triggers(&found),
        (true, Some(message)) => StoreError::fault(FaultKind::TriggersOff, message),
        (true, None) => triggers_off(),
    })
}
