//! The migrations are embedded by a macro, which does not tell cargo that it read them. Their texts
//! are listed here, for what is to be known of the objects that they make.

use std::{env, fs, path::Path};

fn main() {
    println!("cargo:rerun-if-changed=../../migrations");
    let out = env::var("OUT_DIR").expect("cargo sets it");
    let lists = ["postgres", "sqlite"].map(list);
    fs::write(Path::new(&out).join("migrations.rs"), lists.concat()).expect("written");
}

/// Returns a constant with the name and the text of each migration, in their order.
fn list(database: &str) -> String {
    let root = env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let folder = Path::new(&root).join("../../migrations").join(database);
    let mut names: Vec<_> = fs::read_dir(&folder)
        .expect("migrations")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    let rows = names.iter().map(|name| {
        let file = folder.join(name).join("up.sql");
        format!("({name:?}, include_str!({file:?})),")
    });
    format!(
        "pub(crate) const {}: &[(&str, &str)] = &[{}];\n",
        database.to_uppercase(),
        rows.collect::<String>()
    )
}
