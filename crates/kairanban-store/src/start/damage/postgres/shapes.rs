//! The objects of a schema, compared with those of a new one. What the owner added is not looked
//! at.

use diesel::{connection::SimpleConnection as _, prelude::*, sql_query, sql_types::Text};

use crate::{
    StoreError,
    connection::AnyConnection,
    needs::{OWN_FUNCTIONS, TABLES, function_name},
    schema_objects,
    sql::Number,
    start::damage::Damage,
};

const QUERY: &str = include_str!("schema.sql");
/// What [`QUERY`] finds in a new database. A test compares them.
const NEW: &str = include_str!("schema.tsv");
/// The version that printed [`NEW`]: another one may print expressions otherwise.
const PRINTED_BY: i64 = 15;
/// Settings that change how the same object is printed.
const PLAIN: &str = "SET LOCAL quote_all_identifiers = off; SET LOCAL DateStyle = 'ISO, MDY'; \
    SET LOCAL TimeZone = 'UTC'; SET LOCAL standard_conforming_strings = on";

/// An object, or a part of one.
#[derive(QueryableByName)]
struct SchemaObject {
    #[diesel(sql_type = Text)]
    kind: String,
    /// The table that it belongs to, or empty.
    #[diesel(sql_type = Text)]
    table_name: String,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    shape: String,
    #[diesel(sql_type = Text)]
    printed: String,
    #[diesel(sql_type = Text)]
    repair_sql: String,
}

/// The objects of a schema.
pub(super) struct Shapes {
    found: Vec<SchemaObject>,
    is_same_printer: bool,
}

impl Shapes {
    pub(super) fn read(connection: &mut AnyConnection) -> Result<Self, StoreError> {
        const VERSION: &str =
            "SELECT current_setting('server_version_num')::bigint / 10000 AS number";
        connection.transaction(|connection| {
            connection.batch_execute(PLAIN)?;
            let version: Number = sql_query(VERSION).get_result(connection)?;
            Ok(Self {
                found: sql_query(QUERY).load(connection)?,
                is_same_printer: version.number == Some(PRINTED_BY),
            })
        })
    }

    /// Returns what only a backup has.
    pub(super) fn lost(&self) -> Vec<Damage> {
        let wanted = wanted();
        let gone = wanted.iter().filter(|wanted| {
            // Other sequences come back with the identity of their column.
            let is_lost = match wanted.kind.as_str() {
                "sequence" => TABLES.iter().any(|table| table.name == wanted.name),
                kind => matches!(kind, "table" | "column" | "function"),
            };
            is_lost && self.named(wanted).next().is_none()
        });
        let tables: Vec<_> = gone.clone().filter(|one| one.kind == "table").collect();
        gone.filter(|one| !tables.iter().any(|table| table.name == one.table_name))
            .map(|one| Damage::lost(&one.kind, &one.of_table(".")))
            .collect()
    }

    /// Returns what is missing beside that, or is another one of the same name. Triggers have a
    /// state, too, and are compared with it.
    pub(super) fn wrong(&self) -> Vec<Damage> {
        let wanted = wanted();
        let others = wanted.iter().filter(|wanted| wanted.kind != "trigger");
        others
            .filter(|wanted| !self.has(wanted))
            .filter_map(|wanted| self.damage(wanted))
            .collect()
    }

    /// Returns whether a trigger fires when it should, and calls what it should.
    pub(super) fn has_trigger(&self, table: &str, name: &str) -> bool {
        let wanted = wanted();
        let mut triggers = wanted.iter().filter(|one| one.kind == "trigger");
        triggers
            .find(|one| one.table_name == table && one.name == name)
            .is_some_and(|wanted| self.has(wanted))
    }

    fn named<'a>(&'a self, wanted: &'a SchemaObject) -> impl Iterator<Item = &'a SchemaObject> {
        self.found.iter().filter(|found| {
            (&found.kind, &found.table_name, &found.name)
                == (&wanted.kind, &wanted.table_name, &wanted.name)
        })
    }

    fn has(&self, wanted: &SchemaObject) -> bool {
        self.found.iter().any(|found| {
            found.kind == wanted.kind
                && found.table_name == wanted.table_name
                && (found.name == wanted.name || wanted.has_any_name())
                && found.shape == wanted.shape
                && (found.printed == wanted.printed || !self.is_same_printer)
        })
    }

    fn damage(&self, wanted: &SchemaObject) -> Option<Damage> {
        let SchemaObject {
            kind, repair_sql, ..
        } = wanted;
        let name = wanted.of_table(if kind == "column" { "." } else { " of " });
        let damage = match (self.named(wanted).next(), kind.as_str()) {
            // The sequence comes back with its identity column.
            (None, "sequence") => return None,
            (None, _) => {
                Damage::repairable(format!("the {kind} {name} is missing"), repair_sql.clone())
            }
            (Some(_), "function") => Damage {
                repair_sql: made_function(&wanted.name),
                ..Damage::by_hand(format!("the function {name} is not kairanban's"))
            },
            (Some(_), "identity") => Damage::repairable(
                format!("the {kind} {name} is not generated as it should be"),
                generated(repair_sql),
            ),
            (Some(found), "table" | "sequence" | "column") => Damage::by_hand(format!(
                "the {kind} {name} is {} instead of {} (first {repair_sql})",
                found.shape, wanted.shape
            )),
            (Some(_), _) => Damage::by_hand(format!(
                "the {kind} {name} is not kairanban's (first {})",
                wanted.drop()
            )),
        };
        Some(Damage {
            is_tolerable: matches!(kind.as_str(), "CHECK" | "NOT NULL" | "foreign key"),
            ..damage
        })
    }
}

impl SchemaObject {
    /// Whether another name does as well.
    fn has_any_name(&self) -> bool {
        matches!(
            self.kind.as_str(),
            "primary key" | "unique constraint" | "index" | "foreign key"
        )
    }

    fn of_table(&self, between: &str) -> String {
        let Self {
            table_name, name, ..
        } = self;
        match between {
            _ if table_name.is_empty() => name.clone(),
            "." => format!("{table_name}.{name}"),
            between => format!("{name}{between}{table_name}"),
        }
    }

    fn drop(&self) -> String {
        let Self {
            table_name, name, ..
        } = self;
        if self.kind == "index" {
            format!("DROP INDEX {name}")
        } else {
            format!("ALTER TABLE {table_name} DROP CONSTRAINT {name}")
        }
    }
}

/// Turns the statement that adds an identity into the one that resets it.
fn generated(made: &str) -> String {
    let column = made.split(" AS IDENTITY").next().unwrap_or_default();
    column.replacen(" ADD GENERATED ", " SET GENERATED ", 1)
}

fn wanted() -> Vec<SchemaObject> {
    let columns = NEW.lines().map(|line| line.split('\t').map(str::to_owned));
    columns
        .filter_map(|mut columns| {
            Some(SchemaObject {
                kind: columns.next()?,
                table_name: columns.next()?,
                name: columns.next()?,
                shape: columns.next()?,
                printed: columns.next()?,
                repair_sql: columns.next()?,
            })
        })
        .collect()
}

/// Returns what makes a function again. One that is replaced loses its settings.
fn made_function(name: &str) -> Option<String> {
    let made = schema_objects::function(schema_objects::POSTGRES, name)?.statement;
    let made = made.replacen("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", 1);
    let is_pinned = !made.split("$$").next()?.contains("SECURITY INVOKER");
    let mut own = OWN_FUNCTIONS.iter();
    let signature = own.find(|own| function_name(own) == name)?;
    let pin = format!(
        "; DO 'BEGIN EXECUTE format(''ALTER FUNCTION %s SET search_path = pg_catalog, %I, \
         pg_temp'', ''{signature}''::regprocedure, current_schema()); END'"
    );
    Some(format!("{made}{}", if is_pinned { &pin } else { "" }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::needs::POSTGRES_TRIGGERS;

    #[test]
    fn the_new_schema_has_what_a_server_needs() {
        let names = |kind: &str| -> Vec<_> {
            let wanted = wanted().into_iter().filter(|one| one.kind == kind);
            wanted.map(|one| (one.table_name, one.name)).collect()
        };
        let functions = names("function");
        assert_eq!(functions.len(), OWN_FUNCTIONS.len());
        for name in OWN_FUNCTIONS.iter().map(|own| function_name(own)) {
            assert!(functions.iter().any(|(_, made)| made == name), "{name}");
            assert!(made_function(name).is_some(), "{name}");
        }
        let triggers = names("trigger");
        assert_eq!(triggers.len(), POSTGRES_TRIGGERS.len());
        let (tables, columns) = (names("table"), names("column"));
        for table in TABLES.iter().filter(|table| !table.name.starts_with("__")) {
            let is_table = tables.iter().any(|(_, made)| made == table.name);
            assert!(is_table || table.name.ends_with("_seq"), "{}", table.name);
            for column in table.columns.iter().filter(|_| is_table) {
                let key = (table.name.to_owned(), (*column).to_owned());
                assert!(columns.contains(&key), "{key:?}");
            }
        }
    }
}
