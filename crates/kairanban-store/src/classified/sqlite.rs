//! Statements that write on SQLite, which says why they fail by fixed English texts.

use diesel::{
    SqliteConnection,
    connection::SimpleConnection as _,
    prelude::*,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    result::{DatabaseErrorKind, Error as DieselError},
    sql_query,
    sql_types::{BigInt, Text},
    sqlite::Sqlite,
};

use super::{
    Modification,
    own_object::{OwnObject, known_table, own_table, written_table},
    triggers_off,
};
use crate::{
    StoreError,
    error::{FULL_SQLITE, FaultKind, READ_ONLY_SQLITE, Refusal, is_damage_of_sqlite},
    needs::{self, foreign_triggers_in_file_sql},
    sql::{Number, REVISION_MAX},
};

/// Runs a statement. Returns how many rows it touched.
pub(crate) fn modify(
    connection: &mut SqliteConnection,
    statement: impl Modification,
) -> Result<usize, StoreError> {
    let done = RunStatement(&statement).execute(connection);
    done.map_err(|error| explained(connection, error, &statement))
}

/// Runs a statement that returns a number. Returns `None` if it touched no row.
pub(crate) fn modify_returning(
    connection: &mut SqliteConnection,
    statement: impl Modification,
) -> Result<Option<i64>, StoreError> {
    let done: QueryResult<Option<i64>> = RunStatement(&statement).get_result(connection).optional();
    done.map_err(|error| explained(connection, error, &statement))
}

/// A statement, with the number that it returns.
#[derive(QueryId)]
struct RunStatement<Q>(Q);

impl<Q: QueryFragment<Sqlite>> QueryFragment<Sqlite> for RunStatement<Q> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        self.0.walk_ast(out)
    }
}

impl<Q> Query for RunStatement<Q> {
    type SqlType = BigInt;
}

impl<Q, C: Connection> RunQueryDsl<C> for RunStatement<Q> {}

/// Checks that all can be read that a server reads. Fails with what is missing.
pub(crate) fn check_reading(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    needs::reading(false)
        .try_for_each(|command| connection.batch_execute(&command).map_err(meaning))
}

/// Checks that writing works here, and that what is written is recorded.
pub(crate) fn check_writing(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    needs::writing(false)
        .try_for_each(|command| connection.batch_execute(&command).map_err(meaning))?;
    check_ids(connection, &["topics", "changes"])?;
    let names = needs::SQLITE_TRIGGERS.join("', '");
    let on = format!(
        "SELECT count(*) AS number FROM sqlite_schema WHERE type = 'trigger' \
         AND name IN ('{names}')"
    );
    let on: Number = sql_query(on).get_result(connection)?;
    let all = i64::try_from(needs::SQLITE_TRIGGERS.len()).ok();
    if on.number == all {
        Ok(())
    } else {
        Err(triggers_off())
    }
}

/// Logs a change and draws its revision, as each write does. To be rolled back.
pub(crate) fn check_stamping(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let logged = connection
        .batch_execute("INSERT INTO changes (revision, kind, board_id) VALUES (0, 'token', 0)");
    if let Err(error) = logged {
        let message = error.to_string();
        // Our own triggers refuse no such row.
        return Err(match meaning(error) {
            StoreError::Refused(_) => foreign_trigger(connection, None)
                .unwrap_or_else(|| OwnObject::Table("changes").refused(&message)),
            other => other,
        });
    }
    let is_logged = "SELECT count(*) AS number FROM changes, revisions \
        WHERE kind = 'token' AND board_id = 0 AND revision = newest AND batch = 2";
    let is_logged: Number = sql_query(is_logged).get_result(connection)?;
    if is_logged.number == Some(1) {
        Ok(())
    } else {
        Err(foreign_trigger(connection, None).unwrap_or_else(triggers_off))
    }
}

/// Returns the error for triggers of others on our own tables, if there are any: those that say
/// `sentence`, or all.
fn foreign_trigger(
    connection: &mut SqliteConnection,
    sentence: Option<&str>,
) -> Option<StoreError> {
    let found = format!(
        "SELECT coalesce(group_concat(drop_sql || ' (of the table ' || table_name || ')', '; '), '') AS dropped \
         FROM ({}) WHERE instr(sql, ?) > 0",
        foreign_triggers_in_file_sql()
    );
    let found: QueryResult<Vec<ForeignTriggers>> = sql_query(found)
        .bind::<Text, _>(sentence.map(literal).unwrap_or_default())
        .load(connection);
    let found = found.ok()?.pop()?.dropped;
    (!found.is_empty()).then(|| StoreError::foreign_triggers(&found))
}

#[derive(QueryableByName)]
struct ForeignTriggers {
    #[diesel(sql_type = Text)]
    dropped: String,
}

/// Returns a text as it stands in a statement.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Classifies an error of SQLite. Its library names each result by a fixed English text.
pub(crate) fn meaning(error: DieselError) -> StoreError {
    let DieselError::DatabaseError(kind, info) = &error else {
        return error.into();
    };
    let text = info.message().to_owned();
    // Of the log and its counter, which no topic can break.
    if text.contains("_is_a_revision") {
        return StoreError::fault(FaultKind::RevisionsUsedUp, text);
    }
    if text.contains("constraint failed: changes.")
        || text.contains("constraint failed: revisions.")
    {
        return StoreError::fault(FaultKind::Other, text);
    }
    if !matches!(kind, DatabaseErrorKind::Unknown) {
        return error.into();
    }
    let kind = match text.as_str() {
        "database is locked"
        | "database table is locked"
        | "database schema is locked"
        | "locking protocol"
        | "interrupted" => FaultKind::Busy,
        READ_ONLY_SQLITE => FaultKind::ReadOnly,
        FULL_SQLITE => FaultKind::Full,
        text if is_damage_of_sqlite(text) => FaultKind::Damaged,
        "disk I/O error"
        | "unable to open database file"
        | "out of memory"
        | "large file support is disabled"
        | "bad parameter or other API misuse"
        | "unknown error" => FaultKind::Other,
        text if is_incomplete(text) => FaultKind::Installation,
        text if text.starts_with("a topic keeps its old revision") => {
            return StoreError::stamp_refused(Some(text.to_owned()), text.to_owned());
        }
        _ => {
            return StoreError::refused(Some(text), false);
        }
    };
    StoreError::fault(kind, text)
}

/// Returns whether a statement failed because it does not suit the schema.
fn is_incomplete(text: &str) -> bool {
    let beginnings = [
        "no such ",
        "table ",
        "near \"",
        "unrecognized token",
        "error in ",
        "not authorized",
    ];
    let parts = [
        " has no column named ",
        "wrong number of arguments",
        "cannot start a transaction",
        "no transaction is active",
    ];
    beginnings
        .iter()
        .any(|beginning| text.starts_with(beginning))
        || parts.iter().any(|part| text.contains(part))
}

/// Adds to an error what only the database knows of it.
fn explained(
    connection: &mut SqliteConnection,
    error: DieselError,
    statement: &impl QueryFragment<Sqlite>,
) -> StoreError {
    let message = error.to_string();
    let error = meaning(error);
    let text = diesel::debug_query::<Sqlite, _>(statement).to_string();
    if let Some(object) = own_object(connection, &error, &message, &text) {
        return foreign_trigger(connection, Some(&message))
            .unwrap_or_else(|| object.refused(&message));
    }
    let may_be_the_ids = match &error {
        StoreError::Refused(_) => true,
        StoreError::Fault(fault) => fault.kind == FaultKind::Full,
        _ => false,
    };
    // The triggers log what is written.
    let tables = [written_table(&text).unwrap_or_default(), "changes"];
    match may_be_the_ids.then(|| check_ids(connection, &tables)) {
        Some(Err(used_up)) => used_up,
        _ => with_own_sentences(connection, error),
    }
}

/// Finds what of ours alone refused: by what SQLite names, or else by the statement.
fn own_object(
    connection: &mut SqliteConnection,
    error: &StoreError,
    message: &str,
    statement: &str,
) -> Option<OwnObject> {
    match error {
        StoreError::Refused(Refusal { cause: None, .. }) => {}
        StoreError::Fault(fault) if fault.kind == FaultKind::Installation => {
            return own_table(written_table(statement)?);
        }
        _ => return None,
    }
    // Another request was quicker with the key; or what a row belongs to is gone.
    if message.ends_with(": idempotency.board_id, idempotency.key")
        || message == "FOREIGN KEY constraint failed"
    {
        return None;
    }
    if let Some((_, name)) = message.split_once(" constraint failed: ") {
        let table = name
            .split_once('.')
            .and_then(|(table, _)| known_table(table));
        return match table {
            Some(table) => own_table(table),
            None => by_text(
                connection,
                "('table', 'index')",
                name.trim_matches(['\'', '"']),
            ),
        };
    }
    by_text(connection, "('trigger')", &literal(message))
}

/// Finds the object of these kinds whose text has this, if only what is ours alone has it.
fn by_text(connection: &mut SqliteConnection, kinds: &str, part: &str) -> Option<OwnObject> {
    #[derive(QueryableByName)]
    struct RefusingObject {
        #[diesel(sql_type = Text)]
        name: String,
        #[diesel(sql_type = Text)]
        tbl_name: String,
    }
    let part = part.strip_prefix("index '").unwrap_or(part);
    let text = format!(
        "SELECT name, tbl_name FROM sqlite_schema WHERE type IN {kinds} AND instr(sql, ?) > 0"
    );
    let found: Vec<RefusingObject> = sql_query(text)
        .bind::<Text, _>(part)
        .load(connection)
        .ok()?;
    let objects = found.iter().map(|RefusingObject { name, tbl_name }| {
        let ours = needs::SQLITE_TRIGGERS.iter().find(|ours| *ours == name);
        ours.map(|name| OwnObject::Function(name))
            .or_else(|| own_table(known_table(tbl_name)?))
    });
    objects.collect::<Option<Vec<_>>>()?.pop()
}

/// Checks that there is an id left for the next row of each of the tables. At the end of the range
/// SQLite says that the database is full.
fn check_ids(connection: &mut SqliteConnection, tables: &[&str]) -> Result<(), StoreError> {
    for table in tables {
        let last = if *table == "topics" {
            REVISION_MAX
        } else {
            i64::MAX
        };
        let text = format!(
            "SELECT count(*) AS number FROM sqlite_sequence WHERE name = '{table}' \
             AND seq >= {last}"
        );
        let at_end: QueryResult<Number> = sql_query(text).get_result(connection);
        if at_end.is_ok_and(|at_end| at_end.number == Some(1)) {
            return Err(StoreError::fault(
                FaultKind::IdsUsedUp,
                format!("sqlite_sequence is at the end for the table {table}"),
            ));
        }
    }
    Ok(())
}

/// Keeps what an owner's trigger says, and nothing else.
fn with_own_sentences(connection: &mut SqliteConnection, error: StoreError) -> StoreError {
    match error {
        StoreError::Refused(Refusal {
            sentence: Some(text),
            conflict,
            cause: None,
        }) => match foreign_trigger(connection, Some(&text)) {
            // It says nothing of the row: every other one meets it, too.
            Some(foreign) => foreign,
            None => StoreError::refused(is_raised(connection, &text).then_some(text), conflict),
        },
        other => other,
    }
}

/// Returns whether a trigger of the database reports this with RAISE.
fn is_raised(connection: &mut SqliteConnection, sentence: &str) -> bool {
    let text =
        "SELECT count(*) AS number FROM sqlite_schema WHERE type = 'trigger' AND instr(sql, ?) > 0";
    let found: QueryResult<Number> = sql_query(text)
        .bind::<Text, _>(literal(sentence))
        .get_result(connection);
    found.is_ok_and(|found| found.number.unwrap_or_default() > 0)
}
