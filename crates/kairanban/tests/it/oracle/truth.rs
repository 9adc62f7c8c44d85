//! What the boards showed at each revision of each epoch, from the change log; from the tables
//! where the log says nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{BOARDS, Shown};
use crate::{node::Database, sse};

/// A list: its digest, and its ids in order.
type LoggedList = (String, Vec<i64>);
/// For each board, the lists that it may have shown from a revision on. More than one where rows
/// changed past the triggers.
type History = [BTreeMap<u64, Vec<LoggedList>>; BOARDS.len()];

/// The lists that may have been shown.
pub(crate) struct Truth {
    topics_max: usize,
    epochs: HashMap<String, History>,
    epoch: String,
    /// The topics of each board, archived ones left out, after the last change that was replayed.
    topics: [BTreeMap<i64, u64>; BOARDS.len()],
    /// Topics that are archived for good, whatever else the log says of them.
    archived: BTreeSet<i64>,
    replayed_to: u64,
}

/// What the tables hold at one moment.
struct Tables {
    epoch: String,
    head: u64,
    topics: [BTreeMap<i64, u64>; BOARDS.len()],
    archived: BTreeSet<i64>,
}

impl Truth {
    /// Begins with what the tables hold.
    pub(crate) fn begin(database: &Database, topics_max: usize) -> Self {
        let Tables {
            epoch,
            head,
            topics,
            archived,
        } = Tables::read(database);
        let mut truth = Self {
            topics_max,
            epochs: HashMap::new(),
            epoch: epoch.clone(),
            topics,
            archived,
            replayed_to: head,
        };
        truth.epochs.insert(epoch, History::default());
        truth.note_all(0);
        truth
    }

    pub(crate) fn epoch(&self) -> &str {
        &self.epoch
    }

    /// Replays what the log holds beyond what was replayed.
    pub(crate) fn replay(&mut self, database: &Database) {
        let log = database.sql(&format!(
            "SELECT revision || ' ' || kind || ' ' || CASE board_id WHEN (SELECT id FROM boards \
             WHERE name = 'main') THEN 0 ELSE 1 END \
             || ' ' || coalesce(topic_id, 0) FROM changes WHERE revision > {} \
             ORDER BY revision, id;",
            self.replayed_to
        ));
        let mut lines = log.lines().map(entry).peekable();
        while let Some((revision, kind, board, topic)) = lines.next() {
            let shown = &mut self.topics[board];
            match kind {
                "set" if self.archived.contains(&topic) => {}
                "set" => drop(shown.insert(topic, revision)),
                "archive" => {
                    shown.remove(&topic);
                    self.archived.insert(topic);
                }
                "delete" => drop(shown.remove(&topic)),
                // Nothing is truncated here: a reconcile found what `resume` has read already.
                _ => {}
            }
            if lines.peek().is_none_or(|(next, ..)| *next > revision) {
                self.note_all(revision);
                self.replayed_to = revision;
            }
        }
    }

    /// Rows changed past the triggers: until that is found, the lists before and after may both be
    /// shown.
    pub(crate) fn allow_what_the_tables_hold(&mut self, database: &Database) {
        let tables = Tables::read(database);
        for (board, topics) in tables.topics.iter().enumerate() {
            let list = self.list(topics);
            let last = self
                .history()
                .get_mut(board)
                .and_then(|known| known.last_entry());
            last.expect("the list at the beginning")
                .into_mut()
                .push(list);
        }
    }

    /// What was changed past the triggers has been found, and has a revision.
    pub(crate) fn resume(&mut self, database: &Database) {
        let Tables {
            head,
            topics,
            archived,
            ..
        } = Tables::read(database);
        (self.topics, self.archived, self.replayed_to) = (topics, archived, head);
        self.note_all(head);
    }

    /// The database was restored: a new epoch, with what is there.
    pub(crate) fn restored(&mut self, database: &Database) {
        let Tables {
            epoch,
            head,
            topics,
            archived,
        } = Tables::read(database);
        self.archived = archived;
        assert!(
            self.epochs
                .insert(epoch.clone(), History::default())
                .is_none(),
            "the epoch {epoch} came back"
        );
        (self.epoch, self.topics, self.replayed_to) = (epoch, topics, head);
        self.note_all(0);
    }

    fn history(&mut self) -> &mut History {
        self.epochs.get_mut(&self.epoch).expect("the present epoch")
    }

    fn note_all(&mut self, revision: u64) {
        for board in 0..BOARDS.len() {
            let list = self.list(&self.topics[board]);
            let known = &mut self.history()[board];
            if known
                .last_key_value()
                .is_none_or(|(_, last)| *last != [list.clone()])
            {
                known.insert(revision, vec![list]);
            }
        }
    }

    fn list(&self, topics: &BTreeMap<i64, u64>) -> LoggedList {
        let mut list: Vec<_> = topics
            .iter()
            .rev()
            .take(self.topics_max)
            .map(|(id, at)| (*id, *at))
            .collect();
        list.reverse();
        let digest = sse::digest(list.iter().map(|(id, at)| (id.unsigned_abs(), *at)));
        (digest, list.into_iter().map(|(id, _)| id).collect())
    }

    /// Whether the board showed that at a revision of an epoch.
    pub(crate) fn holds(
        &self,
        epoch: &str,
        board: usize,
        revision: u64,
        shown: &Shown,
    ) -> Result<(), String> {
        let history = self
            .epochs
            .get(epoch)
            .ok_or_else(|| format!("there never was an epoch {epoch}"))?;
        let Some((_, lists)) = history[board].range(..=revision).next_back() else {
            return Err(format!(
                "{} at {epoch}-{revision} is before all that was written",
                BOARDS[board]
            ));
        };
        if lists.iter().any(|(digest, ids)| match shown {
            Shown::Digest(seen) => seen == digest,
            Shown::Ids(seen) => seen == ids,
        }) {
            return Ok(());
        }
        Err(format!(
            "{} at {epoch}-{revision} never was {shown:?}, but {lists:?}",
            BOARDS[board]
        ))
    }

    /// Whether that is what the board shows in the end.
    pub(crate) fn ends_with(&self, board: usize, shown: &Shown) -> bool {
        self.holds(&self.epoch, board, u64::MAX, shown).is_ok()
    }
}

impl Tables {
    /// Reads everything in one statement.
    fn read(database: &Database) -> Self {
        let rows = database.sql(
            "SELECT 'epoch ' || value FROM identity WHERE key = 'epoch' \
             UNION ALL SELECT 'head ' || coalesce(max(revision), 0) FROM changes \
             UNION ALL SELECT name || ' ' || topics.id || ' ' || revision FROM topics \
             JOIN boards ON boards.id = board_id \
             WHERE NOT archived \
             UNION ALL SELECT 'archived ' || id FROM topics WHERE archived;",
        );
        let mut tables = Self {
            epoch: String::new(),
            head: 0,
            topics: Default::default(),
            archived: BTreeSet::new(),
        };
        for row in rows.lines() {
            let words: Vec<_> = row.split(' ').collect();
            match words.as_slice() {
                ["epoch", epoch] => tables.epoch = (*epoch).to_owned(),
                ["head", head] => tables.head = head.parse().expect("a revision"),
                ["archived", id] => drop(tables.archived.insert(id.parse().expect("an id"))),
                [board, id, revision] => {
                    let board = BOARDS
                        .iter()
                        .position(|name| name == board)
                        .expect("a board of the test");
                    tables.topics[board].insert(
                        id.parse().expect("an id"),
                        revision.parse().expect("a revision"),
                    );
                }
                _ => panic!("no row of the test: {row}"),
            }
        }
        tables
    }
}

fn entry(line: &str) -> (u64, &str, usize, i64) {
    let words: Vec<_> = line.split(' ').collect();
    let [revision, kind, board, topic] = words[..] else {
        panic!("four words: {line}");
    };
    (
        revision.parse().expect("a revision"),
        kind,
        board.parse().expect("a board"),
        topic.parse().expect("a topic"),
    )
}
