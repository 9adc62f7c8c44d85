//! Limits: lengths of functions and files, one definition for each type name, and figures of the
//! whole workspace.

use std::collections::BTreeMap;

use super::sources::{SourceFile, Workspace};

pub const FUNCTION_LINES_MAX: usize = 70;
pub const FUNCTION_LINES_P95_MAX: usize = 35;
pub const FILE_LINES_MAX: usize = 400;
pub const COLUMNS_MAX: usize = 100;
pub const LONG_LINES_PER_THOUSAND_MAX: usize = 5;
pub const BOUND_CLOSURES_PERCENT_MAX: usize = 3;
pub const SHORT_COMMENT_WORDS: usize = 3;
pub const SHORT_COMMENTS_MAX: usize = 20;

/// Something that breaks a rule.
#[derive(Debug)]
pub struct Finding {
    /// The name that `known` lists it by.
    pub name: String,
    /// The number that must not grow.
    pub size: usize,
    /// The rule, or the places to look at.
    pub detail: String,
}

/// Compares findings with the known ones: new or larger ones are broken rules, known ones that are
/// gone have been mended.
pub fn judge(findings: &[Finding], known: &[(&str, usize)]) -> Faults {
    let mut faults = Faults::default();
    for Finding { name, size, detail } in findings {
        match known.iter().find(|(known, _)| known == name) {
            None => faults.broken.push(format!("{name}: {size}; {detail}")),
            Some((_, before)) if size > before => {
                faults.broken.push(format!(
                    "{name}: {size}, which is more than the {before} that known.rs allows; {detail}"
                ));
            }
            Some(_) => {}
        }
    }
    let gone = known
        .iter()
        .filter(|(name, _)| findings.iter().all(|finding| finding.name != *name));
    faults.mended.extend(
        gone.map(|(name, _)| format!("{name} keeps the rule now; remove it from known.rs")),
    );
    faults
}

#[derive(Debug, Default)]
pub struct Faults {
    pub broken: Vec<String>,
    pub mended: Vec<String>,
}

pub fn long_functions(workspace: &Workspace) -> Vec<Finding> {
    let functions = workspace.files.iter().flat_map(|file| {
        file.facts
            .functions
            .iter()
            .map(move |function| (file, function))
    });
    let long = functions.filter(|(_, function)| function.lines > FUNCTION_LINES_MAX);
    let findings = long.map(|(file, function)| Finding {
        name: format!("{} {}", file.path, function.name),
        size: function.lines,
        detail: format!(
            "line {}; a function has at most {FUNCTION_LINES_MAX} lines",
            function.line
        ),
    });
    findings.collect()
}

pub fn long_files(workspace: &Workspace) -> Vec<Finding> {
    let sizes = workspace
        .files
        .iter()
        .map(|file| (file, file.text.lines().count()));
    let findings = sizes
        .filter(|(_, size)| *size > FILE_LINES_MAX)
        .map(|(file, size)| Finding {
            name: file.path.clone(),
            size,
            detail: format!("a file has at most {FILE_LINES_MAX} lines"),
        });
    findings.collect()
}

/// Names of types with more than one definition outside tests.
pub fn repeated_types(workspace: &Workspace) -> Vec<Finding> {
    let mut types: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for file in workspace
        .files
        .iter()
        .filter(|file| !workspace.is_test_file(file))
    {
        for named in file.facts.types.iter().filter(|named| !named.is_test) {
            types
                .entry(&named.name)
                .or_default()
                .push(format!("{}:{}", file.path, named.line));
        }
    }
    let repeated = types.into_iter().filter(|(_, places)| places.len() > 1);
    repeated
        .map(|(name, places)| Finding {
            name: name.to_owned(),
            size: places.len(),
            detail: places.join(", "),
        })
        .collect()
}

/// Returns the figures that exceed their limits.
pub fn bad_figures(workspace: &Workspace) -> Vec<Finding> {
    figures(workspace)
        .into_iter()
        .filter(|(figure, max)| figure.size > *max)
        .map(|(figure, _)| figure)
        .collect()
}

/// Returns each figure with its limit.
pub fn figures(workspace: &Workspace) -> Vec<(Finding, usize)> {
    let (tests, sources): (Vec<&SourceFile>, Vec<_>) = workspace
        .files
        .iter()
        .partition(|file| file.module.is_none());
    vec![
        p95("lines of a function in src, 95th percentile", &sources),
        p95("lines of a function in tests, 95th percentile", &tests),
        long_lines(workspace, "code", false, LONG_LINES_PER_THOUSAND_MAX),
        long_lines(workspace, "comments", true, 0),
        bound_closures(workspace),
        short_comments(workspace),
    ]
}

fn p95(name: &str, files: &[&SourceFile]) -> (Finding, usize) {
    let mut lines: Vec<usize> = files
        .iter()
        .flat_map(|file| file.facts.functions.iter().map(|function| function.lines))
        .collect();
    lines.sort_unstable();
    // The smallest length that 95 of 100 functions do not exceed.
    let size = lines
        .get((lines.len() * 95).div_ceil(100).saturating_sub(1))
        .copied()
        .unwrap_or(0);
    let detail = format!(
        "of {} functions; at most {FUNCTION_LINES_P95_MAX}",
        lines.len()
    );
    (
        Finding {
            name: name.to_owned(),
            size,
            detail,
        },
        FUNCTION_LINES_P95_MAX,
    )
}

/// Lines that are wider than the formatter allows, which it leaves in strings and comments. Blank
/// lines do not count, nor do diagrams.
fn long_lines(
    workspace: &Workspace,
    kind: &str,
    is_comment: bool,
    per_thousand_max: usize,
) -> (Finding, usize) {
    let lines = workspace.files.iter().flat_map(|file| {
        let lines = (1..).zip(outside_diagrams(&file.text));
        lines.map(move |(number, line)| (file, number, line))
    });
    let (long, others): (Vec<_>, Vec<_>) = lines
        .filter(|(_, _, line)| {
            !line.trim().is_empty() && line.trim_start().starts_with("//") == is_comment
        })
        .partition(|(_, _, line)| line.chars().count() > COLUMNS_MAX);
    let (size, all) = (long.len(), long.len() + others.len());
    let mut detail = format!(
        "of {all} ({}); at most 0.{per_thousand_max} %",
        percent(size, all)
    );
    if per_thousand_max == 0 {
        for (file, number, _) in &long {
            detail += &format!("; {}:{number}", file.path);
        }
    }
    let name = format!("lines of {kind} over {COLUMNS_MAX} columns");
    (
        Finding { name, size, detail },
        all * per_thousand_max / 1000,
    )
}

/// Returns the lines of a file; those of diagrams, which comments have between fences, are blank.
fn outside_diagrams(text: &str) -> impl Iterator<Item = &str> {
    text.lines().scan(false, |is_inside, line| {
        let comment = line.trim_start().trim_start_matches("//");
        let is_fence = line.trim_start().starts_with("//") && comment.contains("```");
        *is_inside ^= is_fence;
        Some(if *is_inside || is_fence { "" } else { line })
    })
}

fn bound_closures(workspace: &Workspace) -> (Finding, usize) {
    let files = workspace.files.iter();
    let counts = files.map(|file| (file.facts.bound_closures.len(), file.facts.functions.len()));
    let (size, all) = counts.fold((0, 0), |sum, file| (sum.0 + file.0, sum.1 + file.1));
    let detail = format!(
        "in {all} functions ({}); at most {BOUND_CLOSURES_PERCENT_MAX} %",
        percent(size, all)
    );
    (
        Finding {
            name: "closures bound by `let`".to_owned(),
            size,
            detail,
        },
        all * BOUND_CLOSURES_PERCENT_MAX / 100,
    )
}

fn short_comments(workspace: &Workspace) -> (Finding, usize) {
    let comments = workspace
        .files
        .iter()
        .flat_map(|file| &file.facts.doc_comments);
    let size = comments
        .filter(|comment| comment.name.split_whitespace().count() <= SHORT_COMMENT_WORDS)
        .count();
    let name = format!("doc comments of {SHORT_COMMENT_WORDS} words or fewer");
    (
        Finding {
            name,
            size,
            detail: format!("at most {SHORT_COMMENTS_MAX}"),
        },
        SHORT_COMMENTS_MAX,
    )
}

fn percent(part: usize, whole: usize) -> String {
    format!("{:.1} %", part as f64 * 100.0 / whole.max(1) as f64)
}
