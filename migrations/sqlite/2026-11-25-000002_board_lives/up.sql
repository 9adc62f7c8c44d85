-- Which row of the log gave each board its name, as on Postgres.

CREATE TABLE board_lives (
    board_id INTEGER PRIMARY KEY REFERENCES boards ON DELETE CASCADE ON UPDATE CASCADE,
    named_by INTEGER NOT NULL -- changes.id; that row may have been trimmed
) STRICT;
INSERT INTO board_lives (board_id, named_by)
    SELECT board_id, min(id) FROM changes WHERE kind = 'board' AND board_id IN (SELECT id FROM boards) GROUP BY board_id;

-- In the triggers that log it: which of two triggers runs first is not defined here.
DROP TRIGGER boards_inserted;
CREATE TRIGGER boards_inserted AFTER INSERT ON boards BEGIN
    INSERT INTO changes (revision, kind, board_id) VALUES (0, 'board', NEW.id);
    INSERT OR REPLACE INTO board_lives (board_id, named_by) VALUES (NEW.id, (SELECT max(id) FROM changes));
END;
DROP TRIGGER boards_updated;
CREATE TRIGGER boards_updated AFTER UPDATE OF id, name, title, read, post ON boards BEGIN
    INSERT INTO changes (revision, kind, board_id) VALUES (0, 'board', NEW.id);
    INSERT OR REPLACE INTO board_lives (board_id, named_by)
        SELECT NEW.id, (SELECT max(id) FROM changes) WHERE (OLD.id, OLD.name) IS NOT (NEW.id, NEW.name);
    INSERT INTO changes (revision, kind, board_id) SELECT 0, 'board', OLD.id WHERE OLD.id <> NEW.id;
END;

-- REPLACE deletes the boards in its way without firing a delete trigger.
CREATE TRIGGER boards_replaced BEFORE INSERT ON boards WHEN EXISTS (SELECT 1 FROM boards WHERE id = NEW.id OR name = NEW.name) BEGIN
    INSERT INTO changes (revision, kind, board_id) SELECT 0, 'board', id FROM boards WHERE id = NEW.id OR name = NEW.name;
END;
