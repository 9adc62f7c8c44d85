DROP TRIGGER boards_replaced;
DROP TRIGGER boards_inserted;
CREATE TRIGGER boards_inserted AFTER INSERT ON boards BEGIN
    INSERT INTO changes (revision, kind, board_id) VALUES (0, 'board', NEW.id);
END;
DROP TRIGGER boards_updated;
CREATE TRIGGER boards_updated AFTER UPDATE OF id, name, title, read, post ON boards BEGIN
    INSERT INTO changes (revision, kind, board_id) VALUES (0, 'board', NEW.id);
    INSERT INTO changes (revision, kind, board_id) SELECT 0, 'board', OLD.id WHERE OLD.id <> NEW.id;
END;
DROP TABLE board_lives;
