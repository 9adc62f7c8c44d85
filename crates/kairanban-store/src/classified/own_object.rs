//! Whose fault it is that the database refuses something.
//!
//! Other programs write `topics`, `boards` and `tokens`, and their owner may constrain them: what
//! these refuse is wrong with that row. All other tables, and our functions, are ours alone: what
//! refuses there would refuse other rows, too, and is wrong with the installation.

use crate::{
    StoreError,
    error::FaultKind,
    needs::{OPEN_TABLES, OWN_FUNCTIONS, table_names},
};

/// What our own functions say of a row that they refuse for good reason.
const SAID_OF_ROWS: [&str; 3] = [
    "keeps its old revision",
    "this id is too far ahead",
    "there is no default board",
];

/// Something of ours alone that refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum OwnObject {
    Table(&'static str),
    Function(&'static str),
}

impl OwnObject {
    /// Returns the error for what was refused here.
    pub(super) fn refused(&self, said: &str) -> StoreError {
        let text = match self {
            Self::Table(name) => format!("the table {name} refuses a row: {said}"),
            Self::Function(name) => format!("the function or trigger {name} fails: {said}"),
        };
        StoreError::fault(FaultKind::Schema, text)
    }
}

/// Returns the table as a object, if it is ours alone.
pub(super) fn own_table(name: &'static str) -> Option<OwnObject> {
    (!OPEN_TABLES.contains(&name)).then_some(OwnObject::Table(name))
}

/// Returns our table with this name.
pub(super) fn known_table(name: &str) -> Option<&'static str> {
    let mut all = table_names()
        .into_iter()
        .chain(["transactions", "revisions"]);
    all.find(|known| *known == name)
}

/// Returns the table of ours that a statement writes.
pub(super) fn written_table(statement: &str) -> Option<&'static str> {
    written_tables(statement).first().map(|(_, name)| *name)
}

/// Returns which of our tables statements write, each with its object in the text.
fn written_tables(text: &str) -> Vec<(usize, &'static str)> {
    let mut found: Vec<_> = ["INSERT INTO ", "UPDATE ", "DELETE FROM "]
        .iter()
        .flat_map(|verb| text.match_indices(verb).map(|(at, _)| at + verb.len()))
        .filter_map(|at| {
            let rest = text.get(at..)?;
            let rest = rest.strip_prefix("ONLY ").unwrap_or(rest);
            let name = rest
                .split(|one: char| !one.is_alphanumeric() && !['_', '"', '`', '.'].contains(&one))
                .next()?;
            let name = name.rsplit('.').next()?.trim_matches(['"', '`']);
            Some((at, known_table(name)?))
        })
        .collect();
    found.sort_unstable();
    found
}

/// Finds what of ours alone refused on Postgres: by the `statement` that failed, what the database
/// `said`, and the context of the error, the innermost first.
pub(super) fn of_context(context: &str, statement: &str, said: &str) -> Option<OwnObject> {
    let top = ["EXECUTE kairanban_write", statement, "classified_write("]
        .iter()
        .filter(|text| !text.is_empty())
        .filter_map(|text| context.find(text))
        .min()
        .unwrap_or(context.len());
    let inner = context.get(..top)?;
    let Some((at, function)) = innermost_function(inner) else {
        // What a foreign key brings along is the database's own statement.
        let by_key = inner
            .lines()
            .rev()
            .nth(1)
            .filter(|line| line.contains("ONLY \""));
        return own_table(written_table(by_key.unwrap_or(statement))?);
    };
    let within = inner.get(..at)?;
    if !within.contains('\n') {
        let is_of_row = SAID_OF_ROWS.iter().any(|words| said.contains(words));
        return (!is_of_row).then_some(OwnObject::Function(function));
    }
    match written_tables(within).last() {
        Some((_, table)) => own_table(table),
        None => Some(OwnObject::Function(function)),
    }
}

/// Finds the innermost of our functions, and where its name stands.
fn innermost_function(context: &str) -> Option<(usize, &'static str)> {
    let called = OWN_FUNCTIONS.iter().flat_map(|name| {
        context
            .match_indices(&format!("{name}("))
            .map(|(at, _)| (at, *name))
            .collect::<Vec<_>>()
    });
    called
        .filter(|(at, _)| context[..*at].ends_with([' ', '.']))
        .filter(|(at, _)| {
            // A line of its own, and no call within a statement.
            let line = context[..*at].rsplit('\n').next().unwrap_or_default();
            !line.contains('"') || line.ends_with("\".")
        })
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOP: &str = "SQL statement \"EXECUTE kairanban_write('x', 'INSERT INTO audit')\"\n\
        PL/pgSQL function classified_write(text,jsonb) line 20 at EXECUTE";

    fn assert_own_object(inner: &str, statement: &str, said: &str, object: Option<OwnObject>) {
        let context = format!("{inner}{TOP}");
        assert_eq!(of_context(&context, statement, said), object, "{context}");
    }

    #[test]
    fn the_innermost_statement_of_ours_says_whose_it_is() {
        use OwnObject::Table;
        let insert = "INSERT INTO \"topics\" (\"comment\") VALUES ($1)";
        let of_keys =
            "WITH bounded AS (SELECT 1), noted AS (INSERT INTO idempotency (key) SELECT 1)";
        for (inner, statement, said, object) in [
            ("", insert, "", None),
            ("", "DELETE FROM \"tokens\"", "", None),
            ("", "SELECT id FROM topics FOR NO KEY UPDATE", "", None),
            (
                "",
                "INSERT INTO \"audit\" (\"actor\")",
                "",
                Some(Table("audit")),
            ),
            ("", of_keys, "", Some(Table("idempotency"))),
            (
                "PL/pgSQL function moderate() line 1 at RAISE\n",
                insert,
                "no",
                None,
            ),
            (
                "SQL statement \"INSERT INTO changes (kind) VALUES (1)\"\n\
                 PL/pgSQL function moderate() line 1 at SQL statement\n",
                insert,
                "",
                None,
            ),
            (
                "PL/pgSQL function strange() line 1 at RAISE\n\
                 SQL statement \"INSERT INTO changes (kind, board_id)\n  SELECT 'set'\"\n\
                 PL/pgSQL function public.topics_inserted() line 7 at SQL statement\n",
                insert,
                "no",
                Some(Table("changes")),
            ),
        ] {
            assert_own_object(inner, statement, said, object);
        }
    }

    #[test]
    fn what_our_functions_and_keys_do_is_ours_and_what_they_say_of_a_row_is_not() {
        use OwnObject::{Function, Table};
        let insert = "INSERT INTO \"topics\" (\"comment\") VALUES ($1)";
        for (inner, statement, said, object) in [
            (
                "SQL statement \"INSERT INTO board_lives (board_id) VALUES (1)\n\
                 ON CONFLICT (board_id) DO UPDATE SET named_by = 1\"\n\
                 PL/pgSQL function boards_named() line 9 at SQL statement\n",
                "UPDATE \"boards\" SET \"title\" = $1",
                "",
                Some(Table("board_lives")),
            ),
            (
                "PL/pgSQL function no_edits() line 1 at RAISE\n\
                 SQL statement \"UPDATE topics t SET revision = drawn FROM changes c\"\n\
                 PL/pgSQL function transaction_stamped() line 30 at SQL statement\n",
                "SELECT stamp_last()",
                "no",
                None,
            ),
            (
                "PL/pgSQL function topics_inserted() line 1 at RAISE\n",
                insert,
                "x",
                Some(Function("topics_inserted")),
            ),
            (
                "PL/pgSQL function transaction_stamped() line 40 at RAISE\n",
                "SELECT stamp_last()",
                "topic 1 keeps its old revision, because of a trigger",
                None,
            ),
            (
                "PL/pgSQL function strange() line 1 at RAISE\n\
                 SQL statement \"DELETE FROM ONLY \"public\".\"tickets\" WHERE $1 = \"id\"\"\n",
                "DELETE FROM \"tokens\"",
                "no",
                Some(Table("tickets")),
            ),
        ] {
            assert_own_object(inner, statement, said, object);
        }
    }
}
