//! Statements that write, with the reason if they fail: by SQLSTATE on Postgres, by result on SQLite.
//!
//! diesel passes on the code of few errors, and the text of the others is translated by Postgres. So the statement runs
//! inside a function of the schema that catches the error and returns its code (see the migration).

use diesel::{
    PgConnection, SqliteConnection,
    connection::SimpleConnection as _,
    pg::Pg,
    prelude::*,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    result::{DatabaseErrorKind, Error as DieselError},
    sql_query,
    sql_types::{BigInt, Bool, Nullable, Text, Untyped},
    sqlite::Sqlite,
};

use crate::{
    StoreError, change_log,
    error::{FaultKind, Refusal},
    needs::{self, Fires},
    rows::Number,
};

/// A statement that writes, on either database.
pub(crate) trait Modification: QueryFragment<Pg> + QueryFragment<Sqlite> + QueryId {}

impl<Q: QueryFragment<Pg> + QueryFragment<Sqlite> + QueryId> Modification for Q {}

/// What came of a statement.
#[derive(QueryableByName)]
struct Outcome {
    #[diesel(sql_type = Nullable<BigInt>)]
    touched: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    returned: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    state: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    message: Option<String>,
}

/// A statement as the argument of `classified_write`; its parameters become arguments too.
struct Classified<Q> {
    statement: Q,
    /// What follows the statement.
    ending: &'static str,
    parameters: usize,
}

impl<Q: QueryFragment<Pg>> QueryFragment<Pg> for Classified<Q> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.unsafe_to_cache_prepared();
        out.push_sql("SELECT touched, returned, state, message FROM classified_write($kairanban$");
        self.statement.walk_ast(out.reborrow())?;
        out.push_sql(self.ending);
        // Named inside the quotes, bound outside.
        let parameters: Vec<_> = (1..=self.parameters)
            .map(|number| format!("${number}"))
            .collect();
        out.push_sql(&format!(
            "$kairanban$, jsonb_build_array({}))",
            parameters.join(", ")
        ));
        Ok(())
    }
}

impl<Q> Query for Classified<Q> {
    type SqlType = Untyped;
}

impl<Q> QueryId for Classified<Q> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Q, C: Connection> RunQueryDsl<C> for Classified<Q> {}

/// Runs a statement. Returns how many rows it touched.
pub(crate) fn modify_postgres(
    connection: &mut PgConnection,
    statement: impl QueryFragment<Pg>,
) -> Result<usize, StoreError> {
    let outcome = classify(connection, statement, " RETURNING 1")?;
    Ok(outcome
        .touched
        .and_then(|touched| usize::try_from(touched).ok())
        .unwrap_or_default())
}

/// Runs a statement that returns a number. Returns `None` if it touched no row.
pub(crate) fn returning_postgres(
    connection: &mut PgConnection,
    statement: impl QueryFragment<Pg>,
) -> Result<Option<i64>, StoreError> {
    Ok(classify(connection, statement, "")?.returned)
}

fn classify(
    connection: &mut PgConnection,
    statement: impl QueryFragment<Pg>,
    ending: &'static str,
) -> Result<Outcome, StoreError> {
    let text = diesel::debug_query::<Pg, _>(&statement).to_string();
    let parameters = text
        .split(" -- binds:")
        .next()
        .unwrap_or_default()
        .matches('$')
        .count();
    let outcome: Outcome = Classified {
        statement,
        ending,
        parameters,
    }
    .get_result(connection)?;
    checked(connection, outcome)
}

fn checked(connection: &mut PgConnection, outcome: Outcome) -> Result<Outcome, StoreError> {
    let Some(state) = &outcome.state else {
        return Ok(outcome);
    };
    let text = outcome.message.clone().unwrap_or_default();
    // A missing grant, or a policy of the owner's own that refuses this row.
    if state == "42501" && row_security(connection)? && check_postgres(connection).is_ok() {
        return Err(StoreError::Refused(Refusal::default()));
    }
    Err(of_sqlstate(state, text))
}

/// Fires the deferred triggers now, all of them.
pub(crate) fn check_constraints(connection: &mut PgConnection) -> Result<(), StoreError> {
    run(connection, "SET CONSTRAINTS ALL IMMEDIATE")
}

fn run(connection: &mut PgConnection, command: &str) -> Result<(), StoreError> {
    let text = format!(
        "SELECT touched, returned, state, message FROM classified_write($kairanban${command}$kairanban$, NULL)"
    );
    let outcome: Outcome = sql_query(text).get_result(connection)?;
    match outcome.state {
        Some(state) => Err(of_sqlstate(&state, outcome.message.unwrap_or_default())),
        None => Ok(()),
    }
}

fn row_security(connection: &mut PgConnection) -> Result<bool, StoreError> {
    Ok(
        diesel::select(diesel::dsl::sql::<Bool>("row_security_active('topics')"))
            .get_result(connection)?,
    )
}

/// Checks that this role can read all that a server reads. Fails with what is missing.
pub(crate) fn check_reading_postgres(connection: &mut PgConnection) -> Result<(), StoreError> {
    run_all(connection, needs::reading(true))
}

/// The same on SQLite.
pub(crate) fn check_reading_sqlite(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    needs::reading(false)
        .try_for_each(|command| connection.batch_execute(&command).map_err(of_sqlite))
}

/// Checks that this role can write here, and that what it writes is recorded.
pub(crate) fn check_postgres(connection: &mut PgConnection) -> Result<(), StoreError> {
    run_all(
        connection,
        needs::writing(true).chain(["SELECT move_topic_ids()".to_owned()]),
    )?;
    let fires = needs::POSTGRES_TRIGGERS
        .iter()
        .filter(|trigger| trigger.fires != Fires::Replica);
    let fires: Vec<_> = fires
        .map(|trigger| format!("('{}', '{}')", trigger.table, trigger.name))
        .collect();
    let off = format!(
        "SELECT count(*) AS number FROM (VALUES {}) AS needed (place, name) WHERE NOT EXISTS (SELECT FROM pg_trigger \
         WHERE tgrelid = to_regclass(place) AND tgname = name AND tgenabled IN ('O', 'A')) \
         OR current_setting('session_replication_role') = 'replica'",
        fires.join(", ")
    );
    let off: Number = sql_query(off).get_result(connection)?;
    if off.number == Some(0) {
        Ok(())
    } else {
        Err(triggers_off())
    }
}

/// All of them in one round trip, until one fails.
fn run_all(
    connection: &mut PgConnection,
    commands: impl Iterator<Item = String>,
) -> Result<(), StoreError> {
    run(connection, &commands.collect::<Vec<_>>().join("; "))
}

/// The same on SQLite.
pub(crate) fn check_sqlite(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    needs::writing(false)
        .try_for_each(|command| connection.batch_execute(&command).map_err(of_sqlite))?;
    check_ids(connection)?;
    let names = needs::SQLITE_TRIGGERS.join("', '");
    let on = format!(
        "SELECT count(*) AS number FROM sqlite_schema WHERE type = 'trigger' AND name IN ('{names}')"
    );
    let on: Number = sql_query(on).get_result(connection)?;
    let all = i64::try_from(needs::SQLITE_TRIGGERS.len()).ok();
    if on.number == all {
        Ok(())
    } else {
        Err(triggers_off())
    }
}

/// What was written drew no revision: no reader would see it.
pub(crate) fn triggers_off() -> StoreError {
    StoreError::fault(
        FaultKind::TriggersOff,
        "what is written draws no revision; enable them, and check session_replication_role",
    )
}

/// The meaning of an SQLSTATE: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn of_sqlstate(state: &str, text: String) -> StoreError {
    let refused = |sentence, conflict| StoreError::Refused(Refusal { sentence, conflict });
    let class = state.get(..2).unwrap_or_default();
    match (class, state) {
        (_, "P0001") => refused(Some(text), false),
        (_, "23503" | "23505") => refused(None, true),
        // A sequence that is at its end: every row would fare the same until an administrator moves it.
        (_, "2200H") => StoreError::fault(FaultKind::IdsUsedUp, text),
        // A constraint of our log is broken by no topic.
        (_, "23514") if text.contains("_revision_range") => {
            StoreError::fault(FaultKind::RevisionsUsedUp, text)
        }
        // What the row, or a trigger of the owner's own, does wrong.
        ("09" | "20" | "21" | "22" | "23" | "27" | "2F" | "38" | "39" | "44" | "54" | "P0", _) => {
            refused(None, false)
        }
        // A rule of the owner's leaves nothing to return, for any topic.
        (_, "0A000") if text.contains("RETURNING") => {
            StoreError::fault(FaultKind::Installation, text)
        }
        // "cached plan must not change result type": the schema has just been changed.
        ("40" | "55", _) | (_, "57014" | "0A000") => StoreError::fault(FaultKind::Busy, text),
        (_, "25006") => StoreError::fault(FaultKind::ReadOnly, text),
        (_, "53100") => StoreError::fault(FaultKind::Full, text),
        ("42" | "3D" | "3F", _) => StoreError::fault(FaultKind::Installation, text),
        ("53" | "57" | "58" | "72" | "P1", _) => StoreError::fault(FaultKind::Other, text),
        // The standard leaves these to programs: a RAISE of the owner's own.
        _ if class
            .starts_with(|first: char| matches!(first, '5'..='9' | 'I'..='W' | 'Y' | 'Z')) =>
        {
            refused(Some(text), false)
        }
        _ => StoreError::fault(FaultKind::Other, text),
    }
}

/// The meaning of an error of SQLite. Its library names each result by a fixed English text.
pub(crate) fn of_sqlite(error: DieselError) -> StoreError {
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
        "attempt to write a readonly database" => FaultKind::ReadOnly,
        "database or disk is full" => FaultKind::Full,
        "disk I/O error"
        | "database disk image is malformed"
        | "unable to open database file"
        | "file is not a database"
        | "out of memory"
        | "large file support is disabled"
        | "bad parameter or other API misuse"
        | "unknown error" => FaultKind::Other,
        text if is_incomplete(text) => FaultKind::Installation,
        _ => {
            return StoreError::Refused(Refusal {
                sentence: Some(text),
                conflict: false,
            });
        }
    };
    StoreError::fault(kind, text)
}

/// The meaning of a transaction that does not begin: nothing was written, and no write is to blame.
pub(crate) fn of_begin(error: DieselError) -> StoreError {
    match error.into() {
        StoreError::Disconnected(text) => StoreError::Disconnected(text),
        StoreError::Fault(fault) if fault.kind != FaultKind::Other => StoreError::Fault(fault),
        StoreError::Fault(fault) => match fault.text.as_str() {
            "attempt to write a readonly database" => {
                StoreError::fault(FaultKind::ReadOnly, fault.text)
            }
            "database or disk is full" => StoreError::fault(FaultKind::Full, fault.text),
            _ => StoreError::Unavailable(fault.text),
        },
        other => StoreError::Unavailable(other.to_string()),
    }
}

/// Whether the statement does not suit the schema.
fn is_incomplete(text: &str) -> bool {
    let beginnings = [
        "no such ",
        "table ",
        "near \"",
        "unrecognized token",
        "malformed database schema",
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

/// Runs a statement. Returns how many rows it touched.
pub(crate) fn modify_sqlite(
    connection: &mut SqliteConnection,
    statement: impl Modification,
) -> Result<usize, StoreError> {
    let done = RunStatement(statement).execute(connection);
    done.map_err(|error| explained(connection, of_sqlite(error)))
}

/// Runs a statement that returns a number. Returns `None` if it touched no row.
pub(crate) fn returning_sqlite(
    connection: &mut SqliteConnection,
    statement: impl Modification,
) -> Result<Option<i64>, StoreError> {
    let done: QueryResult<Option<i64>> = RunStatement(statement).get_result(connection).optional();
    done.map_err(|error| explained(connection, of_sqlite(error)))
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

/// An error with what only the database knows of it.
fn explained(connection: &mut SqliteConnection, error: StoreError) -> StoreError {
    let may_be_the_ids = match &error {
        StoreError::Refused(_) => true,
        StoreError::Fault(fault) => fault.kind == FaultKind::Full,
        _ => false,
    };
    match may_be_the_ids.then(|| check_ids(connection)) {
        Some(Err(used_up)) => used_up,
        _ => with_own_sentences(connection, error),
    }
}

/// Checks that there is an id left for the next topic. At the end of its range SQLite says that the database is full.
fn check_ids(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let text = format!(
        "SELECT count(*) AS number FROM sqlite_sequence WHERE name = 'topics' AND seq >= {}",
        change_log::LAST
    );
    let at_end: QueryResult<Number> = sql_query(text).get_result(connection);
    if at_end.is_ok_and(|at_end| at_end.number == Some(1)) {
        return Err(StoreError::fault(
            FaultKind::IdsUsedUp,
            "sqlite_sequence is at the end for the table topics",
        ));
    }
    Ok(())
}

/// Keeps what a trigger of the owner's own says, and nothing else.
fn with_own_sentences(connection: &mut SqliteConnection, error: StoreError) -> StoreError {
    match error {
        StoreError::Refused(Refusal {
            sentence: Some(text),
            conflict,
        }) => {
            let sentence = is_raised(connection, &text).then_some(text);
            StoreError::Refused(Refusal { sentence, conflict })
        }
        other => other,
    }
}

/// Whether a trigger of the database says this in a RAISE.
fn is_raised(connection: &mut SqliteConnection, sentence: &str) -> bool {
    let literal = format!("'{}'", sentence.replace('\'', "''"));
    let text =
        "SELECT count(*) AS number FROM sqlite_schema WHERE type = 'trigger' AND instr(sql, ?) > 0";
    let found: QueryResult<Number> = sql_query(text)
        .bind::<Text, _>(literal)
        .get_result(connection);
    found.is_ok_and(|found| found.number.unwrap_or_default() > 0)
}
