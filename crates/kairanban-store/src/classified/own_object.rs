//! Whose fault it is that the database refuses something.
//!
//! Other programs write `topics`, `boards` and `tokens`, and their owner may constrain them: what
//! these refuse is wrong with that row. All other tables, and our functions, are ours alone: what
//! refuses there would refuse other rows, too, and is wrong with the installation.

use super::context::{ErrorFrame, FailureContext, frames};
use crate::{
    StoreError,
    error::FaultKind,
    needs::{OPEN_TABLES, table_names},
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
    pub(super) fn refused(&self, message: &str) -> StoreError {
        let text = match self {
            Self::Table(name) => format!("the table {name} refuses a row: {message}"),
            Self::Function(name) => format!("the function or trigger {name} fails: {message}"),
        };
        StoreError::fault(FaultKind::Schema, text)
    }
}

/// Returns the table as an object, if it is ours alone.
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

/// Returns which of our tables statements write, each with its position in the text.
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

/// The cause of an error of a write on Postgres.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Something of ours alone.
    Ours(OwnObject),
    /// An owner's function, as the database names it.
    Owners(String),
}

/// Finds what is behind an error, by where it failed and the `message` of the database: an error in
/// a `command`, or in a statement that writes the `table`. Returns `None` for the statement itself.
pub(super) fn origin(
    failure: &FailureContext,
    command: &str,
    table: Option<&'static str>,
    message: &str,
) -> Option<Origin> {
    let frames = frames(failure, command);
    let ours = frames.iter().position(|one| one.own_function().is_some());
    let object = match ours {
        Some(at) => within_function(&frames[..=at], message),
        None => written_by(&frames, table).and_then(own_table),
    };
    object
        .map(Origin::Ours)
        .or_else(|| owners_function(&frames))
}

/// Returns the table that a statement without a function of ours writes. What a foreign key brings
/// along is the database's own statement.
fn written_by(frames: &[ErrorFrame], table: Option<&'static str>) -> Option<&'static str> {
    match frames.last() {
        Some(ErrorFrame::Statement(text)) if text.contains("ONLY \"") => written_table(text),
        _ => table,
    }
}

/// Returns what of ours refused within the last of the frames, a function of ours.
fn within_function(frames: &[ErrorFrame], message: &str) -> Option<OwnObject> {
    let function = frames.last()?.own_function()?;
    let within: Vec<_> = frames.iter().filter_map(ErrorFrame::statement).collect();
    if frames.len() == 1 {
        let is_of_row = SAID_OF_ROWS.iter().any(|words| message.contains(words));
        return (!is_of_row).then_some(OwnObject::Function(function));
    }
    match written_tables(&within.join("\n")).last() {
        Some((_, table)) => own_table(table),
        None => Some(OwnObject::Function(function)),
    }
}

/// Returns the innermost function, if it is not ours.
fn owners_function(frames: &[ErrorFrame]) -> Option<Origin> {
    let mut functions = frames.iter();
    let innermost = functions.find(|one| one.statement().is_none())?;
    match innermost {
        ErrorFrame::Function { line, own: None } => Some(Origin::Owners(line.clone())),
        _ => None,
    }
}

/// Returns whether a `command` failed within our function of this name.
pub(super) fn is_within(failure: &FailureContext, command: &str, function: &str) -> bool {
    let frames = frames(failure, command);
    frames
        .iter()
        .any(|one| one.own_function() == Some(function))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOP: &str = "SQL statement \"EXECUTE kairanban_write('x', 'INSERT INTO audit')\"\n\
        PL/pgSQL function classified_write(text,jsonb) line 20 at EXECUTE";

    fn failure(context: &str) -> FailureContext {
        FailureContext {
            text: context.to_owned(),
            own_schema: "public".to_owned(),
        }
    }

    /// A context names the schema of a function where `search_path` does not find it.
    #[test]
    fn a_function_of_another_schema_is_the_owners() {
        for (name, is_ours) in [
            ("topics_inserted", true),
            ("public.topics_inserted", true),
            ("app.topics_inserted", false),
            ("not_public.topics_inserted", false),
            ("\"my public\".topics_inserted", false),
            ("my_topics_inserted", false),
        ] {
            let context = format!("PL/pgSQL function {name}() line 1 at RAISE\n{TOP}");
            let found = origin(&failure(&context), "", Some("topics"), "no");
            assert_eq!(matches!(found, Some(Origin::Ours(_))), is_ours, "{name}");
        }
    }

    fn assert_own_object(inner: &str, statement: &str, message: &str, object: Option<OwnObject>) {
        let context = format!("{inner}{TOP}");
        let found = match origin(&failure(&context), "", written_table(statement), message) {
            Some(Origin::Ours(object)) => Some(object),
            _ => None,
        };
        assert_eq!(found, object, "{context}");
    }

    /// What Postgres 15 says in each of its languages. The first line of each names what stands
    /// behind it.
    #[test]
    fn the_origin_of_an_error_is_the_same_in_every_language() {
        use OwnObject::{Function, Table};
        const COMMAND: &str = "SELECT stamp_last(); SET CONSTRAINTS ALL IMMEDIATE";
        let contexts = include_str!("contexts.txt").split("== ").skip(1);
        let mut languages = std::collections::BTreeSet::new();
        for text in contexts {
            let (title, context) = text.split_once('\n').expect("a title");
            let (language, wanted) = title.split_once(' ').expect("a language");
            languages.insert(language);
            let found = origin(&failure(context), COMMAND, Some("topics"), "no");
            let is_right = match (wanted, &found) {
                ("statement", None) => true,
                ("owner", Some(Origin::Owners(line))) => context.starts_with(line.as_str()),
                ("topics_inserted", Some(Origin::Ours(Function(name)))) => *name == wanted,
                (_, Some(Origin::Ours(Table(name)))) => *name == wanted,
                _ => false,
            };
            assert!(is_right, "{text}{found:?}");
        }
        assert_eq!(languages.len(), 13);
    }

    #[test]
    fn what_is_said_within_a_statement_names_no_function() {
        let inner = "PL/pgSQL function g() line 2 at EXECUTE\n\
            SQL statement \"INSERT INTO \"topics\"\n  SELECT 'PL/pgSQL function stamp_last()\n'\"\n\
            PL/pgSQL function moderate() line 3 at SQL statement\n";
        let found = origin(&failure(&format!("{inner}{TOP}")), "", Some("topics"), "");
        let line = "PL/pgSQL function g() line 2 at EXECUTE".to_owned();
        assert_eq!(found, Some(Origin::Owners(line)));
        let missing = "PL/pgSQL function g() line 1 at assignment";
        let inner = format!("PL/pgSQL assignment \"NEW.gone := stamp_last()\"\n{missing}\n");
        let found = origin(&failure(&format!("{inner}{TOP}")), "", Some("topics"), "");
        assert_eq!(found, Some(Origin::Owners(missing.to_owned())));
        let overloaded = "PL/pgSQL function stamp_last(integer) line 1 at RAISE";
        let found = origin(
            &failure(&format!("{overloaded}\n{TOP}")),
            "",
            Some("topics"),
            "",
        );
        assert_eq!(found, Some(Origin::Owners(overloaded.to_owned())));
    }

    #[test]
    fn the_innermost_statement_of_ours_says_whose_it_is() {
        use OwnObject::Table;
        let insert = "INSERT INTO \"topics\" (\"comment\") VALUES ($1)";
        let of_keys =
            "WITH bounded AS (SELECT 1), noted AS (INSERT INTO idempotency (key) SELECT 1)";
        for (inner, statement, message, object) in [
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
            assert_own_object(inner, statement, message, object);
        }
    }

    #[test]
    fn what_our_functions_and_keys_do_is_ours_and_what_they_say_of_a_row_is_not() {
        use OwnObject::{Function, Table};
        let insert = "INSERT INTO \"topics\" (\"comment\") VALUES ($1)";
        for (inner, statement, message, object) in [
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
            assert_own_object(inner, statement, message, object);
        }
    }
}
