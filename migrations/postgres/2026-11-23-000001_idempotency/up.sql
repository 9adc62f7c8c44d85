-- Which topic a client's Idempotency-Key led to, so that a repeated request leads to the same one,
-- on whichever node it arrives. Written in the transaction of the topic.
CREATE TABLE idempotency (
    board_id BIGINT    NOT NULL REFERENCES boards ON DELETE CASCADE,
    key      TEXT      NOT NULL CHECK (octet_length(key) BETWEEN 1 AND 255),
    request  TEXT      NOT NULL, -- a digest of what was asked for: the same key with another text is an error
    topic_id BIGINT    NOT NULL,
    used_at  TIMESTAMP NOT NULL DEFAULT timezone('utc', now()),
    PRIMARY KEY (board_id, key)
);
CREATE INDEX idempotency_used_at ON idempotency (used_at);
