-- Calls among other statements: many in one, savepoints, exception blocks.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir /test/regress/setup.sql
\i :setup

SELECT inv.inv_add_item('A', unit_price => 10, currency => 'EUR') IS NOT NULL AS added,
       inv.inv_add_item('B', unit_price => 1, currency => 'EUR') IS NOT NULL AS added;
SELECT count(*) FROM inv.inv_load_stock('{A,B}', '{10,10}');
CREATE VIEW public.stock AS
SELECT sku, on_hand, reserved, available FROM inv.inv_availability ORDER BY sku;

--
-- Several calls in one statement: each sees what those before it did
--
SELECT nr, status, available FROM generate_series(1, 10) AS nr,
       LATERAL inv.inv_reserve('A', 1 + 0 * nr);
TABLE stock;
SELECT nr, reservation_id IS NULL AS none, available FROM generate_series(1, 2) AS nr,
       LATERAL inv.inv_try_reserve('A', 1 + 0 * nr);
SELECT outcome($$SELECT nr, inv.inv_reserve('A', 1 + 0 * nr) FROM generate_series(1, 2) AS nr$$);
-- all of the statement is undone when one of them fails
SELECT outcome($$SELECT inv.inv_reserve('B', 3 + 0 * nr) FROM generate_series(1, 4) AS nr$$);
TABLE stock;
-- hold, sell, pay and deliver in one statement
SELECT (inv.inv_complete_order((inv.inv_record_payment((inv.inv_confirm((
        inv.inv_reserve('B', 2)).reservation_id)).order_id, 'paid')).order_id)).status;
-- every hold of A, whatever it is
SELECT status, count(*)
  FROM inv.inv_active_holds AS hold, LATERAL inv.inv_cancel(hold.reservation_id) AS gone
 GROUP BY status;
TABLE stock;
-- the same hold twice
SELECT reservation_id AS hold FROM inv.inv_reserve('A', 5) \gset
SELECT nr, status, replayed FROM generate_series(1, 2) AS nr,
       LATERAL inv.inv_release((:'hold' || left('', nr))::uuid, 'A', 1);
SELECT nr, status, replayed FROM generate_series(1, 2) AS nr,
       LATERAL inv.inv_confirm((:'hold' || left('', nr))::uuid);
TABLE stock;
-- in a WHERE clause, in a CASE, in a subquery that is never asked
SELECT count(*) FROM generate_series(1, 3) AS nr
 WHERE (inv.inv_try_reserve('A', 2 + 0 * nr)).status = 'active';
SELECT CASE WHEN true THEN 'not asked' ELSE (inv.inv_reserve('A')).status END;
SELECT count(*) FROM inv.inv_active_holds;

-- with the shop's own rows, in one transaction
CREATE TABLE public.web_order (id int PRIMARY KEY, reservation_id uuid NOT NULL);
INSERT INTO public.web_order
SELECT nr, (inv.inv_reserve('B', 1, reference => 'web-' || nr)).reservation_id
  FROM generate_series(1, 3) AS nr;
SELECT outcome($$INSERT INTO public.web_order
                 SELECT 3, (inv.inv_reserve('B', 1)).reservation_id$$);
SELECT web_order.id, hold.reference, hold.units
  FROM public.web_order JOIN inv.inv_active_holds AS hold USING (reservation_id) ORDER BY id;
TABLE stock;

--
-- Rolled back is as if it had never been
--
BEGIN;
SELECT reservation_id AS hold FROM inv.inv_reserve('B', 4, 'rolled back') \gset
SELECT order_id FROM inv.inv_confirm(:'hold') \gset
TABLE stock;
ROLLBACK;
TABLE stock;
SELECT outcome(format('SELECT inv.inv_reservation_status(%L)', :'hold'));
SELECT outcome(format('SELECT inv.inv_order_status(%L)', :'order_id'));
SELECT count(*) FROM inv.inv_idempotency WHERE key = 'rolled back';

--
-- Savepoints
--
BEGIN;
SELECT status, available FROM inv.inv_reserve('B', 1);
SAVEPOINT one;
SELECT status, available FROM inv.inv_reserve('B', 2, 'savepoint');
SAVEPOINT two;
SELECT outcome($$SELECT inv.inv_reserve('B', 3)$$);
SELECT status, available FROM inv.inv_reserve('B', 1);
ROLLBACK TO two;
SELECT available FROM stock WHERE sku = 'B';
ROLLBACK TO one;
SELECT available FROM stock WHERE sku = 'B';
-- the key is free again
SELECT status, replayed, available FROM inv.inv_reserve('B', 3, 'savepoint');
RELEASE one;
SELECT status, replayed, available FROM inv.inv_reserve('B', 3, 'savepoint');
COMMIT;
TABLE stock;
-- what a rolled-back savepoint did to a hold
SELECT reservation_id AS hold FROM inv.inv_reserve('A', 1) \gset
BEGIN;
SAVEPOINT one;
SELECT status FROM inv.inv_cancel(:'hold');
ROLLBACK TO one;
SELECT status FROM inv.inv_reservation_status(:'hold');
SAVEPOINT two;
SELECT status FROM inv.inv_confirm(:'hold');
ROLLBACK TO two;
SELECT status FROM inv.inv_reservation_status(:'hold');
SAVEPOINT three;
SELECT inv.inv_extend(:'hold', '1 hour') > now() + interval '59 minutes' AS extended;
ROLLBACK TO three;
SELECT expires_at < now() + interval '6 minutes' AS as_before FROM inv.inv_reservation_status(:'hold');
SELECT status FROM inv.inv_cancel(:'hold');
COMMIT;
TABLE stock;
-- an error in the middle of a transaction
BEGIN;
SELECT status FROM inv.inv_reserve('B', 1);
SELECT inv.inv_reserve('NOSUCH');
SELECT inv.inv_reserve('B', 1);
SELECT inv.inv_available('B');
ROLLBACK;
TABLE stock;
SELECT * FROM inv.inv_check();

--
-- Exception blocks: what the block did is undone, what came before is not
--
DO $$
DECLARE
    hold inv.inv_hold;
    detail text;
BEGIN
    hold := inv.inv_reserve('B', 1);
    BEGIN
        PERFORM inv.inv_reserve('B', 1);
        PERFORM inv.inv_reserve('B', 1000);
    EXCEPTION WHEN SQLSTATE 'IV001' THEN
        GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
        RAISE NOTICE 'short: %', detail;
    END;
    FOR nr IN 1 .. 50 LOOP
        BEGIN
            PERFORM inv.inv_cancel(hold.reservation_id);
            RAISE EXCEPTION 'changed my mind';
        EXCEPTION WHEN raise_exception THEN
            NULL;
        END;
    END LOOP;
    PERFORM inv.inv_confirm(hold.reservation_id);
END
$$;
TABLE stock;

SELECT on_hand FROM inv.inv_receive('A', 20);
SELECT on_hand FROM inv.inv_receive('B', 20);

-- a procedure that commits between its calls
CREATE PROCEDURE public.sell(count int) LANGUAGE plpgsql AS $$
BEGIN
    FOR nr IN 1 .. count LOOP
        PERFORM inv.inv_confirm((inv.inv_reserve('A')).reservation_id);
        IF nr % 2 = 0 THEN COMMIT; ELSE ROLLBACK; END IF;
    END LOOP;
END
$$;
CALL public.sell(4);
TABLE stock;

-- prepared statements, and cursors that hold the caller's old snapshot
PREPARE hold(text, bigint) AS SELECT status, available FROM inv.inv_reserve($1, $2);
EXECUTE hold('A', 1);
EXECUTE hold('A', 1);
BEGIN;
DECLARE walk CURSOR FOR SELECT (inv.inv_try_reserve('B', 1 + 0 * nr)).available FROM generate_series(1, 5) AS nr;
FETCH 1 FROM walk;
SELECT available FROM inv.inv_reserve('B', 1);
FETCH 1 FROM walk;
CLOSE walk;
COMMIT;
TABLE stock;
DEALLOCATE hold;

-- in a transaction with one snapshot for its whole life one sees one's own writes
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT status, available FROM inv.inv_reserve('B', 1);
SELECT status, available FROM inv.inv_try_reserve('B', 100);
SELECT status FROM inv.inv_cancel((inv.inv_reserve('B', 1)).reservation_id);
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT status, available FROM inv.inv_reserve_cart('{A,B}', '{1,1}', 'serializable');
SELECT status, replayed FROM inv.inv_reserve_cart('{A,B}', '{1,1}', 'serializable');
COMMIT;

-- what is sold out is refused without a transaction id, key or not
SELECT inv.inv_add_item('SOLD OUT', currency => 'EUR') IS NOT NULL AS added;
BEGIN;
SELECT reservation_id, available FROM inv.inv_try_reserve('SOLD OUT', key => 'no');
SELECT shortages FROM inv.inv_try_reserve_cart('{A,SOLD OUT}', '{1,1}', 'no');
SELECT pg_current_xact_id_if_assigned() IS NULL AS cheap;
COMMIT;

-- calls as a default, in a RETURNING clause
CREATE TABLE public.basket (id int, hold uuid DEFAULT (inv.inv_reserve('A')).reservation_id);
INSERT INTO public.basket (id) VALUES (1) RETURNING hold IS NOT NULL AS held;
UPDATE public.basket SET id = 2 RETURNING (inv.inv_cancel(hold)).status;
-- a call sees what its own statement has written by hand
INSERT INTO inv.inv_item (sku, unit_price) VALUES ('BY HAND', 5)
RETURNING (inv.inv_receive(sku, 5)).on_hand, (inv.inv_reserve(sku, 2)).available;

DROP TABLE public.basket, public.web_order;
DROP PROCEDURE public.sell;
DROP VIEW public.stock;
SELECT * FROM inv.inv_check();
