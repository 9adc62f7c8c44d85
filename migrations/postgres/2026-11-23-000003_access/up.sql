-- Who may read and post where, and what keeps that honest: policies of boards, changes of tokens
-- in the log, tickets, the audit, and deleted topics for those who want one back.

ALTER TABLE boards
    ADD COLUMN read TEXT NOT NULL DEFAULT 'open' CHECK (read IN ('open', 'token')),
    ADD COLUMN post TEXT NOT NULL DEFAULT 'open' CHECK (post IN ('open', 'token', 'closed'));

-- A token that was made, changed or ended stands in the log like everything else, so that every
-- node ends its streams at once. It is on no board: 0.
ALTER TABLE changes
    DROP CONSTRAINT changes_kind_check,
    ADD CONSTRAINT changes_kind_check CHECK (kind IN ('set', 'delete', 'archive', 'clear', 'board', 'token'));

-- When it was committed: so that one can ask for what came in the last ten minutes, and forget what
-- is too old. It grows with the revision.
ALTER TABLE changes ADD COLUMN at TIMESTAMP;
UPDATE changes SET at = timezone('utc', now());
CREATE OR REPLACE FUNCTION transaction_stamped() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    drawn BIGINT;
BEGIN
    -- Held from here to the end of the commit. The key names this schema's revisions.
    PERFORM pg_advisory_xact_lock('revision_seq'::regclass::oid::bigint);
    drawn := nextval('revision_seq');
    PERFORM set_config('kairanban.stamping', 'on', true);
    UPDATE topics t SET revision = drawn FROM changes c
        WHERE c.writer = NEW.writer AND c.revision IS NULL AND c.kind = 'set' AND t.id = c.topic_id AND t.board_id = c.board_id;
    UPDATE changes SET revision = drawn, at = timezone('utc', clock_timestamp()) WHERE writer = NEW.writer AND revision IS NULL;
    DELETE FROM transactions WHERE writer = NEW.writer;
    PERFORM set_config('kairanban.stamping', 'off', true);
    PERFORM set_config('kairanban.revision', drawn::text, true);
    -- NOTIFY makes a commit wait for every other one that notifies, so our own writers ask for
    -- silence and send one signal after the commit. It also makes PREPARE TRANSACTION fail, which
    -- would hold the lock for as long as it pleases.
    IF current_setting('kairanban.quiet', true) IS DISTINCT FROM 'on' THEN
        PERFORM pg_notify('kairanban_' || TG_TABLE_SCHEMA, '');
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION tokens_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO changes (kind, board_id) VALUES ('token', 0);
    PERFORM transaction_begun();
    RETURN NULL;
END $$;
-- That it was used is no change.
CREATE TRIGGER tokens_changed AFTER INSERT OR DELETE OR UPDATE OF name, digest, scope, board_id, expires_at, revoked_at
    ON tokens FOR EACH ROW EXECUTE FUNCTION tokens_changed();

-- Lets the holder of a token give one stream away without giving the token away.
CREATE TABLE tickets (
    digest   TEXT      PRIMARY KEY, -- SHA-256 in hex
    token_id BIGINT    NOT NULL REFERENCES tokens ON DELETE CASCADE,
    board_id BIGINT    NOT NULL REFERENCES boards ON DELETE CASCADE,
    made_at  TIMESTAMP NOT NULL DEFAULT timezone('utc', now()),
    used_at  TIMESTAMP -- when it last opened the stream
);

-- What administrators did. No text of topics: deleted text would stay.
CREATE TABLE audit (
    id       BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at       TIMESTAMP NOT NULL DEFAULT timezone('utc', now()),
    actor    TEXT      NOT NULL, -- the token's name, or that of the terminal
    token_id BIGINT,             -- the token that allowed it; null: the terminal
    action   TEXT      NOT NULL,
    board    TEXT,
    subject  BIGINT              -- the topic's or the token's id
);

-- Topics that an administrator deleted, until `history.undo_s` has passed.
CREATE TABLE deleted_topics (
    id         BIGINT    PRIMARY KEY,
    board_id   BIGINT    NOT NULL REFERENCES boards ON DELETE CASCADE,
    comment    TEXT      NOT NULL,
    author     TEXT      NOT NULL,
    created_at TIMESTAMP NOT NULL,
    updated_at TIMESTAMP NOT NULL,
    archived   BOOLEAN   NOT NULL,
    deleted_at TIMESTAMP NOT NULL DEFAULT timezone('utc', now())
);
CREATE INDEX deleted_topics_deleted_at ON deleted_topics (deleted_at);

-- A page of one board's log, archiving and all.
CREATE INDEX changes_of_board ON changes (board_id, revision, id);

DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION transaction_stamped() SET search_path = pg_catalog, %I, pg_temp', current_schema());
    EXECUTE format('ALTER FUNCTION tokens_changed() SET search_path = pg_catalog, %I, pg_temp', current_schema());
END $$;
