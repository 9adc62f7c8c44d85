DROP INDEX changes_bulk;
ALTER TABLE changes DROP COLUMN stamped_as;
