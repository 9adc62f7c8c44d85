-- What was mended stays mended.
DROP TRIGGER topics_updated_with_null;
DROP TRIGGER boards_updated_with_null;
DROP TRIGGER boards_inserted_as_text;
DROP TRIGGER boards_renamed_as_text;
DROP TRIGGER topics_inserted_far;
DROP TRIGGER topics_renumbered_far;
DROP TRIGGER boards_inserted_far;
DROP TRIGGER boards_renumbered_far;
DROP TRIGGER tokens_inserted_far;
DROP TRIGGER tokens_renumbered_far;
DROP TRIGGER topics_on_no_board;
DROP TRIGGER topics_on_default_board;
DROP TRIGGER topics_edited_kept;
DROP TRIGGER topics_stamp_kept;
DROP TRIGGER changes_draw;
DELETE FROM identity WHERE key IN ('default_board', 'mended');

DROP TRIGGER topics_inserted;
CREATE TRIGGER topics_inserted AFTER INSERT ON topics BEGIN
    INSERT INTO changes (revision, kind, board_id, topic_id) VALUES (0, 'set', NEW.board_id, NEW.id);
END;
DROP TRIGGER topics_updated;
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
CREATE TRIGGER topics_stamp_kept AFTER UPDATE OF revision ON topics
WHEN NEW.revision <> OLD.revision AND NEW.revision <> (SELECT newest FROM revisions)
    AND (OLD.id, OLD.board_id, OLD.comment, OLD.author, OLD.created_at, OLD.updated_at, OLD.archived)
        IS (NEW.id, NEW.board_id, NEW.comment, NEW.author, NEW.created_at, NEW.updated_at, NEW.archived) BEGIN
    UPDATE topics SET revision = OLD.revision WHERE id = NEW.id;
END;
CREATE TRIGGER changes_draw BEFORE INSERT ON changes WHEN NEW.revision = 0 BEGIN
    UPDATE revisions SET newest = newest + (batch <> 2), batch = CASE batch WHEN 1 THEN 2 ELSE batch END;
END;

-- What a table takes from now on, each as a constraint with a name that says it. A time is text that SQLite itself, asked for
-- the same moment, would write the same way (so no 24 o'clock, no 30th of February, nothing behind a NUL), with at
-- most nine digits of a second.
CREATE TEMP TABLE wanted (tbl TEXT, name TEXT, expression TEXT);
INSERT INTO wanted
    SELECT column1, column2 || '_is_a_time', replace('$ >= ''0001'' AND (strftime(''%Y-%m-%d %H:%M:%f'', $, ''+0 days'') IS $
        OR strftime(''%Y-%m-%d %H:%M:%S'', substr($, 1, 19), ''+0 days'') || substr($, 20) IS $ AND (length($) = 19
        OR length($) <= 29 AND substr($, 20) GLOB ''.[0-9]*'' AND substr($, 21) NOT GLOB ''*[^0-9]*''))', '$', column2)
    FROM (VALUES ('boards', 'created_at'), ('tokens', 'created_at'), ('tokens', 'expires_at'), ('tokens', 'revoked_at'),
                 ('tokens', 'last_used_at'), ('tickets', 'made_at'), ('tickets', 'used_at'), ('idempotency', 'used_at'),
                 ('audit', 'at'), ('changes', 'at'), ('deleted_topics', 'created_at'), ('deleted_topics', 'updated_at'),
                 ('deleted_topics', 'deleted_at'), ('topics', 'edited_at'), ('deleted_topics', 'edited_at'))
    UNION ALL
    SELECT column1, column2 || '_is_a_revision', column2 || ' BETWEEN 0 AND 9007199254740991'
    FROM (VALUES ('topics', 'revision'), ('changes', 'revision'), ('revisions', 'newest'))
    UNION ALL
    SELECT column1, column2 || '_has_no_nul', 'instr(CAST(' || column2 || ' AS BLOB), x''00'') = 0'
    FROM (VALUES ('boards', 'name'), ('boards', 'title'), ('tokens', 'name'));
-- The two that had a constraint already.
CREATE TEMP TABLE changed (name TEXT, before TEXT, after TEXT);
INSERT INTO changed SELECT column1, replace('CHECK ($ GLOB ''[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9][0-9]:[0-9][0-9]*''
               AND substr($, 20) NOT GLOB ''*[^.0-9]*'' AND date($) IS substr($, 1, 10))', '$', column1),
    'CONSTRAINT ' || column1 || '_is_a_time CHECK (' || replace('$ >= ''0001'' AND (strftime(''%Y-%m-%d %H:%M:%f'', $, ''+0 days'') IS $
        OR strftime(''%Y-%m-%d %H:%M:%S'', substr($, 1, 19), ''+0 days'') || substr($, 20) IS $ AND (length($) = 19
        OR length($) <= 29 AND substr($, 20) GLOB ''.[0-9]*'' AND substr($, 21) NOT GLOB ''*[^0-9]*''))', '$', column1) || ')'
    FROM (VALUES ('created_at'), ('updated_at'));

PRAGMA writable_schema = ON;
UPDATE sqlite_master SET sql = replace(sql, (SELECT after FROM changed WHERE changed.name = 'created_at'),
    (SELECT before FROM changed WHERE changed.name = 'created_at')) WHERE type = 'table' AND name = 'topics';
UPDATE sqlite_master SET sql = replace(sql, (SELECT after FROM changed WHERE changed.name = 'updated_at'),
    (SELECT before FROM changed WHERE changed.name = 'updated_at')) WHERE type = 'table' AND name = 'topics';
UPDATE sqlite_master SET sql = replace(sql, (SELECT
    group_concat(', CONSTRAINT ' || wanted.name || ' CHECK (' || expression || ')', '')
    FROM wanted WHERE tbl = sqlite_master.name), '') WHERE type = 'table' AND name IN (SELECT tbl FROM wanted);
UPDATE sqlite_master SET sql = replace(sql,
    'INTEGER NOT NULL ON CONFLICT REPLACE DEFAULT 0 REFERENCES boards', 'INTEGER NOT NULL REFERENCES boards')
    WHERE type = 'table' AND name = 'topics';
UPDATE sqlite_master SET sql = replace(sql, 'NOT NULL ON CONFLICT REPLACE DEFAULT', 'NOT NULL DEFAULT')
    WHERE type = 'table' AND name IN (SELECT tbl FROM wanted);
PRAGMA writable_schema = RESET;
DROP TABLE wanted;
DROP TABLE changed;
ALTER TABLE revisions DROP COLUMN overwriting;
ALTER TABLE topics DROP COLUMN edited_at;
ALTER TABLE deleted_topics DROP COLUMN edited_at;
