-- Takes Redis for an epoch of the log and says where partitions stand.
-- Keys: the epoch, the offsets asked for, then all offsets. Arguments: epoch, how many are asked
-- for. Offsets of another epoch mean nothing any more; its conversations go one by one, when
-- their first event of this epoch is applied.
local asked = tonumber(ARGV[2])
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  for i = 2 + asked, #KEYS do redis.call('DEL', KEYS[i]) end
  redis.call('SET', KEYS[1], ARGV[1])
end
local offsets = {}
for i = 2, 1 + asked do
  redis.call('SETNX', KEYS[i], 0)
  offsets[i - 1] = tonumber(redis.call('GET', KEYS[i]))
end
return offsets
