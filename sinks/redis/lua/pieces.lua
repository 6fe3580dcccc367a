-- Applies pieces of answers of one conversation.
-- Arguments: the shared four, held pieces at most, time to hold them (ms); then for each piece:
-- turn, attempt, from, to, frame, text. Returns {'applied', appended, held, dropped}, or what
-- `guard` says.

local refused = guard()
if refused then return refused end

local held_max, held_ms = tonumber(ARGV[5]), ARGV[6]
local view = redis.call('HMGET', k_view, 'epoch', 'done')
local done = ''
local appended, held, dropped = 0, 0, 0
if view[1] == epoch then
  done = view[2]
  load_turn()
end

local function hold(turn, attempt, from, to, frame)
  local field = held_field(turn, attempt, from, to)
  if redis.call('HLEN', k_held) >= held_max and redis.call('HEXISTS', k_held, field) == 0 then
    dropped = dropped + 1
    return
  end
  redis.call('HSET', k_held, field, frame)
  redis.call('PEXPIRE', k_held, held_ms)
  held = held + 1
end

for i = 7, #ARGV, 6 do
  local turn, attempt, from, to = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local frame, text = ARGV[i + 4], ARGV[i + 5]
  local is_open = open and open.turn == turn
  local newer = is_open and tonumber(attempt) > open.attempt
  local current = is_open and tonumber(attempt) == open.attempt
  if current and tonumber(to) > open.at and tonumber(from) <= open.at then
    append(tonumber(from), tonumber(to), text, frame)
    appended = appended + 1
    if redis.call('EXISTS', k_held) == 1 then drain() end
  elseif newer or (current and tonumber(from) > open.at) then
    hold(turn, attempt, from, to, frame)
  elseif is_open or string.find(done, turn, 1, true) then
    dropped = dropped + 1
  else
    hold(turn, attempt, from, to, frame)
  end
end
save_turn()
advance()
return {'applied', appended, held, dropped}
