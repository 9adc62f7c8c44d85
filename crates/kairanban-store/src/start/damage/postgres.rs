//! What the schema of a Postgres lacks.

mod objects;
mod shapes;

use diesel::{
    prelude::*,
    sql_query,
    sql_types::{Nullable, Text},
};

use self::shapes::Shapes;
use super::Damage;
use crate::{
    StoreError,
    connection::AnyConnection,
    needs::{Fires, POSTGRES_TRIGGERS, Trigger},
    schema_objects::{self, Object},
};

#[derive(QueryableByName)]
struct TriggerState {
    #[diesel(sql_type = Text)]
    name: String,
    /// When it fires; `None` if there is no such trigger.
    #[diesel(sql_type = Nullable<Text>)]
    enabled: Option<String>,
    /// The role of the connection, which is the same for all.
    #[diesel(sql_type = Text)]
    role: String,
}

pub(super) fn find(connection: &mut AnyConnection) -> Result<Vec<Damage>, StoreError> {
    let shapes = Shapes::read(connection)?;
    let lost = shapes.lost();
    if !lost.is_empty() {
        return Ok(lost);
    }
    let mut damage = shapes.wrong();
    damage.extend(wrong_triggers(connection, &shapes)?);
    damage.extend(objects::wrong(connection)?);
    Ok(damage)
}

pub(super) fn wrong_sequences(connection: &mut AnyConnection) -> Result<Vec<Damage>, StoreError> {
    objects::wrong_sequences(connection)
}

fn listed(rows: impl Iterator<Item = String>) -> String {
    rows.collect::<Vec<_>>().join(", ")
}

fn wrong_triggers(
    connection: &mut AnyConnection,
    shapes: &Shapes,
) -> Result<Vec<Damage>, StoreError> {
    let wanted = POSTGRES_TRIGGERS
        .iter()
        .map(|trigger| format!("('{}', '{}')", trigger.table, trigger.name));
    let query = format!(
        "SELECT name, tgenabled::text AS enabled, current_setting('session_replication_role') AS role \
         FROM (VALUES {}) AS wanted (table_name, name) \
         LEFT JOIN pg_trigger ON tgrelid = to_regclass(table_name) AND tgname = name",
        listed(wanted)
    );
    let states: Vec<TriggerState> = sql_query(query).load(connection)?;
    let mut damage: Vec<_> = POSTGRES_TRIGGERS
        .iter()
        .filter_map(|trigger| {
            let state = states.iter().find(|state| state.name == trigger.name)?;
            let made = schema_objects::trigger(schema_objects::POSTGRES, trigger.name)?;
            let is_ours = shapes.has_trigger(trigger.table, trigger.name);
            compare(trigger, &made, state, is_ours)
        })
        .collect();
    if states.iter().any(|state| state.role == "replica") {
        damage.push(replica_role(connection)?);
    }
    Ok(damage)
}

fn compare(wanted: &Trigger, made: &Object, state: &TriggerState, is_ours: bool) -> Option<Damage> {
    let Trigger { name, table, fires } = wanted;
    let (mode, enable) = match fires {
        Fires::Ordinary => ("O", "ENABLE"),
        Fires::Replica => ("R", "ENABLE REPLICA"),
        Fires::Always => ("A", "ENABLE ALWAYS"),
    };
    let quoted = quoted(name);
    let enable = format!("ALTER TABLE {table} {enable} TRIGGER {quoted}");
    let Some(enabled) = state.enabled.as_deref() else {
        return Some(Damage::repairable(
            format!("the trigger {name} of {table} is missing"),
            format!("{}; {enable}", made.statement),
        ));
    };
    if !is_ours {
        let drop = format!("DROP TRIGGER {quoted} ON {table}");
        return Some(Damage::by_hand(format!(
            "the trigger {name} of {table} is not kairanban's (first {drop})"
        )));
    }
    // How one that is enabled for ordinary connections fires is set right at every start.
    let is_right = enabled == mode || enabled == "O";
    let what = if enabled == "D" {
        "is disabled"
    } else {
        "does not fire on the connections that it is for"
    };
    (!is_right).then(|| Damage::repairable(format!("the trigger {name} of {table} {what}"), enable))
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

/// On connections of that role no ordinary trigger fires.
fn replica_role(connection: &mut AnyConnection) -> Result<Damage, StoreError> {
    const SETTING: &str = "session_replication_role";
    let reset = connection.reset_sql(SETTING)?;
    Ok(Damage::by_hand(format!(
        "{SETTING} is replica, so that triggers do not fire (first {reset})"
    )))
}
