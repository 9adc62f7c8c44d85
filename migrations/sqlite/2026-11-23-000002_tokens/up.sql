-- Who may do more than read and post. Only a digest of a token is kept: whoever reads this table
-- can use none of them.
CREATE TABLE tokens (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    name         TEXT    NOT NULL CHECK (length(name) BETWEEN 1 AND 80),
    digest       TEXT    NOT NULL UNIQUE, -- SHA-256 in hex
    scope        TEXT    NOT NULL CHECK (scope IN ('read', 'post', 'admin')),
    board_id     INTEGER REFERENCES boards ON DELETE CASCADE, -- null: every board
    created_at   TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now')),
    expires_at   TEXT,
    revoked_at   TEXT,
    last_used_at TEXT
) STRICT;
