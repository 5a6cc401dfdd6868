\set ECHO none
-- What every regression test begins with: a fresh extension in schema inv and
-- some helpers in schema public.  Nothing of this shows in the output.
SET client_min_messages = error;
\o /dev/null

DROP SCHEMA IF EXISTS inv CASCADE;
DROP EXTENSION IF EXISTS inventory_reservation CASCADE;
CREATE SCHEMA inv;

-- The tests decide when holds are swept, not pg_cron.  What they print must
-- not depend on whether pg_cron is there, either.  As during a restore, an
-- extension created like this schedules nothing and has nothing to say.
SET xmloption = content;
CREATE EXTENSION inventory_reservation WITH SCHEMA inv;
RESET xmloption;

-- What came of a statement, one line a part: 'no error', or SQLSTATE with
-- message, DETAIL and HINT.  Ids and times, which differ from run to run, are
-- replaced by <id> and <time>.
CREATE OR REPLACE FUNCTION public.outcome(statement text)
RETURNS SETOF text
LANGUAGE plpgsql AS $$
DECLARE
    state text;
    message text;
    detail text;
    hint text;
BEGIN
    EXECUTE statement;
    RETURN NEXT 'no error';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE,
        message = MESSAGE_TEXT,
        detail = PG_EXCEPTION_DETAIL,
        hint = PG_EXCEPTION_HINT;
    RETURN QUERY SELECT public.outcome_lines(state, message, detail, hint);
END
$$;

-- These two must work whatever search_path a test has set.
CREATE OR REPLACE FUNCTION public.outcome_lines(state text, message text, detail text, hint text)
RETURNS SETOF text
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    RETURN NEXT public.masked(state || ': ' || message);
    IF detail <> '' THEN
        RETURN NEXT public.masked('    DETAIL: ' || detail);
    END IF;
    IF hint <> '' THEN
        RETURN NEXT public.masked('    HINT: ' || hint);
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION public.masked(line text)
RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog AS $$
SELECT regexp_replace(
        regexp_replace(line,
            '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}', '<id>', 'g'),
        '(\w{3} \w{3} \d\d \d\d:\d\d:\d\d[.\d]* \d{4} \w+'
        || '|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[.\d]*[-+]\d\d)', '<time>', 'g')
$$;

-- Every outcome in one line, for tables of calls.
CREATE OR REPLACE FUNCTION public.brief_outcome(statement text)
RETURNS text
LANGUAGE sql AS $$
SELECT line FROM public.outcome(statement) WITH ORDINALITY AS all_lines (line, nr)
 WHERE nr = 1
$$;

-- A hold that is dead by the time it is returned.
CREATE OR REPLACE FUNCTION public.dead_hold(sku text, quantity bigint DEFAULT 1)
RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
    hold inv.inv_hold;
BEGIN
    hold := inv.inv_reserve(sku, quantity, ttl => '1 millisecond');
    WHILE clock_timestamp() < hold.expires_at LOOP
        PERFORM pg_sleep(0.001);
    END LOOP;
    RETURN hold.reservation_id;
END
$$;

\o
RESET client_min_messages;
\set ECHO all
