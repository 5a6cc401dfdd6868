-- Peers "redis-always" and "redis-everysec": a hold as production systems
-- write it in Redis, one atomic script.
--
-- Guarantees: never oversells; an idempotency key replays; a hold has a
-- record and a place in the expiry set.  With `appendfsync always` what was
-- acknowledged survives a crash, with `everysec` all but the last second.
-- Does not: change the shop's own rows or make an order in the same
-- transaction, keep a ledger, know the catalogue, refuse another request
-- under the same key, prove its counters right.
--
-- KEYS: stock of the SKU, the idempotency key, the hold, the expiry set
-- ARGV: quantity, customer, hold id, ttl in milliseconds
local done = redis.call('GET', KEYS[2])
if done then
	return { done, 1 }
end
local quantity = tonumber(ARGV[1])
local available = tonumber(redis.call('GET', KEYS[1]) or '0')
if available < quantity then
	return redis.error_reply('IV001 insufficient stock')
end
local time = redis.call('TIME')
local expires_at = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[4]
redis.call('DECRBY', KEYS[1], quantity)
redis.call('SET', KEYS[3], cjson.encode({
	sku = KEYS[1], quantity = quantity, customer = ARGV[2],
	status = 'active', expires_at = expires_at }))
redis.call('ZADD', KEYS[4], expires_at, ARGV[3])
-- Keys are kept for a day, as the extension does.
redis.call('SET', KEYS[2], ARGV[3], 'PX', 86400000)
return { ARGV[3], 0, available - quantity }
