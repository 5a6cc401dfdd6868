-- The starter of the race; psql -v buyers=NUMBER.
--
-- Keeps the gate, an advisory lock, closed until that many buyers stand in
-- front of it, then opens it and prints how many were connected and when
-- it opened.
\set QUIET 1
\pset format unaligned
\pset tuples_only on
\set ON_ERROR_STOP 1

SELECT pg_advisory_lock(200) \g /dev/null

SELECT set_config('race.buyers', :'buyers', false) \g /dev/null
DO $$
BEGIN
    FOR attempt IN 1..1200 LOOP
        IF (SELECT count(*) FROM pg_locks
             WHERE locktype = 'advisory' AND NOT granted)
           = current_setting('race.buyers')::int
        THEN
            RETURN;
        END IF;
        PERFORM pg_sleep(0.05);
    END LOOP;
    RAISE 'not every buyer came to the start within a minute';
END
$$;

SELECT count(*), clock_timestamp()
  FROM pg_stat_activity WHERE usename = 'storefront';
SELECT pg_advisory_unlock(200) \g /dev/null
