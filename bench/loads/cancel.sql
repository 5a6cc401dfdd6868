-- Each client cancels holds of its own; fill.sql made them, numbered through.
\set counter :counter + 1
\set hold 100000000000 + :counter * :clients + :client_id
SELECT * FROM inv_cancel(('00000000-0000-7000-8000-' || :hold)::uuid);
