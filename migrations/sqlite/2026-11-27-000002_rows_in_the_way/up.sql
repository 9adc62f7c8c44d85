-- Whatever an UPDATE calls the key of a row, and whatever row is in its way, the log says what it changed.

-- `rowid`, `oid` and `_rowid_` name the key as well, and a trigger on `UPDATE OF id` fires for that name alone. The log did not
-- show such an UPDATE of topics and boards, nor any of the key of a token.
PRAGMA writable_schema = ON;
UPDATE sqlite_master SET sql = replace(sql, 'UPDATE OF id', 'UPDATE OF id, rowid, oid, _rowid_')
    WHERE type = 'trigger' AND name IN ('topics_renumbered', 'topics_renumbered_far', 'topics_updated', 'boards_renumbered_far',
                                        'boards_updated', 'tokens_renumbered_far');
UPDATE sqlite_master SET sql = replace(sql, 'UPDATE OF name', 'UPDATE OF id, rowid, oid, _rowid_, name')
    WHERE type = 'trigger' AND name = 'tokens_updated';
PRAGMA writable_schema = RESET;

-- UPDATE OR REPLACE deletes the boards in its way without firing a delete trigger.
CREATE TRIGGER boards_overwritten BEFORE UPDATE OF id, rowid, oid, _rowid_, name ON boards
WHEN EXISTS (SELECT 1 FROM boards WHERE id <> OLD.id AND (id = NEW.id OR name = NEW.name)) BEGIN
    INSERT INTO changes (revision, kind, board_id)
        SELECT 0, 'board', id FROM boards WHERE id <> OLD.id AND (id = NEW.id OR name = NEW.name);
END;
