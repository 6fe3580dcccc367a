-- Moves a partition's offset, after all of its conversations were applied.
local refused = guard()
if refused then return refused end
advance()
return {'applied', 0}
