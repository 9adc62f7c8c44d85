//! What the schema of a Postgres lacks.

mod objects;

use diesel::{
    prelude::*,
    sql_query,
    sql_types::{Nullable, Text},
};

use super::Damage;
use crate::{
    StoreError,
    connection::AnyConnection,
    needs::{Fires, OWN_FUNCTIONS, POSTGRES_TRIGGERS, TABLES, Trigger},
    schema_objects::{self, Object, ObjectKind, made_by},
};

/// Something that only a backup has.
#[derive(QueryableByName)]
struct Lost {
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Text)]
    name: String,
}

#[derive(QueryableByName)]
struct TriggerState {
    #[diesel(sql_type = Text)]
    name: String,
    /// When it fires; `None` if there is no such trigger.
    #[diesel(sql_type = Nullable<Text>)]
    enabled: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    function: Option<String>,
    /// The role of the session, which is the same for all.
    #[diesel(sql_type = Text)]
    role: String,
}

pub(super) fn find(connection: &mut AnyConnection) -> Result<Vec<Damage>, StoreError> {
    let lost: Vec<Lost> = sql_query(lost_sql()).load(connection)?;
    if lost.is_empty() {
        let mut damage = wrong_triggers(connection)?;
        damage.extend(objects::wrong(connection)?);
        return Ok(damage);
    }
    Ok(lost
        .iter()
        .map(|lost| Damage::lost(&lost.kind, &lost.name))
        .collect())
}

pub(super) fn wrong_sequences(connection: &mut AnyConnection) -> Result<Vec<Damage>, StoreError> {
    objects::wrong_sequences(connection)
}

fn lost_sql() -> String {
    let made = made_by(schema_objects::POSTGRES, |_| true)
        .filter(|object| matches!(object.kind, ObjectKind::Table | ObjectKind::Sequence))
        .map(|object| object.name);
    let tables = made
        .chain(TABLES.iter().map(|table| table.name))
        .map(|name| format!("('{name}')"));
    let columns = TABLES.iter().flat_map(|table| {
        let columns = table.columns.iter();
        columns.map(|column| format!("('{}', '{column}')", table.name))
    });
    let functions = OWN_FUNCTIONS.iter().map(|name| format!("('{name}')"));
    format!(
        "SELECT DISTINCT 'table' AS kind, name FROM (VALUES {}) AS wanted (name) \
         WHERE NOT EXISTS (SELECT FROM pg_class \
         WHERE oid = to_regclass(name) AND relkind IN ('r', 'p', 'S')) \
         UNION ALL SELECT 'column', place || '.' || name FROM (VALUES {}) AS wanted (place, name) \
         WHERE to_regclass(place) IS NOT NULL AND NOT EXISTS (SELECT FROM pg_attribute \
         WHERE attrelid = to_regclass(place) AND attname = name AND NOT attisdropped) \
         UNION ALL SELECT 'function', name FROM (VALUES {}) AS wanted (name) \
         WHERE NOT EXISTS (SELECT FROM pg_proc \
         WHERE pronamespace = quote_ident(current_schema())::regnamespace AND proname = name)",
        listed(tables),
        listed(columns),
        listed(functions)
    )
}

fn listed(rows: impl Iterator<Item = String>) -> String {
    rows.collect::<Vec<_>>().join(", ")
}

fn wrong_triggers(connection: &mut AnyConnection) -> Result<Vec<Damage>, StoreError> {
    let wanted = POSTGRES_TRIGGERS
        .iter()
        .map(|trigger| format!("('{}', '{}')", trigger.table, trigger.name));
    let query = format!(
        "SELECT name, tgenabled::text AS enabled, (SELECT proname::text FROM pg_proc \
         WHERE pg_proc.oid = tgfoid AND pronamespace = quote_ident(current_schema())::regnamespace) AS function, \
         current_setting('session_replication_role') AS role \
         FROM (VALUES {}) AS wanted (place, name) \
         LEFT JOIN pg_trigger ON tgrelid = to_regclass(place) AND tgname = name",
        listed(wanted)
    );
    let states: Vec<TriggerState> = sql_query(query).load(connection)?;
    let mut damage: Vec<_> = POSTGRES_TRIGGERS
        .iter()
        .filter_map(|trigger| {
            let state = states.iter().find(|state| state.name == trigger.name)?;
            let made = schema_objects::trigger(schema_objects::POSTGRES, trigger.name)?;
            compare(trigger, &made, state)
        })
        .collect();
    if states.iter().any(|state| state.role == "replica") {
        damage.push(replica_role(connection)?);
    }
    Ok(damage)
}

fn compare(wanted: &Trigger, made: &Object, state: &TriggerState) -> Option<Damage> {
    let Trigger { name, table, fires } = wanted;
    let (mode, enable) = match fires {
        Fires::Ordinary => ("O", "ENABLE"),
        Fires::Replica => ("R", "ENABLE REPLICA"),
        Fires::Always => ("A", "ENABLE ALWAYS"),
    };
    let quoted = quoted(name);
    let enable = format!("ALTER TABLE {table} {enable} TRIGGER {quoted}");
    let Some(enabled) = state.enabled.as_deref() else {
        return Some(Damage::mendable(
            format!("the trigger {name} of {table} is missing"),
            format!("{}; {enable}", made.statement),
        ));
    };
    if state.function.as_deref() != function(made.statement) {
        let drop = format!("DROP TRIGGER {quoted} ON {table}");
        return Some(Damage {
            what: format!("the trigger {name} of {table} is not kairanban's (first {drop})"),
            mend: None,
        });
    }
    // How one that is enabled for ordinary sessions fires is set right at every start.
    let is_right = enabled == mode || enabled == "O";
    let what = if enabled == "D" {
        "is disabled"
    } else {
        "does not fire in the sessions that it is for"
    };
    (!is_right).then(|| Damage::mendable(format!("the trigger {name} of {table} {what}"), enable))
}

/// Returns a name as statements write it.
fn quoted(name: &str) -> String {
    if name
        .chars()
        .all(|char| char.is_ascii_lowercase() || char == '_')
    {
        name.to_owned()
    } else {
        format!("\"{name}\"")
    }
}

/// Returns the name of the function that a trigger calls.
fn function(statement: &str) -> Option<&str> {
    statement
        .rsplit_once("EXECUTE FUNCTION ")?
        .1
        .split('(')
        .next()
}

/// In sessions of that role no ordinary trigger fires.
fn replica_role(connection: &mut AnyConnection) -> Result<Damage, StoreError> {
    const SETTING: &str = "session_replication_role";
    let reset = connection.reset_sql(SETTING)?;
    Ok(Damage {
        what: format!("{SETTING} is replica, so that triggers do not fire (first {reset})"),
        mend: None,
    })
}
