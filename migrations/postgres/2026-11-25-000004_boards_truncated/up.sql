-- A TRUNCATE of boards is logged for each of them. Before it, since afterwards nothing says which boards there were.
-- Nobody may hold one of the tables and wait for another meanwhile; see lock_to_migrate.
SELECT lock_to_migrate('boards');

CREATE FUNCTION boards_truncated() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF TG_RELID <> 'boards'::regclass THEN RAISE EXCEPTION 'boards_truncated() is for the table boards'; END IF;
    INSERT INTO changes (kind, board_id) SELECT 'board', id FROM boards ORDER BY id;
    IF FOUND THEN PERFORM transaction_begun(); END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER boards_truncated BEFORE TRUNCATE ON boards FOR EACH STATEMENT EXECUTE FUNCTION boards_truncated();
ALTER TABLE boards ENABLE ALWAYS TRIGGER boards_truncated;

DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION boards_truncated() SET search_path = pg_catalog, %I, pg_temp', current_schema());
    REVOKE EXECUTE ON FUNCTION boards_truncated() FROM PUBLIC;
END $$;
