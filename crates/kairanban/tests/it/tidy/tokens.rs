//! Searches the tokens of macros and attributes, which are not parsed into a tree.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::{
    closures,
    facts::{Collector, Function, Named, Written},
};

impl Collector {
    /// Adds the functions, types, closures, paths and comments in these tokens.
    pub fn scan(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        for (at, token) in tokens.iter().enumerate() {
            match token {
                TokenTree::Group(group) => self.scan(group.stream()),
                TokenTree::Ident(ident) => {
                    let line = ident.span().start().line;
                    let (before, rest) = (&tokens[..at], &tokens[at + 1..]);
                    match ident.to_string().as_str() {
                        "fn" => self.scan_function(line, rest),
                        "struct" | "enum" | "union" | "trait" => self.scan_type(line, rest),
                        "doc" if at == 0 => self.scan_doc(rest),
                        "let" if closures::let_binds_closure(rest) => {
                            self.facts.bound_closures.push(line)
                        }
                        _ if closures::assigns_closure(before, rest) => {
                            self.facts.bound_closures.push(line)
                        }
                        _ if is_called_method(before, rest) => self.refer_method(ident, line),
                        _ if is_inside_path(before) => {}
                        _ => self.scan_path(&tokens[at..], before, line),
                    }
                }
                TokenTree::Literal(literal) => {
                    self.scan_literal(&literal.to_string(), literal.span().start().line)
                }
                TokenTree::Punct(_) => {}
            }
        }
    }

    /// A path, also one that begins with a type, as in `<Store>::open`; `before` is what stands
    /// before it.
    fn scan_path(&mut self, tokens: &[TokenTree], before: &[TokenTree], line: usize) {
        let mut segments = path_at(tokens);
        // Each segment but the first has a separator of two tokens before it.
        let mut rest = &tokens[3 * segments.len() - 2..];
        if before.last().is_some_and(|token| is_punct(token, '<')) {
            if let [by, of @ ..] = rest
                && is_ident(by, "as")
            {
                rest = &of[(3 * path_at(of).len()).saturating_sub(2)..];
            }
            if let [close, first, second, after @ ..] = rest
                && is_punct(close, '>')
                && is_punct(first, ':')
                && is_punct(second, ':')
            {
                segments.extend(path_at(after));
            }
        }
        if segments.len() > 1 {
            self.refer(segments, line, Written::Elsewhere);
        }
    }

    /// `#[serde(with = "path::to")]`: a path in quotes.
    fn scan_literal(&mut self, text: &str, line: usize) {
        let text = text.trim_matches('"');
        let segments: Vec<String> = text.split("::").map(str::to_owned).collect();
        if segments.len() > 1 && segments.iter().all(|part| is_name(part)) {
            self.refer(segments, line, Written::Elsewhere);
        }
    }

    /// `#[doc = "…"]`, which is what a doc comment is among tokens.
    fn scan_doc(&mut self, rest: &[TokenTree]) {
        if let [_, TokenTree::Literal(literal)] = rest
            && let Ok(text) = syn::parse_str::<syn::LitStr>(&literal.to_string())
        {
            self.add_doc_line(text.value(), literal.span().start().line);
        }
    }

    fn scan_function(&mut self, line: usize, rest: &[TokenTree]) {
        let end = rest.iter().position(|token| match token {
            TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
            TokenTree::Punct(punct) => punct.as_char() == ';',
            _ => false,
        });
        let name = rest.iter().take(2).find_map(|token| match token {
            TokenTree::Ident(ident) => Some(ident.to_string()),
            _ => None,
        });
        if let (Some(end), Some(name)) = (end, name)
            && let TokenTree::Group(body) = &rest[end]
        {
            let lines = body.span_close().end().line + 1 - line;
            self.facts.functions.push(Function { name, line, lines });
        }
    }

    fn scan_type(&mut self, line: usize, rest: &[TokenTree]) {
        if let Some(TokenTree::Ident(ident)) = rest.first() {
            let name = ident.to_string();
            self.facts.modules[self.module].items.insert(name.clone());
            self.facts.types.push(Named {
                name,
                line,
                is_test: self.is_test,
            });
        }
    }
}

fn is_inside_path(before: &[TokenTree]) -> bool {
    matches!(before, [.., first, second] if is_punct(first, ':') && is_punct(second, ':'))
}

/// `.name(`, where it is no range (`0..name(`).
fn is_called_method(before: &[TokenTree], rest: &[TokenTree]) -> bool {
    let dots = before.iter().rev().take_while(|token| is_punct(token, '.'));
    let is_call = match rest {
        [TokenTree::Group(group), ..] => group.delimiter() == Delimiter::Parenthesis,
        [first, second, third, ..] => {
            is_punct(first, ':') && is_punct(second, ':') && is_punct(third, '<')
        }
        _ => false,
    };
    dots.count() == 1 && is_call
}

/// The path that begins with the first of these tokens.
fn path_at(tokens: &[TokenTree]) -> Vec<String> {
    let mut segments = Vec::new();
    let mut rest = tokens;
    while let [TokenTree::Ident(ident), after @ ..] = rest {
        segments.push(ident.to_string());
        match after {
            [first, second, next @ ..] if is_punct(first, ':') && is_punct(second, ':') => {
                rest = next
            }
            _ => break,
        }
    }
    segments
}

fn is_name(part: &str) -> bool {
    !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

pub fn is_punct(token: &TokenTree, c: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == c)
}

pub fn is_ident(token: &TokenTree, name: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == name)
}
