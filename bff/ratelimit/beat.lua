-- A worker says that it lives, and learns who else does; on the store's clock.
--
-- KEYS: the set of workers, the set of nodes; scores are milliseconds of the last beat.
-- ARGV: this worker, its node, milliseconds after which a silent one is gone.
-- Returns 1 if the worker was not counted before, else 0; then how many workers and nodes live.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local gone = tonumber(ARGV[3])
local before = string.format('(%.0f', now - gone)
local counts = {}

for i = 1, 2 do
  -- First out with the silent ones: one that comes back after its time counts as new.
  redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', before)
  counts[i] = redis.call('ZADD', KEYS[i], now, ARGV[i])
  redis.call('PEXPIRE', KEYS[i], gone)
end
return {counts[1], redis.call('ZCARD', KEYS[1]), redis.call('ZCARD', KEYS[2])}
