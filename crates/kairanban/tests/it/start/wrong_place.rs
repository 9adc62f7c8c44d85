//! A database URL that points to something else.

use crate::{
    logged::Logged,
    node::{Database, Node},
    start::NO_WAIT,
};

crate::on_both!(
    a_database_of_another_program_is_refused_as_it_is,
    a_database_of_another_program_without_our_names_is_shared,
);

const COMMANDS: [&[&str]; 3] = [
    &["migrate"],
    &["config", "check"],
    &["--listen", "127.0.0.1:0"],
];

fn refused(url: &str, parts: &[&str]) {
    for command in COMMANDS {
        let (code, said) = Logged::ended(command, &[("DATABASE_URL", url), NO_WAIT]);
        assert!(
            code == Some(78) && parts.iter().all(|part| said.contains(part)),
            "{command:?}: {code:?} {said}"
        );
    }
}

fn a_database_of_another_program_is_refused_as_it_is(database: Database) {
    for table in ["topics", "audit"] {
        database.sql(&format!("CREATE TABLE {table} (subject TEXT);"));
        refused(&database.url(), &[&format!("a table `{table}`")]);
        database.sql(&format!("DROP TABLE {table};"));
    }
}

fn a_database_of_another_program_without_our_names_is_shared(database: Database) {
    database.sql("CREATE TABLE users (id INTEGER);");
    // As another program with diesel leaves it.
    database.sql(
        "CREATE TABLE __diesel_schema_migrations (version VARCHAR(50) PRIMARY KEY NOT NULL,
         run_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP);",
    );
    let node = Node::start(database);
    node.post("beside others");
}

#[test]
fn a_url_that_names_a_folder_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().display();
    refused(
        &format!("sqlite://{path}"),
        &["is a folder", "/kairanban.db"],
    );
    std::fs::write(folder.path().join("file"), "").expect("a file");
    refused(&format!("sqlite://{path}/file/a.db"), &["is no folder"]);
}
