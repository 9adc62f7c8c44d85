-- A function in SQL is planned at each call, one in PL/pgSQL once in a session. Each write calls these.
CREATE OR REPLACE FUNCTION transaction_begun() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO transactions (writer) VALUES (pg_current_xact_id()) ON CONFLICT DO NOTHING;
END $$;

CREATE OR REPLACE FUNCTION asked_by_server() RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN has_table_privilege(
        CASE current_setting('role') WHEN 'none' THEN session_user ELSE current_setting('role')::name END, 'commit_order', 'UPDATE');
END $$;

DO $$
BEGIN
    -- What is replaced forgets its settings.
    EXECUTE format('ALTER FUNCTION transaction_begun() SET search_path = pg_catalog, %I, pg_temp', current_schema());
    EXECUTE format('ALTER FUNCTION asked_by_server() SET search_path = pg_catalog, %I, pg_temp', current_schema());
END $$;
