-- GCRA, the generic cell rate algorithm. KEYS[1] holds the theoretical arrival time.
-- ARGV: interval between two commands and tolerance of bursts, both in microseconds.
-- Returns the microseconds to wait, 0 when the command may pass.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval = tonumber(ARGV[1])
local tolerance = tonumber(ARGV[2])
local arrival = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now)
local wait = arrival + interval - now - tolerance
if wait > 0 then
  return math.ceil(wait)
end
redis.call('SET', KEYS[1], string.format('%.0f', arrival + interval), 'PX',
  math.ceil((arrival + interval - now) / 1000) + 1)
return 0
