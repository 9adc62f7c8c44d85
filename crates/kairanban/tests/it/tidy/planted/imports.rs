//! Tests of the rules for imports: cycles, and modules that may not use each other.

use super::{
    super::{
        cycles::cycles,
        layers::{LAYERS, foreign_globs, trespasses},
        rules::Finding,
    },
    workspace,
};

fn cycles_of(files: &[(&str, &str)]) -> Vec<Finding> {
    let files: Vec<(String, &str)> = files
        .iter()
        .map(|(path, text)| (format!("x/src/{path}"), *text))
        .collect();
    cycles(&workspace(
        &files
            .iter()
            .map(|(path, text)| (path.as_str(), *text))
            .collect::<Vec<_>>(),
    ))
}

const ROOT: &str = "mod a;\nmod b;\npub use a::A;\npub use b::{B, make_b};\n";
const A: &str = "pub struct A;\npub fn make_a() {}\n";

#[test]
fn a_cycle_is_found_however_a_path_is_written() {
    let ways = [
        "use crate::b::B;",
        "use crate::{b::{self, B as Other}};",
        "use super::b::*;",
        "pub use super::b;",
        "use crate::B;",
        "use crate::make_b as make;",
        "fn f() -> crate::b::B { todo() }",
        "fn f() { super::make_b(); }",
        "fn f() { use self::super::b::B; }",
        "fn f(b: Vec<Option<&crate::B>>) {}",
        "fn f() { let x: [u8; crate::b::N] = y; }",
        "impl From<crate::b::B> for A {}",
        "impl crate::b::Trait for A {}",
        "fn f() { println!(\"{}\", crate::b::make_b()); }",
        "macro_rules! m { () => { $crate::b::make_b() }; }",
        "#[serde(with = \"crate::b\")] struct C;",
        "#[derive(crate::b::Derive)] struct C;",
        "mod inner { use super::super::b::B; }",
        "#[cfg(test)] mod tests {} use crate::b::B;",
        "#[cfg(not(test))] use crate::b::B;",
        "#[cfg(any(not(test), feature = \"x\"))] use crate::b::B;",
        "#[cfg(any(test, unix))] use crate::b::B;",
        "#[cfg(not(all(test, unix)))] use crate::b::B;",
        "#[cfg(feature = \"test-support\")] use crate::b::B;",
        "#[cfg(feature = \"test\")] mod inner { use crate::b::B; }",
        "fn f() { <crate::b::B>::new(); }",
        "fn f() { <&crate::b::B as Clone>::clone(); }",
        "type C = <crate::b::B as Iterator>::Item;",
        "fn f() { m!(<crate::b::B>::new()); }",
        "fn f() { m!(C { b: crate::b::B }); }",
        "use super::*; fn f(b: B) {}",
        "use super::*; fn f() { b::make_b(); }",
        "impl A { async fn f(&self) { crate::b::make_b().await } }",
        "pub(in crate::b) fn f() {}",
    ];
    let b = "use crate::a::make_a;\npub struct B;\npub fn make_b() {}\npub const N: usize = 1;\n";
    for way in ways {
        let a = format!("{A}{way}\n");
        let found = cycles_of(&[("lib.rs", ROOT), ("a.rs", &a), ("b.rs", b)]);
        assert_eq!(found.len(), 1, "{way}");
        assert_eq!(
            (found[0].name.as_str(), found[0].size),
            ("x: a, b", 2),
            "{way}"
        );
        let (line, text) = (A.lines().count() + 1, &found[0].detail);
        assert!(text.starts_with("a → b → a"), "{text}");
        assert!(
            text.contains(&format!("a → b: crates/x/src/a.rs:{line} ")),
            "{way}: {text}"
        );
        assert!(
            text.contains("b → a: crates/x/src/b.rs:1 crate::a::make_a"),
            "{text}"
        );
    }
}

#[test]
fn a_cycle_through_what_is_below_or_over_three_is_found() {
    let below = [
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "mod x; mod y;"),
        ("a/x.rs", "use crate::b::B;"),
        ("a/y.rs", "pub struct Y;"),
        ("b.rs", "use crate::a::y::Y; pub struct B;"),
    ];
    assert_eq!(cycles_of(&below)[0].name, "x: a, b");
    let deep = [
        ("lib.rs", "mod top;"),
        ("top/mod.rs", "mod a; mod b; mod c;"),
        ("top/a.rs", "use super::b::B; pub struct A;"),
        ("top/b.rs", "use super::c::C; pub struct B;"),
        ("top/c.rs", "use super::a::A; pub struct C;"),
    ];
    let found = cycles_of(&deep);
    assert_eq!(found[0].name, "x::top: a, b, c");
    assert!(
        found[0].detail.starts_with("a → b → c → a"),
        "{}",
        found[0].detail
    );
    let grandchild = [
        ("lib.rs", "mod a;"),
        ("a.rs", "mod x; use x::y::Y; pub struct A;"),
        ("a/x.rs", "pub mod y;"),
        ("a/x/y.rs", "use crate::a::A; pub struct Y;"),
    ];
    assert_eq!(cycles_of(&grandchild)[0].name, "x::a: self, x");
    let over_a_nephew = [
        ("lib.rs", "mod a; mod b; pub use a::x::X; pub struct Root;"),
        ("a.rs", "pub mod x;"),
        ("a/x.rs", "use crate::b::y::Y; pub struct X;"),
        ("b.rs", "pub mod y;"),
        ("b/y.rs", "use crate::Root; pub struct Y;"),
    ];
    assert_eq!(cycles_of(&over_a_nephew)[0].name, "x: a, b, self");
    // Through an item of another crate that one of them re-exports.
    let foreign = [
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "use crate::b::Mutex; pub struct A;"),
        ("b.rs", "pub use std::sync::Mutex; use crate::a::A;"),
    ];
    assert_eq!(cycles_of(&foreign)[0].name, "x: a, b");
    // In a program without a library as well.
    let program = [
        ("main.rs", "mod a; mod b;"),
        ("a.rs", "use crate::b;"),
        ("b.rs", "use super::a::A;"),
    ];
    assert_eq!(cycles_of(&program)[0].name, "x: a, b");
}

#[test]
fn what_is_no_cycle_is_left_alone() {
    let clean: [(&str, &[(&str, &str)]); 7] = [
        (
            "one way",
            &[
                ("lib.rs", ROOT),
                ("a.rs", "use crate::B;\npub struct A;"),
                ("b.rs", "pub struct B; pub fn make_b() {}"),
            ],
        ),
        (
            "a parent and its children",
            &[
                ("lib.rs", "mod a; pub struct Root;"),
                ("a.rs", "mod x; use x::X; pub struct A;"),
                ("a/x.rs", "use super::A; use crate::Root; pub struct X;"),
            ],
        ),
        (
            "a grandparent that uses its children only",
            &[
                ("lib.rs", "mod a; use a::A; pub struct Root;"),
                ("a.rs", "mod x; use x::X; pub struct A;"),
                ("a/x.rs", "use crate::Root; pub struct X;"),
            ],
        ),
        (
            "a test",
            &[
                ("lib.rs", ROOT),
                (
                    "a.rs",
                    "pub struct A;\n#[cfg(test)]\nmod tests { use crate::B; }\n#[cfg(test)] use \
                     crate::b;\n#[cfg(all(unix, any(test)))] use crate::b::B;\n\
                     #[cfg(not(not(test)))] use crate::b::B;\n#[cfg(test)] mod far;",
                ),
                ("a/far.rs", "use crate::b::B;"),
                ("b.rs", "use crate::a::A; pub struct B; pub fn make_b() {}"),
            ],
        ),
        (
            "names of other crates",
            &[
                ("lib.rs", "mod a; mod b;"),
                ("a.rs", "use b_crate::b; use std::fmt;"),
                ("b.rs", "use crate::a;"),
            ],
        ),
        (
            "a variable with the name of a module",
            &[
                ("lib.rs", "mod a; mod b;"),
                ("a.rs", "use super::*; fn f(b: u8) { g(b) }"),
                ("b.rs", "use crate::a;"),
            ],
        ),
        (
            "re-exports in a circle",
            &[
                ("lib.rs", "mod a; pub use a::*;"),
                ("a.rs", "pub use super::*; fn f() { crate::Nothing::g() }"),
            ],
        ),
    ];
    for (what, files) in clean {
        let found = cycles_of(files);
        assert!(found.is_empty(), "{what}: {found:?}");
    }
}

fn trespasses_of(path: &str, text: &str) -> Vec<String> {
    let connection = "pub enum AnyConnection { Postgres, Sqlite }\nimpl AnyConnection { fn f() { \
        Self::Sqlite; } }\n";
    trespasses(
        &workspace(&[
            ("kairanban-store/src/connection.rs", connection),
            (path, text),
        ]),
        LAYERS,
    )
}

#[test]
fn each_layer_is_held() {
    for layer in LAYERS {
        for (of, never) in layer
            .of
            .iter()
            .flat_map(|of| layer.never.iter().map(move |never| (of, never)))
        {
            let (name, below) = of.split_once("::").unwrap_or((of, "lib"));
            let path = format!("{}/src/{below}.rs", name.replace('_', "-"));
            let named = never.strip_prefix("*::").map_or_else(
                || never.replace('*', "_web"),
                |rest| format!("kairanban_core::{rest}"),
            );
            for text in sins(&named) {
                assert!(!trespasses_of(&path, &text).is_empty(), "{path}: {text}");
                let tested = format!("#[cfg(test)]\nmod tests {{ {text} }}");
                assert!(trespasses_of(&path, &tested).is_empty(), "{path}: {tested}");
            }
        }
    }
}

/// Ways to use a path, or to call a method.
fn sins(named: &str) -> Vec<String> {
    if named.starts_with('.') {
        let calls = ["(1)", "::<A>(1).await", "(|| 1)?"];
        let calls = calls.map(|call| format!("x.y{named}{call}"));
        return calls
            .iter()
            .flat_map(|call| {
                [
                    format!("fn f() {{ {call}; }}"),
                    format!("fn f() {{ m!({call}); }}"),
                ]
            })
            .collect();
    }
    let mut found = vec![
        format!("use {named};"),
        format!("fn f() {{ {named}(); }}"),
        format!("#[cfg(test)] mod tests {{}}\nuse {named} as x;"),
        format!("#[cfg(feature = \"test-support\")] fn f() {{ {named}(); }}"),
    ];
    if let Some((of, item)) = named.rsplit_once("::") {
        found.extend([
            format!("fn f() {{ <{of}>::{item}(); }}"),
            format!("fn f() {{ m!(<{of} as Clone>::{item}()); }}"),
        ]);
    }
    found
}

#[test]
fn a_glob_of_another_crate_is_found() {
    let allowed = ["diesel::prelude"];
    for (text, found) in [
        ("use std::time::*;", 1),
        ("pub use actix_web::*;", 1),
        ("fn f() { use std::{fmt, fs::*}; }", 1),
        ("mod inner { use diesel::*; }", 1),
        ("use diesel::prelude::*;", 0),
        (
            "use super::*; use crate::b::*; pub use self::inner::*; mod inner {}",
            0,
        ),
        ("#[cfg(test)] mod tests { use proptest::prelude::*; }", 0),
    ] {
        let files = [
            ("x/src/lib.rs", "mod a; mod b;"),
            ("x/src/a.rs", text),
            ("x/src/b.rs", ""),
        ];
        let globs = foreign_globs(&workspace(&files), &allowed);
        assert_eq!(globs.len(), found, "{text}: {globs:?}");
    }
}

#[test]
fn a_trespass_is_found_however_it_is_written() {
    let ways = [
        "use std::{fmt, fs as files};",
        "use std::time; fn f() { time::Instant::now(); }",
        "use std::time::Instant as Clock; fn f() { Clock::now(); }",
        "fn f() { m!(std::net::lookup()); }",
        "mod inner { use super::*; use std::time::Instant; } fn f() { inner::Instant::now(); }",
        "fn f() { let now = chrono::Utc::now; }",
    ];
    for way in ways {
        assert_eq!(
            trespasses_of("kairanban-core/src/hub.rs", way).len(),
            1,
            "{way}"
        );
    }
    let ways = [
        "use crate::connection::AnyConnection; fn f() { AnyConnection::Postgres; }",
        "use crate::connection::AnyConnection::*; fn f() { Sqlite; }",
        "impl crate::connection::AnyConnection { fn f() { Self::Sqlite; } }",
    ];
    for way in ways {
        assert!(
            !trespasses_of("kairanban-store/src/rows.rs", way).is_empty(),
            "{way}"
        );
    }
    let clean = "use std::time::{Duration, Instant}; // std::fs\nfn g() { \
        crate::actix_words::list(); }\nfn f(at: Instant) { log(\"std::net is not for us\"); }";
    assert!(trespasses_of("kairanban-core/src/hub.rs", clean).is_empty());
}
