//! Collects what the rules need to know of a source file, in one walk over its parsed tree.
//!
//! The bodies of macros are tokens and no tree: `tokens` searches them for functions, types,
//! closures and paths.

use std::collections::BTreeSet;

use proc_macro2::Ident;
use syn::{
    Attribute, Expr, ExprAssign, ExprMethodCall, ExprPath, ImplItemFn, Item, ItemEnum, ItemImpl,
    ItemMod, ItemUse, Local, Macro, Path, QSelf, Signature, TraitItemFn, Type, TypePath, UseTree,
    spanned::Spanned,
    visit::{self, Visit},
};

use super::{closures, conditions};

pub struct Function {
    pub name: String,
    pub line: usize,
    /// From its first line, without attributes, to the closing brace.
    pub lines: usize,
}

/// A name, or the text of a comment, and its line.
pub struct Named {
    pub name: String,
    pub line: usize,
    pub is_test: bool,
}

/// A path as it is written, in a `use` or elsewhere.
pub struct Reference {
    /// A method that is called, whatever its receiver, is the one segment `.name`.
    pub segments: Vec<String>,
    pub line: usize,
    pub is_test: bool,
    pub written: Written,
}

/// How a path is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Written {
    InUse,
    /// `use path::*`
    InGlob,
    Elsewhere,
}

/// A `use`, by the name that it brings into scope; `None` for `*`.
pub struct Import {
    pub name: Option<String>,
    pub segments: Vec<String>,
}

/// A module: a file, or a `mod` with a body inside it.
#[derive(Default)]
pub struct ModuleFacts {
    /// Below the module of the file; empty for the file itself.
    pub inside: Vec<String>,
    pub items: BTreeSet<String>,
    /// Of enums, each as `Enum::Variant`.
    pub variants: BTreeSet<String>,
    pub imports: Vec<Import>,
    pub references: Vec<Reference>,
    /// Child modules in files of their own that are compiled for tests only.
    pub test_files: Vec<String>,
}

#[derive(Default)]
pub struct Facts {
    pub functions: Vec<Function>,
    /// Lines with a `let` that binds a closure.
    pub bound_closures: Vec<usize>,
    pub doc_comments: Vec<Named>,
    pub types: Vec<Named>,
    pub modules: Vec<ModuleFacts>,
}

impl Facts {
    pub fn of(text: &str) -> syn::Result<Self> {
        let file = syn::parse_file(text)?;
        let mut collector = Collector::default();
        collector.facts.modules.push(ModuleFacts::default());
        collector.visit_file(&file);
        Ok(collector.facts)
    }
}

#[derive(Default)]
pub struct Collector {
    pub facts: Facts,
    /// The module that is being walked, in `facts.modules`.
    pub module: usize,
    pub is_test: bool,
    /// The types of the enclosing `impl` blocks, to replace `Self`.
    selves: Vec<Vec<String>>,
    last_doc_line: usize,
}

impl Collector {
    pub fn refer(&mut self, mut segments: Vec<String>, line: usize, written: Written) {
        if segments.first().is_some_and(|first| first == "Self") {
            let Some(named) = self.selves.last() else {
                return;
            };
            segments.splice(..1, named.iter().cloned());
        }
        let is_test = self.is_test;
        self.facts.modules[self.module].references.push(Reference {
            segments,
            line,
            is_test,
            written,
        });
    }

    pub fn refer_method(&mut self, name: &Ident, line: usize) {
        self.refer(vec![format!(".{name}")], line, Written::Elsewhere);
    }

    /// A path that begins with a type, as in `<Store>::open` or `<A as Trait>::method`.
    fn refer_qualified(&mut self, qualified: Option<&QSelf>, path: &Path) {
        if let Some(qualified) = qualified
            && let Type::Path(named) = peeled(&qualified.ty)
        {
            let after = segments_of(path).into_iter().skip(qualified.position);
            let segments = segments_of(&named.path).into_iter().chain(after).collect();
            self.refer(segments, path.span().start().line, Written::Elsewhere);
        }
    }

    fn add_function(&mut self, signature: &Signature, from: usize, to: usize) {
        self.facts.functions.push(Function {
            name: signature.ident.to_string(),
            line: from,
            lines: to + 1 - from,
        });
    }

    /// Adds a line of a doc comment; consecutive lines are one comment.
    pub fn add_doc_line(&mut self, text: String, line: usize) {
        let is_next = line == self.last_doc_line + 1;
        self.last_doc_line = line + text.matches('\n').count();
        match self.facts.doc_comments.last_mut() {
            Some(comment) if is_next => comment.name = format!("{}\n{text}", comment.name),
            _ => self.facts.doc_comments.push(Named {
                name: text,
                line,
                is_test: self.is_test,
            }),
        }
    }

    fn import(&mut self, tree: &UseTree, before: &[String]) {
        let line = tree.span().start().line;
        let (name, last) = match tree {
            UseTree::Path(path) => return self.import(&path.tree, &joined(before, &path.ident)),
            UseTree::Group(group) => {
                return group
                    .items
                    .iter()
                    .for_each(|item| self.import(item, before));
            }
            UseTree::Name(name) if name.ident == "self" => (before.last().cloned(), None),
            UseTree::Name(name) => (Some(name.ident.to_string()), Some(&name.ident)),
            UseTree::Rename(rename) if rename.ident == "self" => {
                (Some(rename.rename.to_string()), None)
            }
            UseTree::Rename(rename) => (Some(rename.rename.to_string()), Some(&rename.ident)),
            UseTree::Glob(_) => (None, None),
        };
        let segments = last.map_or_else(|| before.to_vec(), |last| joined(before, last));
        let written = match tree {
            UseTree::Glob(_) => Written::InGlob,
            _ => Written::InUse,
        };
        self.refer(segments.clone(), line, written);
        self.facts.modules[self.module]
            .imports
            .push(Import { name, segments });
    }

    /// Runs `walk` with `is_test` set where one of the attributes says so.
    fn within(&mut self, attributes: &[Attribute], walk: impl FnOnce(&mut Self)) {
        let before = self.is_test;
        self.is_test |= attributes.iter().any(conditions::is_for_tests);
        walk(self);
        self.is_test = before;
    }
}

impl<'ast> Visit<'ast> for Collector {
    fn visit_item(&mut self, item: &'ast Item) {
        let (attributes, name, is_type): (&[Attribute], _, bool) = match item {
            Item::Const(item) => (&item.attrs, Some(&item.ident), false),
            Item::Enum(item) => (&item.attrs, Some(&item.ident), true),
            Item::Fn(item) => (&item.attrs, Some(&item.sig.ident), false),
            Item::Impl(item) => (&item.attrs, None, false),
            Item::Macro(item) => (&item.attrs, item.ident.as_ref(), false),
            Item::Mod(item) => (&item.attrs, None, false),
            Item::Static(item) => (&item.attrs, Some(&item.ident), false),
            Item::Struct(item) => (&item.attrs, Some(&item.ident), true),
            Item::Trait(item) => (&item.attrs, Some(&item.ident), true),
            Item::Type(item) => (&item.attrs, Some(&item.ident), true),
            Item::Union(item) => (&item.attrs, Some(&item.ident), true),
            Item::Use(item) => (&item.attrs, None, false),
            _ => (&[], None, false),
        };
        self.within(attributes, |collector| {
            if let Some(ident) = name {
                collector.facts.modules[collector.module]
                    .items
                    .insert(ident.to_string());
                // Of two that exclude each other by `cfg`, one counts.
                let is_alternative = attributes
                    .iter()
                    .any(|attribute| attribute.path().is_ident("cfg"))
                    && collector
                        .facts
                        .types
                        .iter()
                        .any(|named| ident == named.name.as_str());
                if is_type && !is_alternative {
                    let (line, is_test) = (ident.span().start().line, collector.is_test);
                    collector.facts.types.push(Named {
                        name: ident.to_string(),
                        line,
                        is_test,
                    });
                }
            }
            visit::visit_item(collector, item);
        });
    }

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        let name = module.ident.to_string();
        if module.content.is_none() {
            if self.is_test {
                self.facts.modules[self.module].test_files.push(name);
            }
            return visit::visit_item_mod(self, module);
        }
        let outer = self.module;
        let inside = [self.facts.modules[outer].inside.as_slice(), &[name]].concat();
        self.facts.modules.push(ModuleFacts {
            inside,
            ..ModuleFacts::default()
        });
        self.module = self.facts.modules.len() - 1;
        visit::visit_item_mod(self, module);
        self.module = outer;
    }

    fn visit_item_enum(&mut self, item: &'ast ItemEnum) {
        let variants = item
            .variants
            .iter()
            .map(|variant| format!("{}::{}", item.ident, variant.ident));
        self.facts.modules[self.module].variants.extend(variants);
        visit::visit_item_enum(self, item);
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.import(&item.tree, &[]);
    }

    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        let named = match &*item.self_ty {
            Type::Path(path) => segments_of(&path.path),
            _ => vec!["Self".to_owned()],
        };
        self.selves.push(named);
        visit::visit_item_impl(self, item);
        self.selves.pop();
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        let from = first_line(&function.vis, &function.sig);
        self.add_function(&function.sig, from, function.block.span().end().line);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        let from = first_line(&function.vis, &function.sig);
        self.add_function(&function.sig, from, function.block.span().end().line);
        self.within(&function.attrs, |collector| {
            visit::visit_impl_item_fn(collector, function)
        });
    }

    fn visit_trait_item_fn(&mut self, function: &'ast TraitItemFn) {
        if let Some(block) = &function.default {
            self.add_function(
                &function.sig,
                function.sig.span().start().line,
                block.span().end().line,
            );
        }
        visit::visit_trait_item_fn(self, function);
    }

    fn visit_local(&mut self, local: &'ast Local) {
        if let Some(init) = &local.init
            && closures::is_closure(&init.expr)
        {
            self.facts.bound_closures.push(local.span().start().line);
        }
        visit::visit_local(self, local);
    }

    fn visit_expr_assign(&mut self, assign: &'ast ExprAssign) {
        if closures::is_name(&assign.left) && closures::is_closure(&assign.right) {
            self.facts.bound_closures.push(assign.span().start().line);
        }
        visit::visit_expr_assign(self, assign);
    }

    fn visit_expr_method_call(&mut self, call: &'ast ExprMethodCall) {
        self.refer_method(&call.method, call.method.span().start().line);
        visit::visit_expr_method_call(self, call);
    }

    fn visit_expr_path(&mut self, path: &'ast ExprPath) {
        self.refer_qualified(path.qself.as_ref(), &path.path);
        visit::visit_expr_path(self, path);
    }

    fn visit_type_path(&mut self, path: &'ast TypePath) {
        self.refer_qualified(path.qself.as_ref(), &path.path);
        visit::visit_type_path(self, path);
    }

    fn visit_path(&mut self, path: &'ast Path) {
        self.refer(
            segments_of(path),
            path.span().start().line,
            Written::Elsewhere,
        );
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &'ast Macro) {
        self.scan(called.tokens.clone());
        visit::visit_macro(self, called);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        match &attribute.meta {
            syn::Meta::List(list) => self.scan(list.tokens.clone()),
            syn::Meta::NameValue(pair) if pair.path.is_ident("doc") => {
                if let Expr::Lit(literal) = &pair.value
                    && let syn::Lit::Str(text) = &literal.lit
                {
                    self.add_doc_line(text.value(), attribute.span().start().line);
                }
            }
            _ => {}
        }
    }
}

fn joined(before: &[String], last: &Ident) -> Vec<String> {
    [before, &[last.to_string()]].concat()
}

fn segments_of(path: &Path) -> Vec<String> {
    path.segments
        .iter()
        .map(|segment| segment.ident.to_string())
        .collect()
}

fn first_line(visibility: &syn::Visibility, signature: &Signature) -> usize {
    match visibility {
        syn::Visibility::Inherited => signature.span().start().line,
        visible => visible.span().start().line,
    }
}

/// The type inside `&`, `()` and the like.
fn peeled(named: &Type) -> &Type {
    match named {
        Type::Group(inner) => peeled(&inner.elem),
        Type::Paren(inner) => peeled(&inner.elem),
        Type::Reference(inner) => peeled(&inner.elem),
        _ => named,
    }
}
