DROP TRIGGER boards_inserted_as_text;
DROP TRIGGER boards_renamed_as_text;
CREATE TRIGGER boards_inserted_as_text BEFORE INSERT ON boards WHEN EXISTS (
    WITH RECURSIVE place (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM place WHERE n < min(length(NEW.title), 200))
    SELECT 1 FROM place WHERE n <= length(NEW.title) AND hex(substr(NEW.title, n, 1)) <> hex(char(unicode(substr(NEW.title, n, 1)))))
BEGIN
    SELECT RAISE(ABORT, 'the title is no UTF-8');
END;
CREATE TRIGGER boards_renamed_as_text BEFORE UPDATE OF title ON boards WHEN EXISTS (
    WITH RECURSIVE place (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM place WHERE n < min(length(NEW.title), 200))
    SELECT 1 FROM place WHERE n <= length(NEW.title) AND hex(substr(NEW.title, n, 1)) <> hex(char(unicode(substr(NEW.title, n, 1)))))
BEGIN
    SELECT RAISE(ABORT, 'the title is no UTF-8');
END;
