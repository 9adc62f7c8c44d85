-- Boards, topics, and the change log, as on Postgres; here by row triggers.
--
-- One writer at a time, so the order of revisions needs no lock. There is no trigger at COMMIT: a
-- transaction of another program takes one revision per row, one of ours takes a single one, by
-- the `batch` flag that it sets at its start and clears at its end (0: each row its own, 1: draw
-- at the first change, 2: drawn). No custom functions: they would break writes by `sqlite3`.

CREATE TABLE boards (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    name       TEXT    NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 63 AND name NOT GLOB '*[^a-z0-9-]*' AND name NOT GLOB '-*'),
    title      TEXT    NOT NULL DEFAULT '' CHECK (length(title) <= 200),
    created_at TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now'))
) STRICT;

CREATE TABLE topics (
    -- AUTOINCREMENT: without it the id of a deleted topic would be given again.
    id         INTEGER PRIMARY KEY AUTOINCREMENT CHECK (id BETWEEN 1 AND 9007199254740991),
    board_id   INTEGER NOT NULL REFERENCES boards ON DELETE CASCADE,
    -- Other programs may write what our forms would refuse, but not without any bound.
    comment    TEXT    NOT NULL CHECK (length(CAST(comment AS BLOB)) <= 65536),
    author     TEXT    NOT NULL DEFAULT '' CHECK (length(CAST(author AS BLOB)) <= 1024),
    created_at TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now'))
        CHECK (created_at GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9][0-9]:[0-9][0-9]*'
               AND substr(created_at, 20) NOT GLOB '*[^.0-9]*' AND date(created_at) IS substr(created_at, 1, 10)),
    updated_at TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now'))
        CHECK (updated_at GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9][0-9]:[0-9][0-9]*'
               AND substr(updated_at, 20) NOT GLOB '*[^.0-9]*' AND date(updated_at) IS substr(updated_at, 1, 10)),
    archived   INTEGER NOT NULL DEFAULT 0 CHECK (archived IN (0, 1)),
    revision   INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX topics_live ON topics (board_id, id) WHERE NOT archived;
CREATE INDEX topics_board ON topics (board_id, id);

-- No foreign key to boards: the log outlives them. No text: deleted text would stay. A board's
-- revision is that of its newest change here.
CREATE TABLE changes (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    revision INTEGER NOT NULL,
    kind     TEXT    NOT NULL CHECK (kind IN ('set', 'delete', 'archive', 'clear', 'board')),
    board_id INTEGER NOT NULL,
    topic_id INTEGER
) STRICT;
CREATE INDEX changes_revision ON changes (revision, id);
-- What the board shows does not change by archiving.
CREATE INDEX changes_board ON changes (board_id, revision) WHERE kind <> 'archive';
CREATE INDEX changes_archived ON changes (board_id, revision) WHERE kind = 'archive';

CREATE TABLE revisions (
    only      INTEGER PRIMARY KEY CHECK (only = 1),
    newest    INTEGER NOT NULL,
    batch     INTEGER NOT NULL DEFAULT 0 CHECK (batch IN (0, 1, 2)),
    archiving INTEGER NOT NULL DEFAULT 0 CHECK (archiving IN (0, 1))
) STRICT;
INSERT INTO revisions (only, newest) VALUES (1, 0);

-- What this database is: `epoch`, and the mark that tells whether it is still the same one.
CREATE TABLE identity (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

-- ---------------------------------------------------------------- log and stamp

CREATE TRIGGER changes_draw BEFORE INSERT ON changes WHEN NEW.revision = 0 BEGIN
    UPDATE revisions SET newest = newest + (batch <> 2), batch = CASE batch WHEN 1 THEN 2 ELSE batch END;
END;
CREATE TRIGGER changes_stamp AFTER INSERT ON changes WHEN NEW.revision = 0 BEGIN
    UPDATE changes SET revision = (SELECT newest FROM revisions) WHERE id = NEW.id;
    UPDATE topics SET revision = (SELECT newest FROM revisions)
        WHERE id = NEW.topic_id AND board_id = NEW.board_id AND NEW.kind = 'set';
END;

-- REPLACE deletes the row in its way without firing a delete trigger.
CREATE TRIGGER topics_replaced BEFORE INSERT ON topics WHEN EXISTS (SELECT 1 FROM topics WHERE id = NEW.id) BEGIN
    INSERT INTO changes (revision, kind, board_id, topic_id) SELECT 0, 'delete', board_id, id FROM topics WHERE id = NEW.id;
END;
CREATE TRIGGER topics_renumbered BEFORE UPDATE OF id ON topics
WHEN NEW.id <> OLD.id AND EXISTS (SELECT 1 FROM topics WHERE id = NEW.id) BEGIN
    INSERT INTO changes (revision, kind, board_id, topic_id) SELECT 0, 'delete', board_id, id FROM topics WHERE id = NEW.id;
END;

CREATE TRIGGER topics_inserted AFTER INSERT ON topics BEGIN
    INSERT INTO changes (revision, kind, board_id, topic_id) VALUES (0, 'set', NEW.board_id, NEW.id);
END;

CREATE TRIGGER topics_deleted AFTER DELETE ON topics BEGIN
    INSERT INTO changes (revision, kind, board_id, topic_id) VALUES (0, 'delete', OLD.board_id, OLD.id);
END;

-- A row that shows the same as before is no change. One that left its board (or took another id)
-- is a delete there and a set here. Only the server's own archiving is 'archive'. A changed text
-- moves `updated_at` unless the writer set it.
CREATE TRIGGER topics_updated AFTER UPDATE OF id, board_id, comment, author, created_at, updated_at, archived ON topics
WHEN (OLD.id, OLD.board_id, OLD.comment, OLD.author, OLD.created_at, OLD.updated_at, OLD.archived)
    IS NOT (NEW.id, NEW.board_id, NEW.comment, NEW.author, NEW.created_at, NEW.updated_at, NEW.archived) BEGIN
    UPDATE topics SET updated_at = strftime('%Y-%m-%d %H:%M:%f', 'now')
        WHERE id = NEW.id AND NEW.updated_at = OLD.updated_at AND (OLD.comment, OLD.author) IS NOT (NEW.comment, NEW.author)
          AND updated_at <> strftime('%Y-%m-%d %H:%M:%f', 'now');
    INSERT INTO changes (revision, kind, board_id, topic_id)
        SELECT 0, 'delete', OLD.board_id, OLD.id WHERE (OLD.id, OLD.board_id) IS NOT (NEW.id, NEW.board_id);
    INSERT INTO changes (revision, kind, board_id, topic_id)
        SELECT 0, CASE WHEN NOT NEW.archived THEN 'set' WHEN archiving THEN 'archive' ELSE 'delete' END, NEW.board_id, NEW.id
        FROM revisions;
END;

-- A written revision is overwritten: back to what it was, unless it is the stamp.
CREATE TRIGGER topics_stamp_kept AFTER UPDATE OF revision ON topics
WHEN NEW.revision <> OLD.revision AND NEW.revision <> (SELECT newest FROM revisions)
    AND (OLD.id, OLD.board_id, OLD.comment, OLD.author, OLD.created_at, OLD.updated_at, OLD.archived)
        IS (NEW.id, NEW.board_id, NEW.comment, NEW.author, NEW.created_at, NEW.updated_at, NEW.archived) BEGIN
    UPDATE topics SET revision = OLD.revision WHERE id = NEW.id;
END;

CREATE TRIGGER boards_inserted AFTER INSERT ON boards BEGIN
    INSERT INTO changes (revision, kind, board_id) VALUES (0, 'board', NEW.id);
END;
CREATE TRIGGER boards_updated AFTER UPDATE OF id, name, title ON boards BEGIN
    INSERT INTO changes (revision, kind, board_id) VALUES (0, 'board', NEW.id);
    INSERT INTO changes (revision, kind, board_id) SELECT 0, 'board', OLD.id WHERE OLD.id <> NEW.id;
END;
-- Without `PRAGMA foreign_keys`, which another program may not have set, its topics would stay.
CREATE TRIGGER boards_deleted AFTER DELETE ON boards BEGIN
    DELETE FROM topics WHERE board_id = OLD.id;
    INSERT INTO changes (revision, kind, board_id) VALUES (0, 'board', OLD.id);
END;
