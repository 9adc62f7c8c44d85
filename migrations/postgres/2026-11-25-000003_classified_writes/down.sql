DROP FUNCTION classified_write(text, jsonb);
