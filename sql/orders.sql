-- The machines of reservation, order and payment: every move, legal or not.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir /test/regress/setup.sql
\i :setup

SELECT inv.inv_add_item('A', unit_price => 10, currency => 'EUR') IS NOT NULL AS added;
SELECT inv.inv_receive('A', 1000000) IS NOT NULL AS received;

--
-- The reservation: from each status, each call
--
CREATE FUNCTION public.reservation_in(status text) RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
    id uuid;
BEGIN
    IF status LIKE 'expired%' THEN
        id := public.dead_hold('A', 2);
        IF status = 'expired, swept' THEN
            PERFORM inv.inv_expire();
        END IF;
        RETURN id;
    END IF;
    id := (inv.inv_reserve('A', 2)).reservation_id;
    CASE status
        WHEN 'active' THEN NULL;
        WHEN 'confirmed' THEN PERFORM inv.inv_confirm(id);
        WHEN 'cancelled' THEN PERFORM inv.inv_cancel(id);
        WHEN 'released' THEN PERFORM inv.inv_release(id, 'A', 2);
    END CASE;
    RETURN id;
END
$$;

CREATE FUNCTION public.reservation_moves()
RETURNS TABLE (before text, call text, outcome text, after text)
LANGUAGE plpgsql AS $$
DECLARE
    moves text[] := ARRAY[
        'SELECT status, replayed FROM inv.inv_confirm(%L)',
        'SELECT status, replayed FROM inv.inv_cancel(%L)',
        'SELECT status, replayed FROM inv.inv_release(%L, ''A'', 1)',
        'SELECT status, replayed FROM inv.inv_release(%L, ''A'', 2)',
        'SELECT ''later'', inv.inv_extend(%L, ''1 hour'') < now()'];
    from_status text;
    move text;
    id uuid;
BEGIN
    FOREACH from_status IN ARRAY ARRAY['active', 'confirmed', 'cancelled', 'released',
                                       'expired, not swept', 'expired, swept'] LOOP
        FOREACH move IN ARRAY moves LOOP
            id := public.reservation_in(from_status);
            before := from_status;
            call := substring(move FROM 'inv_\w+\([^)]*\)');
            BEGIN
                EXECUTE format('SELECT format(''%%s, replayed %%s'', one, two) FROM (%s) AS result (one, two)',
                               format(move, id)) INTO outcome;
                after := (inv.inv_reservation_status(id)).status;
                RETURN NEXT;
            EXCEPTION WHEN SQLSTATE 'IV002' OR SQLSTATE 'IV003' OR SQLSTATE 'IV008' THEN
                after := (inv.inv_reservation_status(id)).status;
                FOR outcome IN SELECT public.outcome(format(move, id)) LOOP
                    RETURN NEXT;
                    before := NULL;
                    call := NULL;
                    after := NULL;
                END LOOP;
            END;
        END LOOP;
    END LOOP;
END
$$;
SELECT * FROM public.reservation_moves();

--
-- The order: from each status, each call
--
CREATE FUNCTION public.order_in(status text, payment text DEFAULT 'pending')
RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
    id uuid;
BEGIN
    SELECT made.order_id INTO id
      FROM inv.inv_confirm((inv.inv_reserve('A', 2)).reservation_id) AS made;
    CASE payment
        WHEN 'pending' THEN NULL;
        WHEN 'paid' THEN PERFORM inv.inv_record_payment(id, 'paid');
        WHEN 'failed' THEN PERFORM inv.inv_record_payment(id, 'failed');
        WHEN 'refunded' THEN
            PERFORM inv.inv_record_payment(id, 'paid');
            PERFORM inv.inv_record_payment(id, 'refunded');
    END CASE;
    CASE status
        WHEN 'confirmed' THEN NULL;
        WHEN 'completed' THEN PERFORM inv.inv_complete_order(id);
        WHEN 'cancelled' THEN PERFORM inv.inv_cancel_order(id);
        WHEN 'returned in part' THEN PERFORM inv.inv_return(id, 'A', 1);
        WHEN 'returned whole' THEN PERFORM inv.inv_return(id, 'A', 2);
        WHEN 'completed, returned whole' THEN
            PERFORM inv.inv_complete_order(id);
            PERFORM inv.inv_return(id, 'A', 2);
    END CASE;
    RETURN id;
END
$$;

CREATE FUNCTION public.order_moves()
RETURNS TABLE (before text, call text, outcome text, after text, back_on_hand bigint)
LANGUAGE plpgsql AS $$
DECLARE
    id uuid;
    calls text[] := ARRAY['inv_cancel_order(%L)', 'inv_complete_order(%L)',
                          'inv_return(%L, ''A'', 1)', 'inv_return(%L, ''A'', 2)',
                          'inv_return(%L, ''A'', 3)'];
    template text;
BEGIN
    FOREACH before IN ARRAY ARRAY['confirmed', 'returned in part', 'returned whole',
                                  'completed', 'completed, returned whole', 'cancelled'] LOOP
        FOREACH template IN ARRAY calls LOOP
            id := public.order_in(before);
            SELECT -on_hand INTO back_on_hand FROM inv.inv_stock;
            outcome := public.brief_outcome(format('SELECT inv.' || template, id));
            SELECT back_on_hand + on_hand INTO back_on_hand FROM inv.inv_stock;
            call := format(template, '...');
            after := (inv.inv_order_status(id)).status;
            RETURN NEXT;
        END LOOP;
    END LOOP;
END
$$;
SELECT * FROM public.order_moves();

-- what can be done with the sold reservation of such an order
CREATE TABLE public.sold AS
SELECT nr, before, order_in(before) AS order_id
  FROM unnest('{confirmed,completed,cancelled}'::text[]) WITH ORDINALITY AS made (before, nr);
SELECT before, outcome
  FROM public.sold JOIN inv.inv_order USING (order_id),
       LATERAL outcome(format('SELECT inv.inv_cancel(%L)', reservation_id))
 ORDER BY nr;
-- a repeated confirm answers the order's status as of now
SELECT before, made.status, made.replayed, made.total
  FROM public.sold JOIN inv.inv_order USING (order_id),
       LATERAL inv.inv_confirm(reservation_id) AS made
 ORDER BY nr;
DROP TABLE public.sold;
-- the reservation of a cancelled order stays confirmed: its lines are the order's
SELECT (inv.inv_reservation_status(reservation_id)).status
  FROM inv.inv_order WHERE status = 'cancelled' LIMIT 1;

--
-- The payment: from each status to each
--
CREATE FUNCTION public.payment_moves()
RETURNS TABLE (before text, move text, outcome text, after text)
LANGUAGE plpgsql AS $$
DECLARE
    id uuid;
BEGIN
    FOREACH before IN ARRAY ARRAY['pending', 'paid', 'failed', 'refunded'] LOOP
        FOREACH move IN ARRAY ARRAY['pending', 'paid', 'failed', 'refunded'] LOOP
            id := public.order_in('confirmed', before);
            outcome := public.brief_outcome(format('SELECT inv.inv_record_payment(%L, %L)', id, move));
            after := (inv.inv_order_status(id)).payment_status;
            RETURN NEXT;
        END LOOP;
    END LOOP;
END
$$;
SELECT * FROM public.payment_moves();

-- the order's own status does not stand in the way of money
SELECT before, (inv.inv_record_payment(order_in(before, 'paid'), 'refunded')).payment_status
  FROM unnest('{confirmed,completed,cancelled}'::text[]) AS before;
SELECT before, (inv.inv_record_payment(order_in(before, 'failed'), 'paid')).payment_status
  FROM unnest('{confirmed,completed,cancelled}'::text[]) AS before;

-- the same status again is a replay, which changes nothing
SELECT inv.inv_record_payment(order_in('confirmed', 'paid'), 'paid') AS again \gset
SELECT (:'again'::inv.inv_order).payment_status;
SELECT order_in('completed') AS completed \gset
SELECT updated_at, completed_at FROM inv.inv_order WHERE order_id = :'completed' \gset
SELECT updated_at::text = :'updated_at' AS not_updated, completed_at::text = :'completed_at' AS same_time
  FROM inv.inv_complete_order(:'completed');
SELECT order_in('cancelled') AS cancelled \gset
SELECT updated_at, cancelled_at FROM inv.inv_order WHERE order_id = :'cancelled' \gset
SELECT updated_at::text = :'updated_at' AS not_updated, cancelled_at::text = :'cancelled_at' AS same_time
  FROM inv.inv_cancel_order(:'cancelled');

-- words that are no status
SELECT order_in('confirmed') AS confirmed \gset
SELECT status, outcome
  FROM unnest('{"",PAID,unknown,NULL}'::text[]) AS status,
       LATERAL outcome(format('SELECT inv.inv_record_payment(%L, %L)', :'confirmed', status));

-- a confirm may say how the payment stands
SELECT word, outcome
  FROM unnest('{pending,paid,failed,refunded,PAID,"",NULL}'::text[]) AS word,
       LATERAL (SELECT reservation_id FROM inv.inv_reserve('A')) AS hold,
       LATERAL outcome(format('SELECT inv.inv_confirm(%L, payment_status => %L)',
                              hold.reservation_id, word));
SELECT * FROM inv.inv_reserve('A') \gset
SELECT * FROM inv.inv_confirm(:'reservation_id', payment_status => 'paid') \gset
SELECT payment_status FROM inv.inv_order_status(:'order_id');

--
-- Whose hold it is
--
SELECT * FROM inv.inv_reserve('A', customer => 'ann') \gset
SELECT outcome(format('SELECT inv.inv_confirm(%L, customer => %L)', :'reservation_id', 'bob'));
SELECT outcome(format('SELECT inv.inv_cancel(%L, customer => %L)', :'reservation_id', 'bob'));
SELECT status FROM inv.inv_reservation_status(:'reservation_id');
SELECT status, replayed FROM inv.inv_confirm(:'reservation_id', customer => 'ann');
-- nor does a replay tell bob anything
SELECT outcome(format('SELECT inv.inv_confirm(%L, customer => %L)', :'reservation_id', 'bob'));
-- whoever names nobody is the shop
SELECT status, replayed FROM inv.inv_confirm(:'reservation_id');
-- a hold of nobody is not ann's
SELECT * FROM inv.inv_reserve('A') \gset
SELECT outcome(format('SELECT inv.inv_confirm(%L, customer => %L)', :'reservation_id', 'ann'));
SELECT * FROM inv.inv_reserve('A', customer => 'ann') \gset
SELECT status FROM inv.inv_cancel(:'reservation_id', customer => 'ann');

--
-- Ids that do not exist
--
SELECT call, outcome
  FROM unnest(ARRAY['inv_confirm(%L)', 'inv_cancel(%L)', 'inv_release(%L, ''A'', 1)',
                    'inv_extend(%L)', 'inv_reservation_status(%L)',
                    'inv_order_status(%L)', 'inv_cancel_order(%L)',
                    'inv_return(%L, ''A'', 1)', 'inv_complete_order(%L)',
                    'inv_record_payment(%L, ''paid'')']) AS call,
       LATERAL outcome(format('SELECT inv.' || call,
                              '00000000-0000-7000-8000-000000000000'));
-- the id of a reservation is not the id of an order
SELECT outcome(format('SELECT inv.inv_order_status(%L)', :'reservation_id'));
SELECT outcome(format('SELECT inv.inv_complete_order(%L)', :'reservation_id'));

DROP FUNCTION public.reservation_in, public.reservation_moves,
    public.order_in, public.order_moves, public.payment_moves;
SELECT * FROM inv.inv_check();
