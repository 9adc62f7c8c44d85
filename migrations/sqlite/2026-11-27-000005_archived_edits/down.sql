DROP TRIGGER topics_updated;
CREATE TRIGGER topics_updated AFTER UPDATE OF id, rowid, oid, _rowid_, board_id, comment, author, created_at, updated_at, archived ON topics
WHEN (OLD.id, OLD.board_id, OLD.comment, OLD.author, OLD.created_at, OLD.updated_at, OLD.archived)
    IS NOT (NEW.id, NEW.board_id, NEW.comment, NEW.author, NEW.created_at, NEW.updated_at, NEW.archived) BEGIN
    UPDATE revisions SET overwriting = 1 WHERE (OLD.comment, OLD.author) IS NOT (NEW.comment, NEW.author);
    UPDATE topics SET edited_at = strftime('%Y-%m-%d %H:%M:%f', 'now'),
        updated_at = CASE WHEN NEW.updated_at = OLD.updated_at THEN strftime('%Y-%m-%d %H:%M:%f', 'now') ELSE updated_at END
        WHERE id = NEW.id AND (OLD.comment, OLD.author) IS NOT (NEW.comment, NEW.author);
    UPDATE revisions SET overwriting = 0 WHERE overwriting;
    INSERT INTO changes (revision, kind, board_id, topic_id)
        SELECT 0, 'delete', OLD.board_id, OLD.id WHERE (OLD.id, OLD.board_id) IS NOT (NEW.id, NEW.board_id) AND OLD.board_id <> 0;
    INSERT INTO changes (revision, kind, board_id, topic_id)
        SELECT 0, CASE WHEN NOT NEW.archived THEN 'set' WHEN archiving THEN 'archive' ELSE 'delete' END, NEW.board_id, NEW.id
        FROM revisions;
END;
