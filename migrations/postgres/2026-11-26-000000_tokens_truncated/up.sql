-- A TRUNCATE of tokens ends the streams that came in by them.
SELECT lock_to_migrate('tokens');

CREATE TRIGGER tokens_truncated AFTER TRUNCATE ON tokens FOR EACH STATEMENT EXECUTE FUNCTION tokens_changed();
ALTER TABLE tokens ENABLE ALWAYS TRIGGER tokens_truncated;
