//! What administrators did, written in the transaction that did it.

use diesel::{prelude::*, sql_query};
use kairanban_core::{Actor, AuditEntry, BoardName};

use crate::{
    RowPage, StoreError, classified,
    connection::AnyConnection,
    lenient::{LossyText, Time},
    schema::audit,
    sql::row_limit,
};

pub(crate) fn record(
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
    match connection.modify(diesel::insert_into(audit::table).values(row))? {
        0 => Err(classified::no_row("audit")),
        _ => Ok(()),
    }
}

/// Reads entries, the newest first, older than `before`.
pub(crate) fn page(
    connection: &mut AnyConnection,
    before: Option<i64>,
    limit: usize,
) -> Result<RowPage<AuditEntry>, StoreError> {
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
        // What follows the last one of these cannot be asked for.
        .filter(audit::id.gt(0))
        .order(audit::id.desc())
        .limit(row_limit(limit))
        .select(columns)
        .load(connection)?;
    Ok(RowPage::read(
        rows,
        limit,
        |row| row.0,
        |row| Some(entry(row)),
    ))
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

/// How many entries of the audit are kept.
#[derive(Clone, Copy, Debug)]
pub struct AuditBounds {
    /// The newest of all.
    pub max: u64,
    /// And the newest of each actor, so that a flood of one does not wash out what the others did.
    pub per_actor_min: u64,
}

/// Trims the audit to the entries that are kept. Returns how many it deleted.
pub(crate) fn trim(
    connection: &mut AnyConnection,
    bounds: AuditBounds,
) -> Result<usize, StoreError> {
    let newest_to_go: Option<i64> = audit::table
        .order(audit::id.desc())
        .offset(row_count(bounds.max))
        .select(audit::id)
        .first(connection)
        .optional()?;
    let Some(upto) = newest_to_go else {
        return Ok(0);
    };
    let actors: Vec<Option<i64>> = audit::table
        .filter(audit::id.le(upto))
        .select(audit::token_id)
        .distinct()
        .load(connection)?;
    let mut gone = 0;
    for actor in actors {
        let theirs = actor.map_or("token_id IS NULL".to_owned(), |token| {
            format!("token_id = {token}")
        });
        let text = format!(
            "DELETE FROM audit WHERE {theirs} AND id <= {upto} AND id <= \
             (SELECT id FROM audit WHERE {theirs} ORDER BY id DESC LIMIT 1 OFFSET {})",
            row_count(bounds.per_actor_min)
        );
        gone += sql_query(text).execute(connection)?;
    }
    Ok(gone)
}

fn row_count(rows: u64) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}
