-- A hundred independent requests in one call and one commit.  The arrays are
-- made on the server, which costs it about as much as one request.
\set key random(1, 1000000000000)
\set customer random(1, 1000000)
SELECT batch.* FROM
    (SELECT array_agg(floor(random() * (:last_sku::bigint - :first_sku::bigint + 1)
                            + :first_sku::bigint)::bigint::text) AS skus,
            array_agg(1::bigint) AS quantities,
            array_agg(:key || ' ' || n) AS keys,
            array_agg(:customer::text) AS customers
       FROM generate_series(1, 100) AS n) AS request,
    inv_reserve_batch(request.skus, request.quantities, request.keys,
                      request.customers) AS batch;
