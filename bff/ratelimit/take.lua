-- Token buckets (GCRA) for many requests in one call; the rule of bucket.py, on the store's clock.
--
-- KEYS: one per check, request after request, each the TAT of a bucket in microseconds.
-- ARGV: per request the number of its checks, then for each: microseconds per token, microseconds
--       from empty to full, cost. A lease stands as a request of -1 checks with the figures of one;
--       its cost is the tokens wanted, of which a part may be granted, or below 0 the tokens given back.
-- Returns per request 1 or 0 (admitted or not), then for each check how far its bucket is from full;
--       for a lease the tokens granted (below 0: given back), then the same.
-- Requests are decided in order; each is all or nothing. Only integers cross, all below 2^53.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local out, at, key = {}, 1, 0

local function held_of(name, full)
  -- pcall: a foreign value under our key counts as a full bucket, it must not fail all others.
  local kept = redis.pcall('GET', name)
  local tat = type(kept) == 'string' and tonumber(kept) or 0
  return math.max(0, math.min(tat - now, full))
end

local function keep(name, held)
  -- One second longer than it takes to be full again; a full bucket is the same as none.
  redis.call('SET', name, string.format('%.0f', now + held),
    'PX', string.format('%.0f', math.ceil(held / 1000) + 1000))
end

while at <= #ARGV do
  local checks = tonumber(ARGV[at])
  at = at + 1
  if checks < 0 then
    local token, full, tokens = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
    at = at + 3
    key = key + 1
    local held = held_of(KEYS[key], full)
    local granted = math.min(tokens, math.floor((full - held) / token))
    local after = math.max(0, held + granted * token)
    if after > 0 then
      if granted ~= 0 then
        keep(KEYS[key], after)
      end
    elseif held > 0 then
      redis.call('DEL', KEYS[key])
    end
    out[#out + 1] = granted
    out[#out + 1] = after
  else
    local fits, held, after = true, {}, {}
    for i = 1, checks do
      local token, full, cost = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
      at = at + 3
      held[i] = held_of(KEYS[key + i], full)
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
          keep(KEYS[key + i], after[i])
        end
      else
        out[#out + 1] = held[i]
      end
    end
    key = key + checks
  end
end
return out
