-- Nobody may hold one of the tables and wait for another meanwhile; see lock_to_migrate.
SELECT lock_to_migrate('tokens', 'tickets');

-- A person who signed in with a token in a browser. Only a digest of what the browser holds is kept: whoever reads this table can
-- be nobody. A session ends at a time of its own, and with its token: if that gets another secret, it is another token.
CREATE TABLE browser_sessions (
    id           BIGINT      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    digest       TEXT        NOT NULL UNIQUE, -- SHA-256 in hex
    token_id     BIGINT      NOT NULL REFERENCES tokens ON DELETE CASCADE,
    token_digest TEXT        NOT NULL, -- of the token at the sign-in
    created_at   TIMESTAMPTZ NOT NULL DEFAULT now(),
    expires_at   TIMESTAMPTZ NOT NULL,
    last_used_at TIMESTAMPTZ
);
DO $$
DECLARE
    col TEXT;
BEGIN
    FOREACH col IN ARRAY ARRAY['created_at', 'expires_at', 'last_used_at'] LOOP
        EXECUTE format('ALTER TABLE browser_sessions ADD CONSTRAINT browser_sessions_%1$s_range
            CHECK (%1$I >= ''0001-01-01 00:00:00+00'' AND %1$I < ''10000-01-01 00:00:00+00'')', col);
    END LOOP;
END $$;
-- The sessions of a token are counted when it begins another one.
CREATE INDEX browser_sessions_token ON browser_sessions (token_id, id);

-- A ticket that a session made ends with it.
ALTER TABLE tickets ADD COLUMN session_id BIGINT REFERENCES browser_sessions ON DELETE CASCADE;
CREATE INDEX tickets_session ON tickets (session_id);

-- That a session ended stands in the log like the end of a token, so that every node ends its streams at once. One that began
-- or was used is no change, and neither is one that is deleted after its time: every node knows when that comes.
CREATE FUNCTION browser_sessions_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF TG_RELID <> 'browser_sessions'::regclass THEN
        RAISE EXCEPTION 'browser_sessions_changed() is for the table browser_sessions';
    END IF;
    INSERT INTO changes (kind, board_id) VALUES ('token', 0);
    PERFORM transaction_begun();
    RETURN NULL;
END $$;
CREATE TRIGGER browser_sessions_ended AFTER DELETE ON browser_sessions FOR EACH ROW WHEN (OLD.expires_at > now())
    EXECUTE FUNCTION browser_sessions_changed();
CREATE TRIGGER browser_sessions_changed AFTER UPDATE OF id, digest, token_id, token_digest, expires_at ON browser_sessions
    FOR EACH ROW EXECUTE FUNCTION browser_sessions_changed();
CREATE TRIGGER browser_sessions_truncated AFTER TRUNCATE ON browser_sessions FOR EACH STATEMENT
    EXECUTE FUNCTION browser_sessions_changed();
ALTER TABLE browser_sessions
    ENABLE ALWAYS TRIGGER browser_sessions_ended,
    ENABLE ALWAYS TRIGGER browser_sessions_changed,
    ENABLE ALWAYS TRIGGER browser_sessions_truncated;

DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION browser_sessions_changed() SET search_path = pg_catalog, %I, pg_temp', current_schema());
    REVOKE EXECUTE ON FUNCTION browser_sessions_changed() FROM PUBLIC;
END $$;
