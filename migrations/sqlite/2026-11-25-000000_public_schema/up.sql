-- The tables that other programs write, as a public place: what could not be read is refused, a NULL counts as not given,
-- an insert needs a comment only, an id may be given but not so high that it ends posting, and that a topic was edited is
-- recorded, whoever edits.
--
-- The tables are not copied: constraints are added to their text in `sqlite_master`, as SQLite's own documentation has it for
-- a change that leaves the stored rows alone. So `sqlite_sequence`, and what others hung on the tables (columns,
-- views, triggers, indexes, foreign keys), stay as they are, and it takes no longer on a large board. The rows are mended first.

-- ---------------------------------------------------------------- rows that would break the constraints

PRAGMA ignore_check_constraints = ON;
CREATE TEMP TABLE mended (what TEXT, number INTEGER);

-- Of the log nothing can be mended: what has no place in the order goes.
DELETE FROM changes WHERE revision NOT BETWEEN 0 AND 9007199254740991;
INSERT INTO mended VALUES ('changes.revision', changes());
UPDATE revisions SET newest = (SELECT coalesce(max(revision), 0) FROM changes) WHERE newest NOT BETWEEN 0 AND 9007199254740991;
INSERT INTO mended VALUES ('revisions.newest', changes());

-- All of it at one revision, so that readers see it.
UPDATE revisions SET batch = 1;

-- Its stamp follows from the log.
INSERT INTO changes (revision, kind, board_id, topic_id)
    SELECT 0, 'set', board_id, id FROM topics WHERE revision NOT BETWEEN 0 AND 9007199254740991;
INSERT INTO mended VALUES ('topics.revision', changes());

-- An id at the end of the range leaves no room for another topic: such topics move behind the others, in their order.
CREATE TEMP TABLE moved AS
    SELECT far.id AS id, row_number() OVER (ORDER BY far.id) + coalesce((SELECT max(known.id) FROM
        (SELECT id FROM topics UNION ALL SELECT topic_id FROM changes UNION ALL SELECT id FROM deleted_topics) AS known
        WHERE known.id <= 4503599627370496), 0) AS new_id
    FROM topics AS far WHERE far.id > 4503599627370496;
UPDATE idempotency SET topic_id = (SELECT new_id FROM moved WHERE id = topic_id) WHERE topic_id IN (SELECT id FROM moved);
UPDATE topics SET id = (SELECT new_id FROM moved WHERE moved.id = topics.id) WHERE id IN (SELECT id FROM moved);
INSERT INTO mended VALUES ('topics.id', changes());
UPDATE sqlite_sequence SET seq = coalesce((SELECT max(known.id) FROM
    (SELECT id FROM topics UNION ALL SELECT topic_id FROM changes UNION ALL SELECT id FROM deleted_topics) AS known
    WHERE known.id <= 4503599627370496), 0) WHERE name = 'topics' AND seq > 4503599627370496;
DROP TABLE moved;

-- Each character as SQLite reads it, up to a NUL.
UPDATE boards SET title = read.title FROM (
    SELECT id, (WITH RECURSIVE place (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM place WHERE n < length(boards.title))
                SELECT coalesce(group_concat(letter, ''), '') FROM
                    (SELECT char(unicode(substr(boards.title, n, 1))) AS letter FROM place WHERE n <= length(boards.title) ORDER BY n)
               ) AS title FROM boards) AS read
    WHERE read.id = boards.id AND read.title IS NOT boards.title;
INSERT INTO mended VALUES ('boards.title', changes());
UPDATE boards SET name = substr(name, 1, length(name)) WHERE instr(CAST(name AS BLOB), x'00') > 0
    AND NOT EXISTS (SELECT 1 FROM boards AS other WHERE other.name = substr(boards.name, 1, length(boards.name)));
INSERT INTO mended VALUES ('boards.name', changes());
UPDATE tokens SET name = substr(name, 1, length(name)) WHERE instr(CAST(name AS BLOB), x'00') > 0;
INSERT INTO mended VALUES ('tokens.name', changes());

-- The moment that SQLite reads there; where it reads none, the beginning of 1970: a token that was to end then has ended.
UPDATE boards SET created_at = coalesce(
        max(strftime('%Y-%m-%d %H:%M:%f', created_at, '+0 days'), '0001-01-01 00:00:00.000'), '1970-01-01 00:00:00.000')
    WHERE created_at IS NOT NULL AND (
        created_at >= '0001' AND (strftime('%Y-%m-%d %H:%M:%f', created_at, '+0 days') IS created_at
        OR strftime('%Y-%m-%d %H:%M:%S', substr(created_at, 1, 19), '+0 days') || substr(created_at, 20) IS created_at AND (length(created_at) = 19
        OR length(created_at) <= 29 AND substr(created_at, 20) GLOB '.[0-9]*' AND substr(created_at, 21) NOT GLOB '*[^0-9]*'))) IS NOT TRUE;
INSERT INTO mended VALUES ('boards.created_at', changes());
UPDATE topics SET created_at = coalesce(
        max(strftime('%Y-%m-%d %H:%M:%f', created_at, '+0 days'), '0001-01-01 00:00:00.000'), '1970-01-01 00:00:00.000')
    WHERE created_at IS NOT NULL AND (
        created_at >= '0001' AND (strftime('%Y-%m-%d %H:%M:%f', created_at, '+0 days') IS created_at
        OR strftime('%Y-%m-%d %H:%M:%S', substr(created_at, 1, 19), '+0 days') || substr(created_at, 20) IS created_at AND (length(created_at) = 19
        OR length(created_at) <= 29 AND substr(created_at, 20) GLOB '.[0-9]*' AND substr(created_at, 21) NOT GLOB '*[^0-9]*'))) IS NOT TRUE;
INSERT INTO mended VALUES ('topics.created_at', changes());
UPDATE topics SET updated_at = coalesce(
        max(strftime('%Y-%m-%d %H:%M:%f', updated_at, '+0 days'), '0001-01-01 00:00:00.000'), '1970-01-01 00:00:00.000')
    WHERE updated_at IS NOT NULL AND (
        updated_at >= '0001' AND (strftime('%Y-%m-%d %H:%M:%f', updated_at, '+0 days') IS updated_at
        OR strftime('%Y-%m-%d %H:%M:%S', substr(updated_at, 1, 19), '+0 days') || substr(updated_at, 20) IS updated_at AND (length(updated_at) = 19
        OR length(updated_at) <= 29 AND substr(updated_at, 20) GLOB '.[0-9]*' AND substr(updated_at, 21) NOT GLOB '*[^0-9]*'))) IS NOT TRUE;
INSERT INTO mended VALUES ('topics.updated_at', changes());
UPDATE tokens SET created_at = coalesce(
        max(strftime('%Y-%m-%d %H:%M:%f', created_at, '+0 days'), '0001-01-01 00:00:00.000'), '1970-01-01 00:00:00.000')
    WHERE created_at IS NOT NULL AND (
        created_at >= '0001' AND (strftime('%Y-%m-%d %H:%M:%f', created_at, '+0 days') IS created_at
        OR strftime('%Y-%m-%d %H:%M:%S', substr(created_at, 1, 19), '+0 days') || substr(created_at, 20) IS created_at AND (length(created_at) = 19
        OR length(created_at) <= 29 AND substr(created_at, 20) GLOB '.[0-9]*' AND substr(created_at, 21) NOT GLOB '*[^0-9]*'))) IS NOT TRUE;
INSERT INTO mended VALUES ('tokens.created_at', changes());
UPDATE tokens SET expires_at = coalesce(
        max(strftime('%Y-%m-%d %H:%M:%f', expires_at, '+0 days'), '0001-01-01 00:00:00.000'), '1970-01-01 00:00:00.000')
    WHERE expires_at IS NOT NULL AND (
        expires_at >= '0001' AND (strftime('%Y-%m-%d %H:%M:%f', expires_at, '+0 days') IS expires_at
        OR strftime('%Y-%m-%d %H:%M:%S', substr(expires_at, 1, 19), '+0 days') || substr(expires_at, 20) IS expires_at AND (length(expires_at) = 19
        OR length(expires_at) <= 29 AND substr(expires_at, 20) GLOB '.[0-9]*' AND substr(expires_at, 21) NOT GLOB '*[^0-9]*'))) IS NOT TRUE;
INSERT INTO mended VALUES ('tokens.expires_at', changes());
UPDATE tokens SET revoked_at = coalesce(
        max(strftime('%Y-%m-%d %H:%M:%f', revoked_at, '+0 days'), '0001-01-01 00:00:00.000'), '1970-01-01 00:00:00.000')
    WHERE revoked_at IS NOT NULL AND (
        revoked_at >= '0001' AND (strftime('%Y-%m-%d %H:%M:%f', revoked_at, '+0 days') IS revoked_at
        OR strftime('%Y-%m-%d %H:%M:%S', substr(revoked_at, 1, 19), '+0 days') || substr(revoked_at, 20) IS revoked_at AND (length(revoked_at) = 19
        OR length(revoked_at) <= 29 AND substr(revoked_at, 20) GLOB '.[0-9]*' AND substr(revoked_at, 21) NOT GLOB '*[^0-9]*'))) IS NOT TRUE;
INSERT INTO mended VALUES ('tokens.revoked_at', changes());
UPDATE tokens SET last_used_at = coalesce(
        max(strftime('%Y-%m-%d %H:%M:%f', last_used_at, '+0 days'), '0001-01-01 00:00:00.000'), '1970-01-01 00:00:00.000')
    WHERE last_used_at IS NOT NULL AND (
        last_used_at >= '0001' AND (strftime('%Y-%m-%d %H:%M:%f', last_used_at, '+0 days') IS last_used_at
        OR strftime('%Y-%m-%d %H:%M:%S', substr(last_used_at, 1, 19), '+0 days') || substr(last_used_at, 20) IS last_used_at AND (length(last_used_at) = 19
        OR length(last_used_at) <= 29 AND substr(last_used_at, 20) GLOB '.[0-9]*' AND substr(last_used_at, 21) NOT GLOB '*[^0-9]*'))) IS NOT TRUE;
INSERT INTO mended VALUES ('tokens.last_used_at', changes());
UPDATE tickets SET made_at = coalesce(
        max(strftime('%Y-%m-%d %H:%M:%f', made_at, '+0 days'), '0001-01-01 00:00:00.000'), '1970-01-01 00:00:00.000')
    WHERE made_at IS NOT NULL AND (
        made_at >= '0001' AND (strftime('%Y-%m-%d %H:%M:%f', made_at, '+0 days') IS made_at
        OR strftime('%Y-%m-%d %H:%M:%S', substr(made_at, 1, 19), '+0 days') || substr(made_at, 20) IS made_at AND (length(made_at) = 19
        OR length(made_at) <= 29 AND substr(made_at, 20) GLOB '.[0-9]*' AND substr(made_at, 21) NOT GLOB '*[^0-9]*'))) IS NOT TRUE;
INSERT INTO mended VALUES ('tickets.made_at', changes());
UPDATE tickets SET used_at = coalesce(
        max(strftime('%Y-%m-%d %H:%M:%f', used_at, '+0 days'), '0001-01-01 00:00:00.000'), '1970-01-01 00:00:00.000')
    WHERE used_at IS NOT NULL AND (
        used_at >= '0001' AND (strftime('%Y-%m-%d %H:%M:%f', used_at, '+0 days') IS used_at
        OR strftime('%Y-%m-%d %H:%M:%S', substr(used_at, 1, 19), '+0 days') || substr(used_at, 20) IS used_at AND (length(used_at) = 19
        OR length(used_at) <= 29 AND substr(used_at, 20) GLOB '.[0-9]*' AND substr(used_at, 21) NOT GLOB '*[^0-9]*'))) IS NOT TRUE;
INSERT INTO mended VALUES ('tickets.used_at', changes());
UPDATE idempotency SET used_at = coalesce(
        max(strftime('%Y-%m-%d %H:%M:%f', used_at, '+0 days'), '0001-01-01 00:00:00.000'), '1970-01-01 00:00:00.000')
    WHERE used_at IS NOT NULL AND (
        used_at >= '0001' AND (strftime('%Y-%m-%d %H:%M:%f', used_at, '+0 days') IS used_at
        OR strftime('%Y-%m-%d %H:%M:%S', substr(used_at, 1, 19), '+0 days') || substr(used_at, 20) IS used_at AND (length(used_at) = 19
        OR length(used_at) <= 29 AND substr(used_at, 20) GLOB '.[0-9]*' AND substr(used_at, 21) NOT GLOB '*[^0-9]*'))) IS NOT TRUE;
INSERT INTO mended VALUES ('idempotency.used_at', changes());
UPDATE audit SET at = coalesce(
        max(strftime('%Y-%m-%d %H:%M:%f', at, '+0 days'), '0001-01-01 00:00:00.000'), '1970-01-01 00:00:00.000')
    WHERE at IS NOT NULL AND (
        at >= '0001' AND (strftime('%Y-%m-%d %H:%M:%f', at, '+0 days') IS at
        OR strftime('%Y-%m-%d %H:%M:%S', substr(at, 1, 19), '+0 days') || substr(at, 20) IS at AND (length(at) = 19
        OR length(at) <= 29 AND substr(at, 20) GLOB '.[0-9]*' AND substr(at, 21) NOT GLOB '*[^0-9]*'))) IS NOT TRUE;
INSERT INTO mended VALUES ('audit.at', changes());
UPDATE changes SET at = coalesce(
        max(strftime('%Y-%m-%d %H:%M:%f', at, '+0 days'), '0001-01-01 00:00:00.000'), '1970-01-01 00:00:00.000')
    WHERE at IS NOT NULL AND (
        at >= '0001' AND (strftime('%Y-%m-%d %H:%M:%f', at, '+0 days') IS at
        OR strftime('%Y-%m-%d %H:%M:%S', substr(at, 1, 19), '+0 days') || substr(at, 20) IS at AND (length(at) = 19
        OR length(at) <= 29 AND substr(at, 20) GLOB '.[0-9]*' AND substr(at, 21) NOT GLOB '*[^0-9]*'))) IS NOT TRUE;
INSERT INTO mended VALUES ('changes.at', changes());
UPDATE deleted_topics SET created_at = coalesce(
        max(strftime('%Y-%m-%d %H:%M:%f', created_at, '+0 days'), '0001-01-01 00:00:00.000'), '1970-01-01 00:00:00.000')
    WHERE created_at IS NOT NULL AND (
        created_at >= '0001' AND (strftime('%Y-%m-%d %H:%M:%f', created_at, '+0 days') IS created_at
        OR strftime('%Y-%m-%d %H:%M:%S', substr(created_at, 1, 19), '+0 days') || substr(created_at, 20) IS created_at AND (length(created_at) = 19
        OR length(created_at) <= 29 AND substr(created_at, 20) GLOB '.[0-9]*' AND substr(created_at, 21) NOT GLOB '*[^0-9]*'))) IS NOT TRUE;
INSERT INTO mended VALUES ('deleted_topics.created_at', changes());
UPDATE deleted_topics SET updated_at = coalesce(
        max(strftime('%Y-%m-%d %H:%M:%f', updated_at, '+0 days'), '0001-01-01 00:00:00.000'), '1970-01-01 00:00:00.000')
    WHERE updated_at IS NOT NULL AND (
        updated_at >= '0001' AND (strftime('%Y-%m-%d %H:%M:%f', updated_at, '+0 days') IS updated_at
        OR strftime('%Y-%m-%d %H:%M:%S', substr(updated_at, 1, 19), '+0 days') || substr(updated_at, 20) IS updated_at AND (length(updated_at) = 19
        OR length(updated_at) <= 29 AND substr(updated_at, 20) GLOB '.[0-9]*' AND substr(updated_at, 21) NOT GLOB '*[^0-9]*'))) IS NOT TRUE;
INSERT INTO mended VALUES ('deleted_topics.updated_at', changes());
UPDATE deleted_topics SET deleted_at = coalesce(
        max(strftime('%Y-%m-%d %H:%M:%f', deleted_at, '+0 days'), '0001-01-01 00:00:00.000'), '1970-01-01 00:00:00.000')
    WHERE deleted_at IS NOT NULL AND (
        deleted_at >= '0001' AND (strftime('%Y-%m-%d %H:%M:%f', deleted_at, '+0 days') IS deleted_at
        OR strftime('%Y-%m-%d %H:%M:%S', substr(deleted_at, 1, 19), '+0 days') || substr(deleted_at, 20) IS deleted_at AND (length(deleted_at) = 19
        OR length(deleted_at) <= 29 AND substr(deleted_at, 20) GLOB '.[0-9]*' AND substr(deleted_at, 21) NOT GLOB '*[^0-9]*'))) IS NOT TRUE;
INSERT INTO mended VALUES ('deleted_topics.deleted_at', changes());

UPDATE revisions SET batch = 0;
PRAGMA ignore_check_constraints = OFF;

-- The server says it, once.
INSERT INTO identity (key, value)
    SELECT 'mended', group_concat(number || ' of ' || what, ', ') FROM mended WHERE number > 0 HAVING count(*) > 0;
DROP TABLE mended;

-- ---------------------------------------------------------------- constraints

-- While it is 1, a trigger writes what no other may.
ALTER TABLE revisions ADD COLUMN overwriting INTEGER NOT NULL DEFAULT 0 CHECK (overwriting IN (0, 1));
-- Null, or when text or author were last changed.
ALTER TABLE topics ADD COLUMN edited_at TEXT;
ALTER TABLE deleted_topics ADD COLUMN edited_at TEXT;

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
UPDATE sqlite_master SET sql = replace(replace(sql, 'NOT NULL DEFAULT', 'NOT NULL ON CONFLICT REPLACE DEFAULT'),
    ') STRICT', (SELECT
    group_concat(', CONSTRAINT ' || wanted.name || ' CHECK (' || expression || ')', '')
    FROM wanted WHERE tbl = sqlite_master.name) || ') STRICT')
    WHERE type = 'table' AND name IN (SELECT tbl FROM wanted);
UPDATE sqlite_master SET sql = replace(sql, (SELECT before FROM changed WHERE changed.name = 'created_at'),
    (SELECT after FROM changed WHERE changed.name = 'created_at')) WHERE type = 'table' AND name = 'topics';
UPDATE sqlite_master SET sql = replace(sql, (SELECT before FROM changed WHERE changed.name = 'updated_at'),
    (SELECT after FROM changed WHERE changed.name = 'updated_at')) WHERE type = 'table' AND name = 'topics';
-- No board has the key 0: a trigger puts the topic on the default board.
UPDATE sqlite_master SET sql = replace(sql,
    'INTEGER NOT NULL REFERENCES boards', 'INTEGER NOT NULL ON CONFLICT REPLACE DEFAULT 0 REFERENCES boards')
    WHERE type = 'table' AND name = 'topics';
PRAGMA writable_schema = RESET;
DROP TABLE wanted;
DROP TABLE changed;

-- ---------------------------------------------------------------- edited, by whomever

UPDATE topics SET edited_at = updated_at WHERE round((julianday(updated_at) - julianday(created_at)) * 86400000) >= 1000;
UPDATE deleted_topics SET edited_at = updated_at WHERE round((julianday(updated_at) - julianday(created_at)) * 86400000) >= 1000;

-- A row that shows the same as before is no change. One that left its board (or took another id) is a delete there and a set
-- here; on board 0 it was only on its way to the default board. Only the server's own archiving is 'archive'. A changed text
-- moves `updated_at` unless the writer set it, and `edited_at` in any case.
DROP TRIGGER topics_updated;
CREATE TRIGGER topics_updated AFTER UPDATE OF id, board_id, comment, author, created_at, updated_at, archived ON topics
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

-- A written one is overwritten: back to what it was, unless a trigger wrote it.
CREATE TRIGGER topics_edited_kept AFTER UPDATE OF edited_at ON topics
WHEN NEW.edited_at IS NOT OLD.edited_at AND (OLD.comment, OLD.author) IS (NEW.comment, NEW.author)
    AND NOT (SELECT overwriting FROM revisions) BEGIN
    UPDATE revisions SET overwriting = 1;
    UPDATE topics SET edited_at = OLD.edited_at WHERE id = NEW.id;
    UPDATE revisions SET overwriting = 0;
END;
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

-- The counter goes on behind the log, whatever was put into it.
DROP TRIGGER changes_draw;
CREATE TRIGGER changes_draw BEFORE INSERT ON changes WHEN NEW.revision = 0 BEGIN
    UPDATE revisions SET newest = 1 + max(CASE WHEN newest BETWEEN 0 AND 9007199254740991 THEN newest ELSE 0 END,
        coalesce((SELECT max(revision) FROM changes WHERE revision <= 9007199254740991), 0)),
        batch = CASE batch WHEN 1 THEN 2 ELSE batch END WHERE batch IS NOT 2;
END;

-- ---------------------------------------------------------------- a comment alone goes to the default board

DROP TRIGGER topics_inserted;
CREATE TRIGGER topics_inserted AFTER INSERT ON topics WHEN NEW.board_id <> 0 BEGIN
    INSERT INTO changes (revision, kind, board_id, topic_id) VALUES (0, 'set', NEW.board_id, NEW.id);
END;
-- The update logs it.
CREATE TRIGGER topics_on_default_board AFTER INSERT ON topics WHEN NEW.board_id = 0 BEGIN
    SELECT RAISE(ABORT, 'there is no default board to put the topic on: run kairanban migrate, or give a board_id')
        WHERE NOT EXISTS (SELECT 1 FROM boards WHERE id = (SELECT CAST(value AS INTEGER) FROM identity WHERE key = 'default_board'));
    UPDATE topics SET board_id = (SELECT CAST(value AS INTEGER) FROM identity WHERE key = 'default_board') WHERE id = NEW.id;
END;
CREATE TRIGGER topics_on_no_board BEFORE UPDATE OF board_id ON topics WHEN coalesce(NEW.board_id, 0) = 0 BEGIN
    SELECT RAISE(ABORT, 'a topic is on a board: board_id cannot be taken from it');
END;

-- ---------------------------------------------------------------- NULL

-- In a new row it counts as not given. In one that is there, REPLACE would put the default in place of what was: a private
-- board would be open.
CREATE TRIGGER topics_updated_with_null BEFORE UPDATE OF author, archived, created_at, updated_at ON topics
WHEN NEW.author IS NULL OR NEW.archived IS NULL OR NEW.created_at IS NULL OR NEW.updated_at IS NULL BEGIN
    SELECT RAISE(ABORT, 'author, archived, created_at and updated_at of a topic cannot be NULL: leave them out of the UPDATE');
END;
CREATE TRIGGER boards_updated_with_null BEFORE UPDATE OF title, read, post, created_at ON boards
WHEN NEW.title IS NULL OR NEW.read IS NULL OR NEW.post IS NULL OR NEW.created_at IS NULL BEGIN
    SELECT RAISE(ABORT, 'title, read, post and created_at of a board cannot be NULL: leave them out of the UPDATE');
END;

-- ---------------------------------------------------------------- ids

-- AUTOINCREMENT goes on behind the largest id there ever was, so one at the end of the range would be the last.
CREATE TRIGGER topics_inserted_far BEFORE INSERT ON topics WHEN NEW.id > 4294967296
    AND NEW.id - 4294967296 > max(coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'topics'), 0),
                                  coalesce((SELECT max(id) FROM topics), 0)) BEGIN
    SELECT RAISE(ABORT, 'this id is too far ahead of the others in topics: at most 4294967296');
END;
CREATE TRIGGER topics_renumbered_far BEFORE UPDATE OF id ON topics WHEN NEW.id > 4294967296
    AND NEW.id - 4294967296 > max(coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'topics'), 0),
                                  coalesce((SELECT max(id) FROM topics), 0)) BEGIN
    SELECT RAISE(ABORT, 'this id is too far ahead of the others in topics: at most 4294967296');
END;
CREATE TRIGGER boards_inserted_far BEFORE INSERT ON boards WHEN NEW.id > 4294967296
    AND NEW.id - 4294967296 > max(coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'boards'), 0),
                                  coalesce((SELECT max(id) FROM boards), 0)) BEGIN
    SELECT RAISE(ABORT, 'this id is too far ahead of the others in boards: at most 4294967296');
END;
CREATE TRIGGER boards_renumbered_far BEFORE UPDATE OF id ON boards WHEN NEW.id > 4294967296
    AND NEW.id - 4294967296 > max(coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'boards'), 0),
                                  coalesce((SELECT max(id) FROM boards), 0)) BEGIN
    SELECT RAISE(ABORT, 'this id is too far ahead of the others in boards: at most 4294967296');
END;
CREATE TRIGGER tokens_inserted_far BEFORE INSERT ON tokens WHEN NEW.id > 4294967296
    AND NEW.id - 4294967296 > max(coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'tokens'), 0),
                                  coalesce((SELECT max(id) FROM tokens), 0)) BEGIN
    SELECT RAISE(ABORT, 'this id is too far ahead of the others in tokens: at most 4294967296');
END;
CREATE TRIGGER tokens_renumbered_far BEFORE UPDATE OF id ON tokens WHEN NEW.id > 4294967296
    AND NEW.id - 4294967296 > max(coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'tokens'), 0),
                                  coalesce((SELECT max(id) FROM tokens), 0)) BEGIN
    SELECT RAISE(ABORT, 'this id is too far ahead of the others in tokens: at most 4294967296');
END;

-- ---------------------------------------------------------------- a title is text

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
