-- Runs one statement of the server and returns its SQLSTATE instead of failing, so that the server can tell a row that the
-- database refuses from an outage. Client libraries pass on the text of an error, which is translated (lc_messages), but not
-- always its code. A statement that failed leaves no trace: the block is a subtransaction of its own.
--
-- `statement` is one INSERT, UPDATE or DELETE with RETURNING, whose parameters are the elements of `arguments`; or, with
-- NULL arguments, any command. `touched` counts the rows, `returned` is the first value of the first row.
--
-- The caller's rights apply, and the caller's search_path, since the triggers that run inside may depend on it. Names of
-- the function's own are in pg_catalog.
CREATE FUNCTION classified_write(
    statement text, arguments jsonb,
    OUT touched bigint, OUT returned bigint, OUT state text, OUT message text
) LANGUAGE plpgsql SECURITY INVOKER AS $$
DECLARE
    list text := (
        SELECT coalesce('(' || pg_catalog.string_agg(pg_catalog.quote_nullable(value), ', ' ORDER BY ordinality) || ')', '')
        FROM pg_catalog.jsonb_array_elements_text(arguments) WITH ORDINALITY);
BEGIN
    BEGIN
        IF arguments IS NULL THEN
            EXECUTE statement;
        ELSE
            -- Parameters take their types from the statement, and no value becomes part of its text.
            EXECUTE 'PREPARE kairanban_write AS ' || statement;
            EXECUTE 'EXECUTE kairanban_write' || list INTO returned;
            GET DIAGNOSTICS touched = ROW_COUNT;
        END IF;
    EXCEPTION WHEN OTHERS OR assert_failure THEN
        GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT;
    END;
    -- A prepared statement outlives the failure.
    IF EXISTS (SELECT FROM pg_catalog.pg_prepared_statements WHERE name = 'kairanban_write') THEN
        DEALLOCATE kairanban_write;
    END IF;
END $$;
REVOKE EXECUTE ON FUNCTION classified_write(text, jsonb) FROM PUBLIC;
