-- A token with another key is another token to the streams that came in by it: the log has that, too.
SELECT lock_to_migrate('tokens');

DROP TRIGGER tokens_changed ON tokens;
CREATE TRIGGER tokens_changed AFTER INSERT OR DELETE OR UPDATE OF id, name, digest, scope, board_id, expires_at, revoked_at
    ON tokens FOR EACH ROW EXECUTE FUNCTION tokens_changed();
ALTER TABLE tokens ENABLE ALWAYS TRIGGER tokens_changed;
