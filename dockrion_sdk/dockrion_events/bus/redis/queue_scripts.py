"""What Redis does with the queue in one step: Lua scripts; see `queue` and, for runs, `scripts`."""

from __future__ import annotations

from typing import Final

from .scripts import CLOCK, CROWDED, Script

_GROUP: Final = """
local function grouped(...)
  local reply = redis.pcall(...)
  if type(reply) == 'table' and reply.err and string.find(reply.err, 'NOGROUP') then
    redis.call('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM')
    reply = redis.pcall(...)
  end
  if type(reply) == 'table' and reply.err then error(reply.err) end
  return reply
end
"""

TAKE: Final = Script(
    _GROUP
    + """
local reply = grouped('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', ARGV[3], 'STREAMS', KEYS[1], '>')
local out = {}
if reply then
  for _, entry in ipairs(reply[1][2]) do
    out[#out + 1] = entry[1]
    out[#out + 1] = entry[2] and entry[2][2] or ''
    out[#out + 1] = entry[2] and entry[2][4] or '0'
  end
end
return out
"""
)
"""queue; group, consumer, count -> entry, key, version, entry, key, version …: what nobody has
taken yet, oldest first."""

COUNT: Final = Script(
    _GROUP
    + """
return redis.call('XLEN', KEYS[1]) - grouped('XPENDING', KEYS[1], ARGV[1])[1]
"""
)
"""queue; group -> how many entries nobody has taken. (``lag`` of XINFO GROUPS, but also of Redis 6.2.)"""

_KEYS_OF: Final = """
local function keyed(ids)
  local out = {}
  for _, id in ipairs(ids) do
    local entry = redis.call('XRANGE', KEYS[1], id, id)[1]
    if entry then
      out[#out + 1] = id
      out[#out + 1] = entry[2][2]
      out[#out + 1] = entry[2][4] or '0'
    else
      redis.call('XACK', KEYS[1], ARGV[1], id)
    end
  end
  return out
end
"""

_TAKEN: Final = """
local function taken(consumer, idle, ids, first)
  local out = {}
  for start = first, #ids, 500 do  -- Lua's unpack takes some 8,000
    local call = {'XCLAIM', KEYS[1], ARGV[1], consumer, 0}
    for i = start, math.min(start + 499, #ids) do call[#call + 1] = ids[i] end
    for _, option in ipairs({'IDLE', idle, 'JUSTID'}) do call[#call + 1] = option end
    for _, id in ipairs(grouped(unpack(call))) do out[#out + 1] = id end
  end
  return out
end
"""

RECOVER: Final = Script(
    _GROUP
    + _KEYS_OF
    + _TAKEN
    + """
local span, longest, grace = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local count = tonumber(ARGV[7])
local ids, soonest, from, left_alone = {}, -1, '-', {}
for i = 8, #ARGV do left_alone[ARGV[i]] = true end
repeat
  local page = grouped('XPENDING', KEYS[1], ARGV[1], from, '+', 1000)
  for _, entry in ipairs(page) do
    local idle = entry[3]
    local left = (idle < span - longest and grace or span) - idle
    if left_alone[entry[1]] then
      -- for others
    elseif left <= 0 and #ids < count then
      ids[#ids + 1] = entry[1]
    elseif soonest < 0 or left < soonest then
      soonest = math.max(left, 0)
    end
  end
  if #page > 0 then from = '(' .. page[#page][1] end
until #page < 1000
local out = {}
if #ids > 0 then out = keyed(taken(ARGV[2], ARGV[6], ids, 1)) end
table.insert(out, 1, soonest)
return out
"""
)
"""queue; group, consumer, span, longest lease, grace, idle of a new lease (all in ms), count, entries to
leave alone … -> ms until the next lease expires or -1, then entry, key, version …: what has expired, now
leased to this consumer."""

LEASE: Final = Script(_GROUP + _TAKEN + "return #taken(ARGV[2], ARGV[3], ARGV, 4)")
"""queue; group, consumer, idle in ms, entries: begin the leases of those that are pending."""

MINE: Final = Script(
    _GROUP
    + _KEYS_OF
    + """
local ids = {}
local pending = grouped('XPENDING', KEYS[1], ARGV[1], '-', '+', 1000, ARGV[2])
for i, entry in ipairs(pending) do ids[i] = entry[1] end
return keyed(ids)
"""
)
"""queue; group, consumer -> entry, key, version …: what this consumer has taken and not finished."""

REQUEUE: Final = Script(
    _GROUP
    + """
local taken = ARGV[2]
if taken ~= '' and #grouped('XPENDING', KEYS[1], ARGV[1], taken, taken, 1) == 0 then return false end
local entry = redis.call('XADD', KEYS[1], '*', 'k', ARGV[3], 'v', ARGV[4])
if taken ~= '' then
  redis.call('XACK', KEYS[1], ARGV[1], taken)
  redis.call('XDEL', KEYS[1], taken)
end
return entry
"""
)
"""queue; group, entry or '', key, version -> its new entry, or nil: put a run that was taken through
``entry``, or was opened without one, at the end of the queue."""

TIDY: Final = Script("""
local gone = 0
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local fields = {}
  for i = 1, #consumer, 2 do fields[consumer[i]] = consumer[i + 1] end
  if fields.pending == 0 and (fields.idle > tonumber(ARGV[3]) or fields.name == ARGV[2]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], fields.name)
    gone = gone + 1
  end
end
return gone
""")
"""queue; group, consumer, ms: forget that consumer, and those that were idle for so long."""

INTEND: Final = Script(
    CLOCK
    + CROWDED
    + """
local key, group, most, share = unpack(ARGV)
if not redis.call('ZSCORE', KEYS[1], key) then
  local intents = redis.call('ZCOUNT', KEYS[1], '-inf', '+inf')
  local full = crowded(KEYS[2], KEYS[3], group, tonumber(most), tonumber(share), intents)
  if full then return full end
end
redis.call('ZADD', KEYS[1], now(), key)
return 1
"""
)
"""intents, queue [, owner's entries]; key, group, how many may wait, how many of the owner's: note that the
run ``key`` is about to be made and queued (cluster only) -> 1, or {'queue' or 'owner', how many wait}."""

ENQUEUE: Final = Script(
    CROWDED
    + """
local entry = redis.call('XADD', KEYS[1], '*', 'k', ARGV[1], 'v', ARGV[2])
redis.call('ZREM', KEYS[2], ARGV[1])
if KEYS[3] then mark(KEYS[3], entry, tonumber(ARGV[3])) end
return entry
"""
)
"""queue, intents [, owner's entries]; key, version, expiry of the owner's entries in ms -> entry: queue a run
whose record is there. Twice does no harm: one of the entries counts."""

ENTERED: Final = Script("""
if redis.call('HMGET', KEYS[1], 'st')[1] then redis.call('HSET', KEYS[1], 'qe', ARGV[1]) end
return 1
""")
"""record; entry: note where a run is in the queue, if that was not done in one step."""

OVERDUE: Final = Script(
    CLOCK
    + """
local before = string.format('%.0f', now() - ARGV[1] * 1000)
return {
  redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', before, 'WITHSCORES', 'LIMIT', 0, 100),
  string.format('%.0f', now() - ARGV[2] * 1000)
}
"""
)
"""intents; ms, ms -> {key, score, … of the intents older than the first time, score of the second}."""

FORGET: Final = Script("""
local gone = 0
for i = 1, #ARGV, 2 do
  if redis.call('ZSCORE', KEYS[1], ARGV[i]) == ARGV[i + 1] then
    gone = gone + redis.call('ZREM', KEYS[1], ARGV[i])
  end
end
return gone
""")
"""index; member, score …: remove those members that still have that score."""
