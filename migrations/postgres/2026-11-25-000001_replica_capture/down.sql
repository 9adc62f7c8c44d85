ALTER TABLE transactions ENABLE TRIGGER transaction_stamped;
ALTER TABLE tokens
    ENABLE TRIGGER tokens_before,
    ENABLE TRIGGER tokens_changed;
ALTER TABLE boards
    ENABLE TRIGGER boards_before,
    ENABLE TRIGGER boards_changed;
ALTER TABLE topics
    ENABLE TRIGGER topics_before_insert,
    ENABLE TRIGGER topics_before_update,
    ENABLE TRIGGER topics_truncated;
DROP TRIGGER topics_applied_update ON topics;
DROP TRIGGER topics_applied ON topics;
DROP FUNCTION topics_applied();
