-- Token buckets (GCRA) for many requests in one call; the rule of bucket.py, on the store's clock.
--
-- KEYS: one per check, request after request, each the TAT of a bucket in microseconds.
-- ARGV: per request the number of its checks, then for each: microseconds per token, microseconds
--       from empty to full, cost.
-- Returns per request 1 or 0 (admitted or not), then for each check how far its bucket is from full.
-- Requests are decided in order; each is all or nothing. Only integers cross, all below 2^53.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local out, at, key = {}, 1, 0

while at <= #ARGV do
  local checks = tonumber(ARGV[at])
  at = at + 1
  local fits, held, after = true, {}, {}
  for i = 1, checks do
    local token, full, cost = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
    at = at + 3
    -- pcall: a foreign value under our key counts as a full bucket, it must not fail all others.
    local kept = redis.pcall('GET', KEYS[key + i])
    local tat = type(kept) == 'string' and tonumber(kept) or 0
    held[i] = math.max(0, math.min(tat - now, full))
    after[i] = held[i] + cost * token
    if after[i] > full then
      fits = false
    end
  end
  out[#out + 1] = fits and 1 or 0
  for i = 1, checks do
    if fits then
      out[#out + 1] = after[i]
      if after[i] > 0 then
        -- One second longer than it takes to be full again; a full bucket is the same as none.
        redis.call('SET', KEYS[key + i], string.format('%.0f', now + after[i]),
          'PX', string.format('%.0f', math.ceil(after[i] / 1000) + 1000))
      end
    else
      out[#out + 1] = held[i]
    end
  end
  key = key + checks
end
return out
