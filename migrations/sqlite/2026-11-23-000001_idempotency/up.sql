-- Which topic a client's Idempotency-Key led to, so that a repeated request leads to the same one.
-- Written in the transaction of the topic.
CREATE TABLE idempotency (
    board_id INTEGER NOT NULL REFERENCES boards ON DELETE CASCADE,
    key      TEXT    NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    request  TEXT    NOT NULL, -- a digest of what was asked for: the same key with another text is an error
    topic_id INTEGER NOT NULL,
    used_at  TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now')),
    PRIMARY KEY (board_id, key)
) STRICT;
CREATE INDEX idempotency_used_at ON idempotency (used_at);
