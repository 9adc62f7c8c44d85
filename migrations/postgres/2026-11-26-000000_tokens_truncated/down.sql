DROP TRIGGER tokens_truncated ON tokens;
