DROP TRIGGER boards_truncated ON boards;
DROP FUNCTION boards_truncated();
