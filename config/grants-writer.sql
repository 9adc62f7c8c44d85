-- What the role of a program needs that writes topics beside the server (a site, an importer), and no more. As the owner of
-- the tables, after each `kairanban migrate`:
--
--   psql -v role=board_writer -v schema=public -f config/grants-writer.sql "$DATABASE_URL"
--
-- docs/DATABASE.md says what such a role can do with it, and what it can still hold up.

\set ON_ERROR_STOP on
\if :{?role}
\else
  DO $$ BEGIN RAISE 'Name the role: psql -v role=NAME -v schema=public -f ...'; END $$;
\endif
\if :{?schema}
\else
  \set schema public
\endif

-- What was granted before and is not below goes.
REVOKE ALL ON ALL TABLES IN SCHEMA :"schema" FROM :"role";
REVOKE ALL ON ALL SEQUENCES IN SCHEMA :"schema" FROM :"role";
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA :"schema" FROM :"role";
-- As Postgres itself has it from 15 on: who can make functions and operators there can have the owner's functions call them.
REVOKE CREATE ON SCHEMA :"schema" FROM PUBLIC, :"role";

GRANT USAGE ON SCHEMA :"schema" TO :"role";
GRANT SELECT ON :"schema".boards TO :"role";
GRANT SELECT, INSERT, UPDATE, DELETE ON :"schema".topics TO :"role";
-- Moves the sequence of ids past those that another program chose.
GRANT EXECUTE ON FUNCTION :"schema".move_topic_ids() TO :"role";
