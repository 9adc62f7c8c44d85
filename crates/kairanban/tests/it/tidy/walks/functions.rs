//! The functions of a source file with what each of them calls, from its parsed tree.
//!
//! The bodies of macros are tokens: a call there is a name before parentheses.

use std::collections::BTreeSet;

use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};
use syn::{
    Attribute, Block, Expr, ExprCall, ExprMethodCall, Item, Macro, Signature,
    visit::{self, Visit},
};

use super::{super::conditions, squeezed};

/// A function outside tests.
pub struct Function {
    pub name: String,
    /// Its text without comments and white space; `None` for one that a trait only declares.
    pub body: Option<String>,
    /// The names of the functions and methods that it calls.
    pub calls: BTreeSet<String>,
}

/// Returns the functions of a source file.
pub fn functions(source: &str) -> Vec<Function> {
    let file = syn::parse_file(source).expect("a source file");
    let mut collector = Collector::default();
    collector.visit_file(&file);
    collector.0
}

#[derive(Default)]
struct Collector(Vec<Function>);

impl Collector {
    fn add(&mut self, signature: &Signature, block: Option<&Block>) {
        let mut calls = Calls::default();
        if let Some(block) = block {
            calls.visit_block(block);
        }
        self.0.push(Function {
            name: signature.ident.to_string(),
            body: block.map(|block| text_of(block.brace_token.span.join())),
            calls: calls.0,
        });
    }
}

impl<'ast> Visit<'ast> for Collector {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes: &[Attribute] = match item {
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Mod(item) => &item.attrs,
            _ => &[],
        };
        if !attributes.iter().any(conditions::is_for_tests) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.add(&function.sig, Some(&function.block));
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if !function.attrs.iter().any(conditions::is_for_tests) {
            self.add(&function.sig, Some(&function.block));
            visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        self.add(&function.sig, function.default.as_ref());
        visit::visit_trait_item_fn(self, function);
    }
}

/// The names that are called.
#[derive(Default)]
struct Calls(BTreeSet<String>);

impl Calls {
    fn scan(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        for (at, token) in tokens.iter().enumerate() {
            let TokenTree::Group(group) = token else {
                continue;
            };
            if group.delimiter() == Delimiter::Parenthesis
                && let Some(TokenTree::Ident(name)) = at.checked_sub(1).map(|at| &tokens[at])
            {
                self.0.insert(name.to_string());
            }
            self.scan(group.stream());
        }
    }
}

impl<'ast> Visit<'ast> for Calls {
    fn visit_expr_call(&mut self, call: &'ast ExprCall) {
        if let Expr::Path(path) = &*call.func
            && let Some(last) = path.path.segments.last()
        {
            self.0.insert(last.ident.to_string());
        }
        visit::visit_expr_call(self, call);
    }

    fn visit_expr_method_call(&mut self, call: &'ast ExprMethodCall) {
        self.0.insert(call.method.to_string());
        visit::visit_expr_method_call(self, call);
    }

    fn visit_macro(&mut self, called: &'ast Macro) {
        self.scan(called.tokens.clone());
    }
}

/// Returns the text at a place, without comments and what is in quotes.
fn text_of(span: Span) -> String {
    let text = span.source_text().expect("the text of a source file");
    let mut words = Vec::new();
    add_words(text.parse().expect("tokens"), &mut words);
    squeezed(&words.join(" "))
}

fn add_words(tokens: TokenStream, words: &mut Vec<String>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                words.push(open.to_owned());
                add_words(group.stream(), words);
                words.push(close.to_owned());
            }
            TokenTree::Literal(literal) if literal.to_string().contains('"') => {
                words.push("\"\"".to_owned());
            }
            token => words.push(token.to_string()),
        }
    }
}
