//! Links between documents lead to a file, and to a heading in it; the index of decisions has each
//! with its title.

use std::{fs, path::Path};

use super::{code_names::documents, root};

/// The targets of the links of a document that are not elsewhere on the web.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1);
    let targets = targets.filter_map(|rest| Some(rest.split_once(')')?.0));
    targets.filter(|target| !target.contains("://"))
}

/// How a heading is addressed behind `#`.
fn anchor(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = heading
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn leads_somewhere(document: &Path, link: &str) -> bool {
    let (file, heading) = link.split_once('#').unwrap_or((link, ""));
    let target = match file {
        "" => document.to_owned(),
        file => document.parent().expect("a folder").join(file),
    };
    if heading.is_empty() {
        return target.exists();
    }
    fs::read_to_string(target).is_ok_and(|text| {
        let mut headings = text.lines().filter(|line| line.starts_with('#'));
        headings.any(|line| anchor(line) == heading)
    })
}

#[test]
fn every_link_of_a_document_leads_somewhere() {
    let mut broken = Vec::new();
    let mut count = 0;
    for document in documents() {
        let text = fs::read_to_string(&document).expect("a document");
        for link in links(&text) {
            count += 1;
            if !leads_somewhere(&document, link) {
                broken.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(count >= 50, "only {count} links were found");
    assert_eq!(broken, [""; 0]);
}

#[test]
fn a_link_that_leads_nowhere_is_found_out() {
    let document = root().join("docs/API.md");
    let text = "[a](DATABASE.md), [b](../README.md#try-it), [c](#shares), [d](https://x.example/y)";
    let found: Vec<&str> = links(text).collect();
    assert_eq!(found, ["DATABASE.md", "../README.md#try-it", "#shares"]);
    assert!(
        found
            .into_iter()
            .all(|link| leads_somewhere(&document, link))
    );
    for planted in ["DATA.md", "../README.md#try-this", "#stocks", "API.md/"] {
        assert!(!leads_somewhere(&document, planted), "{planted}");
    }
}

/// What the index of decisions has to say of each record, and does not.
fn unindexed(index: &str) -> Vec<String> {
    let mut missing = Vec::new();
    for entry in fs::read_dir(root().join("docs/adr")).expect("a folder") {
        let path = entry.expect("an entry").path();
        let file = path.file_name().expect("a name").to_string_lossy();
        let text = fs::read_to_string(&path).expect("a record");
        let title = text
            .lines()
            .next()
            .unwrap_or_default()
            .trim_start_matches("# ");
        if let Some((number, title)) = title.split_once(". ") {
            let row = format!("| [{number}]({file}) | {title} |");
            if !index.lines().any(|line| line == row) {
                missing.push(row);
            }
        }
    }
    missing
}

#[test]
fn the_index_of_decisions_has_each_with_its_title() {
    let index = fs::read_to_string(root().join("docs/adr/README.md")).expect("the index");
    assert_eq!(unindexed(&index), [""; 0]);
    assert_eq!(
        unindexed(&index.replacen("| A ticket opens", "| Tickets open", 1)).len(),
        1
    );
}
