//! Closures that are bound to a name: by `let`, or later by an assignment; as they are, behind a
//! reference or in a box.

use proc_macro2::{Delimiter, TokenTree};
use syn::{Expr, Stmt};

use super::tokens::{is_ident, is_punct};

/// Types whose `new` keeps what it is given as it is.
const BOXES: [&str; 3] = ["Arc", "Box", "Rc"];

pub fn is_closure(value: &Expr) -> bool {
    match value {
        Expr::Closure(_) => true,
        Expr::Group(inner) => is_closure(&inner.expr),
        Expr::Paren(inner) => is_closure(&inner.expr),
        Expr::Reference(inner) => is_closure(&inner.expr),
        Expr::Cast(inner) => is_closure(&inner.expr),
        Expr::Block(inner) => match inner.block.stmts.last() {
            Some(Stmt::Expr(last, None)) => is_closure(last),
            _ => false,
        },
        Expr::Call(call) => is_box(&call.func) && call.args.iter().any(is_closure),
        _ => false,
    }
}

/// `Box::new` and the like.
fn is_box(function: &Expr) -> bool {
    let Expr::Path(path) = function else {
        return false;
    };
    let mut backwards = path.path.segments.iter().rev();
    backwards.next().is_some_and(|last| last.ident == "new")
        && backwards
            .next()
            .is_some_and(|named| BOXES.iter().any(|boxed| named.ident == boxed))
}

/// A lone name, as that of a variable.
pub fn is_name(target: &Expr) -> bool {
    matches!(target, Expr::Path(path) if path.path.get_ident().is_some())
}

/// `let name = |…|` among the tokens of a macro; `rest` is what follows `let`.
pub fn let_binds_closure(rest: &[TokenTree]) -> bool {
    let statement = rest.split(|token| is_punct(token, ';')).next();
    let equals = rest.iter().position(|token| is_punct(token, '='));
    match (statement, equals) {
        (Some(statement), Some(at)) if at < statement.len() => begins_closure(&statement[at + 1..]),
        _ => false,
    }
}

/// `name = |…|` as a statement among the tokens of a macro; `before` is what stands before the
/// name, `rest` what follows it.
pub fn assigns_closure(before: &[TokenTree], rest: &[TokenTree]) -> bool {
    let is_statement = before.last().is_none_or(|token| is_punct(token, ';'));
    is_statement
        && matches!(rest, [equals, value @ ..] if is_punct(equals, '=') && begins_closure(value))
}

/// `|…|`, also with `move`, `async` or `&` before it, in parentheses, or in a box.
fn begins_closure(value: &[TokenTree]) -> bool {
    let skipped = value.iter().take_while(|token| {
        is_ident(token, "move") || is_ident(token, "async") || is_punct(token, '&')
    });
    match &value[skipped.count()..] {
        [TokenTree::Group(group)] if group.delimiter() == Delimiter::Parenthesis => {
            begins_closure(&group.stream().into_iter().collect::<Vec<_>>())
        }
        [boxed, first, second, new, TokenTree::Group(group), ..]
            if BOXES.iter().any(|name| is_ident(boxed, name))
                && is_punct(first, ':')
                && is_punct(second, ':')
                && is_ident(new, "new") =>
        {
            begins_closure(&group.stream().into_iter().collect::<Vec<_>>())
        }
        [first, ..] => is_punct(first, '|'),
        [] => false,
    }
}
