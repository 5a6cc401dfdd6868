-- Route buckets: a hash defined once for ever, and the ids that carry it.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir /test/regress/setup.sql
\i :setup

--
-- The definition, written a second time: FNV-1a of 64 bits over the UTF-8
-- bytes, folded to 12 bits
--
CREATE FUNCTION public.fnv1a(data bytea) RETURNS numeric LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    hash numeric := 14695981039346656037;
    low int;
BEGIN
    FOR nr IN 0 .. length(data) - 1 LOOP
        low := mod(hash, 256)::int;
        hash := hash - low + (low # get_byte(data, nr));
        hash := mod(hash * 1099511628211, 18446744073709551616);
    END LOOP;
    RETURN hash;
END
$$;
CREATE FUNCTION public.bucket(sku text) RETURNS int LANGUAGE sql IMMUTABLE AS $$
SELECT mod(hash, 4096)::int
     # mod(div(hash, 2 ^ 12::numeric), 4096)::int
     # mod(div(hash, 2 ^ 24::numeric), 4096)::int
     # mod(div(hash, 2 ^ 36::numeric), 4096)::int
     # mod(div(hash, 2 ^ 48::numeric), 4096)::int
     # mod(div(hash, 2 ^ 60::numeric), 4096)::int
  FROM public.fnv1a(convert_to(sku, 'UTF8')) AS hash
$$;

-- the published test vectors of FNV-1a
SELECT name, public.fnv1a(convert_to(name, 'UTF8')) = expected AS as_published
  FROM (VALUES ('', 14695981039346656037),
               ('a', 12638187200555641996),
               ('foobar', 9625390261332436968)) AS vector (name, expected);

-- for ever: these numbers never change, on no server and in no version
SELECT sku, inv.inv_route_sku(sku) AS bucket, inv.inv_route_sku(sku) = public.bucket(sku) AS as_defined
  FROM unnest('{A,a,LAPTOP001,PHONE001,HEADSET001,TABLET001,WATCH001,CAMERA001,SPEAKER001,CHARGER001,
                " ",größe-42,商品,😀,0,00}'::text[]) AS sku;
SELECT count(*) AS different
  FROM (SELECT 'SKU-' || nr AS sku FROM generate_series(1, 2000) AS nr
        UNION ALL SELECT repeat('x', nr) FROM generate_series(1, 255) AS nr) AS skus
 WHERE inv.inv_route_sku(sku) <> public.bucket(sku);
-- they spread: every bucket range, none far too often
SELECT min(bucket) >= 0 AS from_0, max(bucket) <= 4095 AS to_4095,
       count(DISTINCT bucket) > 3500 AS nearly_all,
       max(times) < 20 AS evenly
  FROM (SELECT inv.inv_route_sku('SKU-' || nr) AS bucket,
               count(*) AS times
          FROM generate_series(1, 10000) AS nr GROUP BY 1) AS used;
SELECT inv.inv_route_sku(NULL), inv.inv_route_id(NULL);

--
-- Ids carry the bucket of the first line
--
SELECT inv.inv_add_item(sku) > 0 AS added FROM unnest('{A,LAPTOP001,größe-42}'::text[]) AS sku;
SELECT count(*) FROM inv.inv_load_stock('{A,LAPTOP001,größe-42}', '{100,100,100}');
CREATE TABLE public.made (nr serial, sku text, id uuid, order_id uuid);
INSERT INTO public.made (sku, id)
SELECT sku, (inv.inv_reserve(sku)).reservation_id
  FROM unnest('{A,LAPTOP001,größe-42}'::text[]) AS sku;
INSERT INTO public.made (sku, id)
SELECT 'größe-42', (inv.inv_reserve_cart('{größe-42,A,LAPTOP001}', '{1,1,1}')).reservation_id;
INSERT INTO public.made (sku, id)
SELECT 'LAPTOP001', (inv.inv_reserve_lines('[{"sku": "LAPTOP001", "quantity": 1}, {"sku": "A", "quantity": 1}]')).reservation_id;
UPDATE public.made SET order_id = (inv.inv_confirm(id)).order_id;
SELECT sku,
       inv.inv_route_id(id) = inv.inv_route_sku(sku) AS reservation_carries_it,
       inv.inv_route_id(order_id) = inv.inv_route_sku(sku) AS order_carries_it,
       ('x' || substr(id::text, 16, 3))::bit(12)::int = inv.inv_route_sku(sku) AS in_rand_a
  FROM public.made ORDER BY nr;
-- version 7, variant 10, the time in front: no two alike, in the order they were made
SELECT bool_and(substr(id::text, 15, 1) = '7' AND substr(order_id::text, 15, 1) = '7') AS version_7,
       bool_and(substr(id::text, 20, 1) IN ('8', '9', 'a', 'b')
                AND substr(order_id::text, 20, 1) IN ('8', '9', 'a', 'b')) AS variant_10,
       bool_and(to_timestamp(('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint / 1000.0)
                BETWEEN clock_timestamp() - interval '1 minute'
                    AND clock_timestamp() + interval '1 millisecond') AS time_of_today
  FROM public.made;
SELECT count(DISTINCT reservation_id), count(DISTINCT right(reservation_id::text, 12)) AS random_parts
  FROM generate_series(1, 50) AS nr, LATERAL inv.inv_reserve('A', 1 + 0 * nr);

-- any uuid has a bucket
SELECT inv.inv_route_id('00000000-0000-7abc-8000-000000000000') = x'abc'::int AS abc,
       inv.inv_route_id('ffffffff-ffff-7fff-bfff-ffffffffffff') AS largest,
       inv.inv_route_id('00000000-0000-0000-0000-000000000000') AS smallest;

DROP TABLE public.made;
DROP FUNCTION public.bucket, public.fnv1a;
SELECT * FROM inv.inv_check();
