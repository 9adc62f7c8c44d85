DROP TRIGGER boards_named ON boards;
DROP FUNCTION boards_named();
DROP TABLE board_lives;
