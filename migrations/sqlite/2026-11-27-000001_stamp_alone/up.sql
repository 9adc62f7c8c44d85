-- A topic that keeps its old revision, as by a trigger with RAISE(IGNORE), is refused: readers would not be shown what changed in it.
DROP TRIGGER changes_stamp;
CREATE TRIGGER changes_stamp AFTER INSERT ON changes
WHEN NEW.revision = 0 AND (SELECT revision FROM changes WHERE id = NEW.id) = 0 BEGIN
    UPDATE changes SET revision = (SELECT newest FROM revisions) WHERE id = NEW.id;
    UPDATE topics SET revision = (SELECT newest FROM revisions)
        WHERE id = NEW.topic_id AND board_id = NEW.board_id AND NEW.kind = 'set';
    SELECT RAISE(ABORT, 'a topic keeps its old revision, because of a trigger BEFORE UPDATE ON topics')
        FROM topics JOIN changes ON topics.id = topic_id AND topics.board_id = changes.board_id AND kind = 'set'
        WHERE changes.id = NEW.id AND topics.revision < changes.revision;
END;
-- The stamp updates topics, and a trigger of the owner's that fires for it may write others. SQLite fires no trigger within itself, so
-- their changes are stamped by one of the same kind.
CREATE TRIGGER changes_stamp_within AFTER INSERT ON changes
WHEN NEW.revision = 0 AND (SELECT revision FROM changes WHERE id = NEW.id) = 0 BEGIN
    UPDATE changes SET revision = (SELECT newest FROM revisions) WHERE id = NEW.id;
    UPDATE topics SET revision = (SELECT newest FROM revisions)
        WHERE id = NEW.topic_id AND board_id = NEW.board_id AND NEW.kind = 'set';
    SELECT RAISE(ABORT, 'a topic keeps its old revision, because of a trigger BEFORE UPDATE ON topics')
        FROM topics JOIN changes ON topics.id = topic_id AND topics.board_id = changes.board_id AND kind = 'set'
        WHERE changes.id = NEW.id AND topics.revision < changes.revision;
END;
-- Such a trigger may have drawn the next revision before this one looks at the stamp.
DROP TRIGGER topics_stamp_kept;
CREATE TRIGGER topics_stamp_kept AFTER UPDATE OF revision ON topics
WHEN NEW.revision <> OLD.revision AND NEW.revision <> (SELECT newest FROM revisions)
    AND NOT (NEW.revision > OLD.revision
        AND EXISTS (SELECT 1 FROM changes WHERE revision = NEW.revision AND topic_id = NEW.id AND kind = 'set'))
    AND (OLD.id, OLD.board_id, OLD.comment, OLD.author, OLD.created_at, OLD.updated_at, OLD.archived)
        IS (NEW.id, NEW.board_id, NEW.comment, NEW.author, NEW.created_at, NEW.updated_at, NEW.archived)
    AND NOT (SELECT overwriting FROM revisions) BEGIN
    UPDATE revisions SET overwriting = 1;
    UPDATE topics SET revision = OLD.revision WHERE id = NEW.id;
    UPDATE revisions SET overwriting = 0;
END;
