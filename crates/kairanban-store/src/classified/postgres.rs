//! Statements that write on Postgres.
//!
//! diesel passes on the code of few errors, and the text of the others is translated by Postgres.
//! So the statement runs inside a function of the schema that catches the error and returns its
//! code (see the migration).

mod trial;

use diesel::{
    PgConnection,
    pg::Pg,
    prelude::*,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    sql_query,
    sql_types::{BigInt, Nullable, Text, Untyped},
};

pub(crate) use self::trial::check_stamping;
use super::{
    context::FailureContext,
    own_object::{self, Origin},
    triggers_off,
};
use crate::{
    StoreError,
    error::{Fault, FaultKind, Refusal},
    needs::{self, Fires, OWN_SCHEMA},
    sql::Number,
};

/// The outcome of a statement.
#[derive(QueryableByName)]
struct StatementOutcome {
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
            "$kairanban$::text, jsonb_build_array({}))",
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
pub(crate) fn modify(
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
pub(crate) fn modify_returning(
    connection: &mut PgConnection,
    statement: impl QueryFragment<Pg>,
) -> Result<Option<i64>, StoreError> {
    Ok(classify(connection, statement, "")?.returned)
}

fn classify(
    connection: &mut PgConnection,
    statement: impl QueryFragment<Pg>,
    ending: &'static str,
) -> Result<StatementOutcome, StoreError> {
    let text = diesel::debug_query::<Pg, _>(&statement).to_string();
    let table = own_object::written_table(&text);
    let parameters = text
        .split(" -- binds:")
        .next()
        .unwrap_or_default()
        .matches('$')
        .count();
    let outcome: StatementOutcome = Classified {
        statement,
        ending,
        parameters,
    }
    .get_result(connection)?;
    checked(connection, outcome, table)
}

/// Says what the outcome of a statement that writes `table` means.
fn checked(
    connection: &mut PgConnection,
    outcome: StatementOutcome,
    table: Option<&'static str>,
) -> Result<StatementOutcome, StoreError> {
    let Some(state) = &outcome.state else {
        return Ok(outcome);
    };
    let text = outcome.message.clone().unwrap_or_default();
    // Another request was quicker with the key, or what it belongs to is gone.
    let is_race = text.contains("idempotency_pkey") || state == "23503" && table != Some("audit");
    let error = of_sqlstate(state, text.clone());
    let table = table.filter(|_| !is_race);
    let error = of_origin(connection, error, ("", table), &text)?;
    match error {
        // An id that was just drawn is taken by none.
        StoreError::Refused(refusal) if text.contains("topics_pkey") => {
            Err(StoreError::Refused(Refusal {
                cause: Some(text),
                ..refusal
            }))
        }
        error => Err(error),
    }
}

/// Replaces an error by what caused it: an object of ours, or an owner's function, which it
/// names.
fn of_origin(
    connection: &mut PgConnection,
    error: StoreError,
    (command, table): (&str, Option<&'static str>),
    message: &str,
) -> Result<StoreError, StoreError> {
    let kind = match &error {
        StoreError::Refused(_) => None,
        StoreError::Fault(Fault {
            kind: kind @ (FaultKind::Installation | FaultKind::Unclear),
            ..
        }) => Some(*kind),
        _ => return Ok(error),
    };
    let origin = own_object::origin(&failed_in(connection)?, command, table, message);
    Ok(match (origin, kind) {
        (Some(Origin::Ours(object)), _) => object.refused(message),
        (Some(Origin::Owners(line)), Some(kind)) => {
            StoreError::fault(kind, format!("{message} ({line})"))
        }
        _ => error,
    })
}

/// Returns whether the last command that failed did so in an owner's function.
fn is_owners(connection: &mut PgConnection, command: &str) -> Result<bool, StoreError> {
    let origin = own_object::origin(&failed_in(connection)?, command, None, "");
    Ok(matches!(origin, Some(Origin::Owners(_))))
}

/// Runs commands that return nothing.
pub(crate) fn run(connection: &mut PgConnection, command: &str) -> Result<(), StoreError> {
    let text = format!(
        "SELECT touched, returned, state, message \
         FROM classified_write($kairanban${command}$kairanban$::text, NULL::jsonb)"
    );
    let outcome: StatementOutcome = sql_query(text).get_result(connection)?;
    let Some(state) = outcome.state else {
        return Ok(());
    };
    let message = outcome.message.unwrap_or_default();
    let error = of_sqlstate(&state, message.clone());
    let table = own_object::written_table(command);
    match of_origin(connection, error, (command, table), &message)? {
        StoreError::Refused(refusal) => Err(located(connection, command, refusal)?),
        error => Err(error),
    }
}

/// Finds out whether it was the stamp that was refused, by a trigger that was made for other
/// updates.
fn located(
    connection: &mut PgConnection,
    command: &str,
    refusal: Refusal,
) -> Result<StoreError, StoreError> {
    let failure = failed_in(connection)?;
    Ok(
        if own_object::is_within(&failure, command, "transaction_stamped") {
            let message = refusal.sentence.unwrap_or_default();
            let cause = format!(
                "{message} ({})",
                failure.text.lines().next().unwrap_or_default()
            );
            StoreError::stamp_refused((!message.is_empty()).then_some(message), cause)
        } else {
            StoreError::Refused(refusal)
        },
    )
}

/// Returns where the last statement failed: the innermost function first.
fn failed_in(connection: &mut PgConnection) -> Result<FailureContext, StoreError> {
    let query = diesel::select((
        diesel::dsl::sql::<Text>("coalesce(current_setting('kairanban.failed_in', true), '')"),
        diesel::dsl::sql::<Text>(&format!("coalesce(quote_ident({OWN_SCHEMA}), '')")),
    ));
    let (text, own_schema) = query.get_result(connection)?;
    Ok(FailureContext { text, own_schema })
}

/// Checks that this role can read all that a server reads. Fails with what is missing.
pub(crate) fn check_reading(connection: &mut PgConnection) -> Result<(), StoreError> {
    run_all(connection, needs::reading(true))
}

/// Checks that this role can write here, and that what it writes is recorded.
pub(crate) fn check_writing(connection: &mut PgConnection) -> Result<(), StoreError> {
    let needed = needs::writing(true).chain(["SELECT move_topic_ids()".to_owned()]);
    if let Err(error) = run_all(connection, needed) {
        return Err(rule_in_the_way(connection, error)?);
    }
    let fires = needs::POSTGRES_TRIGGERS
        .iter()
        .filter(|trigger| trigger.fires != Fires::Replica);
    let fires: Vec<_> = fires
        .map(|trigger| format!("('{}', '{}')", trigger.table, trigger.name))
        .collect();
    let off = format!(
        "SELECT count(*) AS number FROM (VALUES {}) AS needed (table_name, name) WHERE NOT EXISTS \
         (SELECT FROM pg_trigger \
         WHERE tgrelid = to_regclass(table_name) AND tgname = name AND tgenabled IN ('O', 'A')) \
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

/// Names the rule by which a statement returns nothing, if that is why it failed.
fn rule_in_the_way(
    connection: &mut PgConnection,
    error: StoreError,
) -> Result<StoreError, StoreError> {
    match error {
        StoreError::Fault(fault) if fault.kind == FaultKind::Rule => {
            let rules: String = diesel::select(diesel::dsl::sql::<Text>(&format!(
                "(SELECT coalesce(string_agg(format('DROP RULE %I ON %s', rulename, \
                 ev_class::regclass), '; '), '') FROM pg_rewrite WHERE is_instead \
                 AND ev_class IN (SELECT to_regclass(name) FROM unnest(ARRAY['{}']) AS name))",
                needs::table_names().join("', '")
            )))
            .get_result(connection)?;
            let text = if rules.is_empty() { fault.text } else { rules };
            Ok(StoreError::fault(FaultKind::Rule, text))
        }
        other => Ok(other),
    }
}

/// Runs all statements in one round trip, until one fails.
fn run_all(
    connection: &mut PgConnection,
    commands: impl Iterator<Item = String>,
) -> Result<(), StoreError> {
    run(connection, &commands.collect::<Vec<_>>().join("; "))
}

/// Returns whether a message, in whichever language, has this name in it as a whole.
fn names(text: &str, name: &str) -> bool {
    text.split(|one: char| !one.is_alphanumeric() && one != '_')
        .any(|word| word == name)
}

/// Classifies an SQLSTATE: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn of_sqlstate(state: &str, text: String) -> StoreError {
    let class = state.get(..2).unwrap_or_default();
    match (class, state) {
        (_, "P0001") => StoreError::refused(Some(text), false),
        (_, "23503" | "23505") => StoreError::refused(None, true),
        // A sequence that is at its end: every row would fare the same until an administrator moves
        // it.
        (_, "2200H") if names(&text, "revision_seq") => {
            StoreError::fault(FaultKind::RevisionsUsedUp, text)
        }
        (_, "2200H") if names(&text, "changes_id_seq") => {
            StoreError::fault(FaultKind::ChangeIdsUsedUp, text)
        }
        (_, "2200H") => StoreError::fault(FaultKind::IdsUsedUp, text),
        // No row of another program's breaks these constraints of ours.
        (_, "23514")
            if ["topics_revision_range", "changes_revision_range"]
                .iter()
                .any(|constraint| names(&text, constraint)) =>
        {
            StoreError::fault(FaultKind::RevisionsUsedUp, text)
        }
        // What the row, or an owner's trigger, does wrong.
        ("09" | "20" | "21" | "22" | "23" | "27" | "2F" | "38" | "39" | "44" | "54" | "P0", _) => {
            StoreError::refused(None, false)
        }
        // An owner's rule leaves nothing to return, for any topic.
        (_, "0A000") if text.contains("RETURNING") => StoreError::fault(FaultKind::Rule, text),
        (_, "55P03") => StoreError::fault(FaultKind::Locked, text),
        // 0A000, "cached plan must not change result type": the schema has just been changed.
        ("40" | "55", _) | (_, "57014" | "0A000") => StoreError::fault(FaultKind::Busy, text),
        (_, "25006") => StoreError::fault(FaultKind::ReadOnly, text),
        (_, "53100") => StoreError::fault(FaultKind::Full, text),
        ("42" | "3D" | "3F", _) => StoreError::fault(FaultKind::Installation, text),
        // What others do, the network, the system, or the database itself.
        ("08" | "25" | "28" | "53" | "57" | "58" | "HV" | "XX", _) => {
            StoreError::fault(FaultKind::Other, text)
        }
        // The standard leaves these to programs: an owner's RAISE.
        _ if class
            .starts_with(|first: char| matches!(first, '5'..='9' | 'I'..='W' | 'Y' | 'Z')) =>
        {
            StoreError::refused(Some(text), false)
        }
        _ => StoreError::fault(FaultKind::Unclear, text),
    }
}
