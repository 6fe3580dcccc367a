-- Takes Redis for an epoch of the log and says where partitions stand.
-- Keys: the epoch, the offsets asked for, then all offsets. Arguments: epoch, how many are asked
-- for, 1 if another epoch may be replaced. Its offsets mean nothing then; its conversations go one
-- by one, when their first event of this epoch is applied. Returns {'claimed', offsets...}, or
-- {'foreign', 0}.
local asked = tonumber(ARGV[2])
local stored_epoch = redis.call('GET', KEYS[1])
if stored_epoch and stored_epoch ~= ARGV[1] and ARGV[3] ~= '1' then return {'foreign', 0} end
if stored_epoch ~= ARGV[1] then
  for i = 2 + asked, #KEYS do redis.call('DEL', KEYS[i]) end
  redis.call('SET', KEYS[1], ARGV[1])
end
local answer = {'claimed'}
for i = 2, 1 + asked do
  redis.call('SETNX', KEYS[i], 0)
  answer[i] = tonumber(redis.call('GET', KEYS[i]))
end
return answer
