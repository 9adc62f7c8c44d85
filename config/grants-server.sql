-- What the role of a server needs that does not migrate (database.migrate = false), and no more. As the owner of the tables,
-- after each `kairanban migrate`:
--
--   psql -v role=board_server -v schema=public -f config/grants-server.sql "$DATABASE_URL"
--
-- `kairanban config check` names what is missing. A program that only posts needs much less; so does one that only reads.

\set ON_ERROR_STOP on
\if :{?role}
\else
  DO $$ BEGIN RAISE 'Name the role: psql -v role=NAME -v schema=public -f ...'; END $$;
\endif
\if :{?schema}
\else
  \set schema public
\endif

-- As Postgres itself has it from 15 on: who can make functions and operators there can have the owner's functions call them.
REVOKE CREATE ON SCHEMA :"schema" FROM PUBLIC;

GRANT USAGE ON SCHEMA :"schema" TO :"role";

GRANT SELECT ON :"schema".__diesel_schema_migrations TO :"role";
GRANT SELECT, INSERT, UPDATE, DELETE ON :"schema".boards TO :"role";
GRANT SELECT, INSERT, UPDATE, DELETE ON :"schema".topics TO :"role";
-- What the log has missed is logged by the server itself.
GRANT SELECT, INSERT, DELETE ON :"schema".changes TO :"role";
GRANT SELECT, INSERT, UPDATE ON :"schema".board_lives TO :"role";
-- UPDATE moves the counter past the newest revision in the log, after a restore that left it behind.
GRANT SELECT, UPDATE ON :"schema".revision_seq TO :"role";
-- Ids of topics are drawn before their rows are written.
GRANT UPDATE ON :"schema".topics_id_seq TO :"role";
GRANT SELECT, INSERT, UPDATE ON :"schema".identity TO :"role";
GRANT SELECT, INSERT, DELETE ON :"schema".idempotency TO :"role";
GRANT SELECT, INSERT, UPDATE ON :"schema".tokens TO :"role";
GRANT SELECT, INSERT, UPDATE, DELETE ON :"schema".tickets TO :"role";
GRANT SELECT, INSERT, UPDATE, DELETE ON :"schema".browser_sessions TO :"role";
GRANT SELECT, INSERT, DELETE ON :"schema".audit TO :"role";
GRANT SELECT, INSERT, DELETE ON :"schema".deleted_topics TO :"role";

-- The order of commits: who may update this empty table is the server, which archives and commits without a NOTIFY.
GRANT UPDATE ON :"schema".commit_order TO :"role";

-- They move the sequence of ids past those that another program chose, have a commit draw a revision, after all that waits for the
-- commit, return why a write failed, and name the channel of NOTIFY.
SELECT format('GRANT EXECUTE ON FUNCTION %s TO %I', oid::regprocedure, :'role') FROM pg_proc
    WHERE pronamespace = quote_ident(:'schema')::regnamespace AND proname IN ('move_topic_ids', 'transaction_begun', 'stamp_last', 'classified_write', 'channel_name') \gexec
