//! What the context of an error on Postgres consists of: functions and statements, the innermost
//! first.
//!
//! Its sentences are in the language of the database (`lc_messages`), which the role of a server
//! may not set. Signatures and statements are the same in all of them, and how a line begins that
//! quotes a statement shows in the one that quotes ours.

use crate::needs::{OWN_FUNCTIONS, function_name};

/// The text with which a statement begins that `classified_write` runs with values.
const WITH_VALUES: &str = "EXECUTE kairanban_write";

/// Where the last statement failed.
#[derive(Clone, Debug, Default)]
pub(super) struct FailureContext {
    /// The context of the error.
    pub(super) text: String,
    /// The schema of the boards, quoted where it has to be.
    pub(super) own_schema: String,
}

/// One step on the way to an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ErrorFrame {
    /// What a function or a foreign key runs, as it is quoted: a statement or an expression.
    Statement(String),
    /// A function.
    Function {
        /// Its name, with where in it that is.
        line: String,
        /// Its name if it is ours.
        own: Option<&'static str>,
    },
}

impl ErrorFrame {
    pub(super) fn statement(&self) -> Option<&str> {
        match self {
            Self::Statement(text) => Some(text),
            Self::Function { .. } => None,
        }
    }

    /// Returns the name of the function, if it is one of ours.
    pub(super) const fn own_function(&self) -> Option<&'static str> {
        match self {
            Self::Statement(_) => None,
            Self::Function { own, .. } => *own,
        }
    }
}

/// Finds our functions by their names. The schema of one is named where `search_path` did not find
/// it when it was first called.
#[derive(Clone, Copy)]
struct OwnNames<'c> {
    schema: &'c str,
}

impl OwnNames<'_> {
    fn function_frame(self, line: &str) -> ErrorFrame {
        let mut own = OWN_FUNCTIONS.iter();
        let own = own.find(|signature| self.is_named(line, signature));
        ErrorFrame::Function {
            line: line.to_owned(),
            own: own.map(|signature| function_name(signature)),
        }
    }

    /// Returns whether a line names our function with this signature. Some languages put its name
    /// between letters.
    fn is_named(self, line: &str, signature: &str) -> bool {
        line.match_indices(signature).any(|(at, _)| {
            let before = line.get(..at).unwrap_or_default();
            match before.strip_suffix('.') {
                Some(schema) => schema.strip_suffix(self.schema).is_some_and(ends_a_word),
                None => ends_a_word(before),
            }
        })
    }
}

fn ends_a_word(before: &str) -> bool {
    let last = before.chars().next_back();
    last.is_none_or(|last| !(last.is_ascii_alphanumeric() || "_$.".contains(last)))
}

/// Splits a context into what happened within `command`, or within a statement with values.
pub(super) fn frames(failure: &FailureContext, command: &str) -> Vec<ErrorFrame> {
    let context = failure.text.as_str();
    let ours = context.rfind("classified_write(").unwrap_or(context.len());
    let own_names = OwnNames {
        schema: &failure.own_schema,
    };
    let above = context.get(..line_start(context, ours)).unwrap_or_default();
    let quoted = [WITH_VALUES, command]
        .iter()
        .filter(|text| !text.is_empty())
        .filter_map(|text| above.find(text))
        .min();
    let Some(at) = quoted else {
        return above
            .lines()
            .map(|line| own_names.function_frame(line))
            .collect();
    };
    let start = line_start(above, at);
    let quotes = Quotes {
        opening: above.get(start..at).unwrap_or_default(),
        closing: above.trim_end().chars().next_back().unwrap_or('"'),
        own_names,
    };
    let lines: Vec<_> = above.get(..start).unwrap_or_default().lines().collect();
    quotes.frames_in(&lines)
}

fn line_start(text: &str, at: usize) -> usize {
    let before = text.get(..at).unwrap_or_default();
    before.rfind('\n').map_or(0, |end| end + 1)
}

/// How a line quotes a statement.
struct Quotes<'c> {
    opening: &'c str,
    closing: char,
    own_names: OwnNames<'c>,
}

impl Quotes<'_> {
    fn frames_in(&self, mut lines: &[&str]) -> Vec<ErrorFrame> {
        let mut frames = Vec::new();
        while let [first, rest @ ..] = lines {
            let Some(statement) = self.opened(first) else {
                frames.push(if self.is_expression(first, rest) {
                    ErrorFrame::Statement((*first).to_owned())
                } else {
                    self.own_names.function_frame(first)
                });
                lines = rest;
                continue;
            };
            let (all, rest) = lines.split_at(self.length(lines));
            let text: Vec<_> = [statement]
                .into_iter()
                .chain(all[1..].iter().copied())
                .collect();
            frames.push(ErrorFrame::Statement(text.join("\n")));
            lines = rest;
        }
        frames
    }

    /// Returns whether the line quotes an expression of the function that comes next.
    fn is_expression(&self, line: &str, rest: &[&str]) -> bool {
        line.ends_with(self.closing) && rest.first().is_some_and(|next| next.contains("PL/"))
    }

    /// Returns the first line of a statement, if the line quotes one.
    fn opened<'l>(&self, line: &'l str) -> Option<&'l str> {
        line.strip_prefix(self.opening)
            .filter(|_| !self.opening.is_empty())
    }

    /// Counts the lines of the statement that the first one begins. What runs it comes next: a
    /// function, whose line names its language, or another statement.
    fn length(&self, lines: &[&str]) -> usize {
        (1..lines.len())
            .find(|count| {
                lines[count - 1].ends_with(self.closing)
                    && (lines[*count].contains("PL/") || self.opened(lines[*count]).is_some())
            })
            .unwrap_or(lines.len())
    }
}
