//! Pages of rows of which some cannot be read: a client that follows the links sees all the others.

use std::collections::BTreeSet;

use serde_json::Value;

use super::story::Story;
use crate::{node::Database, wire::Answer};

crate::on_both!(a_client_that_pages_sees_every_row_that_can_be_read);

/// A list that has pages.
struct PagedList {
    path: &'static str,
    /// The array in its body, and what is unique in each of its rows.
    rows: &'static str,
    key: &'static str,
}

const LISTS: [PagedList; 6] = [
    PagedList {
        path: "/api/v1/boards/victim/topics?",
        rows: "topics",
        key: "id",
    },
    PagedList {
        path: "/api/v1/boards/victim/topics?q=needle&",
        rows: "topics",
        key: "id",
    },
    PagedList {
        path: "/api/v1/boards?",
        rows: "boards",
        key: "name",
    },
    PagedList {
        path: "/api/v1/tokens?",
        rows: "tokens",
        key: "id",
    },
    PagedList {
        path: "/api/v1/audit?",
        rows: "entries",
        key: "id",
    },
    PagedList {
        path: "/api/v1/boards/victim/changes?",
        rows: "changes",
        key: "topic_id",
    },
];

/// A row of the log with a topic of its own.
const LOGGED: &str = "INSERT INTO topics (board_id, comment) SELECT id, 'needle' FROM boards
    WHERE name = 'victim';";

/// Each list with rows that cannot be read at its beginning, in its middle, and at its end, several
/// in a row.
const ROWS: &str = "
    INSERT INTO tokens (name, digest, scope) VALUES
        ('t', 'x1', 'emperor'), ('t', 'x2', 'emperor'), ('t', 'r1', 'read'), ('t', 'x3', ''),
        ('t', 'x4', 'emperor'), ('t', 'x5', 'emperor'), ('t', 'r2', 'post'), ('t', 'x6', 'x');
    INSERT INTO boards (name) VALUES (' '), ('-'), ('a'), ('admin'), ('all'), ('api'), ('b'), ('b 1'),
        ('b 2'), ('b 3'), ('B2'), ('bb'), ('new'), ('stream'), ('z'), ('zz_'), ('zz~'), ('zzé');
    INSERT INTO topics (board_id, id, comment) SELECT boards.id, place.id, 'needle' FROM boards,
        (SELECT -2 AS id UNION SELECT -1 UNION SELECT 0 UNION SELECT 5001 UNION SELECT 5002
         UNION SELECT 5003 UNION SELECT 9007199254740992 UNION SELECT 9007199254740993
         UNION SELECT 9223372036854775806) AS place WHERE boards.name = 'victim';";

fn a_client_that_pages_sees_every_row_that_can_be_read(database: Database) {
    let story = Story::new(database);
    let postgres = story.database.is_postgres();
    for _ in 0..3 {
        story.database.sql(LOGGED);
    }
    story.database.sql(&if postgres {
        let entries = "INSERT INTO audit (id, actor, action) OVERRIDING SYSTEM VALUE";
        format!(
            "ALTER TABLE topics DISABLE TRIGGER ALL; {ROWS}
             {entries} VALUES (-1, 'x', 'x'), (0, 'x', 'x'), (1000, 'x', 'x');"
        )
    } else {
        format!(
            "DROP TRIGGER topics_inserted_far; DROP TRIGGER boards_inserted_as_text; {ROWS}
             INSERT INTO boards (name) VALUES (CAST(x'62ff' AS TEXT)), (x'6262'),
                 ('bb' || char(0) || 'b'), (CAST(x'ff' AS TEXT)), (7), (NULL);
             INSERT INTO audit (id, actor, action) VALUES (-1, 'x', 'x'), (0, 'x', 'x'), (1000, 'x', 'x');"
        )
    });
    for list in LISTS {
        let whole = list.follow(&story, 500);
        let rows = whole.iter().collect::<BTreeSet<_>>().len();
        assert!(rows == whole.len() && rows >= 3, "{}: {whole:?}", list.path);
        for limit in 1..=5 {
            assert_eq!(list.follow(&story, limit), whole, "{} {limit}", list.path);
        }
    }
}

impl PagedList {
    /// Returns the keys of all rows, page by page.
    fn follow(&self, story: &Story, limit: usize) -> Vec<String> {
        let mut next = Some(format!("{}limit={limit}", self.path));
        let mut keys = Vec::new();
        let mut pages = 0;
        while let Some(path) = next {
            let page = story.node.send_as("GET", &path, &story.admin, &[], "");
            assert_eq!(page.status, 200, "{path}: {}", page.body);
            keys.extend(self.keys(&page));
            next = next_page(&page);
            pages += 1;
            assert!(pages < 500, "{path} leads in a circle");
        }
        keys
    }

    fn keys(&self, page: &Answer) -> Vec<String> {
        let rows = page.json()[self.rows].clone();
        let Value::Array(rows) = rows else {
            panic!("no {}: {}", self.rows, page.body);
        };
        rows.iter().map(|row| row[self.key].to_string()).collect()
    }
}

fn next_page(page: &Answer) -> Option<String> {
    let link = page.header("link")?.strip_prefix('<')?;
    Some(link.split_once('>')?.0.to_owned())
}
