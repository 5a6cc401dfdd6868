-- The schema as promised: what applications, dumps and the library rely on.
-- A difference here is a change of the interface.
BEGIN;
SET client_min_messages = warning;
CREATE SCHEMA inv;
-- as in a restore, so that it makes no cron job and has nothing to say
SET LOCAL xmloption = content;
CREATE EXTENSION inventory_reservation WITH SCHEMA inv;
-- names of types and functions are shown without it
SET LOCAL search_path = public, inv;

SELECT no_plan();

CREATE TEMP VIEW member AS
SELECT depend.classid, depend.objid,
       pg_describe_object(depend.classid, depend.objid, 0) AS description
  FROM pg_depend AS depend
  JOIN pg_extension AS extension ON extension.oid = depend.refobjid
 WHERE depend.refclassid = 'pg_extension'::regclass
   AND depend.deptype = 'e'
   AND extension.extname = 'inventory_reservation'
   -- 17 and later have the types of rows and arrays as members, too; those come
   -- with what they are the types of
   AND NOT EXISTS (SELECT FROM pg_depend AS part
                    WHERE depend.classid = 'pg_type'::regclass
                      AND part.classid = depend.classid AND part.objid = depend.objid
                      AND part.deptype = 'i');

--
-- The extension itself
--
SELECT has_extension('inv', 'inventory_reservation', 'the extension is in the schema that was named');
SELECT is(extrelocatable, false, 'it does not move by itself')
  FROM pg_extension WHERE extname = 'inventory_reservation';
SELECT is(extversion, default_version, 'its version is the control file''s')
  FROM pg_extension JOIN pg_available_extensions ON name = extname
 WHERE extname = 'inventory_reservation';
SELECT is(obj_description(oid, 'pg_extension'), 'atomic reservation of stock, inside the database',
          'it says what it is')
  FROM pg_extension WHERE extname = 'inventory_reservation';

--
-- Tables
--
SELECT tables_are('inv', ARRAY[
    'inv_item', 'inv_location', 'inv_stock', 'inv_reservation', 'inv_idempotency',
    'inv_order', 'inv_ledger', 'inv_ledger_epoch', 'inv_ledger_hour', 'inv_opening_balance', 'inv_progress',
    'inv_stock_state', 'inv_ledger_balance', 'inv_customer_line', 'inv_waitlist',
    'inv_reconciliation', 'inv_backorder']);

-- columns in their order, on which the library relies
CREATE FUNCTION pg_temp.columns_of(name text)
RETURNS TABLE (column_name text, type text, nullable text, default_value text)
LANGUAGE sql AS $$
SELECT attname::text, format_type(atttypid, atttypmod),
       CASE WHEN attnotnull THEN 'not null' ELSE 'null' END,
       CASE attidentity WHEN 'd' THEN 'identity' ELSE coalesce(pg_get_expr(adbin, adrelid), '') END
  FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
 WHERE attrelid = ('inv.' || name)::regclass AND attnum > 0 AND NOT attisdropped
 ORDER BY attnum
$$;

SELECT results_eq($$SELECT * FROM pg_temp.columns_of('inv_item')$$, $$VALUES
    ('item_id', 'bigint', 'not null', 'identity'),
    ('sku', 'text', 'not null', ''),
    ('name', 'text', 'null', ''),
    ('unit_price', 'numeric', 'not null', '0'),
    ('currency', 'text', 'null', ''),
    ('listed_until', 'timestamp with time zone', 'null', ''),
    ('selling', 'boolean', 'not null', 'true'),
    ('hold_ttl', 'interval', 'null', ''),
    ('max_per_customer', 'bigint', 'null', ''),
    ('limit_window', 'interval', 'null', ''),
    ('attributes', 'jsonb', 'null', ''),
    ('created_at', 'timestamp with time zone', 'not null', 'clock_timestamp()')$$,
    'columns of inv_item');
SELECT results_eq($$SELECT * FROM pg_temp.columns_of('inv_location')$$, $$VALUES
    ('location_id', 'integer', 'not null', 'identity'),
    ('code', 'text', 'not null', ''),
    ('name', 'text', 'null', ''),
    ('priority', 'integer', 'not null', '0'),
    ('created_at', 'timestamp with time zone', 'not null', 'clock_timestamp()')$$,
    'columns of inv_location');
SELECT results_eq($$SELECT * FROM pg_temp.columns_of('inv_stock')$$, $$VALUES
    ('item_id', 'bigint', 'not null', ''),
    ('location_id', 'integer', 'not null', ''),
    ('stripe', 'integer', 'not null', '0'),
    ('on_hand', 'bigint', 'not null', '0'),
    ('reserved', 'bigint', 'not null', '0'),
    ('min_available', 'bigint', 'not null', '0'),
    ('backorder_unlimited', 'boolean', 'not null', 'false'),
    ('retired', 'boolean', 'not null', 'false'),
    ('version', 'bigint', 'not null', '1'),
    ('updated_at', 'timestamp with time zone', 'not null', 'clock_timestamp()'),
    ('earliest_expiry', 'timestamp with time zone', 'not null', '''infinity''::timestamp with time zone'),
    ('waiting', 'boolean', 'not null', 'false')$$,
    'columns of inv_stock');
SELECT results_eq($$SELECT * FROM pg_temp.columns_of('inv_reservation')$$, $$VALUES
    ('reservation_id', 'uuid', 'not null', ''),
    ('line_no', 'integer', 'not null', ''),
    ('item_id', 'bigint', 'not null', ''),
    ('location_id', 'integer', 'not null', ''),
    ('stripe', 'integer', 'not null', ''),
    ('quantity', 'bigint', 'not null', ''),
    ('returned', 'bigint', 'not null', '0'),
    ('unit_price', 'numeric', 'not null', ''),
    ('currency', 'text', 'null', ''),
    ('status', 'text', 'not null', ''),
    ('customer', 'text', 'null', ''),
    ('reference', 'text', 'null', ''),
    ('expires_at', 'timestamp with time zone', 'not null', ''),
    ('created_at', 'timestamp with time zone', 'not null', ''),
    ('closed_at', 'timestamp with time zone', 'null', ''),
    ('metadata', 'jsonb', 'null', '')$$,
    'columns of inv_reservation');
SELECT results_eq($$SELECT * FROM pg_temp.columns_of('inv_backorder')$$, $$VALUES
    ('reservation_id', 'uuid', 'not null', ''),
    ('line_no', 'integer', 'not null', ''),
    ('item_id', 'bigint', 'not null', ''),
    ('location_id', 'integer', 'not null', ''),
    ('quantity', 'bigint', 'not null', ''),
    ('since', 'timestamp with time zone', 'not null', '')$$,
    'columns of inv_backorder');
SELECT results_eq($$SELECT * FROM pg_temp.columns_of('inv_idempotency')$$, $$VALUES
    ('scope', 'text', 'not null', ''),
    ('key', 'text', 'not null', ''),
    ('request', 'jsonb', 'not null', ''),
    ('reservation_id', 'uuid', 'null', ''),
    ('order_id', 'uuid', 'null', ''),
    ('created_at', 'timestamp with time zone', 'not null', '')$$,
    'columns of inv_idempotency');
SELECT results_eq($$SELECT * FROM pg_temp.columns_of('inv_order')$$, $$VALUES
    ('order_id', 'uuid', 'not null', ''),
    ('reservation_id', 'uuid', 'not null', ''),
    ('customer', 'text', 'null', ''),
    ('reference', 'text', 'null', ''),
    ('total', 'numeric', 'not null', ''),
    ('currency', 'text', 'null', ''),
    ('status', 'text', 'not null', ''),
    ('payment_status', 'text', 'not null', ''),
    ('created_at', 'timestamp with time zone', 'not null', ''),
    ('updated_at', 'timestamp with time zone', 'not null', ''),
    ('completed_at', 'timestamp with time zone', 'null', ''),
    ('cancelled_at', 'timestamp with time zone', 'null', '')$$,
    'columns of inv_order');
SELECT results_eq($$SELECT * FROM pg_temp.columns_of('inv_ledger')$$, $$VALUES
    ('entry_id', 'bigint', 'not null', 'identity'),
    ('at', 'timestamp with time zone', 'not null', ''),
    ('xid', 'xid8', 'not null', ''),
    ('operation', 'text', 'not null', ''),
    ('item_id', 'bigint', 'not null', ''),
    ('location_id', 'integer', 'not null', ''),
    ('stripe', 'integer', 'not null', ''),
    ('delta_on_hand', 'bigint', 'not null', ''),
    ('delta_reserved', 'bigint', 'not null', ''),
    ('on_hand_after', 'bigint', 'not null', ''),
    ('reserved_after', 'bigint', 'not null', ''),
    ('reservation_id', 'uuid', 'null', ''),
    ('order_id', 'uuid', 'null', ''),
    ('login_role', 'text', 'not null', ''),
    ('caller_role', 'text', 'not null', ''),
    ('reason', 'text', 'null', ''),
    ('epoch', 'integer', 'not null', '')$$,
    'columns of inv_ledger');
SELECT results_eq($$SELECT * FROM pg_temp.columns_of('inv_ledger_epoch')$$, $$VALUES
    ('epoch', 'integer', 'not null', ''),
    ('system_identifier', 'bigint', 'not null', ''),
    ('timeline', 'integer', 'not null', ''),
    ('began_at', 'timestamp with time zone', 'not null', ''),
    ('xid', 'xid8', 'not null', '')$$,
    'columns of inv_ledger_epoch');
SELECT results_eq($$SELECT * FROM pg_temp.columns_of('inv_ledger_hour')$$, $$VALUES
    ('hour', 'timestamp with time zone', 'not null', ''),
    ('epoch', 'integer', 'not null', ''),
    ('first_xid', 'xid8', 'not null', ''),
    ('last_xid', 'xid8', 'not null', '')$$,
    'columns of inv_ledger_hour');
SELECT results_eq($$SELECT * FROM pg_temp.columns_of('inv_stock_state')$$, $$VALUES
    ('item_id', 'bigint', 'not null', ''),
    ('location_id', 'integer', 'not null', ''),
    ('in_stock', 'boolean', 'not null', ''),
    ('changed_at', 'timestamp with time zone', 'not null', '')$$,
    'columns of inv_stock_state');
SELECT results_eq($$SELECT * FROM pg_temp.columns_of('inv_opening_balance')$$, $$VALUES
    ('item_id', 'bigint', 'not null', ''),
    ('location_id', 'integer', 'not null', ''),
    ('stripe', 'integer', 'not null', ''),
    ('on_hand', 'bigint', 'not null', ''),
    ('reserved', 'bigint', 'not null', '')$$,
    'columns of inv_opening_balance');
SELECT results_eq($$SELECT * FROM pg_temp.columns_of('inv_ledger_balance')$$, $$VALUES
    ('item_id', 'bigint', 'not null', ''),
    ('location_id', 'integer', 'not null', ''),
    ('stripe', 'integer', 'not null', ''),
    ('on_hand', 'bigint', 'not null', ''),
    ('reserved', 'bigint', 'not null', ''),
    ('generation', 'bigint', 'not null', '')$$,
    'columns of inv_ledger_balance');
SELECT results_eq($$SELECT * FROM pg_temp.columns_of('inv_progress')$$, $$VALUES
    ('task', 'text', 'not null', ''),
    ('epoch', 'integer', 'null', ''),
    ('xid', 'xid8', 'null', ''),
    ('entry_id', 'bigint', 'null', ''),
    ('detail', 'jsonb', 'null', ''),
    ('updated_at', 'timestamp with time zone', 'not null', '')$$,
    'columns of inv_progress');
SELECT results_eq($$SELECT * FROM pg_temp.columns_of('inv_customer_line')$$, $$VALUES
    ('item_id', 'bigint', 'not null', ''),
    ('customer', 'text', 'not null', ''),
    ('reservation_id', 'uuid', 'not null', ''),
    ('line_no', 'integer', 'not null', '')$$,
    'columns of inv_customer_line');
SELECT results_eq($$SELECT * FROM pg_temp.columns_of('inv_waitlist')$$, $$VALUES
    ('entry_id', 'bigint', 'not null', 'identity'),
    ('item_id', 'bigint', 'not null', ''),
    ('location_id', 'integer', 'not null', '0'),
    ('quantity', 'bigint', 'not null', ''),
    ('customer', 'text', 'not null', ''),
    ('joined_at', 'timestamp with time zone', 'not null', ''),
    ('state', 'text', 'not null', ''),
    ('reservation_id', 'uuid', 'null', '')$$,
    'columns of inv_waitlist');
SELECT results_eq($$SELECT * FROM pg_temp.columns_of('inv_reconciliation')$$, $$VALUES
    ('run', 'bigint', 'not null', ''),
    ('row', 'integer', 'not null', ''),
    ('at', 'timestamp with time zone', 'not null', ''),
    ('since', 'timestamp with time zone', 'not null', ''),
    ('finding', 'text', 'not null', ''),
    ('item_id', 'bigint', 'null', ''),
    ('location_id', 'integer', 'null', ''),
    ('stripe', 'integer', 'null', ''),
    ('reservation_id', 'uuid', 'null', ''),
    ('order_id', 'uuid', 'null', ''),
    ('found', 'text', 'null', ''),
    ('expected', 'text', 'null', ''),
    ('action', 'text', 'null', ''),
    ('scope', 'text', 'null', ''),
    ('key', 'text', 'null', '')$$,
    'columns of inv_reconciliation');

-- texts that are compared are compared byte by byte, on every server alike
SELECT set_eq($$SELECT attrelid::regclass || '.' || attname
                  FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
                 WHERE relnamespace = 'inv'::regnamespace AND relkind = 'r'
                   AND attcollation <> 0 AND attcollation <> '"C"'::regcollation$$,
              $$VALUES ('inv_item.name'), ('inv_location.name'), ('inv_ledger.reason'),
                       ('inv_reconciliation.found'), ('inv_reconciliation.expected'),
                       ('inv_reconciliation.action')$$,
              'only texts for people have the database''s collation');

SELECT col_is_pk('inv', 'inv_item', 'item_id', 'key of inv_item');
SELECT col_is_pk('inv', 'inv_location', 'location_id', 'key of inv_location');
SELECT col_is_pk('inv', 'inv_stock', ARRAY['item_id', 'location_id', 'stripe'], 'key of inv_stock');
SELECT col_is_pk('inv', 'inv_reservation', ARRAY['reservation_id', 'line_no'], 'key of inv_reservation');
SELECT col_is_pk('inv', 'inv_backorder', ARRAY['reservation_id', 'line_no'], 'key of inv_backorder');
SELECT col_is_pk('inv', 'inv_idempotency', ARRAY['scope', 'key'], 'key of inv_idempotency');
SELECT col_is_pk('inv', 'inv_order', 'order_id', 'key of inv_order');
SELECT col_is_pk('inv', 'inv_ledger', ARRAY['epoch', 'xid', 'entry_id'], 'key of inv_ledger');
SELECT col_is_pk('inv', 'inv_ledger_hour', ARRAY['hour', 'epoch'], 'key of inv_ledger_hour');
SELECT col_is_pk('inv', 'inv_opening_balance', ARRAY['item_id', 'location_id', 'stripe'], 'key of inv_opening_balance');
SELECT col_is_pk('inv', 'inv_stock_state', ARRAY['item_id', 'location_id'], 'key of inv_stock_state');
SELECT col_is_pk('inv', 'inv_ledger_balance', ARRAY['item_id', 'location_id', 'stripe'], 'key of inv_ledger_balance');
SELECT col_is_pk('inv', 'inv_progress', 'task', 'key of inv_progress');
SELECT col_is_pk('inv', 'inv_waitlist', 'entry_id', 'key of inv_waitlist');
SELECT col_is_pk('inv', 'inv_reconciliation', ARRAY['run', 'row'], 'key of inv_reconciliation');
SELECT col_is_unique('inv', 'inv_item', ARRAY['sku'], 'a SKU is one item');
SELECT col_is_unique('inv', 'inv_location', ARRAY['code'], 'a code is one location');
SELECT col_is_unique('inv', 'inv_order', ARRAY['reservation_id'], 'a reservation is sold once');

SELECT set_eq($$SELECT pg_get_indexdef(indexrelid)
                  FROM pg_index JOIN pg_class ON pg_class.oid = indrelid
                 WHERE relnamespace = 'inv'::regnamespace$$, $$VALUES
    ('CREATE INDEX inv_backorder_queue ON inv.inv_backorder USING btree (item_id, location_id, since, reservation_id, line_no)'),
    ('CREATE INDEX inv_idempotency_age ON inv.inv_idempotency USING btree (created_at)'),
    ('CREATE INDEX inv_order_open ON inv.inv_order USING btree (created_at) WHERE (status = ''confirmed''::text)'),
    ('CREATE INDEX inv_reservation_closed ON inv.inv_reservation USING btree (closed_at) WHERE (status = ANY (ARRAY[''cancelled''::text, ''expired''::text]))'),
    ('CREATE INDEX inv_reservation_confirming ON inv.inv_reservation USING btree (item_id, location_id, stripe) WHERE (status = ''confirming''::text)'),
    ('CREATE INDEX inv_reservation_expiry ON inv.inv_reservation USING btree (expires_at) WHERE (status = ''active''::text)'),
    ('CREATE INDEX inv_reservation_held ON inv.inv_reservation USING btree (item_id, location_id, expires_at, stripe) WHERE (status = ''active''::text)'),
    ('CREATE INDEX inv_stock_striped ON inv.inv_stock USING btree (item_id, location_id) WHERE (stripe = 2048)'),
    ('CREATE UNIQUE INDEX inv_customer_line_pkey ON inv.inv_customer_line USING btree (item_id, customer, reservation_id, line_no)'),
    ('CREATE UNIQUE INDEX inv_backorder_pkey ON inv.inv_backorder USING btree (reservation_id, line_no)'),
    ('CREATE UNIQUE INDEX inv_idempotency_pkey ON inv.inv_idempotency USING btree (scope, key)'),
    ('CREATE UNIQUE INDEX inv_item_pkey ON inv.inv_item USING btree (item_id)'),
    ('CREATE UNIQUE INDEX inv_item_sku_key ON inv.inv_item USING btree (sku)'),
    ('CREATE UNIQUE INDEX inv_ledger_pkey ON inv.inv_ledger USING btree (epoch, xid, entry_id)'),
    ('CREATE UNIQUE INDEX inv_ledger_hour_pkey ON inv.inv_ledger_hour USING btree (hour, epoch)'),
    ('CREATE UNIQUE INDEX inv_ledger_balance_pkey ON inv.inv_ledger_balance USING btree (item_id, location_id, stripe)'),
    ('CREATE UNIQUE INDEX inv_location_code_key ON inv.inv_location USING btree (code)'),
    ('CREATE UNIQUE INDEX inv_location_pkey ON inv.inv_location USING btree (location_id)'),
    ('CREATE UNIQUE INDEX inv_opening_balance_pkey ON inv.inv_opening_balance USING btree (item_id, location_id, stripe)'),
    ('CREATE UNIQUE INDEX inv_progress_pkey ON inv.inv_progress USING btree (task)'),
    ('CREATE UNIQUE INDEX inv_order_pkey ON inv.inv_order USING btree (order_id)'),
    ('CREATE UNIQUE INDEX inv_order_reservation_id_key ON inv.inv_order USING btree (reservation_id)'),
    ('CREATE UNIQUE INDEX inv_reconciliation_pkey ON inv.inv_reconciliation USING btree (run, "row")'),
    ('CREATE UNIQUE INDEX inv_reservation_pkey ON inv.inv_reservation USING btree (reservation_id, line_no)'),
    ('CREATE UNIQUE INDEX inv_stock_pkey ON inv.inv_stock USING btree (item_id, location_id, stripe)'),
    ('CREATE UNIQUE INDEX inv_stock_state_pkey ON inv.inv_stock_state USING btree (item_id, location_id)'),
    ('CREATE INDEX inv_waitlist_customer ON inv.inv_waitlist USING btree (item_id, location_id, customer, entry_id)'),
    ('CREATE INDEX inv_waitlist_line ON inv.inv_waitlist USING btree (item_id, location_id, entry_id) WHERE (state = ''waiting''::text)'),
    ('CREATE UNIQUE INDEX inv_waitlist_offer ON inv.inv_waitlist USING btree (reservation_id) WHERE (reservation_id IS NOT NULL)'),
    ('CREATE UNIQUE INDEX inv_waitlist_pkey ON inv.inv_waitlist USING btree (entry_id)')$$,
    'indexes');

SELECT set_eq($$SELECT conrelid::regclass || ' ' || conname FROM pg_constraint
                 WHERE connamespace = 'inv'::regnamespace AND contype = 'c'$$, $$VALUES
    ('inv_backorder inv_backorder_quantity_in_range'),
    ('inv_idempotency inv_idempotency_key_length'),
    ('inv_item inv_item_currency_code'),
    ('inv_item inv_item_hold_ttl_is_positive'),
    ('inv_item inv_item_limit_window_is_positive'),
    ('inv_item inv_item_max_per_customer_is_positive'),
    ('inv_item inv_item_sku_length'),
    ('inv_item inv_item_unit_price_is_money'),
    ('inv_location inv_location_code_length'),
    ('inv_location inv_location_default_is_zero'),
    ('inv_order inv_order_payment_status_is_known'),
    ('inv_order inv_order_status_is_known'),
    ('inv_reservation inv_reservation_quantity_in_range'),
    ('inv_reservation inv_reservation_returned_in_range'),
    ('inv_reservation inv_reservation_status_is_known'),
    ('inv_stock inv_stock_in_range'),
    ('inv_stock inv_stock_never_oversold'),
    ('inv_waitlist inv_waitlist_offer_is_a_hold'),
    ('inv_waitlist inv_waitlist_quantity_in_range'),
    ('inv_waitlist inv_waitlist_state_is_known')$$,
    'checks');

SELECT is_empty($$SELECT conname FROM pg_constraint
                   WHERE connamespace = 'inv'::regnamespace AND contype = 'f'$$,
                'no foreign keys: they lock the row they point to');
SELECT results_eq($$SELECT tgname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
                     WHERE relnamespace = 'inv'::regnamespace$$,
                  $$VALUES ('inv_location_changed'::name)$$,
                  'one trigger, of locations; others are the shop''s to make');
SELECT isnt(obj_description((SELECT oid FROM pg_trigger WHERE tgname = 'inv_location_changed'), 'pg_trigger'),
            NULL, 'comment on it');
SELECT is_empty($$SELECT rulename FROM pg_rules
                   WHERE schemaname = 'inv' AND rulename <> '_RETURN'$$, 'no rules');
SELECT is(reloptions, '{fillfactor=50}', 'hot rows have room for their next version')
  FROM pg_class WHERE oid = 'inv.inv_stock'::regclass;
SELECT is_empty($$SELECT relname FROM pg_class
                   WHERE relnamespace = 'inv'::regnamespace AND relkind = 'r'
                     AND relpersistence <> 'p'$$, 'all tables survive a crash and reach the standby');
SELECT is_empty($$SELECT relname FROM pg_class
                   WHERE relnamespace = 'inv'::regnamespace AND relkind = 'r'
                     AND relreplident <> 'd'$$, 'all tables can be replicated by their keys');

-- nothing is seeded: it would collide with the same row in a dump
SELECT is_empty(format('SELECT * FROM inv.%I', relname), relname || ' begins empty')
  FROM pg_class WHERE relnamespace = 'inv'::regnamespace AND relkind = 'r'
 ORDER BY relname;

--
-- What pg_dump carries
--
SELECT set_eq($$SELECT unnest(extconfig)::regclass FROM pg_extension
                 WHERE extname = 'inventory_reservation'$$,
              $$SELECT objid::regclass FROM member JOIN pg_class ON pg_class.oid = objid
                 WHERE classid = 'pg_class'::regclass AND relkind IN ('r', 'S')$$,
              'every table and sequence is dumped');
SELECT is_empty($$SELECT condition FROM pg_extension, unnest(extcondition) AS condition
                   WHERE extname = 'inventory_reservation' AND condition <> ''$$,
                'all rows of it');
SELECT is_empty($$SELECT relname FROM pg_class
                   WHERE relnamespace = 'inv'::regnamespace AND relkind IN ('r', 'S', 'v')
                     AND oid NOT IN (SELECT objid FROM member)$$,
                'nothing in the schema is left out of the extension');

--
-- Views
--
SELECT views_are('inv', ARRAY['inv_active_holds', 'inv_availability', 'inv_reservation_lines', 'inv_stat', 'inv_total_availability', 'inv_waiting',
    'inv_ledger_by_hour', 'inv_hold_conversion', 'inv_sell_through', 'inv_sold_out']);
SELECT results_eq($$SELECT column_name, type FROM pg_temp.columns_of('inv_ledger_by_hour')$$,
    $$SELECT 'hour', 'timestamp with time zone'
      UNION ALL (SELECT column_name, type FROM pg_temp.columns_of('inv_ledger'))$$,
    'columns of inv_ledger_by_hour: the hour, and those of the ledger');
SELECT results_eq($$SELECT column_name, type FROM pg_temp.columns_of('inv_hold_conversion')$$, $$VALUES
    ('hour', 'timestamp with time zone'),
    ('sku', 'text'),
    ('location', 'text'),
    ('holds', 'bigint'),
    ('units_held', 'bigint'),
    ('units_confirmed', 'bigint'),
    ('units_cancelled', 'bigint'),
    ('units_expired', 'bigint'),
    ('conversion', 'numeric'),
    ('expiry_rate', 'numeric')$$,
    'columns of inv_hold_conversion');
SELECT results_eq($$SELECT column_name, type FROM pg_temp.columns_of('inv_sell_through')$$, $$VALUES
    ('hour', 'timestamp with time zone'),
    ('sku', 'text'),
    ('location', 'text'),
    ('on_hand_before', 'bigint'),
    ('units_received', 'bigint'),
    ('units_corrected', 'bigint'),
    ('units_transferred', 'bigint'),
    ('units_sold', 'bigint'),
    ('units_returned', 'bigint'),
    ('on_hand_after', 'bigint'),
    ('sell_through', 'numeric')$$,
    'columns of inv_sell_through');
SELECT results_eq($$SELECT column_name, type FROM pg_temp.columns_of('inv_sold_out')$$, $$VALUES
    ('hour', 'timestamp with time zone'),
    ('sku', 'text'),
    ('location', 'text'),
    ('in_stock_since', 'timestamp with time zone'),
    ('sold_out_at', 'timestamp with time zone'),
    ('time_to_sold_out', 'interval')$$,
    'columns of inv_sold_out');
SELECT results_eq($$SELECT column_name, type FROM pg_temp.columns_of('inv_active_holds')$$, $$VALUES
    ('reservation_id', 'uuid'),
    ('customer', 'text'),
    ('reference', 'text'),
    ('lines', 'bigint'),
    ('units', 'bigint'),
    ('total', 'numeric'),
    ('currency', 'text'),
    ('created_at', 'timestamp with time zone'),
    ('expires_at', 'timestamp with time zone'),
    ('time_left', 'interval')$$,
    'columns of inv_active_holds');
SELECT results_eq($$SELECT column_name, type FROM pg_temp.columns_of('inv_waiting')$$, $$VALUES
    ('sku', 'text'),
    ('location', 'text'),
    ('position', 'bigint'),
    ('customer', 'text'),
    ('quantity', 'bigint'),
    ('since', 'timestamp with time zone')$$,
    'columns of inv_waiting');
SELECT results_eq($$SELECT column_name, type FROM pg_temp.columns_of('inv_stat')$$, $$VALUES
    ('counting', 'boolean'),
    ('reserves', 'bigint'),
    ('replays', 'bigint'),
    ('confirms', 'bigint'),
    ('cancels', 'bigint'),
    ('releases', 'bigint'),
    ('extensions', 'bigint'),
    ('rejected_insufficient_stock', 'bigint'),
    ('rejected_expired', 'bigint'),
    ('rejected_not_found', 'bigint'),
    ('rejected_unknown_sku', 'bigint'),
    ('rejected_key_reused', 'bigint'),
    ('rejected_listing_closed', 'bigint'),
    ('rejected_purchase_limit', 'bigint'),
    ('rejected_not_allowed', 'bigint'),
    ('rejected_unknown_location', 'bigint'),
    ('rejected_order_not_found', 'bigint'),
    ('rejected_below_held', 'bigint'),
    ('expired_by_sweep', 'bigint'),
    ('expired_by_reclaim', 'bigint'),
    ('lock_waits', 'bigint'),
    ('lock_wait_time', 'double precision'),
    ('stripe_passes', 'bigint'),
    ('stripe_gathers', 'bigint'),
    ('worker_runs', 'bigint'),
    ('worker_failures', 'bigint'),
    ('worker_rows', 'bigint'),
    ('worker_last_run', 'timestamp with time zone'),
    ('worker_last_duration', 'double precision'),
    ('worker_last_rows', 'bigint'),
    ('worker_last_error', 'text'),
    ('worker_last_error_at', 'timestamp with time zone'),
    ('reconciliations', 'bigint'),
    ('drifts_found', 'bigint'),
    ('drifts_repaired', 'bigint'),
    ('reconcile_activity', 'text'),
    ('reconcile_done', 'bigint'),
    ('oldest_dead_hold_age', 'interval'),
    ('stats_reset', 'timestamp with time zone')$$,
    'columns of inv_stat');
SELECT results_eq($$SELECT column_name, type FROM pg_temp.columns_of('inv_availability')$$, $$VALUES
    ('sku', 'text'),
    ('name', 'text'),
    ('location', 'text'),
    ('on_hand', 'bigint'),
    ('reserved', 'bigint'),
    ('dead', 'bigint'),
    ('available', 'bigint'),
    ('on_sale', 'boolean'),
    ('unit_price', 'numeric'),
    ('currency', 'text')$$,
    'columns of inv_availability');
SELECT results_eq($$SELECT column_name, type FROM pg_temp.columns_of('inv_total_availability')$$, $$VALUES
    ('sku', 'text'),
    ('name', 'text'),
    ('locations', 'bigint'),
    ('on_hand', 'bigint'),
    ('reserved', 'bigint'),
    ('dead', 'bigint'),
    ('available', 'bigint'),
    ('available_at_one', 'bigint'),
    ('on_sale', 'boolean'),
    ('unit_price', 'numeric'),
    ('currency', 'text')$$,
    'columns of inv_total_availability');
SELECT results_eq($$SELECT column_name, type FROM pg_temp.columns_of('inv_reservation_lines')$$, $$VALUES
    ('reservation_id', 'uuid'),
    ('line_no', 'integer'),
    ('sku', 'text'),
    ('location', 'text'),
    ('quantity', 'bigint'),
    ('returned', 'bigint'),
    ('unit_price', 'numeric'),
    ('currency', 'text'),
    ('status', 'text'),
    ('customer', 'text'),
    ('reference', 'text'),
    ('expires_at', 'timestamp with time zone'),
    ('created_at', 'timestamp with time zone'),
    ('closed_at', 'timestamp with time zone'),
    ('backordered', 'bigint')$$,
    'columns of inv_reservation_lines');

--
-- Row types of results
--
SELECT types_are('inv', ARRAY['inv_hold', 'inv_cart_hold', 'inv_batch_hold', 'inv_event', 'inv_confirmation', 'inv_cancellation', 'inv_stock_level',
    'inv_loaded_stock', 'inv_reservation_state', 'inv_order_state', 'inv_drift', 'inv_versions', 'inv_waitlist_state']);
SELECT results_eq($$SELECT column_name, type FROM pg_temp.columns_of('inv_hold')$$, $$VALUES
    ('reservation_id', 'uuid'),
    ('status', 'text'),
    ('expires_at', 'timestamp with time zone'),
    ('replayed', 'boolean'),
    ('available', 'bigint')$$,
    'columns of type inv_hold');
SELECT results_eq($$SELECT column_name, type FROM pg_temp.columns_of('inv_cart_hold')$$, $$VALUES
    ('reservation_id', 'uuid'),
    ('status', 'text'),
    ('expires_at', 'timestamp with time zone'),
    ('replayed', 'boolean'),
    ('available', 'bigint'),
    ('shortages', 'jsonb')$$,
    'columns of type inv_cart_hold');
SELECT results_eq($$SELECT column_name, type FROM pg_temp.columns_of('inv_event')$$, $$VALUES
    ('cursor', 'text'), ('entry_id', 'bigint'), ('at', 'timestamp with time zone'), ('operation', 'text'),
    ('item_id', 'bigint'), ('sku', 'text'), ('location', 'text'), ('stripe', 'integer'),
    ('delta_on_hand', 'bigint'), ('delta_reserved', 'bigint'), ('on_hand_after', 'bigint'), ('reserved_after', 'bigint'),
    ('reservation_id', 'uuid'), ('order_id', 'uuid'), ('login_role', 'text'), ('caller_role', 'text'), ('reason', 'text')$$,
    'columns of type inv_event');
SELECT results_eq($$SELECT column_name, type FROM pg_temp.columns_of('inv_batch_hold')$$, $$VALUES
    ('reservation_id', 'uuid'),
    ('status', 'text'),
    ('expires_at', 'timestamp with time zone'),
    ('replayed', 'boolean'),
    ('available', 'bigint'),
    ('error', 'text')$$,
    'columns of type inv_batch_hold');
SELECT results_eq($$SELECT column_name, type FROM pg_temp.columns_of('inv_confirmation')$$, $$VALUES
    ('order_id', 'uuid'),
    ('status', 'text'),
    ('total', 'numeric'),
    ('replayed', 'boolean')$$,
    'columns of type inv_confirmation');
SELECT results_eq($$SELECT column_name, type FROM pg_temp.columns_of('inv_cancellation')$$, $$VALUES
    ('reservation_id', 'uuid'),
    ('status', 'text'),
    ('replayed', 'boolean')$$,
    'columns of type inv_cancellation');
SELECT results_eq($$SELECT column_name, type FROM pg_temp.columns_of('inv_stock_level')$$, $$VALUES
    ('sku', 'text'),
    ('location', 'text'),
    ('on_hand', 'bigint'),
    ('reserved', 'bigint'),
    ('available', 'bigint'),
    ('version', 'bigint'),
    ('replayed', 'boolean')$$,
    'columns of type inv_stock_level');
SELECT results_eq($$SELECT column_name, type FROM pg_temp.columns_of('inv_loaded_stock')$$, $$VALUES
    ('sku', 'text'),
    ('location', 'text'),
    ('on_hand', 'bigint'),
    ('reserved', 'bigint'),
    ('available', 'bigint'),
    ('version', 'bigint'),
    ('created', 'boolean'),
    ('changed', 'boolean')$$,
    'columns of type inv_loaded_stock');
SELECT results_eq($$SELECT column_name, type FROM pg_temp.columns_of('inv_reservation_state')$$, $$VALUES
    ('reservation_id', 'uuid'),
    ('status', 'text'),
    ('customer', 'text'),
    ('reference', 'text'),
    ('expires_at', 'timestamp with time zone'),
    ('created_at', 'timestamp with time zone'),
    ('closed_at', 'timestamp with time zone'),
    ('total', 'numeric'),
    ('currency', 'text'),
    ('order_id', 'uuid'),
    ('metadata', 'jsonb'),
    ('lines', 'jsonb'),
    ('backordered', 'bigint')$$,
    'columns of type inv_reservation_state');
SELECT results_eq($$SELECT column_name, type FROM pg_temp.columns_of('inv_order_state')$$, $$VALUES
    ('order_id', 'uuid'),
    ('reservation_id', 'uuid'),
    ('status', 'text'),
    ('payment_status', 'text'),
    ('customer', 'text'),
    ('reference', 'text'),
    ('total', 'numeric'),
    ('currency', 'text'),
    ('created_at', 'timestamp with time zone'),
    ('updated_at', 'timestamp with time zone'),
    ('completed_at', 'timestamp with time zone'),
    ('cancelled_at', 'timestamp with time zone'),
    ('metadata', 'jsonb'),
    ('lines', 'jsonb'),
    ('backordered', 'bigint')$$,
    'columns of type inv_order_state');
SELECT results_eq($$SELECT column_name, type FROM pg_temp.columns_of('inv_drift')$$, $$VALUES
    ('finding', 'text'),
    ('sku', 'text'),
    ('location', 'text'),
    ('stripe', 'integer'),
    ('reservation_id', 'uuid'),
    ('order_id', 'uuid'),
    ('found', 'text'),
    ('expected', 'text'),
    ('action', 'text')$$,
    'columns of type inv_drift');
SELECT results_eq($$SELECT column_name, type FROM pg_temp.columns_of('inv_versions')$$, $$VALUES
    ('library', 'text'),
    ('extension', 'text'),
    ('files', 'text'),
    ('to_do', 'text')$$,
    'columns of type inv_versions');
SELECT results_eq($$SELECT column_name, type FROM pg_temp.columns_of('inv_waitlist_state')$$, $$VALUES
    ('sku', 'text'),
    ('customer', 'text'),
    ('state', 'text'),
    ('position', 'bigint'),
    ('quantity', 'bigint'),
    ('joined_at', 'timestamp with time zone'),
    ('reservation_id', 'uuid'),
    ('expires_at', 'timestamp with time zone')$$,
    'columns of type inv_waitlist_state');

--
-- Functions: names, arguments, defaults, results
--
CREATE TEMP TABLE promised (name text, arguments text, result text, volatile "char",
                            parallel "char", strict boolean, language text);
INSERT INTO promised VALUES
    ('inv_add_item', 'sku text, name text DEFAULT NULL, unit_price numeric DEFAULT 0, currency text DEFAULT NULL, listed_until timestamp with time zone DEFAULT NULL, selling boolean DEFAULT true, hold_ttl interval DEFAULT NULL, max_per_customer bigint DEFAULT NULL, limit_window interval DEFAULT NULL, attributes jsonb DEFAULT NULL',
     'bigint', 'v', 'u', false, 'c'),
    ('inv_add_location', 'code text, name text DEFAULT NULL, priority integer DEFAULT 0',
     'integer', 'v', 'u', false, 'c'),
    ('inv_adjust', 'sku text, delta bigint, location text DEFAULT NULL, reason text DEFAULT NULL, key text DEFAULT NULL',
     'inv_stock_level', 'v', 'u', false, 'c'),
    ('inv_available', 'sku text, location text DEFAULT NULL',
     'bigint', 's', 'r', false, 'c'),
    ('inv_cancel', 'reservation_id uuid, key text DEFAULT NULL, customer text DEFAULT NULL',
     'inv_cancellation', 'v', 'u', false, 'c'),
    ('inv_cancel_order', 'order_id uuid, reason text DEFAULT NULL, key text DEFAULT NULL',
     'inv_order', 'v', 'u', false, 'c'),
    ('inv_check', '',
     'TABLE(violation text, sku text, location text, stripe integer, reservation_id uuid, order_id uuid, found text, expected text)', 's', 'r', false, 'sql'),
    ('inv_complete_order', 'order_id uuid',
     'inv_order', 'v', 'u', false, 'c'),
    ('inv_confirm', 'reservation_id uuid, key text DEFAULT NULL, customer text DEFAULT NULL, payment_status text DEFAULT ''pending'', retake boolean DEFAULT false',
     'inv_confirmation', 'v', 'u', false, 'c'),
    ('inv_events', 'after text DEFAULT NULL, max_count integer DEFAULT 1000',
     'SETOF inv_event', 's', 'r', false, 'c'),
    ('inv_newest_event', '',
     'text', 's', 'r', false, 'c'),
    ('inv_expire', 'max_count bigint DEFAULT NULL',
     'bigint', 'v', 'u', false, 'c'),
    ('inv_extend', 'reservation_id uuid, ttl interval DEFAULT NULL, key text DEFAULT NULL',
     'timestamp with time zone', 'v', 'u', false, 'c'),
    ('inv_grant', 'role name, profile text',
     'void', 'v', 'u', false, 'c'),
    ('inv_join_waitlist', 'sku text, quantity bigint DEFAULT 1, customer text DEFAULT NULL, key text DEFAULT NULL',
     'bigint', 'v', 'u', false, 'c'),
    ('inv_leave_waitlist', 'sku text, customer text DEFAULT NULL, key text DEFAULT NULL',
     'bigint', 'v', 'u', false, 'c'),
    ('inv_library_version', '',
     'text', 's', 's', false, 'c'),
    ('inv_load_stock', 'skus text[], quantities bigint[], location text DEFAULT NULL, reason text DEFAULT NULL',
     'SETOF inv_loaded_stock', 'v', 'u', false, 'c'),
    ('inv_location_changed', '',
     'trigger', 'v', 'u', false, 'c'),
    ('inv_maintain', '',
     '', 'v', 'u', false, 'c'),
    ('inv_order_status', 'order_id uuid',
     'inv_order_state', 's', 'r', false, 'c'),
    ('inv_purge', 'older_than interval DEFAULT NULL',
     'bigint', 'v', 'u', false, 'c'),
    ('inv_receive', 'sku text, quantity bigint, location text DEFAULT NULL, reason text DEFAULT NULL, key text DEFAULT NULL',
     'inv_stock_level', 'v', 'u', false, 'c'),
    ('inv_reconcile', 'repair boolean DEFAULT false, complete boolean DEFAULT false',
     'SETOF inv_drift', 'v', 'u', false, 'c'),
    ('inv_record_payment', 'order_id uuid, status text',
     'inv_order', 'v', 'u', false, 'c'),
    ('inv_release', 'reservation_id uuid, sku text, quantity bigint, key text DEFAULT NULL',
     'inv_cancellation', 'v', 'u', false, 'c'),
    ('inv_rename_item', 'old text, new text',
     'bigint', 'v', 'u', false, 'c'),
    ('inv_reservation_status', 'reservation_id uuid',
     'inv_reservation_state', 's', 'r', false, 'c'),
    ('inv_reserve', 'sku text, quantity bigint DEFAULT 1, key text DEFAULT NULL, customer text DEFAULT NULL, ttl interval DEFAULT NULL, location text DEFAULT NULL, reference text DEFAULT NULL, metadata jsonb DEFAULT NULL, split boolean DEFAULT false',
     'inv_hold', 'v', 'u', false, 'c'),
    ('inv_reserve_batch', 'skus text[], quantities bigint[], keys text[] DEFAULT NULL, customers text[] DEFAULT NULL, ttl interval DEFAULT NULL',
     'SETOF inv_batch_hold', 'v', 'u', false, 'c'),
    ('inv_reserve_cart', 'skus text[], quantities bigint[], key text DEFAULT NULL, customer text DEFAULT NULL, ttl interval DEFAULT NULL, location text DEFAULT NULL, reference text DEFAULT NULL, metadata jsonb DEFAULT NULL, split boolean DEFAULT false',
     'inv_hold', 'v', 'u', false, 'c'),
    ('inv_reserve_lines', 'lines jsonb, key text DEFAULT NULL, customer text DEFAULT NULL, ttl interval DEFAULT NULL, location text DEFAULT NULL, reference text DEFAULT NULL, metadata jsonb DEFAULT NULL, split boolean DEFAULT false',
     'inv_hold', 'v', 'u', false, 'c'),
    ('inv_return', 'order_id uuid, sku text, quantity bigint, reason text DEFAULT NULL, key text DEFAULT NULL',
     'inv_order', 'v', 'u', false, 'c'),
    ('inv_route_id', 'id uuid',
     'integer', 'i', 's', true, 'c'),
    ('inv_route_sku', 'sku text',
     'integer', 'i', 's', true, 'c'),
    ('inv_schedule', '',
     'bigint', 'v', 'u', false, 'c'),
    ('inv_set_item', 'sku text, name text DEFAULT NULL, unit_price numeric DEFAULT NULL, currency text DEFAULT NULL, listed_until timestamp with time zone DEFAULT NULL, selling boolean DEFAULT NULL, hold_ttl interval DEFAULT NULL, max_per_customer bigint DEFAULT NULL, limit_window interval DEFAULT NULL, attributes jsonb DEFAULT NULL',
     'bigint', 'v', 'u', false, 'c'),
    ('inv_set_policy', 'sku text, safety_stock bigint DEFAULT 0, backorder_limit bigint DEFAULT 0, location text DEFAULT NULL',
     'inv_stock_level', 'v', 'u', false, 'c'),
    ('inv_set_stock', 'sku text, on_hand bigint, location text DEFAULT NULL, expected_version bigint DEFAULT NULL, reason text DEFAULT NULL, on_shelf boolean DEFAULT false, force boolean DEFAULT false',
     'inv_stock_level', 'v', 'u', false, 'c'),
    ('inv_set_stripes', 'sku text, stripes integer, location text DEFAULT NULL',
     'integer', 'v', 'u', false, 'c'),
    ('inv_stat_counters', '',
     'TABLE(counting boolean, reserves bigint, replays bigint, confirms bigint, cancels bigint, releases bigint, extensions bigint, rejected_insufficient_stock bigint, rejected_expired bigint, rejected_not_found bigint, rejected_unknown_sku bigint, rejected_key_reused bigint, rejected_listing_closed bigint, rejected_purchase_limit bigint, rejected_not_allowed bigint, rejected_unknown_location bigint, rejected_order_not_found bigint, rejected_below_held bigint, expired_by_sweep bigint, expired_by_reclaim bigint, lock_waits bigint, lock_wait_time double precision, stripe_passes bigint, stripe_gathers bigint, worker_runs bigint, worker_failures bigint, worker_rows bigint, worker_last_run timestamp with time zone, worker_last_duration double precision, worker_last_rows bigint, worker_last_error text, worker_last_error_at timestamp with time zone, reconciliations bigint, drifts_found bigint, drifts_repaired bigint, reconcile_activity text, reconcile_done bigint, stats_reset timestamp with time zone)', 's', 's', false, 'c'),
    ('inv_stat_reset', '',
     'void', 'v', 'u', false, 'c'),
    ('inv_transfer', 'sku text, quantity bigint, from_location text, to_location text, reason text DEFAULT NULL, key text DEFAULT NULL',
     'SETOF inv_stock_level', 'v', 'u', false, 'c'),
    ('inv_try_reserve', 'sku text, quantity bigint DEFAULT 1, key text DEFAULT NULL, customer text DEFAULT NULL, ttl interval DEFAULT NULL, location text DEFAULT NULL, reference text DEFAULT NULL, metadata jsonb DEFAULT NULL, split boolean DEFAULT false',
     'inv_hold', 'v', 'u', false, 'c'),
    ('inv_try_reserve_cart', 'skus text[], quantities bigint[], key text DEFAULT NULL, customer text DEFAULT NULL, ttl interval DEFAULT NULL, location text DEFAULT NULL, reference text DEFAULT NULL, metadata jsonb DEFAULT NULL, split boolean DEFAULT false',
     'inv_cart_hold', 'v', 'u', false, 'c'),
    ('inv_unschedule', '',
     'boolean', 'v', 'u', false, 'c'),
    ('inv_version', '',
     'inv_versions', 's', 's', false, 'sql'),
    ('inv_waitlist_status', 'sku text, customer text',
     'inv_waitlist_state', 's', 'r', false, 'c');

SELECT functions_are('inv', ARRAY(SELECT name FROM promised));
SELECT is(regexp_replace(pg_get_function_arguments(proc.oid), '(DEFAULT [^,:]*)::[a-z ]+(\[\])?', '\1', 'g'),
          arguments, name || ': arguments')
  FROM promised JOIN pg_proc AS proc ON proname = name AND pronamespace = 'inv'::regnamespace
 ORDER BY name;
SELECT is(coalesce(pg_get_function_result(proc.oid), ''), result, name || ': result')
  FROM promised JOIN pg_proc AS proc ON proname = name AND pronamespace = 'inv'::regnamespace
 ORDER BY name;
SELECT is(concat_ws(' ', provolatile, proparallel, proisstrict, lanname),
          concat_ws(' ', volatile, parallel, strict, promised.language),
          name || ': volatility, parallel safety, strictness, language')
  FROM promised
  JOIN pg_proc AS proc ON proname = name AND pronamespace = 'inv'::regnamespace
  JOIN pg_language ON pg_language.oid = prolang
 ORDER BY name;
SELECT is_empty($$SELECT proname FROM pg_proc WHERE pronamespace = 'inv'::regnamespace
                   GROUP BY proname HAVING count(*) > 1$$,
                'no two functions share a name: untyped drivers could not tell them apart');
SELECT is_empty($$SELECT proname FROM pg_proc WHERE pronamespace = 'inv'::regnamespace
                     AND provolatile = 'v' AND proparallel <> 'u'$$,
                'what writes is never run in parallel');
SELECT is_empty($$SELECT proname FROM pg_proc WHERE pronamespace = 'inv'::regnamespace
                     AND (SELECT count(*) FROM unnest(proargnames) AS name WHERE name <> '') < pronargs$$,
                'every argument has a name');
SELECT set_eq($$SELECT proname FROM pg_proc WHERE pronamespace = 'inv'::regnamespace AND prosecdef$$,
              $$VALUES ('inv_check'::name)$$,
              'the one SQL function that runs as its owner');
SELECT is_empty($$SELECT proname FROM pg_proc JOIN pg_language ON pg_language.oid = prolang
                   WHERE pronamespace = 'inv'::regnamespace AND lanname = 'sql' AND prosqlbody IS NULL$$,
                'SQL functions are bound when they are created');
SELECT set_eq($$SELECT proname FROM pg_proc WHERE pronamespace = 'inv'::regnamespace AND prokind = 'p'$$,
              $$VALUES ('inv_maintain'::name)$$, 'the one procedure');
SELECT set_eq($$SELECT proname FROM pg_proc WHERE pronamespace = 'inv'::regnamespace AND proretset$$,
              $$VALUES ('inv_check'::name), ('inv_events'), ('inv_load_stock'), ('inv_reserve_batch'),
                       ('inv_reconcile'), ('inv_stat_counters'), ('inv_transfer')$$, 'those that return several rows');

--
-- Privileges: nothing for PUBLIC
--
SELECT is_empty($$SELECT proname FROM pg_proc CROSS JOIN LATERAL aclexplode(
                       coalesce(proacl, acldefault('f', proowner))) AS acl
                   WHERE pronamespace = 'inv'::regnamespace AND grantee = 0$$,
                'PUBLIC may call nothing');
SELECT is_empty($$SELECT relname FROM pg_class CROSS JOIN LATERAL aclexplode(relacl) AS acl
                   WHERE relnamespace = 'inv'::regnamespace AND grantee = 0$$,
                'PUBLIC may read nothing');

--
-- Comments, on everything
--
SELECT ok(obj_description(objid, classid::regclass::name) <> '', 'comment on ' || description)
  FROM member ORDER BY description;
SELECT is_empty($$SELECT attrelid::regclass || '.' || attname
                    FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
                   WHERE relnamespace = 'inv'::regnamespace AND relkind = 'r'
                     AND attnum > 0 AND coalesce(col_description(attrelid, attnum), '') = ''$$,
                'comment on every column of every table');
SELECT is_empty($$SELECT indexrelid::regclass
                    FROM pg_index JOIN pg_class ON pg_class.oid = indrelid
                   WHERE relnamespace = 'inv'::regnamespace
                     AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
                     AND coalesce(obj_description(indexrelid, 'pg_class'), '') = ''$$,
                'comment on every index that is no constraint');

--
-- It leaves nothing behind
--
DROP EXTENSION inventory_reservation;
SELECT is_empty($$SELECT relname FROM pg_class WHERE relnamespace = 'inv'::regnamespace
                  UNION ALL
                  SELECT proname FROM pg_proc WHERE pronamespace = 'inv'::regnamespace
                  UNION ALL
                  SELECT typname FROM pg_type WHERE typnamespace = 'inv'::regnamespace$$,
                'the schema is empty after DROP EXTENSION');

SELECT * FROM finish();
ROLLBACK;
