//! What administrators did, written in the transaction that did it.

use diesel::prelude::*;
use kairanban_core::{Actor, AuditEntry, BoardName};

use crate::{
    StoreError,
    connection::AnyConnection,
    lenient::{LossyText, Time},
    schema::audit,
};

pub(crate) fn note(
    connection: &mut AnyConnection,
    actor: &Actor,
    action: &str,
    board: Option<&BoardName>,
    subject: Option<i64>,
) -> Result<(), StoreError> {
    let row = (
        audit::actor.eq(&actor.name),
        audit::token_id.eq(actor.token),
        audit::action.eq(action),
        audit::board.eq(board.map(BoardName::as_str)),
        audit::subject.eq(subject),
    );
    connection.modify(diesel::insert_into(audit::table).values(row))?;
    Ok(())
}

/// The newest first, older than `before`.
pub(crate) fn page(
    connection: &mut AnyConnection,
    before: Option<i64>,
    limit: usize,
) -> Result<Vec<AuditEntry>, StoreError> {
    let columns = (
        audit::id,
        audit::at,
        audit::actor,
        audit::token_id,
        audit::action,
        audit::board,
        audit::subject,
    );
    let rows: Vec<AuditRow> = audit::table
        .filter(audit::id.lt(before.unwrap_or(i64::MAX)))
        .order(audit::id.desc())
        .limit(i64::try_from(limit).unwrap_or(i64::MAX))
        .select(columns)
        .load(connection)?;
    Ok(rows.into_iter().map(entry).collect())
}

type AuditRow = (
    i64,
    Time,
    LossyText,
    Option<i64>,
    LossyText,
    Option<LossyText>,
    Option<i64>,
);

fn entry((id, at, name, token, action, board, subject): AuditRow) -> AuditEntry {
    AuditEntry {
        id,
        at: at.utc(),
        actor: Actor {
            name: name.0,
            token,
        },
        action: action.0,
        board: board.map(|name| name.0),
        subject,
    }
}

/// Forgets the oldest, so that `max` stay. Returns how many went.
pub(crate) fn prune(connection: &mut AnyConnection, max: u64) -> Result<usize, StoreError> {
    let max = i64::try_from(max).unwrap_or(i64::MAX);
    let newest_to_go: Option<i64> = audit::table
        .order(audit::id.desc())
        .offset(max)
        .select(audit::id)
        .first(connection)
        .optional()?;
    let Some(upto) = newest_to_go else {
        return Ok(0);
    };
    Ok(diesel::delete(audit::table.filter(audit::id.le(upto))).execute(connection)?)
}
