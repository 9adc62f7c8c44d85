-- A name may mean another board than before: one was deleted and made again, or two exchanged their names. A cursor from
-- before that is no base for a patch. So it is kept which row of the log gave each board its name.
--
-- In a table of its own, and not in `boards`: an update there would be a change of the board. The row of the log, and not
-- its revision, because that is drawn at COMMIT.

-- Nobody may hold one of the tables and wait for another meanwhile; see lock_to_migrate.
SELECT lock_to_migrate('boards', 'changes');

CREATE TABLE board_lives (
    board_id BIGINT PRIMARY KEY REFERENCES boards ON DELETE CASCADE ON UPDATE CASCADE,
    named_by BIGINT NOT NULL -- changes.id; that row may have been trimmed
);
INSERT INTO board_lives (board_id, named_by)
    SELECT board_id, min(id) FROM changes WHERE kind = 'board' AND board_id IN (SELECT id FROM boards) GROUP BY board_id;

CREATE FUNCTION boards_named() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    logged BIGINT;
BEGIN
    IF TG_RELID <> 'boards'::regclass THEN RAISE EXCEPTION 'boards_named() is for the table boards'; END IF;
    -- Triggers run in the order of their names: boards_changed has logged it.
    SELECT max(id) INTO logged FROM changes
        WHERE writer = pg_current_xact_id() AND revision IS NULL AND board_id = NEW.id AND kind = 'board';
    IF logged IS NULL THEN
        INSERT INTO changes (kind, board_id) VALUES ('board', NEW.id) RETURNING id INTO logged;
        PERFORM transaction_begun();
    END IF;
    INSERT INTO board_lives (board_id, named_by) VALUES (NEW.id, logged)
        ON CONFLICT (board_id) DO UPDATE SET named_by = excluded.named_by;
    RETURN NULL;
END $$;
CREATE TRIGGER boards_named AFTER INSERT OR UPDATE OF id, name ON boards FOR EACH ROW EXECUTE FUNCTION boards_named();
-- Also for a session in the replica role, as boards_changed.
ALTER TABLE boards ENABLE ALWAYS TRIGGER boards_named;

DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION boards_named() SET search_path = pg_catalog, %I, pg_temp', current_schema());
    EXECUTE format('REVOKE EXECUTE ON FUNCTION %I.boards_named() FROM PUBLIC', current_schema());
END $$;
