//! Where the two databases need different SQL for the same thing.

use kairanban_core::BoardName;

use super::AnyConnection;
use crate::sql::{DRAW_TOPIC_ID, board_revision_sql};

impl AnyConnection {
    /// Returns whether numbers are drawn from sequences, which their owner may alter.
    pub(crate) const fn has_sequences(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }

    /// Selects when a row of the log was committed, as text that no setting changes.
    pub(crate) const fn log_time_sql(&self) -> &'static str {
        match self {
            Self::Postgres(_) => {
                "to_char(changes.at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')"
            }
            Self::Sqlite(_) => "changes.at",
        }
    }

    /// Selects the newest revision that was drawn, committed or not, within a statement.
    pub(crate) const fn counter_column_sql(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "(SELECT last_value FROM revision_seq)",
            Self::Sqlite(_) => "(SELECT newest FROM revisions)",
        }
    }

    /// Selects the newest revision that was drawn, committed or not, as a statement of its own.
    pub(crate) const fn counter_sql(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "SELECT last_value AS number FROM revision_seq",
            Self::Sqlite(_) => "SELECT newest AS number FROM revisions",
        }
    }

    /// Sets the counter of revisions, so that it continues after `newest`.
    pub(crate) fn repair_counter_sql(&self, newest: i64) -> String {
        match self {
            Self::Postgres(_) => format!("SELECT setval('revision_seq', {newest})"),
            Self::Sqlite(_) => format!(
                "INSERT INTO revisions (only, newest) VALUES (1, {newest}) ON CONFLICT (only) DO \
                 UPDATE SET newest = {newest}"
            ),
        }
    }

    /// Counts the triggers of the table of topics.
    pub(crate) const fn capture_triggers_sql(&self) -> &'static str {
        match self {
            Self::Postgres(_) => {
                "SELECT count(*) AS number FROM pg_trigger WHERE tgrelid = to_regclass('topics') \
                 AND NOT tgisinternal"
            }
            Self::Sqlite(_) => {
                "SELECT count(*) AS number FROM sqlite_master WHERE type = 'trigger' \
                 AND tbl_name = 'topics'"
            }
        }
    }

    /// Selects boards whose names are board names, as [`BoardName`] reads them.
    pub(crate) fn is_board_name_sql(&self) -> String {
        let pattern = BoardName::pattern();
        let is_name = match self {
            Self::Postgres(_) => format!("boards.name ~ '{}'", pattern.regex),
            // The same for SQLite, which has no regular expressions. GLOB ends at a NUL.
            Self::Sqlite(_) => {
                "typeof(boards.name) = 'text' AND instr(CAST(boards.name AS BLOB), x'00') = 0 \
                 AND boards.name NOT GLOB '*[^a-z0-9-]*' AND boards.name NOT GLOB '-*'"
                    .to_owned()
            }
        };
        let length = pattern.chars.map_or_else(String::new, |chars| {
            let (min, max) = chars.into_inner();
            format!(" AND length(boards.name) BETWEEN {min} AND {max}")
        });
        let reserved = pattern.reserved.join("', '");
        format!("{is_name}{length} AND boards.name NOT IN ('{reserved}')")
    }

    /// Logs a change of a board, from within a write.
    pub(crate) fn log_change_sql(&self, kind: &str, board_id: i64) -> String {
        match self {
            Self::Postgres(_) => {
                format!("INSERT INTO changes (kind, board_id) VALUES ('{kind}', {board_id})")
            }
            Self::Sqlite(_) => format!(
                "INSERT INTO changes (revision, kind, board_id) VALUES (0, '{kind}', {board_id})"
            ),
        }
    }

    /// Sums up what boards hold, as [`content_sum`](crate::content_sum) does; `None` on SQLite,
    /// which has no such function.
    pub(crate) fn contents_sql(&self, board_ids: &str, topics_max: usize) -> Option<String> {
        match self {
            Self::Postgres(_) => Some(format!(
                "SELECT wanted.id AS board_id, boards.name, boards.read, boards.post, \
                 {revision} AS revision, \
                 coalesce((SELECT sum(('x' || substr(md5(concat_ws(' ', id, revision, {created}, \
                 {updated}, {edited}, octet_length(author), author, \
                 comment)), 1, 12))::bit(48)::bigint) \
                 FROM (SELECT * FROM topics WHERE topics.board_id = wanted.id AND NOT archived \
                 ORDER BY id DESC LIMIT {topics_max}) \
                 AS live), 0)::bigint AS sum \
                 FROM unnest(ARRAY[{board_ids}]::bigint[]) AS wanted (id) LEFT \
                 JOIN boards ON boards.id = wanted.id",
                revision = board_revision_sql("wanted.id"),
                created = micros("created_at"),
                updated = micros("updated_at"),
                edited = micros("edited_at"),
            )),
            Self::Sqlite(_) => None,
        }
    }

    /// Draws the id of a new topic, past the largest: rows that came without the triggers may be
    /// ahead of the sequence. A topic with an id among theirs would be archived before it was seen.
    /// SQLite draws such ids by itself.
    pub(crate) const fn draw_topic_id_sql(&self) -> Option<&'static str> {
        match self {
            Self::Postgres(_) => Some(DRAW_TOPIC_ID),
            Self::Sqlite(_) => None,
        }
    }

    /// Returns a statement that brings a deleted topic, by its id, within what the table of topics
    /// takes: it may be from before a constraint, or from a program that went round one. `None` on
    /// Postgres, whose types hold no other values.
    pub(crate) const fn clamp_deleted_sql(&self) -> Option<&'static str> {
        match self {
            Self::Postgres(_) => None,
            Self::Sqlite(_) => Some(
                "UPDATE deleted_topics SET archived = archived <> 0, \
                 created_at = max('0001-01-01 00:00:00', coalesce(strftime('%Y-%m-%d %H:%M:%f', \
                 created_at, '+0 days'), deleted_at)), \
                 updated_at = max('0001-01-01 00:00:00', coalesce(strftime('%Y-%m-%d %H:%M:%f', \
                 updated_at, '+0 days'), deleted_at)), \
                 edited_at = max('0001-01-01 00:00:00', strftime('%Y-%m-%d %H:%M:%f', \
                 edited_at, '+0 days')) WHERE id = ?",
            ),
        }
    }

    /// Writes the topics of a JSON array, each an object of board_id, comment and author. Returns a
    /// row for each, in their order: the id that was drawn for it (see
    /// [`draw_topic_id_sql`](Self::draw_topic_id_sql)), as `drawn`, and as `id` the same if a row
    /// with it was written. The ids are drawn before, because the order of RETURNING is not
    /// promised, and a trigger may change the text or drop the row. Rows that are written under an
    /// id that was not drawn have no `drawn`. SQLite has no such statement: it is in this process,
    /// and a statement that it knows already costs less than one for all.
    pub(crate) const fn insert_topics_sql(&self) -> Option<&'static str> {
        match self {
            Self::Postgres(_) => Some(
                "WITH moved AS MATERIALIZED (SELECT FROM move_topic_ids()), \
                 new AS MATERIALIZED (SELECT ordinal, nextval('topics_id_seq') AS id, board_id, \
                 comment, author FROM moved, \
                 ROWS FROM (json_to_recordset($1::json) AS (board_id bigint, comment text, \
                 author text)) \
                 WITH ORDINALITY AS given (board_id, comment, author, ordinal)), \
                 written AS (INSERT INTO topics (id, board_id, comment, author) \
                 SELECT id, board_id, comment, author FROM new ORDER BY ordinal RETURNING id) \
                 SELECT new.id AS drawn, written.id FROM new FULL \
                 JOIN written ON written.id = new.id ORDER BY new.ordinal",
            ),
            Self::Sqlite(_) => None,
        }
    }

    /// Returns the statement that writes a JSON array of keys, each an object of board_id, key,
    /// request and topic_id, and returns their `number`. It waits for another
    /// transaction that has written one of them for `kairanban.key_wait` at most, then fails; what
    /// follows in this transaction may wait as long as before. `None` on SQLite, which has one
    /// writer at a time.
    pub(crate) const fn insert_idempotency_sql(&self) -> Option<&'static str> {
        match self {
            // A wait is bounded by what lock_timeout is when it begins.
            Self::Postgres(_) => Some(
                "WITH bounded AS MATERIALIZED (SELECT current_setting('lock_timeout') AS before, \
                 set_config('lock_timeout', current_setting('kairanban.key_wait'), true)), \
                 noted AS (INSERT INTO idempotency (board_id, key, request, topic_id) \
                 SELECT new.board_id, new.key, new.request, new.topic_id \
                 FROM bounded, json_to_recordset($1::json) \
                 AS new(board_id bigint, key text, request text, topic_id bigint) \
                 RETURNING 1) \
                 SELECT number FROM (SELECT count(*) AS number, \
                 set_config('lock_timeout', (SELECT before FROM bounded), true) \
                 FROM noted) AS done",
            ),
            Self::Sqlite(_) => None,
        }
    }

    /// Returns the SQL before and after a number of seconds, as text, that computes the database's
    /// time that long ago.
    pub(crate) const fn ago_sql(&self) -> (&'static str, &'static str) {
        match self {
            // One value for the whole statement, so that an index serves; and it goes on during a
            // transaction.
            Self::Postgres(_) => ("(statement_timestamp() - ", "::interval)"),
            // As the columns' defaults write it, so that texts can be compared.
            Self::Sqlite(_) => ("strftime('%Y-%m-%d %H:%M:%f', 'now', '-' || ", ")"),
        }
    }

    /// Skips rows that another transaction has locked, and leaves them for the next time; SQLite
    /// has no such rows.
    pub(crate) const fn skip_locked_sql(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "FOR UPDATE SKIP LOCKED",
            Self::Sqlite(_) => "",
        }
    }
}

/// Selects a time of Postgres in microseconds, as it is read: NULL and what is out of range, too.
fn micros(column: &str) -> String {
    format!(
        "(extract(epoch FROM least(greatest(coalesce({column}, 'epoch'), '0001-01-01'), \
         '9999-12-31 23:59:59.999999')) * 1000000)::bigint"
    )
}
