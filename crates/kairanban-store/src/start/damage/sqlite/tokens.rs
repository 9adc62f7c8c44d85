//! Statements as SQLite reads them: it keeps the text that made a table as it was written.

use std::{iter::Peekable, str::Chars};

/// A word, a name, a text or a sign of a statement.
#[derive(Clone, Debug)]
pub(super) struct SqlToken {
    /// A name without its quotes, and in lower case as every word; a text with its quotes.
    pub(super) text: String,
    /// Whether it may be a word of the language: it has no quotes.
    is_bare: bool,
}

impl SqlToken {
    /// Returns whether it is this word of the language, and not a name.
    pub(super) fn is(&self, word: &str) -> bool {
        self.is_bare && self.text == word
    }

    /// Returns it as the name of a column: a text may stand there, too.
    pub(super) fn name(&self) -> String {
        self.text.trim_matches('\'').to_lowercase()
    }
}

/// Returns the tokens of a statement, without comments.
pub(super) fn tokens(statement: &str) -> Vec<SqlToken> {
    let mut chars = statement.chars().peekable();
    let mut tokens = Vec::new();
    while let Some(char) = chars.next() {
        let next = chars.peek().copied();
        match (char, next) {
            ('-', Some('-')) => while chars.next().is_some_and(|char| char != '\n') {},
            ('/', Some('*')) => skip_comment(&mut chars),
            ('\'', _) => tokens.push(SqlToken {
                text: format!("'{}'", quoted(&mut chars, '\'')),
                is_bare: false,
            }),
            ('"' | '`' | '[', _) => {
                let end = if char == '[' { ']' } else { char };
                tokens.push(SqlToken {
                    text: quoted(&mut chars, end).to_lowercase(),
                    is_bare: false,
                });
            }
            _ if char.is_whitespace() => {}
            _ => {
                let mut text = String::from(char);
                while let Some(more) = chars.next_if(|next| is_of_word(char) && is_of_word(*next)) {
                    text.push(more);
                }
                tokens.push(SqlToken {
                    text: text.to_lowercase(),
                    is_bare: true,
                });
            }
        }
    }
    tokens
}

/// Returns the tokens as one text, to compare or to show.
pub(super) fn joined(tokens: &[SqlToken]) -> String {
    let texts: Vec<_> = tokens.iter().map(|token| token.text.as_str()).collect();
    texts.join(" ")
}

fn is_of_word(char: char) -> bool {
    char.is_alphanumeric() || matches!(char, '_' | '$') || !char.is_ascii()
}

fn skip_comment(chars: &mut Peekable<Chars<'_>>) {
    chars.next();
    let mut last = ' ';
    for char in chars {
        if (last, char) == ('*', '/') {
            return;
        }
        last = char;
    }
}

/// Reads a quoted text up to its closing quote. A doubled one is part of it, except in brackets.
fn quoted(chars: &mut Peekable<Chars<'_>>, end: char) -> String {
    let mut text = String::new();
    while let Some(char) = chars.next() {
        if char == end && (end == ']' || chars.next_if_eq(&end).is_none()) {
            break;
        }
        text.push(char);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_read_however_it_is_written() {
        for (statement, read) in [
            (
                "create Table \"T\"\"x\" ([a]b`c``d`'E''f')",
                "create table t\"x ( a b c`d 'E'f' )",
            ),
            ("a--b,(\n,/*c, ( * / \n*/d", "a , d"),
            ("a - b / c * d", "a - b / c * d"),
            ("/*/ a */b /* c", "b"),
            ("x'00'>=1", "x '00' > = 1"),
            ("a -- b", "a"),
        ] {
            assert_eq!(joined(&tokens(statement)), read, "{statement}");
        }
        let words = tokens("check [check] \"check\" `check` 'check'");
        assert_eq!(words.iter().filter(|word| word.is("check")).count(), 1);
        assert!(words.iter().all(|word| word.name() == "check"));
    }
}
