//! Whether the names that migrations are about to take are free, and whether the table of
//! migrations is ours.

use diesel::{prelude::*, sql_query, sql_types::Text};

use crate::{
    DatabaseAddress, StartError, StoreError,
    connection::AnyConnection,
    migrate, needs,
    schema_objects::{self, Object, ObjectKind, made_by},
    sql::Number,
};

/// An object of the schema that the boards are in, or are to be in.
#[derive(QueryableByName)]
struct TakenName {
    /// The kind of object, in words.
    #[diesel(sql_type = Text)]
    kind: String,
    /// Which names it takes: those of relations, types, functions, or triggers.
    #[diesel(sql_type = Text)]
    space: String,
    #[diesel(sql_type = Text)]
    name: String,
    /// The table whose triggers have names of their own; empty on SQLite, where the names are the
    /// file's.
    #[diesel(sql_type = Text)]
    table_name: String,
}

const IN_POSTGRES: &str = "\
    SELECT CASE relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'view' WHEN 'S' THEN 'sequence' \
    WHEN 'i' THEN 'index' WHEN 'I' THEN 'index' WHEN 'c' THEN 'type' ELSE 'table' END AS kind, \
    'relation' AS space, relname::text AS name, '' AS table_name \
    FROM pg_class WHERE relnamespace = quote_ident(current_schema())::regnamespace \
    UNION ALL SELECT 'type', 'type', typname::text, '' \
    FROM pg_type WHERE typnamespace = quote_ident(current_schema())::regnamespace AND typrelid = 0 \
    UNION ALL SELECT 'function', 'function', proname::text, '' \
    FROM pg_proc WHERE pronamespace = quote_ident(current_schema())::regnamespace \
    UNION ALL SELECT 'trigger', 'trigger', tgname::text, relname::text \
    FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid \
    WHERE relnamespace = quote_ident(current_schema())::regnamespace AND NOT tgisinternal";

// SQLite compares names without case.
const IN_SQLITE: &str = "\
    SELECT type AS kind, CASE type WHEN 'trigger' THEN 'trigger' ELSE 'relation' END AS space, \
    lower(name) AS name, '' AS table_name FROM sqlite_schema";

/// Returns how to go where the names are free.
fn help(address: &DatabaseAddress) -> &'static str {
    match address {
        DatabaseAddress::Postgres(_) => {
            "use another database, or a schema of its own: CREATE SCHEMA kairanban, and \
             `?options=-csearch_path%3Dkairanban` behind the database URL"
        }
        DatabaseAddress::Sqlite(_) => "name another file",
    }
}

/// Checks that no object of another program has a name that the pending migrations are going to
/// take.
pub(super) fn check_free(
    connection: &mut AnyConnection,
    address: &DatabaseAddress,
    pending: &[String],
) -> Result<(), StartError> {
    let (query, migrations) = match address {
        DatabaseAddress::Postgres(_) => (IN_POSTGRES, schema_objects::POSTGRES),
        DatabaseAddress::Sqlite(_) => (IN_SQLITE, schema_objects::SQLITE),
    };
    let found: Vec<TakenName> = sql_query(query)
        .load(connection)
        .map_err(StoreError::from)?;
    let is_pending = |name: &str| pending.iter().any(|pending| pending == name);
    let ours: Vec<_> = made_by(migrations, |name| !is_pending(name)).collect();
    let wanted = made_by(migrations, is_pending)
        .filter(|object| !ours.iter().any(|own| own.is_same(object)))
        .find_map(|object| found.iter().find(|found| found.is_in_the_way_of(&object)));
    let Some(taken) = wanted else {
        return check_history(connection, address, &ours, &found);
    };
    // Another server may have made it meanwhile.
    if migrate::pending_names(connection)? != pending {
        return Ok(());
    }
    if let Some(versions) = not_noted(migrations, pending, &found) {
        return Err(StartError::Final(format!(
            "its table `{0}` lacks rows, while what those migrations make is there: restore them \
             (INSERT INTO {0} (version) VALUES {versions}), or all of it from a backup",
            migrate::TABLE
        )));
    }
    Err(StartError::Final(format!(
        "it holds a {} `{}` that kairanban did not make: {}",
        taken.kind,
        taken.name,
        help(address)
    )))
}

/// Returns the versions of the pending migrations if all that they make is there: then they ran,
/// and their rows are lost.
fn not_noted(
    migrations: &[(&'static str, &'static str)],
    pending: &[String],
    found: &[TakenName],
) -> Option<String> {
    let is_there = made_by(migrations, |name| {
        pending.iter().any(|pending| pending == name)
    })
    .filter(lasts)
    .all(|object| found.iter().any(|found| found.is_in_the_way_of(&object)));
    let versions = pending.iter().map(|name| {
        let digits = name.split('_').next().unwrap_or_default();
        format!("('{}')", digits.replace('-', ""))
    });
    is_there.then(|| versions.collect::<Vec<_>>().join(", "))
}

/// Returns whether the object is still there after all migrations; others are only steps on the
/// way.
fn lasts(object: &Object) -> bool {
    match object.kind {
        ObjectKind::Table => needs::table_names().contains(&object.name),
        ObjectKind::Sequence | ObjectKind::Function => true,
        ObjectKind::Index | ObjectKind::Trigger => false,
    }
}

/// Checks that the first tables are there, if a migration is noted that came after them: another
/// program may use the same table of migrations, and the same version.
fn check_history(
    connection: &mut AnyConnection,
    address: &DatabaseAddress,
    ours: &[Object],
    found: &[TakenName],
) -> Result<(), StartError> {
    let first = ours.iter().find(|object| object.kind == ObjectKind::Table);
    let Some(lost) = first.filter(|first| !found.iter().any(|found| found.is_relation(first.name)))
    else {
        return Ok(());
    };
    let pending = migrate::pending_names(connection)?;
    let noted = migrate::all_names(address).len() - pending.len();
    Err(StartError::Final(format!(
        "its table `{}` notes {noted} of kairanban's migrations, and there is no table `{}`: it is \
         another program's, or what they made was dropped; restore a backup, or {}",
        migrate::TABLE,
        lost.name,
        help(address)
    )))
}

impl Object {
    fn is_same(&self, other: &Self) -> bool {
        (self.kind, self.name) == (other.kind, other.name)
    }
}

impl TakenName {
    fn is_relation(&self, name: &str) -> bool {
        self.space == "relation" && self.name == name
    }

    fn is_in_the_way_of(&self, object: &Object) -> bool {
        match object.kind {
            // The rows of a table are a type, too. A key that counts by itself makes a sequence,
            // which functions of ours name.
            ObjectKind::Table | ObjectKind::Sequence => {
                let makes_key = object.statement.contains("AS IDENTITY");
                let of_key = self.name.strip_suffix("_id_seq").filter(|_| makes_key);
                matches!(self.space.as_str(), "relation" | "type")
                    && (self.name == object.name || of_key == Some(object.name))
            }
            ObjectKind::Index => self.is_relation(object.name),
            // A call with one argument may be a cast to a type of that name, and rows are a type.
            ObjectKind::Function => {
                self.space != "trigger" && self.kind != "index" && self.name == object.name
            }
            ObjectKind::Trigger => {
                self.space == "trigger"
                    && self.name == object.name
                    && (self.table_name.is_empty()
                        || Some(self.table_name.as_str()) == object.table)
            }
        }
    }
}

/// Checks that migrations can be noted in the table of that name, which every program that uses
/// diesel has.
pub(super) fn check_table_of_migrations(
    connection: &mut AnyConnection,
    address: &DatabaseAddress,
) -> Result<(), StartError> {
    let query = match address {
        DatabaseAddress::Postgres(_) => {
            "SELECT count(*) AS number FROM pg_class \
             WHERE oid = to_regclass('__diesel_schema_migrations') \
             AND NOT (relkind IN ('r', 'p') AND EXISTS (SELECT FROM pg_attribute \
             WHERE attrelid = pg_class.oid AND attname = 'version' AND NOT attisdropped \
             AND atttypid IN ('varchar'::regtype, 'text'::regtype)) \
             AND NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = pg_class.oid \
             AND attnum > 0 AND NOT attisdropped AND attname <> 'version' AND attnotnull \
             AND NOT atthasdef AND attidentity = ''))"
        }
        DatabaseAddress::Sqlite(_) => {
            "SELECT count(*) AS number FROM sqlite_schema \
             WHERE lower(name) = '__diesel_schema_migrations' \
             AND NOT (type = 'table' AND EXISTS (SELECT 1 FROM pragma_table_info(sqlite_schema.name) \
             WHERE lower(name) = 'version') \
             AND NOT EXISTS (SELECT 1 FROM pragma_table_info(sqlite_schema.name) \
             WHERE lower(name) <> 'version' AND \"notnull\" AND dflt_value IS NULL AND NOT pk))"
        }
    };
    let foreign: Number = sql_query(query)
        .get_result(connection)
        .map_err(StoreError::from)?;
    if foreign.number == Some(0) {
        return Ok(());
    }
    Err(StartError::Final(format!(
        "its table `{}` is another program's, and takes no migrations of kairanban's: {}",
        migrate::TABLE,
        help(address)
    )))
}
