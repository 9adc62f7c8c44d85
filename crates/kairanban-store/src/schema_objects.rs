//! What the migrations make, by their own texts: the only list of our names.

include!(concat!(env!("OUT_DIR"), "/migrations.rs"));

/// What a name of the schema stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ObjectKind {
    Table,
    Index,
    Sequence,
    Function,
    Trigger,
}

/// An object that a migration makes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Object {
    pub(crate) kind: ObjectKind,
    pub(crate) name: &'static str,
    /// The table of a trigger.
    pub(crate) table: Option<&'static str>,
    /// The statement that makes it. Of a trigger of SQLite, its beginning.
    pub(crate) statement: &'static str,
}

/// Returns what these migrations make, in their order, each as often as it is made.
pub(crate) fn made_by<'a>(
    migrations: &'a [(&'static str, &'static str)],
    is_meant: impl Fn(&str) -> bool + 'a,
) -> impl Iterator<Item = Object> + 'a {
    migrations
        .iter()
        .filter(move |(name, _)| is_meant(name))
        .flat_map(|(_, text)| statements(text))
        .filter_map(object)
}

/// Returns the trigger as the last migration made it.
pub(crate) fn trigger(migrations: &[(&'static str, &'static str)], name: &str) -> Option<Object> {
    made_by(migrations, |_| true)
        .filter(|object| object.kind == ObjectKind::Trigger && object.name == name)
        .last()
}

/// Returns the function as the last migration made it.
pub(crate) fn function(migrations: &[(&'static str, &'static str)], name: &str) -> Option<Object> {
    made_by(migrations, |_| true)
        .filter(|object| object.kind == ObjectKind::Function && object.name == name)
        .last()
}

fn object(statement: &'static str) -> Option<Object> {
    let mut words = statement.split_whitespace();
    if words.next()? != "CREATE" {
        return None;
    }
    let kind = words.find(|word| !matches!(*word, "OR" | "REPLACE" | "UNIQUE" | "CONSTRAINT"))?;
    let kind = match kind {
        "TABLE" => ObjectKind::Table,
        "INDEX" => ObjectKind::Index,
        "SEQUENCE" => ObjectKind::Sequence,
        "FUNCTION" => ObjectKind::Function,
        "TRIGGER" => ObjectKind::Trigger,
        // Temporary objects are dropped at the end.
        _ => return None,
    };
    let name = words.next()?.split('(').next()?.trim_matches('"');
    let table = match kind {
        ObjectKind::Trigger => {
            words.find(|word| *word == "ON")?;
            words.next()
        }
        _ => None,
    };
    Some(Object {
        kind,
        name,
        table,
        statement,
    })
}

/// Splits a script at each `;` that is neither in a comment nor in a text. Comments before a
/// statement are not part of it.
fn statements(script: &'static str) -> Vec<&'static str> {
    let mut statements = Vec::new();
    let (mut start, mut at) = (None, 0);
    while let Some(next) = script[at..].chars().next() {
        let rest = &script[at..];
        let ends_with = |end: &str, from: usize| {
            rest[from..]
                .find(end)
                .map_or(rest.len(), |place| from + place + end.len())
        };
        let step = match next {
            '-' if rest.starts_with("--") => ends_with("\n", 0),
            '\'' => ends_with("'", 1),
            '$' if rest.starts_with("$$") => ends_with("$$", 2),
            _ => next.len_utf8(),
        };
        if next == ';' {
            statements.extend(start.take().map(|start: usize| &script[start..at]));
        } else if start.is_none() && !next.is_whitespace() && !rest.starts_with("--") {
            start = Some(at);
        }
        at += step;
    }
    statements
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::needs::{OWN_FUNCTIONS, POSTGRES_TRIGGERS, function_name};

    #[test]
    fn a_script_is_split_where_its_statements_end() {
        let script =
            "-- a; b\nCREATE TABLE t (x TEXT DEFAULT ';'); -- c;\n\nDO $$ a; 'b $$;\nc 'it''s; ';";
        assert_eq!(
            statements(script),
            [
                "CREATE TABLE t (x TEXT DEFAULT ';')",
                "DO $$ a; 'b $$",
                "c 'it''s; '"
            ]
        );
    }

    #[test]
    fn each_function_and_trigger_that_a_server_needs_is_made_by_a_migration() {
        let functions = made_by(POSTGRES, |_| true)
            .filter(|object| object.kind == ObjectKind::Function)
            .map(|object| object.name)
            .collect::<Vec<_>>();
        let mut own = OWN_FUNCTIONS.iter();
        assert!(own.all(|signature| functions.contains(&function_name(signature))));
        for wanted in POSTGRES_TRIGGERS {
            let made = trigger(POSTGRES, wanted.name).expect(wanted.name);
            assert_eq!(made.table, Some(wanted.table), "{}", wanted.name);
        }
    }
}
