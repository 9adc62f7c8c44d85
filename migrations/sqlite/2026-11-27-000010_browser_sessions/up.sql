-- A person who signed in with a token in a browser. Only a digest of what the browser holds is kept: whoever reads this table can
-- be nobody. A session ends at a time of its own, and with its token: if that gets another secret, it is another token.
CREATE TABLE browser_sessions (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    digest       TEXT    NOT NULL UNIQUE, -- SHA-256 in hex
    token_id     INTEGER NOT NULL REFERENCES tokens ON DELETE CASCADE,
    token_digest TEXT    NOT NULL, -- of the token at the sign-in
    created_at   TEXT    NOT NULL ON CONFLICT REPLACE DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now')),
    expires_at   TEXT    NOT NULL,
    last_used_at TEXT,
    CONSTRAINT created_at_is_a_time CHECK (created_at >= '0001' AND (strftime('%Y-%m-%d %H:%M:%f', created_at, '+0 days') IS created_at
        OR strftime('%Y-%m-%d %H:%M:%S', substr(created_at, 1, 19), '+0 days') || substr(created_at, 20) IS created_at AND (length(created_at) = 19
        OR length(created_at) <= 29 AND substr(created_at, 20) GLOB '.[0-9]*' AND substr(created_at, 21) NOT GLOB '*[^0-9]*'))),
    CONSTRAINT expires_at_is_a_time CHECK (expires_at >= '0001' AND (strftime('%Y-%m-%d %H:%M:%f', expires_at, '+0 days') IS expires_at
        OR strftime('%Y-%m-%d %H:%M:%S', substr(expires_at, 1, 19), '+0 days') || substr(expires_at, 20) IS expires_at AND (length(expires_at) = 19
        OR length(expires_at) <= 29 AND substr(expires_at, 20) GLOB '.[0-9]*' AND substr(expires_at, 21) NOT GLOB '*[^0-9]*'))),
    CONSTRAINT last_used_at_is_a_time CHECK (last_used_at >= '0001' AND (strftime('%Y-%m-%d %H:%M:%f', last_used_at, '+0 days') IS last_used_at
        OR strftime('%Y-%m-%d %H:%M:%S', substr(last_used_at, 1, 19), '+0 days') || substr(last_used_at, 20) IS last_used_at AND (length(last_used_at) = 19
        OR length(last_used_at) <= 29 AND substr(last_used_at, 20) GLOB '.[0-9]*' AND substr(last_used_at, 21) NOT GLOB '*[^0-9]*')))
) STRICT;
-- The sessions of a token are counted when it begins another one.
CREATE INDEX browser_sessions_token ON browser_sessions (token_id, id);

-- A ticket that a session made ends with it.
ALTER TABLE tickets ADD COLUMN session_id INTEGER REFERENCES browser_sessions ON DELETE CASCADE;
CREATE INDEX tickets_session ON tickets (session_id);

-- That a session ended stands in the log like the end of a token, so that the server ends its streams at once. One that began
-- or was used is no change, and neither is one that is deleted after its time: every node knows when that comes.
CREATE TRIGGER browser_sessions_ended AFTER DELETE ON browser_sessions
WHEN OLD.expires_at > strftime('%Y-%m-%d %H:%M:%f', 'now') BEGIN
    INSERT INTO changes (revision, kind, board_id) VALUES (0, 'token', 0);
END;
CREATE TRIGGER browser_sessions_changed
AFTER UPDATE OF id, rowid, oid, _rowid_, digest, token_id, token_digest, expires_at ON browser_sessions BEGIN
    INSERT INTO changes (revision, kind, board_id) VALUES (0, 'token', 0);
END;
-- REPLACE deletes the session in its way without firing a delete trigger.
CREATE TRIGGER browser_sessions_overwritten BEFORE INSERT ON browser_sessions
WHEN EXISTS (SELECT 1 FROM browser_sessions WHERE id = NEW.id OR digest = NEW.digest) BEGIN
    INSERT INTO changes (revision, kind, board_id) VALUES (0, 'token', 0);
END;
