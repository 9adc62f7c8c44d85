use std::collections::BTreeMap;

use super::*;

/// Returns the triggers that the migrations leave behind, by name: the table, and in which
/// connections each fires.
fn of_the_migrations() -> BTreeMap<String, (String, Fires)> {
    let mut folders: Vec<_> = std::fs::read_dir("../../migrations/postgres")
        .expect("migrations")
        .flatten()
        .collect();
    folders.sort_by_key(|folder| folder.path());
    let mut triggers = BTreeMap::new();
    for folder in folders {
        let text = std::fs::read_to_string(folder.path().join("up.sql")).expect("a migration");
        for statement in text.split(';') {
            let words: Vec<_> = statement.split_whitespace().collect();
            let after = |word: &str| {
                words
                    .iter()
                    .position(|one| *one == word)
                    .map(|at| words[at + 1].to_owned())
            };
            if let Some(made) = words.windows(2).rposition(|pair| {
                pair == ["CREATE", "TRIGGER"] || pair == ["CONSTRAINT", "TRIGGER"]
            }) {
                let table = words[made..]
                    .iter()
                    .position(|word| *word == "ON")
                    .map(|on| words[made + on + 1].to_owned());
                triggers.insert(
                    words[made + 2].trim_matches('"').to_owned(),
                    (table.expect("a table"), Fires::Ordinary),
                );
            } else if statement.contains("DROP TRIGGER") {
                triggers.remove(&after("TRIGGER").expect("a name"));
            }
            for (at, pair) in words
                .windows(2)
                .enumerate()
                .filter(|(_, pair)| pair[0] == "ENABLE")
            {
                let fires = if pair[1] == "ALWAYS" {
                    Fires::Always
                } else {
                    Fires::Replica
                };
                if let Some((_, mode)) = words
                    .get(at + 3)
                    .and_then(|name| triggers.get_mut(name.trim_matches([',', '"'])))
                {
                    *mode = fires;
                }
            }
        }
    }
    triggers
}

#[test]
fn the_functions_are_those_of_the_migrations() {
    let mut made = std::collections::BTreeSet::new();
    for folder in std::fs::read_dir("../../migrations/postgres")
        .expect("migrations")
        .flatten()
    {
        let text = std::fs::read_to_string(folder.path().join("up.sql")).expect("a migration");
        let names = text.split("CREATE").skip(1).filter_map(|rest| {
            let rest = rest
                .trim_start()
                .trim_start_matches("OR REPLACE")
                .trim_start()
                .strip_prefix("FUNCTION ")?;
            Some(rest.split('(').next().expect("a name").to_owned())
        });
        made.extend(names);
    }
    assert_eq!(
        made,
        OWN_FUNCTIONS
            .iter()
            .map(|signature| function_name(signature).to_owned())
            .collect()
    );
}

#[test]
fn the_triggers_are_those_of_the_migrations() {
    let listed = POSTGRES_TRIGGERS.iter().map(|trigger| {
        (
            trigger.name.to_owned(),
            (trigger.table.to_owned(), trigger.fires),
        )
    });
    assert_eq!(listed.collect::<BTreeMap<_, _>>(), of_the_migrations());
}
