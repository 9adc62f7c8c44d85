//! What the boards showed at each revision, from the change log alone.

use std::collections::{BTreeMap, BTreeSet};

use super::{BOARDS, Shown};
use crate::{node::Database, sse};

/// The list of each board after each revision that changed it.
pub(crate) struct Truth {
    boards: [BTreeMap<u64, (String, Vec<i64>)>; BOARDS.len()],
}

impl Truth {
    /// Replays the log.
    pub(crate) fn of(database: &Database, topics_max: usize) -> Self {
        let names = database.sql("SELECT id || ' ' || name FROM boards;");
        let key_of =
            |board: &str| names.lines().find_map(|line| line.strip_suffix(&format!(" {board}"))).expect("a board").to_owned();
        let keys = BOARDS.map(key_of);
        let log = database.sql(
            "SELECT revision || ' ' || kind || ' ' || board_id || ' ' || coalesce(topic_id, 0) FROM changes ORDER BY revision, id;",
        );
        let mut topics: [BTreeMap<i64, u64>; BOARDS.len()] = Default::default();
        let mut truth = Self { boards: Default::default() };
        let mut lines = log.lines().map(entry).peekable();
        while let Some((revision, kind, key, topic)) = lines.next() {
            for (_, shown) in topics.iter_mut().enumerate().filter(|(board, _)| kind == "clear" || keys[*board] == key) {
                match kind {
                    "set" => drop(shown.insert(topic, revision)),
                    "delete" | "archive" => drop(shown.remove(&topic)),
                    "clear" => shown.clear(),
                    _ => {}
                }
            }
            if lines.peek().is_none_or(|(next, ..)| *next > revision) {
                for (board, shown) in topics.iter().enumerate() {
                    truth.note(board, revision, shown, topics_max);
                }
            }
        }
        truth
    }

    fn note(&mut self, board: usize, revision: u64, topics: &BTreeMap<i64, u64>, topics_max: usize) {
        let list: Vec<_> = topics.iter().rev().take(topics_max).map(|(id, at)| (*id, *at)).collect();
        let digest = sse::digest(list.iter().map(|(id, at)| (id.unsigned_abs(), *at)));
        let known = &mut self.boards[board];
        if known.last_key_value().is_none_or(|(_, (last, _))| *last != digest) {
            let ids: BTreeSet<_> = list.into_iter().map(|(id, _)| id).collect();
            known.insert(revision, (digest, ids.into_iter().collect()));
        }
    }

    /// Whether the board showed that at a revision.
    pub(crate) fn holds(&self, board: usize, revision: u64, shown: &Shown) -> Result<(), String> {
        let Some((_, (digest, ids))) = self.boards[board].range(..=revision).next_back() else {
            return Err(format!("{} at {revision} is before all that was written", BOARDS[board]));
        };
        let fits = match shown {
            Shown::Digest(seen) => seen == digest,
            Shown::Ids(seen) => seen == ids,
        };
        if fits { Ok(()) } else { Err(format!("{} at {revision} never was {shown:?}, but {digest} of {ids:?}", BOARDS[board])) }
    }

    /// Whether that is what the board shows in the end.
    pub(crate) fn ends_with(&self, board: usize, shown: &Shown) -> bool {
        self.holds(board, u64::MAX, shown).is_ok()
    }
}

fn entry(line: &str) -> (u64, &str, &str, i64) {
    let mut words = line.split(' ');
    let mut word = || words.next().expect("a word");
    (word().parse().expect("a revision"), word(), word(), word().parse().expect("a topic"))
}
