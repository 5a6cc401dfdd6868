-- The tables of every SQL peer: copies of the extension's own, with their
-- columns, constraints, indexes and storage settings, in a schema named
-- after the peer (psql variable `peer`).  So a peer writes the same rows, and
-- a change of the extension's tables reaches its rivals too.

CREATE SCHEMA :"peer";
SET search_path = :"peer";

SELECT format('CREATE TABLE %I (LIKE shop.%I INCLUDING ALL)', relname, relname)
  FROM pg_class
 WHERE relnamespace = 'shop'::regnamespace AND relkind = 'r'
   AND relname IN ('inv_item', 'inv_location', 'inv_stock', 'inv_reservation',
                   'inv_idempotency', 'inv_order', 'inv_ledger')
\gexec

-- LIKE leaves a table's fillfactor and the like behind.
SELECT format('ALTER TABLE %I SET (%s)', relname,
              array_to_string(reloptions, ', '))
  FROM pg_class
 WHERE relnamespace = 'shop'::regnamespace AND relkind = 'r'
   AND to_regclass(relname) IS NOT NULL AND reloptions IS NOT NULL
\gexec

INSERT INTO inv_location SELECT * FROM shop.inv_location;
INSERT INTO inv_item SELECT * FROM shop.inv_item;
