DROP INDEX changes_of_board;
DROP TABLE deleted_topics, audit, tickets;
DROP TRIGGER tokens_changed ON tokens;
DROP FUNCTION tokens_changed();
-- The stamp keeps writing `at`, so the column stays.
DELETE FROM changes WHERE kind = 'token';
ALTER TABLE changes
    DROP CONSTRAINT changes_kind_check,
    ADD CONSTRAINT changes_kind_check CHECK (kind IN ('set', 'delete', 'archive', 'clear', 'board'));
ALTER TABLE boards DROP COLUMN read, DROP COLUMN post;
