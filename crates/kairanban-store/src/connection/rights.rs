//! What the role of a server may have to do on Postgres, apart from migrating.
//! `config/grants-server.sql` grants the same; a test holds them against each other.

use diesel::{prelude::*, sql_query, sql_types::Text};

use super::AnyConnection;
use crate::{
    StoreError,
    needs::{FUNCTIONS, OWN_FUNCTIONS, TABLES, table_names},
};

#[derive(QueryableByName)]
struct Missing {
    #[diesel(sql_type = Text)]
    statement: String,
}

/// Returns the statements that would grant what the role lacks of what a server needs. Leaves out
/// tables and functions that do not exist.
pub(crate) fn missing(connection: &mut AnyConnection) -> Result<Vec<String>, StoreError> {
    let pairs = TABLES.iter().flat_map(|table| {
        table
            .rights
            .iter()
            .map(|right| format!("('{}', '{right}')", table.name))
    });
    let pairs = pairs.collect::<Vec<_>>().join(", ");
    // has_table_privilege raises an error for a table that is not there, so only those that are
    // there are asked about.
    let query = format!(
        "SELECT format('GRANT %s ON %I.%I TO %I', string_agg(privilege, ', '), current_schema(), \
         name, current_user) AS statement \
         FROM (VALUES {pairs}) AS needed (name, privilege) \
         WHERE CASE WHEN to_regclass(quote_ident(name)) IS NULL THEN false \
         ELSE NOT has_table_privilege(to_regclass(quote_ident(name))::oid, privilege) END \
         GROUP BY name ORDER BY name"
    );
    let mut missing = rows(connection, &query)?;
    let functions = FUNCTIONS
        .iter()
        .map(|function| format!("('{function}')"))
        .collect::<Vec<_>>()
        .join(", ");
    let query = format!(
        "SELECT format('GRANT EXECUTE ON FUNCTION %I.%s TO %I', current_schema(), name, \
         current_user) AS statement \
         FROM (VALUES {functions}) AS called (name) WHERE CASE \
         WHEN to_regprocedure(name) IS NULL THEN false \
         ELSE NOT has_function_privilege(to_regprocedure(name)::oid, 'EXECUTE') END ORDER BY name"
    );
    missing.extend(rows(connection, &query)?);
    Ok(missing)
}

/// Returns the statements after which row-level security hides no row of our tables from the role,
/// nor, where it is forced, from their owner, by whose rights our functions run.
pub(crate) fn hidden(connection: &mut AnyConnection) -> Result<Vec<String>, StoreError> {
    let names = [table_names(), vec!["transactions"]].concat().join("', '");
    let query = format!(
        "SELECT format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY', oid::regclass) AS statement \
         FROM pg_class WHERE oid IN (SELECT to_regclass(quote_ident(name)) \
         FROM unnest(ARRAY['{names}']) AS name) AND (row_security_active(oid) \
         OR relrowsecurity AND relforcerowsecurity AND NOT EXISTS (SELECT FROM pg_roles \
         WHERE pg_roles.oid = relowner AND (rolsuper OR rolbypassrls))) ORDER BY 1"
    );
    rows(connection, &query)
}

/// Returns the statements that would grant what the role lacks to use or, if it `migrates`, to make
/// tables at all.
pub(crate) fn missing_on_schema(
    connection: &mut AnyConnection,
    migrates: bool,
) -> Result<Vec<String>, StoreError> {
    let named = "SELECT format('GRANT USAGE ON SCHEMA %I TO %I', nspname, \
        current_user) AS statement FROM pg_namespace \
        WHERE current_schema() IS NULL AND nspname IN (SELECT CASE name \
        WHEN '$user' THEN current_user::text ELSE name END \
        FROM regexp_matches(current_setting('search_path'), \
        '\"((?:[^\"]|\"\")*)\"|([^, \"]+)', 'g') AS part, \
        coalesce(replace(part[1], '\"\"', '\"'), part[2]) AS name) LIMIT 1";
    let lacks_usage = rows(connection, named)?;
    if !lacks_usage.is_empty() || !migrates {
        return Ok(lacks_usage);
    }
    rows(
        connection,
        "SELECT format('GRANT CREATE ON SCHEMA %I TO %I', current_schema(), \
         current_user) AS statement \
         WHERE NOT has_schema_privilege(current_schema(), 'CREATE')",
    )
}

/// Returns `search_path` if none of its schemas is there.
pub(crate) fn path_to_nowhere(
    connection: &mut AnyConnection,
) -> Result<Option<String>, StoreError> {
    let query = "SELECT current_setting('search_path') AS statement WHERE current_schema() IS NULL";
    Ok(rows(connection, query)?.pop())
}

/// Returns the statement that would keep other roles from making functions and operators in the
/// schema, if they may: the functions of the schema, which have the owner's rights, could be led to
/// call them.
pub(crate) fn open_schema(connection: &mut AnyConnection) -> Result<Option<String>, StoreError> {
    let query = "SELECT format('REVOKE CREATE ON SCHEMA %I \
        FROM PUBLIC', current_schema()) AS statement \
        WHERE has_schema_privilege('public', current_schema()::text, 'CREATE')";
    Ok(rows(connection, query)?.pop())
}

/// Returns the statements that would take those of our functions from PUBLIC that it may execute,
/// of those for which `condition` holds.
pub(crate) fn open_functions(
    connection: &mut AnyConnection,
    condition: &str,
) -> Result<Vec<String>, StoreError> {
    let own = OWN_FUNCTIONS
        .iter()
        .map(|signature| format!("to_regprocedure('{signature}')"))
        .collect::<Vec<_>>()
        .join(", ");
    let query = format!(
        "SELECT format('REVOKE EXECUTE ON FUNCTION %s \
         FROM PUBLIC', oid::regprocedure) AS statement FROM pg_proc \
         WHERE oid IN ({own}) \
         AND has_function_privilege('public', oid, 'EXECUTE') AND {condition} ORDER BY 1"
    );
    rows(connection, &query)
}

/// Returns which role owns the tables, if it is neither this one nor one that this one belongs to:
/// only owners alter tables.
pub(crate) fn foreign_owner(connection: &mut AnyConnection) -> Result<Option<String>, StoreError> {
    let owner = "SELECT pg_get_userbyid(relowner)::text AS statement FROM pg_class \
        WHERE oid IN (to_regclass('boards'), to_regclass('__diesel_schema_migrations')) \
        AND NOT pg_has_role(relowner, 'USAGE')";
    Ok(rows(connection, owner)?.pop())
}

fn rows(connection: &mut AnyConnection, query: &str) -> Result<Vec<String>, StoreError> {
    let rows: Vec<Missing> = sql_query(query).load(connection)?;
    Ok(rows.into_iter().map(|row| row.statement).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_published_grants_are_those_that_are_asked_for() {
        let sql = include_str!("../../../../config/grants-server.sql");
        let granted: BTreeSet<String> = sql
            .lines()
            .filter_map(|line| line.strip_prefix("GRANT ")?.split_once(" ON :\"schema\"."))
            .flat_map(|(rights, rest)| {
                let table = rest
                    .split_whitespace()
                    .next()
                    .unwrap_or_default()
                    .to_owned();
                rights
                    .split(", ")
                    .map(move |right| format!("{table} {right}"))
                    .collect::<Vec<_>>()
            })
            .collect();
        let needed = TABLES.iter().flat_map(|table| {
            table
                .rights
                .iter()
                .map(|right| format!("{} {right}", table.name))
        });
        assert_eq!(granted, needed.collect());
        let granted = sql
            .split_once("proname IN (")
            .and_then(|(_, rest)| rest.split_once(')'))
            .expect("functions")
            .0;
        let granted: BTreeSet<_> = granted
            .split(", ")
            .map(|name| name.trim_matches('\''))
            .collect();
        assert_eq!(
            granted,
            FUNCTIONS
                .iter()
                .filter_map(|called| Some(called.split_once('(')?.0))
                .collect()
        );
    }
}
