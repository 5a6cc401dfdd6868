-- What the gateway needs in a database that has the extension: a role that may
-- call the functions, and finds them.  Run by the extension's owner, with the
-- extension's schema on the search_path.
CREATE ROLE gateway LOGIN;
SELECT inv_grant('gateway', 'buyer');
SELECT inv_grant('gateway', 'operator');
