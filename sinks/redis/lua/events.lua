-- Applies consecutive events of one conversation, all or none.
-- Arguments: the shared four, expected seq, log length and bytes at most, log expiry (Unix ms),
-- owner, status, state, done; then for each event: frame, step (start, restart, end or empty),
-- turn, attempt. Returns {'applied', seq}, or {'seq', stored seq} if the view is not where the
-- sink thinks, or what `guard` says.

local refused = guard()
if refused then return refused end

local expected, log_events_max, log_bytes_max = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local view = redis.call('HMGET', k_view, 'seq', 'epoch', 'bytes')
local stale = view[1] and view[2] ~= epoch
local seq = (view[1] and not stale) and tonumber(view[1]) or 0
if seq ~= expected then return {'seq', seq} end

if stale then redis.call('DEL', k_log, k_view, k_turn, k_held) end
local bytes = 0
if not stale and redis.call('EXISTS', k_log) == 1 then bytes = tonumber(view[3]) end

local turn_loaded = false
local function step_turn(step, turn, attempt)
  if not turn_loaded then
    load_turn()
    turn_loaded = true
  end
  if step == 'start' then
    open, open_changed = {turn = turn, attempt = attempt, at = 0, parts = {}}, true
    drain()
  elseif step == 'restart' and open and open.turn == turn then
    open, open_changed = {turn = turn, attempt = attempt, at = 0, parts = {}}, true
    drain()
  elseif step == 'end' then
    if open and open.turn == turn then open, open_changed = nil, true end
    forget_held(turn)
  end
end

for i = 13, #ARGV, 4 do
  local frame, step = ARGV[i], ARGV[i + 1]
  seq = seq + 1
  redis.call('XADD', k_log, seq .. '-0', 'f', frame)
  bytes = bytes + #frame
  redis.call('PUBLISH', bell, frame)
  if step ~= '' then step_turn(step, ARGV[i + 2], tonumber(ARGV[i + 3])) end
end
save_turn()

local length = redis.call('XLEN', k_log)
while length > 1 and (length > log_events_max or bytes > log_bytes_max) do
  local oldest = redis.call('XRANGE', k_log, '-', '+', 'COUNT', 1)[1]
  redis.call('XDEL', k_log, oldest[1])
  bytes = bytes - #oldest[2][2]
  length = length - 1
end
redis.call('PEXPIREAT', k_log, ARGV[8])
if redis.call('EXISTS', k_log) == 0 then bytes = 0 end

redis.call('HSET', k_view, 'seq', seq, 'epoch', epoch, 'owner', ARGV[9], 'status', ARGV[10],
           'state', ARGV[11], 'done', ARGV[12], 'bytes', bytes)
advance()
return {'applied', seq}
