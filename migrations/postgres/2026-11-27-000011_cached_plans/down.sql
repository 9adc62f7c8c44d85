CREATE OR REPLACE FUNCTION transaction_begun() RETURNS void LANGUAGE sql SECURITY DEFINER AS $$
    INSERT INTO transactions (writer) VALUES (pg_current_xact_id()) ON CONFLICT DO NOTHING;
$$;
CREATE OR REPLACE FUNCTION asked_by_server() RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT has_table_privilege(
        CASE current_setting('role') WHEN 'none' THEN session_user ELSE current_setting('role')::name END, 'commit_order', 'UPDATE');
$$;
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION transaction_begun() SET search_path = pg_catalog, %I, pg_temp', current_schema());
    EXECUTE format('ALTER FUNCTION asked_by_server() SET search_path = pg_catalog, %I, pg_temp', current_schema());
END $$;
