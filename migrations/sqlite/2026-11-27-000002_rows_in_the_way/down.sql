DROP TRIGGER boards_overwritten;
PRAGMA writable_schema = ON;
UPDATE sqlite_master SET sql = replace(sql, 'UPDATE OF id, rowid, oid, _rowid_, name', 'UPDATE OF name')
    WHERE type = 'trigger' AND name = 'tokens_updated';
UPDATE sqlite_master SET sql = replace(sql, 'UPDATE OF id, rowid, oid, _rowid_', 'UPDATE OF id')
    WHERE type = 'trigger' AND name IN ('topics_renumbered', 'topics_renumbered_far', 'topics_updated', 'boards_renumbered_far',
                                        'boards_updated', 'tokens_renumbered_far');
PRAGMA writable_schema = RESET;
