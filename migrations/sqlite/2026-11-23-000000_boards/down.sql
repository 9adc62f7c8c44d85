DROP TABLE topics;
DROP TABLE boards;
DROP TABLE changes;
DROP TABLE revisions;
DROP TABLE identity;
