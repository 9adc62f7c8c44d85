//! Tests of the rules: each is broken in a small source text and must be found; clean texts must
//! pass.

use super::{
    rules::{self, Finding, judge},
    sources::Workspace,
};

mod imports;

fn workspace(files: &[(&str, &str)]) -> Workspace {
    Workspace::of(
        files
            .iter()
            .map(|(path, text)| (format!("crates/{path}"), (*text).to_owned())),
    )
}

/// Lines that make up a body, so that a function around them has `lines`.
fn body(lines: usize) -> String {
    "    step();\n".repeat(lines - 2)
}

fn long_functions(path: &str, text: &str) -> Vec<Finding> {
    rules::long_functions(&workspace(&[(path, text)]))
}

#[test]
fn long_functions_of_every_kind_are_found() {
    let kinds = [
        ("", "fn f() {\n", "}\n"),
        ("", "#[inline]\npub(in crate::a) async fn f() {\n", "}\n"),
        ("", "pub const unsafe extern \"C\" fn f() {\n", "}\n"),
        ("", "fn f<T>()\nwhere\nT: Ord {\n", "}\n"),
        ("impl A {\n", "/// Text.\npub fn f(&self) {\n", "}\n}\n"),
        ("impl A for B {\n", "fn f(&self) {\n", "}\n}\n"),
        ("trait A {\n", "fn f(&self) {\n", "}\n}\n"),
        (
            "#[cfg(test)]\nmod tests {\n",
            "#[test]\nfn f() {\n",
            "}\n}\n",
        ),
        ("#[cfg(test)]\nmod tests;\n", "fn f() {\n", "}\n"),
        ("mod a { mod b {\n", "fn f() {\n", "}\n}}\n"),
        ("const A: () = {\n", "fn f() {\n", "}\n};\n"),
        ("proptest! {\n", "#[test]\nfn f(a in 0..9) {\n", "}\n}\n"),
        (
            "macro_rules! a { ($name:ident) => {\n",
            "fn $name() {\n",
            "}\n}; }\n",
        ),
    ];
    for (before, head, after) in kinds {
        let signature_lines = head
            .lines()
            .filter(|line| !line.starts_with(['#', '/']))
            .count();
        let [longest, too_long] = [70, 71]
            .map(|lines| format!("{before}{head}{}{after}", body(lines + 1 - signature_lines)));
        for path in [
            "a/src/a.rs",
            "a/src/lib.rs",
            "kairanban-bench/src/main.rs",
            "a/tests/it/a.rs",
            "a/build.rs",
        ] {
            let found = long_functions(path, &too_long);
            assert_eq!(
                found.iter().map(|found| found.size).collect::<Vec<_>>(),
                [71],
                "{path}\n{before}{head}"
            );
            assert!(
                long_functions(path, &longest).is_empty(),
                "{path}\n{before}{head}"
            );
        }
    }
}

#[test]
fn a_long_function_inside_another_is_found_too() {
    let text = format!("fn outer() {{\n    fn inner() {{\n{}    }}\n}}\n", body(71));
    let names: Vec<String> = long_functions("a/src/lib.rs", &text)
        .into_iter()
        .map(|found| found.name)
        .collect();
    assert_eq!(
        names,
        ["crates/a/src/lib.rs outer", "crates/a/src/lib.rs inner"]
    );
}

#[test]
fn a_long_closure_or_declaration_is_no_function() {
    let closure = format!("static A: fn() = || {{\n{}}};\n", body(90));
    assert!(long_functions("a/src/lib.rs", &closure).is_empty());
    let declared = format!(
        "trait A {{\n    fn f(\n{}    );\n}}\n",
        "        a: A,\n".repeat(90)
    );
    assert!(long_functions("a/src/lib.rs", &declared).is_empty());
}

#[test]
fn long_files_are_found_whatever_is_in_them() {
    let text = format!(
        "#[cfg(test)]\nmod tests {{\n{}}}\n",
        "// text\n".repeat(397)
    );
    for path in ["a/src/b.rs", "kairanban-bench/src/b.rs", "a/tests/b.rs"] {
        assert!(rules::long_files(&workspace(&[(path, &text)])).is_empty());
        let longer = format!("{text}\n");
        assert_eq!(
            rules::long_files(&workspace(&[(path, &longer)]))[0].size,
            401
        );
    }
}

#[test]
fn a_repeated_name_of_a_type_is_found_and_tests_may_repeat() {
    let one = "pub struct Line;\nmod m { enum Part {} }\n";
    let other =
        "trait Line {}\nfn f() { type Part = u8; }\n#[cfg(test)]\nmod tests { struct Line; }\n";
    let found = rules::repeated_types(&workspace(&[
        ("a/src/lib.rs", one),
        ("b/src/lib.rs", other),
        ("b/tests/c.rs", "struct Line;"),
    ]));
    assert_eq!(
        found
            .iter()
            .map(|found| (found.name.as_str(), found.size))
            .collect::<Vec<_>>(),
        [("Line", 2), ("Part", 2)]
    );
    assert_eq!(
        found[0].detail,
        "crates/a/src/lib.rs:1, crates/b/src/lib.rs:1"
    );
    let in_macro = "pin_project! { pub struct Line { a: u8 } }";
    assert_eq!(
        rules::repeated_types(&workspace(&[
            ("a/src/lib.rs", one),
            ("b/src/lib.rs", in_macro)
        ]))
        .len(),
        1
    );
    let clean = "struct Own;\nimpl Iterator for Own { type Item = u8; }\nimpl Iterator for &Own { \
        type Item = u8; }\n#[cfg(unix)]\nstruct Signals;\n#[cfg(not(unix))]\nstruct Signals;\n";
    assert!(
        rules::repeated_types(&workspace(&[
            ("a/src/lib.rs", one),
            ("b/src/lib.rs", clean)
        ]))
        .is_empty()
    );
}

fn bad_figures(text: &str) -> Vec<String> {
    rules::bad_figures(&workspace(&[("a/src/lib.rs", text)]))
        .into_iter()
        .map(|found| found.name)
        .collect()
}

#[test]
fn a_figure_of_long_functions_is_found() {
    let short = "fn f() {\n    g();\n}\n".repeat(94);
    let long = format!("fn f() {{\n{}}}\n", body(36));
    assert!(bad_figures(&format!("{short}{}", long.repeat(4))).is_empty());
    assert_eq!(
        bad_figures(&format!("{short}{}", long.repeat(6))),
        ["lines of a function in src, 95th percentile"]
    );
}

#[test]
fn a_figure_of_wide_lines_is_found() {
    let wide = format!("const A: &str = \"{}\";\n", "ö".repeat(82));
    assert_eq!(wide.trim_end().chars().count(), 101);
    let lines = "const B: u8 = 1;\n".repeat(199);
    assert!(bad_figures(&format!("{lines}{wide}")).is_empty());
    assert_eq!(
        bad_figures(&format!("{lines}{}", wide.repeat(2))),
        ["lines of code over 100 columns"]
    );
    for kind in ["//", "    ///", "//!"] {
        let lines = "// Text that is short.\n".repeat(999);
        let wide = format!("{kind} {wide}");
        let code = "const B: u8 = 1;\n";
        let diagram = format!("{kind} ```text\n{wide}{kind} ```\n");
        assert!(
            bad_figures(&format!("{diagram}{lines}{code}")).is_empty(),
            "{kind}"
        );
        assert_eq!(
            bad_figures(&format!("{diagram}{lines}{wide}{code}")),
            ["lines of comments over 100 columns"],
            "{kind}"
        );
    }
}

/// A hundred functions, one of them with these statements.
fn a_hundred_functions(statements: &str) -> String {
    format!("{}fn f() {{\n{statements}}}\n", "fn f() {}\n".repeat(99))
}

#[test]
fn a_figure_of_bound_closures_is_found() {
    for bound in [
        "let g = |x| x;\n",
        "let g = async move || 1;\n",
        "let g: F = |x| x;\n",
        "m!(let g = |x| x;);\n",
        "m! { let mut g = move || 1; }\n",
        "let g = (|x| x);\n",
        "let g = &mut |x| x;\n",
        "let g = Box::new(move |x| x);\n",
        "let g: F = std::sync::Arc::new(|x| x) as F;\n",
        "let g = { h(); |x| x };\n",
        "let g; g = |x| x;\n",
        "let g: F; if h { g = Box::new(|x| x); }\n",
        "m!(let g = &|x| x;);\n",
        "m!(let g = Box::new(|x| x););\n",
        "m! { let g; g = move |x| x; }\n",
    ] {
        let [most, too_many] = [3, 4].map(|count| a_hundred_functions(&bound.repeat(count)));
        assert!(bad_figures(&most).is_empty(), "{bound}");
        assert_eq!(
            bad_figures(&too_many),
            ["closures bound by `let`"],
            "{bound}"
        );
    }
    for handed_on in [
        "let g = h(|x| x);\n",
        "let g = x.map(|x| x);\n",
        "let g = Some(|x| x);\n",
        "let g = (|x| x)(1);\n",
        "let g = { h(|x| x); 1 };\n",
        "self.g = |x| x;\n",
        "m!(let g = h(|x| x););\n",
        "m!(let g = a; f(b | c););\n",
    ] {
        let found = bad_figures(&a_hundred_functions(&handed_on.repeat(5)));
        assert_eq!(found, [""; 0], "{handed_on}");
    }
}

#[test]
fn bound_closures_of_the_fuzz_targets_count() {
    let found = [3, 4].map(|count| {
        let text = a_hundred_functions(&"let g = |x| x;\n".repeat(count));
        let workspace = Workspace::of([("fuzz/src/lib.rs".to_owned(), text)]);
        rules::bad_figures(&workspace).len()
    });
    assert_eq!(found, [0, 1]);
}

#[test]
fn short_comments_are_counted() {
    let kinds = [
        "/// Its own key.\nstruct A;\n",
        "struct A {\n    /// The\n    /// same.\n    a: u8,\n}\n",
        "enum A {\n    /// None.\n    B,\n}\n",
        "mod a {\n    //! Short.\n}\n",
        "impl A {\n    /// Its key.\n    fn f() {}\n}\n",
        "#[cfg(test)]\nmod tests {\n    /// Its key.\n    fn f() {}\n}\n",
        "m! {\n    /// Its key.\n    struct B;\n}\n",
    ];
    for kind in kinds {
        assert!(bad_figures(&kind.repeat(20)).is_empty(), "{kind}");
        assert_eq!(
            bad_figures(&kind.repeat(21)),
            ["doc comments of 3 words or fewer"],
            "{kind}"
        );
    }
    assert!(
        bad_figures(&"/// One, two,\n/// three, four.\nstruct A;\n// Short.\n".repeat(30))
            .is_empty()
    );
}

fn finding(size: usize) -> [Finding; 1] {
    [Finding {
        name: "a".to_owned(),
        size,
        detail: String::new(),
    }]
}

#[test]
fn what_is_known_may_only_get_smaller() {
    assert_eq!(judge(&finding(5), &[]).broken.len(), 1);
    assert_eq!(judge(&finding(6), &[("a", 5)]).broken.len(), 1);
    let fine = judge(&finding(5), &[("a", 5)]);
    assert!(fine.broken.is_empty() && fine.mended.is_empty());
    assert!(judge(&finding(4), &[("a", 5)]).broken.is_empty());
    assert_eq!(
        judge(&[], &[("a", 5)]).mended,
        ["a keeps the rule now; remove it from known.rs"]
    );
}
