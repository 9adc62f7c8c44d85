-- What the schema has, one row each. Of a new database this makes schema.tsv, with which others are compared.
--
-- `shape` is the same in all versions of Postgres. `printed` is text that versions may write otherwise; what a restore changes in
-- it (brackets) is left out. `repair_sql` makes it again; rows that are there already need not be as a constraint wants them.
WITH own_table AS (
    SELECT oid, relname, relnamespace, relpersistence, quote_ident(relname) AS quoted FROM pg_class
    WHERE relnamespace = quote_ident(current_schema())::regnamespace AND relkind IN ('r', 'p') AND relname <> '__diesel_schema_migrations'
), attribute AS (
    SELECT own_table.*, attnum, attname, format_type(atttypid, atttypmod) AS type, attnotnull, atthasdef, attidentity,
        format('ALTER TABLE %I ALTER COLUMN %I ', relname, attname) AS alter
    FROM own_table JOIN pg_attribute ON attrelid = own_table.oid AND attnum > 0 AND NOT attisdropped
), schema_object (rank, kind, table_name, name, shape, printed, repair_sql) AS (
    SELECT 0, 'table', '', relname::text, CASE relpersistence WHEN 'p' THEN 'logged' ELSE 'unlogged' END, '',
        format('ALTER TABLE %I SET LOGGED', relname)
    FROM own_table
UNION ALL
    SELECT 1, 'sequence', '', relname::text, format_type(seqtypid, NULL) || ' to ' || seqmax, '',
        format('ALTER SEQUENCE %I AS %s MAXVALUE %s', relname, format_type(seqtypid, NULL), seqmax)
    FROM pg_sequence JOIN pg_class ON oid = seqrelid WHERE relnamespace = quote_ident(current_schema())::regnamespace
UNION ALL
    SELECT 2, 'column', relname, attname::text, type, '', format('%1$sTYPE %2$s USING %3$I::%2$s', alter, type, attname) FROM attribute
UNION ALL
    SELECT 3, 'function', '', proname::text, concat_ws(' ', '(' || pg_get_function_identity_arguments(pg_proc.oid) || ')',
            format_type(prorettype, NULL), lanname, provolatile, encode(sha256(convert_to(prosrc, 'UTF8')), 'hex')), '', ''
    FROM pg_proc JOIN pg_language ON pg_language.oid = prolang
    WHERE pronamespace = quote_ident(current_schema())::regnamespace AND prokind = 'f'
UNION ALL
    SELECT 4, CASE attidentity WHEN '' THEN 'default' ELSE 'identity' END, relname, attname::text, attidentity::text, '',
        CASE attidentity WHEN '' THEN alter || 'SET DEFAULT ' || pg_get_expr(adbin, adrelid)
            ELSE format('%sADD GENERATED %s AS IDENTITY; SELECT setval(pg_get_serial_sequence(%L, %L), max(%I)) FROM %I', alter,
                CASE attidentity WHEN 'a' THEN 'ALWAYS' ELSE 'BY DEFAULT' END, quoted, attname, attname, relname) END
    FROM attribute LEFT JOIN pg_attrdef ON adrelid = attribute.oid AND adnum = attnum WHERE atthasdef OR attidentity <> ''
UNION ALL
    SELECT 5, 'NOT NULL', relname, attname::text, '', '', alter || 'SET NOT NULL' FROM attribute WHERE attnotnull
UNION ALL
    SELECT 6, CASE WHEN indisprimary THEN 'primary key' WHEN indisunique THEN 'unique constraint' ELSE 'index' END, own_table.relname,
        index.relname::text, amname || ' ' || CASE WHEN indisunique THEN sorted ELSE listed END
            || CASE WHEN indpred IS NULL THEN '' ELSE ' partial' END,
        translate(coalesce(pg_get_expr(indpred, indrelid), ''), E'() \n"', ''),
        CASE WHEN conname IS NULL THEN replace(pg_get_indexdef(indexrelid), format(' ON %I.', current_schema()), ' ON ')
            ELSE format('ALTER TABLE %I ADD CONSTRAINT %I %s', own_table.relname, conname, pg_get_constraintdef(pg_constraint.oid)) END
    FROM own_table JOIN pg_index ON indrelid = own_table.oid AND indisvalid AND indimmediate
    JOIN pg_class AS index ON index.oid = indexrelid JOIN pg_am ON pg_am.oid = index.relam
    LEFT JOIN pg_constraint ON conindid = indexrelid AND contype IN ('p', 'u'),
    LATERAL (SELECT string_agg(coalesce(attname::text, '?'), ',' ORDER BY at) AS listed,
            string_agg(coalesce(attname::text, '?'), ',' ORDER BY attname::text COLLATE "C") AS sorted
        FROM unnest(indkey) WITH ORDINALITY AS keys (number, at) LEFT JOIN attribute ON attribute.oid = indrelid AND attnum = number
        WHERE at <= indnkeyatts) AS columns
UNION ALL
    SELECT 7, CASE contype WHEN 'c' THEN 'CHECK' ELSE 'foreign key' END, relname, conname::text,
        CASE contype WHEN 'c' THEN '' ELSE format('%s to %s %s %s%s', of_own,
            (SELECT relname FROM pg_class WHERE oid = confrelid), of_other, confupdtype, confdeltype) END,
        CASE contype WHEN 'c' THEN translate(pg_get_expr(conbin, conrelid), E'() \n"', '') ELSE '' END,
        format('ALTER TABLE %I ADD CONSTRAINT %I %s NOT VALID', relname, conname,
            replace(pg_get_constraintdef(pg_constraint.oid), ' NOT VALID', ''))
    FROM own_table JOIN pg_constraint ON conrelid = own_table.oid AND contype IN ('c', 'f'),
    LATERAL (SELECT string_agg(attname::text, ',' ORDER BY attname::text COLLATE "C") AS of_own FROM pg_attribute
        WHERE attrelid = conrelid AND attnum = ANY (conkey)) AS own,
    LATERAL (SELECT string_agg(attname::text, ',' ORDER BY attname::text COLLATE "C") AS of_other FROM pg_attribute
        WHERE attrelid = confrelid AND attnum = ANY (confkey)) AS other
UNION ALL
    SELECT 8, 'trigger', relname, tgname::text, concat_ws(' ', tgtype,
            CASE WHEN pronamespace = relnamespace THEN proname END, tgdeferrable, tginitdeferred, tgconstraint <> 0,
            tgoldtable, tgnewtable, tgnargs, tgqual IS NOT NULL, (SELECT string_agg(attname::text, ',' ORDER BY attname::text COLLATE "C")
                FROM attribute WHERE attribute.oid = tgrelid AND attnum = ANY (tgattr::smallint[]))),
        translate(coalesce(substring(pg_get_triggerdef(pg_trigger.oid, true) FROM ' WHEN \((.*)\) EXECUTE '), ''), E'() \n"', ''), ''
    FROM own_table JOIN pg_trigger ON tgrelid = own_table.oid AND NOT tgisinternal JOIN pg_proc ON pg_proc.oid = tgfoid
)
SELECT kind, table_name, name, shape, printed, repair_sql FROM schema_object
ORDER BY rank, kind COLLATE "C", table_name COLLATE "C", name COLLATE "C"
