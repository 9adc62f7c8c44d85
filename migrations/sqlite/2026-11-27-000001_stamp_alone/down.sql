DROP TRIGGER topics_stamp_kept;
CREATE TRIGGER topics_stamp_kept AFTER UPDATE OF revision ON topics
WHEN NEW.revision <> OLD.revision AND NEW.revision <> (SELECT newest FROM revisions)
    AND (OLD.id, OLD.board_id, OLD.comment, OLD.author, OLD.created_at, OLD.updated_at, OLD.archived)
        IS (NEW.id, NEW.board_id, NEW.comment, NEW.author, NEW.created_at, NEW.updated_at, NEW.archived)
    AND NOT (SELECT overwriting FROM revisions) BEGIN
    UPDATE revisions SET overwriting = 1;
    UPDATE topics SET revision = OLD.revision WHERE id = NEW.id;
    UPDATE revisions SET overwriting = 0;
END;
DROP TRIGGER changes_stamp_within;
DROP TRIGGER changes_stamp;
CREATE TRIGGER changes_stamp AFTER INSERT ON changes WHEN NEW.revision = 0 BEGIN
    UPDATE changes SET revision = (SELECT newest FROM revisions) WHERE id = NEW.id;
    UPDATE topics SET revision = (SELECT newest FROM revisions)
        WHERE id = NEW.topic_id AND board_id = NEW.board_id AND NEW.kind = 'set';
END;
