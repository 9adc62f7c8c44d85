//! A row for each table of ours that a server writes now and then, to be rolled back: what stands
//! in the way of one shows only when it is written.

use diesel::{RunQueryDsl as _, sql_query};

use super::AnyConnection;
use crate::{StoreError, sql::Number};

/// What no key, digest or id that is in use can be.
const KEY: &str = "kairanban finds out whether it can write";
const ID: &str = "9007199254740990";

/// The tables, each with a row for the columns that have no default. `$board` and `$token` stand
/// for those that are there.
const ROWS: [(&str, &str); 6] = [
    ("audit", "(actor, action) VALUES ('', '')"),
    (
        "idempotency",
        "(board_id, key, request, topic_id) VALUES ($board, '$key', '', $id)",
    ),
    (
        "deleted_topics",
        "(id, board_id, comment, author, created_at, updated_at, archived) \
         SELECT $id, id, '', '', created_at, created_at, 1 = 0 FROM boards WHERE id = $board",
    ),
    (
        "board_lives",
        "(board_id, named_by) VALUES ($board, 0) \
         ON CONFLICT (board_id) DO UPDATE SET named_by = excluded.named_by",
    ),
    (
        "browser_sessions",
        "(digest, token_id, token_digest, expires_at) \
         SELECT '$key', id, '', created_at FROM tokens WHERE id = $token",
    ),
    (
        "tickets",
        "(digest, token_id, board_id) VALUES ('$key', $token, $board)",
    ),
];

/// Writes the rows, to be rolled back. Those that belong to a board or a token need one.
pub(super) fn check_rows(connection: &mut AnyConnection) -> Result<(), StoreError> {
    let board = least_id(connection, "boards")?;
    let token = least_id(connection, "tokens")?;
    for (table, row) in ROWS {
        let needs = [("$board", board), ("$token", token)];
        let mut row = row.replace("$key", KEY).replace("$id", ID);
        let mut is_lacking = false;
        for (name, id) in needs {
            is_lacking |= row.contains(name) && id.is_none();
            row = row.replace(name, &id.unwrap_or_default().to_string());
        }
        if is_lacking {
            continue;
        }
        let statement = format!("INSERT INTO {table} {row}");
        match connection.modify_row(table, sql_query(statement)) {
            Err(StoreError::Refused(_)) | Ok(()) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn least_id(connection: &mut AnyConnection, table: &str) -> Result<Option<i64>, StoreError> {
    let found: Number =
        sql_query(format!("SELECT min(id) AS number FROM {table}")).get_result(connection)?;
    Ok(found.number)
}
