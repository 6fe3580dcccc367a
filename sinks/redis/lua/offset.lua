-- Moves a partition's offset behind a batch, once every conversation of it is seen to be applied:
-- Redis may have been rolled back since it said so.
-- Keys: the shared six, then views. Arguments: the shared four, then the `seq` that each view must
-- have reached.

local refused = guard()
if refused then return refused end

for i = 7, #KEYS do
  local view = redis.call('HMGET', KEYS[i], 'seq', 'epoch')
  if view[2] ~= epoch or tonumber(view[1]) < tonumber(ARGV[i - 2]) then
    return {'lost', tonumber(redis.call('GET', k_offset))}
  end
end
advance()
return {'applied', 0}
