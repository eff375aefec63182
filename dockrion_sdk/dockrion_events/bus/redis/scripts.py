"""What Redis does in one step: Lua scripts.

A run is a hash (its record) and a stream (its log), whose entry ids are ``<sequence>-0``. The hash has

==  ====================================================================================
st  status
ow  owner
rq  request
ca  created, sa started, ea ended: microseconds since 1970 by Redis's clock
at  attempt: how many claims there were; it is the newest one's token
fe  fence: ``<token>:<name>`` of the claim whose right it is, else empty
pr  process that holds the claim, which is told when the right is gone
ba  sequence of the last event before that claim's own
la  sequence of the last event
mx  bytes of the largest event
en  queue entry that the newest claim was made through
no  nonce of the call that made the run, by which a second sending is recognised
op  1 where the run has no lease (`open_run`)
rl  fence that was released last
th  thread
qe  queue entry that the run waits by, or has waited by last
==  ====================================================================================

All are written so that the same call, sent again because its reply was lost, changes nothing and gives
the same answer. The first write of each is one that Redis refuses when its memory is full, so that a
script is refused as a whole.
"""

from __future__ import annotations

import hashlib
from typing import Final


class Script:
    """A script's text and its hash."""

    __slots__ = ("sha", "source")

    def __init__(self, source: str) -> None:
        self.source: bytes = source.encode()
        self.sha: bytes = hashlib.sha1(self.source, usedforsecurity=False).hexdigest().encode()


CLOCK: Final = """
local function now()
  local t = redis.call('TIME')
  return t[1] .. string.format('%06d', t[2])
end
"""

_DUMP: Final = """
local function dump(rec, log)
  local r = redis.call('HMGET', rec, 'st', 'ow', 'rq', 'ca', 'sa', 'ea', 'at', 'la', 'mx', 'fe', 'th')
  if not r[1] then return false end
  r[14] = r[11] or ''
  r[11] = r[8] == '0' and 0 or redis.call('XLEN', log)
  r[12], r[13] = false, false
  if r[6] then
    local newest = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
    if newest then r[12], r[13] = newest[2][2], newest[2][4] end
  end
  return r
end
"""

_ENDED: Final = """
local function ended(st) return st == 'completed' or st == 'failed' or st == 'cancelled' end
"""

GET: Final = Script(_DUMP + "return dump(KEYS[1], KEYS[2])")
"""record, log -> the record, or nil."""

SUMMARIES: Final = Script("""
local out = {}
for i = 1, #KEYS, 2 do
  local r = redis.call('HMGET', KEYS[i], 'ow', 'st', 'ca', 'sa', 'ea', 'th', 'at', 'la')
  r[9] = (r[8] or '0') == '0' and 0 or redis.call('XLEN', KEYS[i + 1])
  out[#out + 1] = r
end
return out
""")
"""record, log, record, log … -> owner, status, times, thread, attempt, last sequence and length of the log of
each; owner and status are nil for a run that is not there."""

READ: Final = Script("""
local from, events, bytes = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local out, size = {}, 0
while true do
  local part = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', 4)
  for _, entry in ipairs(part) do
    size = size + #entry[2][4]
    if #out > 0 and (size > bytes or #out == events) then return out end
    out[#out + 1] = entry
  end
  if #part < 4 then return out end
  from = '(' .. part[4][1]
end
""")
"""log; first id, events, bytes -> entries, at most so many and so large, but one at least."""

CROWDED: Final = """
local function crowded(queue, mine, group, most, share, more)
  if redis.call('XLEN', queue) + more < most and not (mine and redis.call('XLEN', mine) >= share) then
    return false
  end
  local taken, from = 0, false
  for _, info in ipairs(redis.pcall('XINFO', 'GROUPS', queue)) do
    local fields = {}
    for i = 1, #info, 2 do fields[info[i]] = info[i + 1] end
    if fields.name == group then
      taken = fields.pending
      local ms, seq = string.match(fields['last-delivered-id'], '^(%d+)-(%d+)$')
      from = string.format('%s-%d', ms, seq + 1)
    end
  end
  local waiting = redis.call('XLEN', queue) - taken + more
  if waiting >= most then return {'queue', waiting} end
  if not mine then return false end
  if from then redis.call('XTRIM', mine, 'MINID', from) end
  local own = redis.call('XLEN', mine)
  return own >= share and {'owner', own}
end
local function mark(mine, entry, remember)
  redis.call('XADD', mine, entry, 'k', '')
  if redis.call('PTTL', mine) < remember - 3600000 then redis.call('PEXPIRE', mine, remember) end
end
"""
"""Whether the queue has as many entries that nobody has taken as it may, or ``mine`` as many of its owner's.

``mine`` is a stream with the ids of the owner's entries in the queue. Those up to the last one that was
delivered wait no more: they are removed when the stream seems full, so nothing has to be counted down."""

CREATE: Final = Script(
    CLOCK
    + _DUMP
    + CROWDED
    + """
local rec, log, queue, index, mine = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local owner, request, nonce, key, fence, process, keep, remember, thread, group, most, share = unpack(ARGV)
local there = redis.call('HMGET', rec, 'st', 'no')
if there[1] then return {there[2] == nonce and 1 or 0, dump(rec, log)} end
if queue and fence == '' then
  local full = crowded(queue, mine, group, tonumber(most), tonumber(share), 0)
  if full then return {2, full} end
end
local t = now()
redis.call('HSET', rec, 'st', 'accepted', 'ow', owner, 'rq', request, 'ca', t, 'no', nonce,
           'at', '0', 'la', '0', 'mx', '0', 'fe', '', 'pr', '', 'en', '', 'th', thread)
redis.call('DEL', log)
if fence ~= '' then
  redis.call('HSET', rec, 'st', 'running', 'sa', t, 'at', 1, 'fe', fence, 'pr', process, 'ba', 0, 'op', 1)
  redis.call('PEXPIRE', rec, keep)
end
if queue then
  if fence == '' then
    local entry = redis.call('XADD', queue, '*', 'k', key)
    redis.call('HSET', rec, 'qe', entry)
    if mine then mark(mine, entry, remember) end
  end
  redis.call('ZADD', index, t, key)
  if redis.call('PTTL', index) < remember - 3600000 then redis.call('PEXPIRE', index, remember) end
end
return {1, t}
"""
)
"""record, log [, queue, owner's index [, owner's entries in the queue]]; owner, request, nonce, key, fence or
'', process, expiries in ms of a run without lease and of the index, thread, group of the queue, how many may
wait, how many of the owner's -> {1 if made by this call else 0, when it was made or, where it was there, its
record}, or {2, {'queue' or 'owner', how many wait}}."""

APPEND: Final = Script(
    CLOCK
    + _ENDED
    + """
local rec, log = KEYS[1], KEYS[2]
local fence, channel, limit, ttl, keep = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local first, largest, status = tonumber(ARGV[6]), ARGV[7], ARGV[8]
local HEAD = 8
local r = redis.call('HMGET', rec, 'st', 'fe', 'at', 'la', 'mx', 'ba', 'op')
local st, last = r[1], tonumber(r[4])
if not st then return 'gone' end
if r[2] ~= fence then
  if ended(st) then return 'ended' end
  if tonumber(r[3]) < tonumber(string.match(fence, '^%d+')) then return 'hole' end
  return 'superseded'
end
local final = first + (#ARGV - HEAD) / 2 - 1
if first > last + 1 then return 'hole' end
if first <= last then
  if first <= tonumber(r[6]) then return 'superseded' end
  local stored = redis.call('XRANGE', log, string.format('%d-0', first),
                            string.format('%d-0', math.min(last, final)))
  for i = #stored, 1, -1 do
    local at = HEAD + 2 * (tonumber(string.match(stored[i][1], '^%d+')) - first) + 1
    if stored[i][2][2] ~= ARGV[at] or stored[i][2][4] ~= ARGV[at + 1] then
      return ended(st) and 'ended' or 'superseded'
    end
  end
end
if final <= last then return 1 end
if ended(st) then return 'ended' end
for sequence = last + 1, final do
  local at = HEAD + 2 * (sequence - first) + 1
  redis.call('XADD', log, string.format('%d-0', sequence), 't', ARGV[at], 'j', ARGV[at + 1])
end
local newest = string.format('%d', final)
if tonumber(r[5]) > tonumber(largest) then largest = r[5] end
if status == '' then
  redis.call('HSET', rec, 'la', newest, 'mx', largest)
else
  redis.call('HSET', rec, 'la', newest, 'mx', largest, 'st', status, 'ea', now())
end
if final > limit and redis.call('XLEN', log) > limit + limit / 10 then
  redis.call('XTRIM', log, 'MAXLEN', limit)
end
local mark = ''
if status ~= '' then
  mark = ' e'
  redis.call('PEXPIRE', rec, ttl)
  redis.call('PEXPIRE', log, ttl)
elseif r[7] then
  redis.call('PEXPIRE', rec, keep)
  redis.call('PEXPIRE', log, keep)
end
redis.call('PUBLISH', channel, newest .. ' ' .. largest .. mark)
return 1
"""
)
"""record, log; fence, channel, events to keep, ms to keep an ended run, ms to keep one without lease, first
sequence, bytes of the largest, status that a terminal event gives or '', then type and JSON of each event
-> 1, or ``gone``, ``ended``, ``superseded``, ``hole``."""

END: Final = Script(
    CLOCK
    + _DUMP
    + _ENDED
    + """
local rec, log = KEYS[1], KEYS[2]
local channel, processes, ttl, status, started_type, started, type, terminal = unpack(ARGV)
local r = redis.call('HMGET', rec, 'st', 'fe', 'pr', 'la', 'mx', 'qe')
if not r[1] then return false end
if ended(r[1]) then return dump(rec, log) end
local last, largest = tonumber(r[4]), tonumber(r[5])
if last == 0 then
  redis.call('XADD', log, '1-0', 't', started_type, 'j', started .. '1}')
  last = 1
end
local sequence = string.format('%d', last + 1)
local json = terminal .. sequence .. '}'
redis.call('XADD', log, sequence .. '-0', 't', type, 'j', json)
largest = math.max(largest, #json, #started)
redis.call('HSET', rec, 'st', status, 'ea', now(), 'fe', '', 'pr', '', 'la', sequence, 'mx', largest)
redis.call('PEXPIRE', rec, ttl)
redis.call('PEXPIRE', log, ttl)
redis.call('PUBLISH', channel, sequence .. ' ' .. largest .. ' e')
if r[2] ~= '' then redis.call('PUBLISH', processes .. r[3], r[2] .. ' cancelled') end
local record = dump(rec, log)
if r[1] == 'accepted' and r[6] then record[15] = r[6] end
return record
"""
)
"""record, log; channel, prefix of the processes' channels, ms to keep, status, then type and draft of the
started and of the terminal event -> the record, or nil. If the run waited, the id of its entry in the queue
follows the record."""

CLAIM: Final = Script(
    CLOCK
    + _DUMP
    + _ENDED
    + """
local process, processes, at = ARGV[1], ARGV[2], now()
local function claimed(rec, log, entry, name, idle)
  local r = redis.call('HMGET', rec, 'st', 'fe', 'at', 'en', 'la', 'sa', 'pr', 'ow', 'rq', 'ca', 'mx', 'th')
  if not r[1] then return 'gone' end
  if ended(r[1]) then return 'ended' end
  if r[1] == 'running' then
    if r[2] == r[3] .. ':' .. name then return dump(rec, log) end
    if r[4] ~= entry then return 'double' end
    if idle == '' then return 'held' end
  end
  local token = string.format('%d', r[3] + 1)
  local fence, started = token .. ':' .. name, r[6] or at
  redis.call('HSET', rec, 'st', 'running', 'at', token, 'fe', fence, 'pr', process,
             'en', entry, 'ba', r[5], 'sa', started)
  if r[2] ~= '' then redis.call('PUBLISH', processes .. r[7], r[2] .. ' superseded') end
  local length = r[5] == '0' and 0 or redis.call('XLEN', log)
  return {'running', r[8], r[9], r[10], started, false, token, r[5], r[11], fence, length, false, false,
          r[12] or ''}
end
local out = {}
for run = 1, #KEYS / 2 do
  local i = 3 * run
  out[run] = claimed(KEYS[2 * run - 1], KEYS[2 * run], ARGV[i], ARGV[i + 1], ARGV[i + 2])
end
return out
"""
)
"""record, log, record, log …; process, prefix of the processes' channels, then for each run its queue entry,
a name that is unique to this call, and 'idle' if the entry's lease has expired else '' -> for each run its
record, or ``gone``, ``ended``, ``double`` (another entry of the same run is the one that counts) or
``held``."""

RELEASE: Final = Script("""
local rec = KEYS[1]
local r = redis.call('HMGET', rec, 'st', 'fe', 'rl')
if r[1] == 'accepted' and r[3] == ARGV[1] then return 1 end
if r[1] ~= 'running' or r[2] ~= ARGV[1] then return 0 end
redis.call('HSET', rec, 'st', 'accepted', 'fe', '', 'pr', '', 'rl', ARGV[1])
return 1
""")
"""record; fence -> 1 if the run is accepted again, 0 if the right was gone."""
