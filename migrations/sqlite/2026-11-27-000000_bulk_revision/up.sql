-- Every topic is stamped in its turn here: the column stays empty. It is there because the server reads it on either database.
ALTER TABLE changes ADD COLUMN stamped_as INTEGER;
CREATE INDEX changes_bulk ON changes (board_id) WHERE stamped_as IS NOT NULL;
