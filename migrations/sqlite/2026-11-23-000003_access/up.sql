-- Who may read and post where, as on Postgres.

ALTER TABLE boards ADD COLUMN read TEXT NOT NULL DEFAULT 'open' CHECK (read IN ('open', 'token'));
ALTER TABLE boards ADD COLUMN post TEXT NOT NULL DEFAULT 'open' CHECK (post IN ('open', 'token', 'closed'));

DROP TRIGGER boards_updated;
CREATE TRIGGER boards_updated AFTER UPDATE OF id, name, title, read, post ON boards BEGIN
    INSERT INTO changes (revision, kind, board_id) VALUES (0, 'board', NEW.id);
    INSERT INTO changes (revision, kind, board_id) SELECT 0, 'board', OLD.id WHERE OLD.id <> NEW.id;
END;

-- A CHECK cannot be altered here, so the log is made anew. The triggers of other tables name it
-- and find the new one; without the pragma SQLite would not let the old one go.
PRAGMA legacy_alter_table = ON;
CREATE TABLE changes_with_tokens (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    revision INTEGER NOT NULL,
    kind     TEXT    NOT NULL CHECK (kind IN ('set', 'delete', 'archive', 'clear', 'board', 'token')),
    -- A token is on no board: 0.
    board_id INTEGER NOT NULL,
    topic_id INTEGER,
    -- When it was committed: so that one can ask for what came in the last ten minutes, and forget
    -- what is too old. It grows with the revision.
    at       TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now'))
) STRICT;
INSERT INTO changes_with_tokens (id, revision, kind, board_id, topic_id) SELECT id, revision, kind, board_id, topic_id FROM changes;
DROP TABLE changes;
ALTER TABLE changes_with_tokens RENAME TO changes;
PRAGMA legacy_alter_table = OFF;

CREATE INDEX changes_revision ON changes (revision, id);
CREATE INDEX changes_board ON changes (board_id, revision) WHERE kind <> 'archive';
CREATE INDEX changes_archived ON changes (board_id, revision) WHERE kind = 'archive';
-- A page of one board's log, archiving and all.
CREATE INDEX changes_of_board ON changes (board_id, revision, id);

CREATE TRIGGER changes_draw BEFORE INSERT ON changes WHEN NEW.revision = 0 BEGIN
    UPDATE revisions SET newest = newest + (batch <> 2), batch = CASE batch WHEN 1 THEN 2 ELSE batch END;
END;
CREATE TRIGGER changes_stamp AFTER INSERT ON changes WHEN NEW.revision = 0 BEGIN
    UPDATE changes SET revision = (SELECT newest FROM revisions) WHERE id = NEW.id;
    UPDATE topics SET revision = (SELECT newest FROM revisions)
        WHERE id = NEW.topic_id AND board_id = NEW.board_id AND NEW.kind = 'set';
END;

-- That it was used is no change.
CREATE TRIGGER tokens_inserted AFTER INSERT ON tokens BEGIN
    INSERT INTO changes (revision, kind, board_id) VALUES (0, 'token', 0);
END;
CREATE TRIGGER tokens_updated AFTER UPDATE OF name, digest, scope, board_id, expires_at, revoked_at ON tokens BEGIN
    INSERT INTO changes (revision, kind, board_id) VALUES (0, 'token', 0);
END;
CREATE TRIGGER tokens_deleted AFTER DELETE ON tokens BEGIN
    INSERT INTO changes (revision, kind, board_id) VALUES (0, 'token', 0);
END;

-- Lets the holder of a token give one stream away without giving the token away.
CREATE TABLE tickets (
    digest   TEXT    PRIMARY KEY, -- SHA-256 in hex
    token_id INTEGER NOT NULL REFERENCES tokens ON DELETE CASCADE,
    board_id INTEGER NOT NULL REFERENCES boards ON DELETE CASCADE,
    made_at  TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now')),
    used_at  TEXT -- when it last opened the stream
) STRICT;

-- What administrators did. No text of topics: deleted text would stay.
CREATE TABLE audit (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    at       TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now')),
    actor    TEXT    NOT NULL, -- the token's name, or that of the terminal
    token_id INTEGER,          -- the token that allowed it; null: the terminal
    action   TEXT    NOT NULL,
    board    TEXT,
    subject  INTEGER           -- the topic's or the token's id
) STRICT;

-- Topics that an administrator deleted, until `history.undo_s` has passed.
CREATE TABLE deleted_topics (
    id         INTEGER PRIMARY KEY,
    board_id   INTEGER NOT NULL REFERENCES boards ON DELETE CASCADE,
    comment    TEXT    NOT NULL,
    author     TEXT    NOT NULL,
    created_at TEXT    NOT NULL,
    updated_at TEXT    NOT NULL,
    archived   INTEGER NOT NULL,
    deleted_at TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now'))
) STRICT;
CREATE INDEX deleted_topics_deleted_at ON deleted_topics (deleted_at);
