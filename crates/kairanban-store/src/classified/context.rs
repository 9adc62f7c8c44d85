//! What the context of an error on Postgres consists of: functions and statements, the innermost
//! first.
//!
//! Its sentences are in the language of the database (`lc_messages`), which the role of a server
//! may not set. Signatures and statements are the same in all of them, and how a line begins that
//! quotes a statement shows in the one that quotes ours.

use crate::needs::{OWN_FUNCTIONS, function_name};

/// The text with which a statement begins that `classified_write` runs with values.
const WITH_VALUES: &str = "EXECUTE kairanban_write";

/// One step on the way to an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ErrorFrame {
    /// What a function or a foreign key runs, as it is quoted: a statement or an expression.
    Statement(String),
    /// A function, with where in it that is.
    Function(String),
}

impl ErrorFrame {
    pub(super) fn statement(&self) -> Option<&str> {
        match self {
            Self::Statement(text) => Some(text),
            Self::Function(_) => None,
        }
    }

    /// Returns the name of the function, if it is one of ours.
    pub(super) fn own_function(&self) -> Option<&'static str> {
        let Self::Function(line) = self else {
            return None;
        };
        let mut own = OWN_FUNCTIONS.iter();
        own.find(|signature| names(line, signature))
            .map(|signature| function_name(signature))
    }
}

/// Returns whether a line names the function. Some languages put its name between letters.
fn names(line: &str, signature: &str) -> bool {
    line.match_indices(signature).any(|(at, _)| {
        let before = line.get(..at).and_then(|before| before.chars().next_back());
        before.is_none_or(|before| !(before.is_ascii_alphanumeric() || "_$".contains(before)))
    })
}

/// Splits a context into what happened within `command`, or within a statement with values.
pub(super) fn frames(context: &str, command: &str) -> Vec<ErrorFrame> {
    let ours = context.rfind("classified_write(").unwrap_or(context.len());
    let above = context.get(..line_start(context, ours)).unwrap_or_default();
    let quoted = [WITH_VALUES, command]
        .iter()
        .filter(|text| !text.is_empty())
        .filter_map(|text| above.find(text))
        .min();
    let Some(at) = quoted else {
        return above
            .lines()
            .map(|line| ErrorFrame::Function(line.to_owned()))
            .collect();
    };
    let start = line_start(above, at);
    let quotes = Quotes {
        opening: above.get(start..at).unwrap_or_default(),
        closing: above.trim_end().chars().next_back().unwrap_or('"'),
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
}

impl Quotes<'_> {
    fn frames_in(&self, mut lines: &[&str]) -> Vec<ErrorFrame> {
        let mut frames = Vec::new();
        while let [first, rest @ ..] = lines {
            let Some(statement) = self.opened(first) else {
                let line = (*first).to_owned();
                frames.push(if self.is_expression(first, rest) {
                    ErrorFrame::Statement(line)
                } else {
                    ErrorFrame::Function(line)
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
