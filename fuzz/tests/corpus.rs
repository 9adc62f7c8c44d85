//! Runs the targets on their corpus, without a fuzzing engine: what was found once stays mended.

use std::{fs, path::Path};

use kairanban_fuzz::TARGETS;

/// Checks each file of a target's corpus.
fn replay(name: &str) {
    let (_, check) = TARGETS
        .iter()
        .find(|(known, _)| *known == name)
        .expect("a target");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(name);
    let files =
        fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut count = 0;
    for file in files {
        let file = file.expect("a file").path();
        // The last one that is named is the one that fails.
        println!("{}", file.display());
        check(&fs::read(&file).expect("a file"));
        count += 1;
    }
    assert!(count >= 5, "{name} has a corpus");
}

macro_rules! replay {
    ($($name:ident),*) => {
        $(#[test] fn $name() { replay(stringify!($name)); })*

        #[test]
        fn no_target_is_left_out() {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz_targets");
            let mut programs: Vec<_> = fs::read_dir(folder)
                .expect("a folder")
                .map(|entry| entry.expect("a file").path())
                .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
                .collect();
            programs.sort();
            let targets = TARGETS.map(|(name, _)| name);
            assert_eq!(programs, targets);
            assert_eq!(targets, [$(stringify!($name)),*]);
        }
    };
}

replay!(
    accept,
    body,
    conditional,
    forwarded,
    message,
    rows,
    start,
    stream
);
