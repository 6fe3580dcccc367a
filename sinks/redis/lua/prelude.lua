-- Shared beginning of every script. Keys and leading arguments are the same for all of them, see
-- scripts.py. Nothing is written before `guard` has agreed.

local k_log, k_view, k_turn, k_held, k_offset, k_epoch =
  KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local epoch, known_offset, next_offset, bell = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

-- Whether this Redis still holds what the sink knows it held. One that was emptied or rolled back
-- must be fed from an earlier offset first, or conversations would seem to have gaps.
local function guard()
  local stored_epoch = redis.call('GET', k_epoch)
  if stored_epoch and stored_epoch ~= epoch then return {'foreign', 0} end
  local offset = tonumber(redis.call('GET', k_offset) or '-1')
  if not stored_epoch or offset < tonumber(known_offset) then return {'lost', offset} end
  return nil
end

-- Offsets only rise, so a sink that was replaced can't take its successor back.
local function advance()
  if next_offset == '' then return end
  local offset = tonumber(redis.call('GET', k_offset) or '-1')
  if tonumber(next_offset) > offset then redis.call('SET', k_offset, next_offset) end
end

-- `text` without its first `count` code points. In UTF-8 a byte below 128 or above 191 begins one.
local function skip(text, count)
  if count == 0 then return text end
  local position = 0
  for _ = 1, count + 1 do
    position = string.find(text, '[^\128-\191]', position + 1)
    if not position then return '' end
  end
  return string.sub(text, position)
end

local function held_field(turn, attempt, from, to)
  return turn .. ' ' .. attempt .. ' ' .. from .. ' ' .. to
end

local function read_field(field)
  local turn, attempt, from, to = string.match(field, '^(%S+) (%d+) (%d+) (%d+)$')
  return {field = field, turn = turn, attempt = tonumber(attempt), from = tonumber(from),
          to = tonumber(to)}
end

-- The open turn, read once and written once per call.
local open = nil
local open_changed = false

local function load_turn()
  local stored = redis.call('HMGET', k_turn, 'turn', 'attempt', 'at', 'text')
  if stored[1] then
    open = {turn = stored[1], attempt = tonumber(stored[2]), at = tonumber(stored[3]),
            parts = {stored[4]}}
  end
end

local function save_turn()
  if not open_changed then return end
  if open then
    redis.call('HSET', k_turn, 'turn', open.turn, 'attempt', open.attempt, 'at', open.at,
               'text', table.concat(open.parts))
  else
    redis.call('DEL', k_turn)
  end
end

local function append(from, to, text, frame)
  table.insert(open.parts, skip(text, open.at - from))
  open.at = to
  open_changed = true
  redis.call('PUBLISH', bell, frame)
end

-- Appends what was held for the open attempt and now follows; forgets what is out of date.
local function drain()
  local candidates = {}
  for _, field in ipairs(redis.call('HKEYS', k_held)) do
    local piece = read_field(field)
    if piece.turn == open.turn and piece.attempt < open.attempt then
      redis.call('HDEL', k_held, field)
    elseif piece.turn == open.turn and piece.attempt == open.attempt then
      table.insert(candidates, piece)
    end
  end
  table.sort(candidates, function(a, b)
    if a.from ~= b.from then return a.from < b.from end
    return a.to < b.to
  end)
  for _, piece in ipairs(candidates) do
    if piece.from > open.at then break end
    if piece.to > open.at then
      local frame = redis.call('HGET', k_held, piece.field)
      append(piece.from, piece.to, cjson.decode(frame).text, frame)
    end
    redis.call('HDEL', k_held, piece.field)
  end
end

local function forget_held(turn)
  for _, field in ipairs(redis.call('HKEYS', k_held)) do
    if read_field(field).turn == turn then redis.call('HDEL', k_held, field) end
  end
end
