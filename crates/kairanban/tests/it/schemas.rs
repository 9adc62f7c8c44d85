//! Boards in schemas whose names are not plain lower case, or as long as names may be: two nodes
//! that do not poll hear of each other and of other programs.

use crate::{
    logged::Logged,
    node::{Database, Node},
};

const STREAM: &str = "/b/main/stream?format=patch";

const NAMES: [&str; 6] = [
    "A",
    "My Schema",
    "a.b",
    "quo\"te",
    "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijk",
    "看看看看看看看看看看看看看看看看看看看看看",
];

fn database(name: &str) -> Database {
    let database = Database::postgres();
    let quoted = format!("\"{}\"", name.replace('"', "\"\""));
    database.sql(&format!(
        "CREATE SCHEMA {quoted}; CREATE SCHEMA a;
         DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = %I', current_database(),
             $name${name}$name$); END $$;"
    ));
    database
}

#[test]
fn commits_are_heard_of_in_a_schema_of_any_name() {
    for name in NAMES {
        let database = database(name);
        let url = [("DATABASE_URL", &*database.url())];
        assert_eq!(Logged::ended(&["migrate"], &url).0, Some(0), "{name}");
        let checked = Logged::ended(&["config", "check"], &url);
        assert_eq!(checked.0, Some(0), "{name}: {}", checked.1);
        let one = Node::start_with(database, &[("DATABASE__POLL_MS", "60000")]);
        let other = one.sibling();
        let mut stream = other.stream(STREAM);
        stream.event();
        one.post("posted");
        assert!(stream.event().data.contains("posted"), "{name}");
        one.database
            .sql("INSERT INTO topics (comment) VALUES ('from psql');");
        assert!(stream.event().data.contains("from psql"), "{name}");
    }
}
