-- An edit of an archived topic is an edit: its revision changes, or a client that has read it before would overwrite it
-- unseen. It was logged as `delete`, which the stamp leaves alone, although the topic is still read page by page and one by
-- one. A follower that reads a `set` of a topic that is not on the list does nothing.
--
-- A topic that another program archives leaves the list, `delete`; if it edits the topic as well, both are logged. What the
-- server archives is `archive` alone, whatever a trigger of the owner's changes in the row then: no list changes by it.
--
-- Where triggers are recursive, it fires within itself, and must leave `overwriting` to whom it belongs.
DROP TRIGGER topics_updated;
CREATE TRIGGER topics_updated AFTER UPDATE OF id, rowid, oid, _rowid_, board_id, comment, author, created_at, updated_at, archived ON topics
WHEN (OLD.id, OLD.board_id, OLD.comment, OLD.author, OLD.created_at, OLD.updated_at, OLD.archived)
    IS NOT (NEW.id, NEW.board_id, NEW.comment, NEW.author, NEW.created_at, NEW.updated_at, NEW.archived) BEGIN
    UPDATE revisions SET overwriting = 1 WHERE (OLD.comment, OLD.author) IS NOT (NEW.comment, NEW.author);
    UPDATE topics SET edited_at = strftime('%Y-%m-%d %H:%M:%f', 'now'),
        updated_at = CASE WHEN NEW.updated_at = OLD.updated_at THEN strftime('%Y-%m-%d %H:%M:%f', 'now') ELSE updated_at END
        WHERE id = NEW.id AND (OLD.comment, OLD.author) IS NOT (NEW.comment, NEW.author);
    UPDATE revisions SET overwriting = 0 WHERE overwriting AND (OLD.comment, OLD.author) IS NOT (NEW.comment, NEW.author);
    INSERT INTO changes (revision, kind, board_id, topic_id)
        SELECT 0, 'delete', OLD.board_id, OLD.id WHERE (OLD.id, OLD.board_id) IS NOT (NEW.id, NEW.board_id) AND OLD.board_id <> 0;
    INSERT INTO changes (revision, kind, board_id, topic_id)
        SELECT 0, 'set', NEW.board_id, NEW.id FROM revisions
        WHERE NOT ((OLD.id, OLD.board_id) IS (NEW.id, NEW.board_id) AND NEW.archived AND NOT OLD.archived
            AND (archiving OR (OLD.comment, OLD.author, OLD.created_at, OLD.updated_at)
                IS (NEW.comment, NEW.author, NEW.created_at, NEW.updated_at)));
    INSERT INTO changes (revision, kind, board_id, topic_id)
        SELECT 0, CASE WHEN archiving THEN 'archive' ELSE 'delete' END, NEW.board_id, NEW.id FROM revisions
        WHERE (OLD.id, OLD.board_id) IS (NEW.id, NEW.board_id) AND NEW.archived AND NOT OLD.archived;
END;
