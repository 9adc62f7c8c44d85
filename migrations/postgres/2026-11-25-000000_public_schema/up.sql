-- The tables that other programs write, as a public place: a role has the powers that its grants name and no more, values
-- that could not be shown are refused, times are instants, ids may be given, and a NULL counts as not given.

-- ---------------------------------------------------------------- first: nobody else writes

-- The order of commits gets another lock (`commit_order`): no transaction may still be open under the old one.
--
-- Waiting for several tables can deadlock with a transaction that holds one of them and waits for another. So `topics` is
-- waited for first, with nothing held, then all others for a moment each; if that is not enough, all is let go. Together it
-- takes less than a second, the time after which Postgres looks for deadlocks and ends somebody's transaction.
SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
SET LOCAL timezone = 'UTC';
CREATE FUNCTION lock_to_migrate(first TEXT, others TEXT DEFAULT NULL) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    deadline CONSTANT TIMESTAMPTZ := clock_timestamp() + interval '60 seconds';
BEGIN
    LOOP
        BEGIN
            PERFORM set_config('lock_timeout', (1 + random() * 500)::int::text, true);
            EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', first);
            PERFORM set_config('lock_timeout', '30', true);
            IF others IS NOT NULL THEN EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', others); END IF;
            EXIT;
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            IF clock_timestamp() > deadline THEN
                RAISE EXCEPTION 'other sessions have held locks on the tables of the boards for 60 s, so they cannot be altered'
                    USING ERRCODE = 'lock_not_available', HINT = 'End the open transactions that pg_stat_activity shows, then migrate again.';
            END IF;
            -- Lets those finish who wait behind us.
            PERFORM pg_sleep(random() / 10);
        END;
    END LOOP;
    PERFORM set_config('lock_timeout', '0', true);
END $$;
SELECT lock_to_migrate('topics', 'boards, tokens, changes, transactions, identity, idempotency, tickets, audit, deleted_topics');

-- ---------------------------------------------------------------- who is who

-- Held from the stamp to the end of the commit, and by the archiver. A table and not an advisory lock, which any role could
-- take: to lock this one takes a right on it. The mode, SHARE UPDATE EXCLUSIVE, excludes itself but no reader, so no pg_dump waits or
-- is waited for; stronger ones look through the locks of every session first, which eight writers feel. Always empty.
-- Whoever may UPDATE it is the server: it may commit without a NOTIFY, and archive.
CREATE TABLE commit_order (
    nothing BOOLEAN NOT NULL CHECK (false)
);

-- While a transaction is stamped, the setting `kairanban.stamping` holds this. Anybody may set it, but nobody can know it.
ALTER TABLE transactions ADD COLUMN proof UUID NOT NULL DEFAULT gen_random_uuid();

-- Null, or when text or author were last changed, by any program.
ALTER TABLE topics ADD COLUMN edited_at TIMESTAMP;
ALTER TABLE deleted_topics ADD COLUMN edited_at TIMESTAMP;

-- A setting alone proves nothing. Within a function with its owner's rights, `role` still names who asks.
CREATE FUNCTION asked_by_server() RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT has_table_privilege(
        CASE current_setting('role') WHEN 'none' THEN session_user ELSE current_setting('role')::name END, 'commit_order', 'UPDATE');
$$;

-- ---------------------------------------------------------------- ids

-- Moves a sequence of ids forward, never back. Ids that other sessions draw meanwhile must not be lost: so it draws, too, and
-- only a gap that no session draws in the blink between reading and setting is jumped. That two such jumps follow each other
-- the wrong way round is found at the stamp, one transaction after the other. Never so far that there would be no room left:
-- an id that a replica brings from far ahead stays alone.
CREATE FUNCTION move_ids(ids REGCLASS, upto BIGINT) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    gap BIGINT := upto - coalesce(pg_sequence_last_value(ids), 0);
BEGIN
    IF gap = 1 THEN
        PERFORM nextval(ids);
    ELSIF gap BETWEEN 2 AND 100000 THEN
        PERFORM nextval(ids) FROM generate_series(1, gap);
    ELSIF gap BETWEEN 100001 AND 4294967296 THEN
        PERFORM setval(ids, upto);
        PERFORM set_config('kairanban.ids_jumped', 'on', true);
    END IF;
END $$;

-- For a row that brings its own id: what is created later gets a larger one, and there is always room for it. How far it may be
-- ahead is counted from the rows that are there: a sequence that was moved stays so when the row is refused or rolled back.
CREATE FUNCTION take_id(ids REGCLASS, id BIGINT, table_name TEXT) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    largest BIGINT := coalesce(pg_sequence_last_value(ids), 0);
BEGIN
    IF id - largest > 100000 THEN EXECUTE format('SELECT coalesce(max(id), 0) FROM %I', table_name) INTO largest; END IF;
    IF id - largest > 4294967296 AND current_setting('session_replication_role') <> 'replica' THEN
        RAISE EXCEPTION 'this id is too far ahead of the others in %: at most 4294967296', table_name
            USING ERRCODE = 'check_violation', TABLE = table_name, COLUMN = 'id', CONSTRAINT = table_name || '_id_ahead';
    END IF;
    PERFORM move_ids(ids, id);
END $$;

-- For whoever met an id that is taken: the next one is behind all of them. Returns the largest.
CREATE FUNCTION move_topic_ids() RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    largest BIGINT;
BEGIN
    IF pg_sequence_last_value('topics_id_seq') >= 9007199254740991 THEN
        RAISE EXCEPTION 'topics_id_seq is at its end' USING ERRCODE = 'sequence_generator_limit_exceeded';
    END IF;
    SELECT max(id) INTO largest FROM topics WHERE id <= coalesce(pg_sequence_last_value('topics_id_seq'), 0) + 4294967296;
    PERFORM move_ids('topics_id_seq', largest);
    RETURN largest;
END $$;

-- ---------------------------------------------------------------- before: keep what is ours, fill in what is not given

-- The function that a trigger calls may only be called by it: hung on another table, it would log what never happened.
CREATE OR REPLACE FUNCTION topics_before() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    applied CONSTANT BOOLEAN := current_setting('session_replication_role') = 'replica';
BEGIN
    IF TG_RELID <> 'topics'::regclass THEN RAISE EXCEPTION 'topics_before() is for the table topics'; END IF;
    -- A NULL counts as not given. There is no OLD for a new row, and all of it is null.
    NEW.author := coalesce(NEW.author, OLD.author, '');
    NEW.archived := coalesce(NEW.archived, OLD.archived, false);
    IF TG_OP = 'INSERT' THEN
        NEW.created_at := coalesce(NEW.created_at, now());
        NEW.updated_at := coalesce(NEW.updated_at, now());
        -- A written revision is overwritten at COMMIT.
        NEW.revision := 0;
        IF NEW.board_id IS NULL THEN
            SELECT b.id INTO NEW.board_id FROM identity i JOIN boards b ON b.id::text = i.value WHERE i.key = 'default_board';
            IF NOT FOUND THEN
                RAISE EXCEPTION 'there is no default board to put the topic on: run kairanban migrate, or give a board_id'
                    USING ERRCODE = 'not_null_violation', TABLE = 'topics', COLUMN = 'board_id';
            END IF;
        END IF;
        IF NEW.id IS NULL THEN
            NEW.id := nextval('topics_id_seq');
        ELSIF NEW.id > coalesce(pg_sequence_last_value('topics_id_seq'), 0) THEN
            PERFORM take_id('topics_id_seq', NEW.id, 'topics');
        END IF;
        RETURN NEW;
    END IF;
    NEW.created_at := coalesce(NEW.created_at, OLD.created_at);
    NEW.updated_at := coalesce(NEW.updated_at, OLD.updated_at);
    NEW.revision := OLD.revision;
    IF NEW.id > OLD.id AND NEW.id > coalesce(pg_sequence_last_value('topics_id_seq'), 0) THEN
        PERFORM take_id('topics_id_seq', NEW.id, 'topics');
    END IF;
    -- A replica repeats what the other database has decided.
    IF NOT applied AND (NEW.comment, NEW.author) IS DISTINCT FROM (OLD.comment, OLD.author) THEN
        NEW.edited_at := clock_timestamp();
        -- A changed text moves `updated_at` unless the writer set it.
        IF NEW.updated_at = OLD.updated_at THEN NEW.updated_at := clock_timestamp(); END IF;
    ELSIF NOT applied THEN
        NEW.edited_at := OLD.edited_at;
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION boards_before() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF TG_RELID <> 'boards'::regclass THEN RAISE EXCEPTION 'boards_before() is for the table boards'; END IF;
    NEW.title := coalesce(NEW.title, OLD.title, '');
    NEW.read := coalesce(NEW.read, OLD.read, 'open');
    NEW.post := coalesce(NEW.post, OLD.post, 'open');
    IF TG_OP = 'INSERT' THEN
        NEW.created_at := coalesce(NEW.created_at, now());
        NEW.id := coalesce(NEW.id, nextval('boards_id_seq'));
    ELSE
        NEW.created_at := coalesce(NEW.created_at, OLD.created_at);
    END IF;
    IF NEW.id > coalesce(pg_sequence_last_value('boards_id_seq'), 0) THEN PERFORM take_id('boards_id_seq', NEW.id, 'boards'); END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION tokens_before() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF TG_RELID <> 'tokens'::regclass THEN RAISE EXCEPTION 'tokens_before() is for the table tokens'; END IF;
    IF TG_OP = 'INSERT' THEN
        NEW.created_at := coalesce(NEW.created_at, now());
        NEW.id := coalesce(NEW.id, nextval('tokens_id_seq'));
    ELSE
        NEW.created_at := coalesce(NEW.created_at, OLD.created_at);
    END IF;
    IF NEW.id > coalesce(pg_sequence_last_value('tokens_id_seq'), 0) THEN PERFORM take_id('tokens_id_seq', NEW.id, 'tokens'); END IF;
    RETURN NEW;
END $$;

-- ---------------------------------------------------------------- after: log what changed

CREATE OR REPLACE FUNCTION topics_inserted() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF TG_RELID <> 'topics'::regclass THEN RAISE EXCEPTION 'topics_inserted() is for the table topics'; END IF;
    INSERT INTO changes (kind, board_id, topic_id) SELECT 'set', board_id, id FROM new_rows ORDER BY id;
    IF FOUND THEN PERFORM transaction_begun(); END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION topics_deleted() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF TG_RELID <> 'topics'::regclass THEN RAISE EXCEPTION 'topics_deleted() is for the table topics'; END IF;
    INSERT INTO changes (kind, board_id, topic_id) SELECT 'delete', board_id, id FROM old_rows ORDER BY id;
    IF FOUND THEN PERFORM transaction_begun(); END IF;
    RETURN NULL;
END $$;

-- A row that shows the same as before is no change. One that left its board (or took another id) is a delete there and a set
-- here. Only the server's own archiving is 'archive': it moves what no live list shows any more.
CREATE OR REPLACE FUNCTION topics_updated() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    stamping CONSTANT TEXT := current_setting('kairanban.stamping', true);
    archiving CONSTANT BOOLEAN := current_setting('kairanban.archiving', true) = 'on' AND asked_by_server();
BEGIN
    IF TG_RELID <> 'topics'::regclass THEN RAISE EXCEPTION 'topics_updated() is for the table topics'; END IF;
    IF stamping <> '' THEN
        IF stamping = (SELECT proof::text FROM transactions WHERE writer = pg_current_xact_id()) THEN RETURN NULL; END IF;
    END IF;
    INSERT INTO changes (kind, board_id, topic_id)
        SELECT 'delete', o.board_id, o.id FROM old_rows o
        WHERE NOT EXISTS (SELECT FROM new_rows n WHERE n.id = o.id AND n.board_id = o.board_id)
        ORDER BY o.id;
    INSERT INTO changes (kind, board_id, topic_id)
        SELECT CASE WHEN NOT n.archived THEN 'set' WHEN archiving THEN 'archive' ELSE 'delete' END, n.board_id, n.id
        FROM new_rows n LEFT JOIN old_rows o ON o.id = n.id
        WHERE (o.board_id, o.comment, o.author, o.created_at, o.updated_at, o.edited_at, o.archived)
            IS DISTINCT FROM (n.board_id, n.comment, n.author, n.created_at, n.updated_at, n.edited_at, n.archived)
        ORDER BY n.id;
    IF EXISTS (SELECT FROM changes WHERE writer = pg_current_xact_id() AND revision IS NULL) THEN
        PERFORM transaction_begun();
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION topics_truncated() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF TG_RELID <> 'topics'::regclass THEN RAISE EXCEPTION 'topics_truncated() is for the table topics'; END IF;
    INSERT INTO changes (kind, board_id) SELECT 'clear', id FROM boards ORDER BY id;
    IF FOUND THEN PERFORM transaction_begun(); END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION boards_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF TG_RELID <> 'boards'::regclass THEN RAISE EXCEPTION 'boards_changed() is for the table boards'; END IF;
    INSERT INTO changes (kind, board_id) VALUES ('board', coalesce(NEW.id, OLD.id));
    PERFORM transaction_begun();
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION tokens_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF TG_RELID <> 'tokens'::regclass THEN RAISE EXCEPTION 'tokens_changed() is for the table tokens'; END IF;
    INSERT INTO changes (kind, board_id) VALUES ('token', 0);
    PERFORM transaction_begun();
    RETURN NULL;
END $$;

-- ---------------------------------------------------------------- at COMMIT: one revision for all of it

CREATE OR REPLACE FUNCTION transaction_stamped() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    drawn BIGINT;
BEGIN
    IF TG_RELID <> 'transactions'::regclass THEN RAISE EXCEPTION 'transaction_stamped() is for the table transactions'; END IF;
    -- Held from here to the end of the commit.
    LOCK TABLE commit_order IN SHARE UPDATE EXCLUSIVE MODE;
    drawn := nextval('revision_seq');
    IF current_setting('kairanban.ids_jumped', true) = 'on' THEN
        PERFORM move_ids('topics_id_seq', max(topic_id)) FROM changes WHERE writer = NEW.writer AND revision IS NULL AND kind = 'set'
            AND topic_id <= coalesce(pg_sequence_last_value('topics_id_seq'), 0) + 4294967296;
    END IF;
    PERFORM set_config('kairanban.stamping', NEW.proof::text, true);
    UPDATE topics t SET revision = drawn FROM changes c
        WHERE c.writer = NEW.writer AND c.revision IS NULL AND c.kind = 'set' AND t.id = c.topic_id AND t.board_id = c.board_id;
    UPDATE changes SET revision = drawn, at = clock_timestamp() WHERE writer = NEW.writer AND revision IS NULL;
    DELETE FROM transactions WHERE writer = NEW.writer;
    PERFORM set_config('kairanban.stamping', '', true);
    PERFORM set_config('kairanban.revision', drawn::text, true);
    -- NOTIFY makes a commit wait for every other one that notifies, so our own writers ask for silence and send one signal
    -- after the commit. It also makes PREPARE TRANSACTION fail, which would hold the lock for as long as it pleases.
    IF current_setting('kairanban.quiet', true) = 'on' THEN
        IF asked_by_server() THEN RETURN NULL; END IF;
    END IF;
    PERFORM pg_notify(format('kairanban_%s', TG_TABLE_SCHEMA), '');
    RETURN NULL;
END $$;

DO $$
DECLARE
    f regprocedure;
BEGIN
    FOR f IN SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = quote_ident(current_schema())::regnamespace
        AND p.proname IN ('lock_to_migrate', 'asked_by_server', 'move_ids', 'take_id', 'move_topic_ids', 'topics_before', 'boards_before',
                          'tokens_before', 'transaction_begun', 'topics_inserted', 'topics_deleted', 'topics_updated',
                          'topics_truncated', 'boards_changed', 'tokens_changed', 'transaction_stamped')
    LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = pg_catalog, %I, pg_temp', f, current_schema());
        -- A trigger fires whatever EXECUTE says; what takes it is to make one.
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', f);
    END LOOP;
END $$;

-- ---------------------------------------------------------------- rows that would break the constraints

DROP TRIGGER topics_before ON topics;

CREATE TEMP TABLE mended (what TEXT, number BIGINT) ON COMMIT DROP;

DO $$
DECLARE
    revision_max CONSTANT BIGINT := 9007199254740991;
    id_max CONSTANT BIGINT := 4503599627370496; -- beyond, there is hardly room for more
    largest BIGINT;
    number BIGINT;
    c RECORD;
BEGIN
    -- Of the log nothing can be mended: what has no place in the order goes, and its boards are read again.
    WITH gone AS (DELETE FROM changes WHERE revision NOT BETWEEN 0 AND revision_max RETURNING board_id),
         said AS (INSERT INTO changes (kind, board_id) SELECT DISTINCT 'clear', board_id FROM gone)
        SELECT count(*) INTO number FROM gone;
    INSERT INTO mended VALUES ('changes.revision', number);
    IF pg_sequence_last_value('revision_seq') >= revision_max THEN
        PERFORM setval('revision_seq', greatest(max(revision), 1)) FROM changes;
        INSERT INTO mended VALUES ('revision_seq', 1);
    END IF;
    -- Stamped again, at the end of this transaction.
    WITH bad AS (UPDATE topics SET revision = 0 WHERE revision NOT BETWEEN 0 AND revision_max RETURNING board_id, id),
         said AS (INSERT INTO changes (kind, board_id, topic_id) SELECT 'set', board_id, id FROM bad)
        SELECT count(*) INTO number FROM bad;
    INSERT INTO mended VALUES ('topics.revision', number);
    -- Topics at the end of the range move behind the others, in their order.
    SELECT coalesce(max(id), 0) INTO largest FROM (SELECT id FROM topics UNION ALL SELECT id FROM deleted_topics) known WHERE id <= id_max;
    CREATE TEMP TABLE moved ON COMMIT DROP AS
        SELECT id, largest + row_number() OVER (ORDER BY id) AS new_id FROM topics WHERE id > id_max;
    UPDATE idempotency i SET topic_id = new_id FROM moved m WHERE i.topic_id = m.id;
    UPDATE topics t SET id = new_id FROM moved m WHERE t.id = m.id;
    GET DIAGNOSTICS number = ROW_COUNT;
    INSERT INTO mended VALUES ('topics.id', number);
    IF pg_sequence_last_value('topics_id_seq') > id_max THEN
        PERFORM setval('topics_id_seq', greatest(max(id), 1)) FROM (SELECT id FROM topics UNION ALL SELECT id FROM deleted_topics) known;
    END IF;
    PERFORM setval('topics_id_seq', max(id)) FROM topics HAVING max(id) > coalesce(pg_sequence_last_value('topics_id_seq'), 0);
    PERFORM setval('boards_id_seq', max(id)) FROM boards WHERE id <= id_max HAVING max(id) > coalesce(pg_sequence_last_value('boards_id_seq'), 0);
    PERFORM setval('tokens_id_seq', max(id)) FROM tokens WHERE id <= id_max HAVING max(id) > coalesce(pg_sequence_last_value('tokens_id_seq'), 0);

    UPDATE boards SET title = regexp_replace(title, '[\u0001-\u001f\u007f]', ' ', 'g') WHERE title ~ '[\u0001-\u001f\u007f]';
    GET DIAGNOSTICS number = ROW_COUNT;
    INSERT INTO mended VALUES ('boards.title', number);

    -- What never ends has no end; every other time moves into the range.
    UPDATE tokens SET expires_at = NULL WHERE expires_at = 'infinity';
    GET DIAGNOSTICS number = ROW_COUNT;
    INSERT INTO mended VALUES ('tokens.expires_at', number);
    FOR c IN SELECT * FROM (VALUES ('boards', 'created_at'), ('topics', 'created_at'), ('topics', 'updated_at'),
        ('tokens', 'created_at'), ('tokens', 'expires_at'), ('tokens', 'revoked_at'), ('tokens', 'last_used_at'),
        ('idempotency', 'used_at'), ('tickets', 'made_at'), ('tickets', 'used_at'), ('audit', 'at'),
        ('deleted_topics', 'created_at'), ('deleted_topics', 'updated_at'), ('deleted_topics', 'deleted_at')) AS c (tbl, col)
    LOOP
        EXECUTE format('UPDATE %1$I SET %2$I = CASE WHEN %2$I < ''0001-01-01'' THEN ''0001-01-01''::timestamp ELSE ''9999-12-31''::timestamp END
            WHERE %2$I NOT BETWEEN ''0001-01-01'' AND ''9999-12-31''', c.tbl, c.col);
        GET DIAGNOSTICS number = ROW_COUNT;
        INSERT INTO mended VALUES (c.tbl || '.' || c.col, number);
    END LOOP;

    IF EXISTS (SELECT FROM changes WHERE writer = pg_current_xact_id() AND revision IS NULL) THEN PERFORM transaction_begun(); END IF;
    -- The server says it in its log, once.
    INSERT INTO identity (key, value)
        SELECT 'mended', string_agg(sum || ' of ' || what, ', ' ORDER BY what)
        FROM (SELECT what, sum(m.number) FROM mended m GROUP BY what HAVING sum(m.number) > 0) counted HAVING count(*) > 0
        ON CONFLICT (key) DO UPDATE SET value = identity.value || ', ' || excluded.value;
END $$;

-- Past the largest id it ends, instead of going on with ids that no row may have.
ALTER SEQUENCE topics_id_seq MAXVALUE 9007199254740991;

-- All of it at one revision, now: a table with triggers that still have to fire cannot be altered.
SET CONSTRAINTS ALL IMMEDIATE;
SET CONSTRAINTS ALL DEFERRED;

-- ---------------------------------------------------------------- times are instants, and constraints

DROP TRIGGER tokens_changed ON tokens;

ALTER TABLE topics
    DROP CONSTRAINT topics_created_at_check,
    DROP CONSTRAINT topics_updated_at_check,
    ALTER created_at DROP DEFAULT,
    ALTER updated_at DROP DEFAULT,
    ALTER created_at TYPE TIMESTAMPTZ USING created_at AT TIME ZONE 'UTC',
    ALTER updated_at TYPE TIMESTAMPTZ USING updated_at AT TIME ZONE 'UTC',
    -- Until now a topic counted as edited if its times differed by a second.
    ALTER edited_at TYPE TIMESTAMPTZ
        USING CASE WHEN updated_at >= created_at + interval '1 second' THEN updated_at AT TIME ZONE 'UTC' END,
    ALTER created_at SET DEFAULT now(),
    ALTER updated_at SET DEFAULT now(),
    ADD CONSTRAINT topics_revision_range CHECK (revision BETWEEN 0 AND 9007199254740991);

ALTER TABLE deleted_topics
    ALTER deleted_at DROP DEFAULT,
    ALTER created_at TYPE TIMESTAMPTZ USING created_at AT TIME ZONE 'UTC',
    ALTER updated_at TYPE TIMESTAMPTZ USING updated_at AT TIME ZONE 'UTC',
    ALTER edited_at TYPE TIMESTAMPTZ
        USING CASE WHEN updated_at >= created_at + interval '1 second' THEN updated_at AT TIME ZONE 'UTC' END,
    ALTER deleted_at TYPE TIMESTAMPTZ USING deleted_at AT TIME ZONE 'UTC',
    ALTER deleted_at SET DEFAULT now();

ALTER TABLE boards
    ALTER created_at DROP DEFAULT,
    ALTER created_at TYPE TIMESTAMPTZ USING created_at AT TIME ZONE 'UTC',
    ALTER created_at SET DEFAULT now(),
    ADD CONSTRAINT boards_title_without_control CHECK (title !~ '[\u0001-\u001f\u007f]');

ALTER TABLE tokens
    ALTER created_at DROP DEFAULT,
    ALTER created_at TYPE TIMESTAMPTZ USING created_at AT TIME ZONE 'UTC',
    ALTER expires_at TYPE TIMESTAMPTZ USING expires_at AT TIME ZONE 'UTC',
    ALTER revoked_at TYPE TIMESTAMPTZ USING revoked_at AT TIME ZONE 'UTC',
    ALTER last_used_at TYPE TIMESTAMPTZ USING last_used_at AT TIME ZONE 'UTC',
    ALTER created_at SET DEFAULT now();

ALTER TABLE idempotency
    ALTER used_at DROP DEFAULT,
    ALTER used_at TYPE TIMESTAMPTZ USING used_at AT TIME ZONE 'UTC',
    ALTER used_at SET DEFAULT now();

ALTER TABLE tickets
    ALTER made_at DROP DEFAULT,
    ALTER made_at TYPE TIMESTAMPTZ USING made_at AT TIME ZONE 'UTC',
    ALTER used_at TYPE TIMESTAMPTZ USING used_at AT TIME ZONE 'UTC',
    ALTER made_at SET DEFAULT now();

ALTER TABLE audit
    ALTER at DROP DEFAULT,
    ALTER at TYPE TIMESTAMPTZ USING at AT TIME ZONE 'UTC',
    ALTER at SET DEFAULT now();

ALTER TABLE changes
    ALTER at TYPE TIMESTAMPTZ USING at AT TIME ZONE 'UTC',
    ADD CONSTRAINT changes_revision_range CHECK (revision BETWEEN 0 AND 9007199254740991);

-- What a program can read in any language: neither infinity nor a year of five digits.
DO $$
DECLARE
    c RECORD;
BEGIN
    FOR c IN SELECT * FROM (VALUES ('boards', 'created_at'), ('topics', 'created_at'), ('topics', 'updated_at'), ('topics', 'edited_at'),
        ('tokens', 'created_at'), ('tokens', 'expires_at'), ('tokens', 'revoked_at'), ('tokens', 'last_used_at'),
        ('idempotency', 'used_at'), ('tickets', 'made_at'), ('tickets', 'used_at'), ('audit', 'at'), ('deleted_topics', 'created_at'),
        ('deleted_topics', 'updated_at'), ('deleted_topics', 'edited_at'), ('deleted_topics', 'deleted_at')) AS c (tbl, col)
    LOOP
        EXECUTE format('ALTER TABLE %1$I ADD CONSTRAINT %3$I
            CHECK (%2$I BETWEEN ''0001-01-01 00:00:00+00'' AND ''9999-12-31 00:00:00+00'')', c.tbl, c.col, c.tbl || '_' || c.col || '_range');
    END LOOP;
END $$;

-- ---------------------------------------------------------------- triggers

CREATE TRIGGER topics_before_insert BEFORE INSERT ON topics FOR EACH ROW EXECUTE FUNCTION topics_before();
-- The stamp changes the revision alone, with the owner's rights; without those no setting helps.
CREATE TRIGGER topics_before_update BEFORE UPDATE ON topics FOR EACH ROW
    WHEN (coalesce(current_setting('kairanban.stamping', true), '') = ''
        OR NOT has_table_privilege('transactions'::regclass, 'DELETE')
        OR (OLD.id, OLD.board_id, OLD.comment, OLD.author, OLD.created_at, OLD.updated_at, OLD.edited_at, OLD.archived)
            IS DISTINCT FROM (NEW.id, NEW.board_id, NEW.comment, NEW.author, NEW.created_at, NEW.updated_at, NEW.edited_at, NEW.archived))
    EXECUTE FUNCTION topics_before();
CREATE TRIGGER boards_before BEFORE INSERT OR UPDATE ON boards FOR EACH ROW EXECUTE FUNCTION boards_before();
CREATE TRIGGER tokens_before BEFORE INSERT OR UPDATE OF id, created_at ON tokens FOR EACH ROW EXECUTE FUNCTION tokens_before();
-- That it was used is no change.
CREATE TRIGGER tokens_changed AFTER INSERT OR DELETE OR UPDATE OF name, digest, scope, board_id, expires_at, revoked_at
    ON tokens FOR EACH ROW EXECUTE FUNCTION tokens_changed();
