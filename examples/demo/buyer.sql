-- One of the buyers in the race; psql -v buyer=NUMBER.
--
-- Waits at the gate (see starter.sql) until everybody is connected, asks for
-- a camera, and prints one answer and the time at which it was complete:
--
--     17,held,0197...,2
--     2025-01-31 12:00:00.123456+00
\set QUIET 1
\pset format csv
\pset tuples_only on
\set ON_ERROR_STOP 1

SELECT pg_advisory_lock_shared(200) \g /dev/null

SELECT :buyer,
       CASE WHEN reservation_id IS NULL THEN 'sold out' ELSE 'held' END,
       reservation_id,
       available
  FROM inv_try_reserve('CAMERA001', 1, key => 'race-' || :buyer,
                       customer => 'buyer-' || :buyer);

SELECT clock_timestamp();
