//! Finds functions, rights and triggers of a Postgres that are not as the migrations made them.

use diesel::{
    prelude::*,
    sql_query,
    sql_types::{Bool, Text},
};

use super::listed;
use crate::{
    StoreError,
    connection::AnyConnection,
    needs::{
        self, OWN_FUNCTIONS, RIGHTS_OF_OWNER, WRONG_SEQUENCES, foreign_triggers_sql, function_name,
    },
    schema_objects,
    start::damage::Damage,
};

/// What is wrong, and the statement that repairs it.
#[derive(QueryableByName)]
struct WrongObject {
    #[diesel(sql_type = Text)]
    what: String,
    #[diesel(sql_type = Text)]
    repair_sql: String,
    /// Whether `kairanban migrate` leaves it to the owner.
    #[diesel(sql_type = Bool)]
    by_hand: bool,
}

impl From<WrongObject> for Damage {
    fn from(
        WrongObject {
            what,
            repair_sql,
            by_hand,
        }: WrongObject,
    ) -> Self {
        if by_hand {
            Self::by_hand(format!("{what} (first {repair_sql})"))
        } else {
            Self::repairable(what, repair_sql)
        }
    }
}

pub(super) fn wrong(connection: &mut AnyConnection) -> Result<Vec<Damage>, StoreError> {
    let queries = [
        functions_sql(),
        overloads_sql(),
        rights_sql(),
        foreign_triggers(),
        sequences(),
        children(),
    ];
    let mut damage = Vec::new();
    for query in queries {
        damage.extend(found(connection, query)?);
    }
    Ok(damage)
}

/// Sequences that do not count one by one.
pub(super) fn wrong_sequences(connection: &mut AnyConnection) -> Result<Vec<Damage>, StoreError> {
    found(connection, sequences())
}

fn found(connection: &mut AnyConnection, query: String) -> Result<Vec<Damage>, StoreError> {
    let wrong: Vec<WrongObject> = sql_query(query).load(connection)?;
    Ok(wrong.into_iter().map(Damage::from).collect())
}

/// Each runs by the rights and the path that the migrations set, and belongs to a role that may
/// use the tables.
fn functions_sql() -> String {
    let wanted = OWN_FUNCTIONS.iter().filter_map(|signature| {
        let name = function_name(signature);
        let made = schema_objects::function(schema_objects::POSTGRES, name)?;
        let header = made.statement.split("$$").next()?;
        let definer = header.contains("SECURITY DEFINER");
        // One that says INVOKER runs by the path of its caller, too.
        let pinned = !header.contains("SECURITY INVOKER");
        Some(format!("('{name}', '{signature}', {definer}, {pinned})"))
    });
    format!(
        "SELECT format('the function %s %s', name, CASE WHEN is_strange \
         THEN 'belongs to a role that may not use the tables' \
         ELSE 'does not run by the rights and the search_path that it should' END) AS what, \
         CASE WHEN is_strange THEN format('ALTER FUNCTION %s OWNER TO %I', signature, owner) \
         ELSE format('ALTER FUNCTION %s SECURITY %s %s', signature, \
         CASE WHEN definer THEN 'DEFINER' ELSE 'INVOKER' END, \
         CASE WHEN pinned THEN 'SET search_path = ' || substr(path, 13) ELSE 'RESET search_path' END) END \
         AS repair_sql, is_strange AS by_hand \
         FROM (SELECT name, definer, pinned, path, oid::regprocedure AS signature, \
         pg_get_userbyid(relowner) AS owner, prosecdef, coalesce(proconfig, '{{}}') AS config, \
         definer AND NOT pg_has_role(proowner, relowner, 'USAGE') AS is_strange \
         FROM (VALUES {}) AS wanted (name, named, definer, pinned), \
         (SELECT 'search_path=pg_catalog, ' || quote_ident(current_schema()) || ', pg_temp' AS path) \
         AS pinning, (SELECT relowner FROM pg_class WHERE oid = to_regclass('topics')) AS tables, \
         pg_proc WHERE oid = to_regprocedure(named)) AS found \
         WHERE is_strange OR prosecdef <> definer OR CASE WHEN pinned THEN replace(path, '\"', '') \
         <> ALL (string_to_array(replace(array_to_string(config, chr(10)), '\"', ''), chr(10))) \
         ELSE EXISTS (SELECT FROM unnest(config) AS set (one) WHERE one LIKE 'search\\_path=%') END \
         ORDER BY name",
        listed(wanted)
    )
}

/// The owner's functions that make a call of ours ambiguous by arguments with defaults.
fn overloads_sql() -> String {
    let ours = OWN_FUNCTIONS
        .iter()
        .map(|signature| format!("('{}', '{signature}')", function_name(signature)));
    format!(
        "SELECT format('the function %s makes calls of kairanban''s %s ambiguous', \
         other.oid::regprocedure, named) AS what, \
         format('DROP FUNCTION %s', other.oid::regprocedure) AS repair_sql, true AS by_hand \
         FROM (VALUES {}) AS wanted (name, named) \
         JOIN pg_proc AS own ON own.oid = to_regprocedure(named) \
         JOIN pg_proc AS other ON other.proname = own.proname AND other.oid <> own.oid \
         AND other.pronamespace = own.pronamespace \
         WHERE own.prorettype <> 'trigger'::regtype \
         AND own.pronargs BETWEEN other.pronargs - other.pronargdefaults AND other.pronargs - 1 \
         AND array_to_string((other.proargtypes::oid[])[0:own.pronargs - 1], ' ') = \
         own.proargtypes::text ORDER BY 1",
        listed(ours)
    )
}

/// The owner of the functions, and that of a table, by whose rights foreign keys are checked.
fn rights_sql() -> String {
    let needed = RIGHTS_OF_OWNER.iter().flat_map(|(table, rights)| {
        rights
            .iter()
            .map(move |right| format!("('{table}', '{right}')"))
    });
    format!(
        "SELECT format('the role %s lacks %s on the table %s, which its functions use', role, \
         string_agg(privilege, ', '), table_name) AS what, \
         format('GRANT %s ON %I TO %I', string_agg(privilege, ', '), table_name, role) AS repair_sql, \
         NOT pg_has_role(relowner, 'USAGE') AS by_hand \
         FROM (VALUES {}) AS needed (table_name, privilege) \
         JOIN pg_class ON pg_class.oid = to_regclass(table_name), \
         LATERAL (SELECT relowner AS id UNION SELECT proowner FROM pg_proc \
         WHERE oid = to_regprocedure('transaction_stamped()')) AS users, \
         LATERAL (SELECT pg_get_userbyid(id) AS role) AS named \
         WHERE NOT has_table_privilege(id, pg_class.oid, privilege) \
         GROUP BY role, table_name, relowner ORDER BY table_name",
        listed(needed)
    )
}

fn foreign_triggers() -> String {
    format!(
        "SELECT format('the trigger %s is not kairanban''s, and stands on its table %s', tgname, \
         tgrelid::regclass) AS what, \
         format('DROP TRIGGER %I ON %s', tgname, tgrelid::regclass) AS repair_sql, true AS by_hand \
         FROM pg_trigger WHERE {} AND tgtype & 2 = 2 ORDER BY tgname",
        // 2 is BEFORE: what fires later can refuse a row, but not drop it unseen.
        foreign_triggers_sql()
    )
}

/// What connections have drawn ahead is dropped by ALTER SEQUENCE; the next revision is to be
/// larger than all that were drawn.
fn sequences() -> String {
    format!(
        "SELECT format('the sequence %s does not count one by one', seqrelid::regclass) AS what, \
         format('ALTER SEQUENCE %s INCREMENT BY 1 CACHE 1 NO CYCLE', seqrelid::regclass) || \
         CASE WHEN seqrelid = to_regclass('revision_seq') \
         THEN '; SELECT setval(''revision_seq'', greatest(last_value, (SELECT max(revision) \
         FROM changes WHERE revision < 9007199254740991))) FROM revision_seq' ELSE '' END AS repair_sql, \
         false AS by_hand FROM pg_sequence WHERE {WRONG_SEQUENCES} ORDER BY 1"
    )
}

/// What is unique in a table is not so in those that inherit from it.
fn children() -> String {
    let tables = needs::table_names();
    let tables = tables.iter().map(|name| format!("to_regclass('{name}')"));
    format!(
        "SELECT format('the table %s inherits from %s, so that two rows may have one id', \
         inhrelid::regclass, inhparent::regclass) AS what, \
         format('ALTER TABLE %s NO INHERIT %s', inhrelid::regclass, inhparent::regclass) AS repair_sql, \
         true AS by_hand FROM pg_inherits JOIN pg_class ON pg_class.oid = inhparent \
         WHERE relkind = 'r' AND inhparent IN ({}) ORDER BY 1",
        listed(tables)
    )
}
