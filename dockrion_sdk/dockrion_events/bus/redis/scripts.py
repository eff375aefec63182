"""What Redis does in one step: Lua scripts.

A run is a hash (its record) and a stream (its log), whose entry ids are ``<sequence>-0``. The hash has

==  ====================================================================================
st  status
ow  owner
rq  request
ca  created, sa started, ea ended: microseconds since 1970 by Redis's clock
at  attempt: how many claims there were; it is the newest one's token
lo  losses: how many claims were lost that had appended something; missing is 0
fe  fence: ``<token>:<name>`` of the claim whose right it is, else empty
pr  process that holds the claim, which is told when the right is gone
ba  sequence of the last event before that claim's own
la  sequence of the last event
mx  bytes of the largest event
en  queue entry that the newest claim was made through
no  nonce of the call that made the run, by which a second sending is recognised
op  1 where the run has no lease (`open_run`)
rl  fence that was released last
ep  the parts of the log whose writers are gone; see `branches`
v   version of the format of all of this, none in releases before there was one
th  thread that the run belongs to; missing or empty for none
qe  queue entry that the run waits by, or waited by last; missing or empty where it was never queued
==  ====================================================================================

All are written so that the same call, sent again because its reply was lost, changes nothing and gives
the same answer. The first write of each is one that Redis refuses when its memory is full, so that a
script is refused as a whole.

Redis does not take back what a script has written before an error, such as a missing right or a key of
another type. So each script has one write that makes its change true, always to the record. What comes
before it means nothing without it: a queue entry that leads to no run, an index entry without a run, an
event behind ``la``. It is preceded by a write of the same command to the same key, or is the only one, so
it cannot fail by itself. What comes after it is done by `pcall`: expiries, trimming and hints must not
make a change seem undone that was made. `selftest` finds out whether they work.
"""

from __future__ import annotations

import hashlib
from typing import Final

VERSION: Final = 1
"""The newest format that is understood here: of records, of entries of the log, and of the queue's.

A process that finds a newer one leaves it to others. Where none is named, it is that of the releases
before versions, which this one includes.
"""

_VERSION: Final = f"local VERSION = '{VERSION}'\n"


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
  local r = redis.call('HMGET', rec, 'st', 'ow', 'rq', 'ca', 'sa', 'ea', 'at', 'la', 'mx', 'fe', 'ba', 'ep',
                       'v', 'lo', 'th')
  if not r[1] then return false end
  r[16] = r[8] == '0' and 0 or redis.call('XLEN', log)
  r[17], r[18] = false, false
  if r[6] then
    local newest = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
    if newest then r[17], r[18] = newest[2][2], newest[2][4] end
  end
  return r
end
"""

_PARTS: Final = """
local function parts(listed, base, fence, last)
  if fence == '' or base == last then return listed end
  local first = string.format('%d', (base or 0) + 1)
  listed = (listed or '') .. first .. ':' .. string.sub(redis.sha1hex(fence), 1, 8) .. ';'
  if #listed > 2048 then listed = string.sub(listed, string.find(listed, ';', 1024, true) + 1) end
  return listed
end
"""
"""``ep`` once the fence's part is one whose writer is gone; of very many parts the newest are kept."""

_ENDED: Final = """
local function ended(st) return st == 'completed' or st == 'failed' or st == 'cancelled' end
"""

_READABLE: Final = """
local function readable(...)
  local ok, found = pcall(...)
  if ok then return found end
  if string.find(type(found) == 'table' and found.err or found, 'WRONGTYPE') then return 'broken' end
  error(found)
end
"""

GET: Final = Script(_DUMP + _READABLE + "return readable(dump, KEYS[1], KEYS[2])")
"""record, log -> the record, nil, or ``broken`` where the keys hold something else."""

SUMMARIES: Final = Script(
    _READABLE
    + """
local function summary(rec, log)
  local r = redis.call('HMGET', rec, 'ow', 'st', 'ca', 'sa', 'ea', 'th', 'at', 'lo', 'v', 'la')
  r[11] = (r[10] or '0') == '0' and 0 or redis.call('XLEN', log)
  return r
end
local out = {}
for i = 1, #KEYS, 2 do out[#out + 1] = readable(summary, KEYS[i], KEYS[i + 1]) end
return out
"""
)
"""record, log, record, log … -> for each its owner, status, times, thread, attempt, losses, version, last
sequence and length of the log, owner and status nil where there is no run; or ``broken`` where the keys hold
something else."""

READ: Final = Script("""
local from, to, events, bytes = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local out, size = {}, 0
while true do
  local part = redis.call('XRANGE', KEYS[1], from, to, 'COUNT', 4)
  for _, entry in ipairs(part) do
    size = size + #entry[2][4]
    if #out > 0 and (size > bytes or #out == events) then return out end
    out[#out + 1] = entry
  end
  if #part < 4 then return out end
  from = '(' .. part[4][1]
end
""")
"""log; first id, last id, events, bytes -> entries, at most so many and so large, but one at least."""

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
  redis.pcall('XADD', mine, entry, 'k', '')
  if redis.call('PTTL', mine) < remember - 3600000 then redis.pcall('PEXPIRE', mine, remember) end
end
"""
"""Whether the queue has as many entries that nobody has taken as it may, or ``mine`` as many of its owner's.

``mine`` is a stream with the ids of the owner's entries in the queue. Those up to the last one that was
delivered wait no more: they are removed when the stream seems full, so nothing has to be counted down."""

CREATE: Final = Script(
    _VERSION
    + CLOCK
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
local entry = ''
if queue then
  redis.call('ZADD', index, t, key)
  if redis.call('PTTL', index) < remember - 3600000 then redis.call('PEXPIRE', index, remember) end
  if fence == '' then
    entry = redis.call('XADD', queue, '*', 'k', key, 'v', VERSION)
    if mine then mark(mine, entry, remember) end
  end
end
if fence ~= '' or not queue then redis.call('HSET', rec, 'v', VERSION) end
if fence ~= '' then redis.call('PEXPIRE', rec, keep) end
redis.call('DEL', log)
if fence == '' then
  redis.call('HSET', rec, 'st', 'accepted', 'ow', owner, 'rq', request, 'ca', t, 'no', nonce,
             'at', 0, 'la', 0, 'mx', 0, 'fe', '', 'pr', '', 'en', '', 'ep', '',
             'th', thread, 'qe', entry, 'v', VERSION)
else
  redis.call('HSET', rec, 'st', 'running', 'ow', owner, 'rq', request, 'ca', t, 'no', nonce,
             'at', 1, 'la', 0, 'mx', 0, 'fe', fence, 'pr', process, 'en', '', 'ep', '',
             'th', thread, 'qe', '', 'sa', t, 'ba', 0, 'op', 1, 'v', VERSION)
end
return {1, t}
"""
)
"""record, log [, queue, owner's index [, owner's entries in the queue]]; owner, request, nonce, key, fence or
'', process, expiries in ms of a run without lease and of the index, thread, group of the queue, how many may
wait, how many of the owner's -> {1 if made by this call else 0, when it was made or, where it was there, its
record}, or {2, {'queue' or 'owner', how many wait}}."""

APPEND: Final = Script(
    _VERSION
    + CLOCK
    + _ENDED
    + """
local rec, log = KEYS[1], KEYS[2]
local fence, channel, limit, ttl, keep = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local epoch, first, largest, status = ARGV[6], tonumber(ARGV[7]), ARGV[8], ARGV[9]
local HEAD = 9
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
if tonumber(r[5]) > tonumber(largest) then largest = r[5] end
redis.call('HSET', rec, 'mx', largest)
for sequence = last + 1, final do
  local at = HEAD + 2 * (sequence - first) + 1
  redis.call('XADD', log, string.format('%d-0', sequence), 't', ARGV[at], 'j', ARGV[at + 1], 'v', VERSION)
end
local newest = string.format('%d', final)
if status == '' then
  redis.call('HSET', rec, 'la', newest)
else
  redis.call('HSET', rec, 'la', newest, 'st', status, 'ea', now())
end
if final > limit and redis.call('XLEN', log) > limit + limit / 10 then
  redis.pcall('XTRIM', log, 'MAXLEN', limit)
end
local mark = ' -'
if status ~= '' then
  mark = ' e'
  redis.pcall('PEXPIRE', rec, ttl)
  redis.pcall('PEXPIRE', log, ttl)
elseif r[7] then
  redis.pcall('PEXPIRE', rec, keep)
  redis.pcall('PEXPIRE', log, keep)
end
redis.pcall('PUBLISH', channel, newest .. ' ' .. largest .. ' ' .. epoch .. ' ' .. r[6] .. mark)
return 1
"""
)
"""record, log; fence, channel, events to keep, ms to keep an ended run, ms to keep one without lease, the
fence's epoch, first sequence, bytes of the largest, status that a terminal event gives or '', then type and
JSON of each event -> 1, or ``gone``, ``ended``, ``superseded``, ``hole``."""

END: Final = Script(
    _VERSION
    + CLOCK
    + _DUMP
    + _PARTS
    + _ENDED
    + """
local rec, log = KEYS[1], KEYS[2]
local channel, processes, ttl, epoch, status, started_type, started, type, terminal = unpack(ARGV)
local r = redis.call('HMGET', rec, 'st', 'fe', 'pr', 'la', 'mx', 'ba', 'ep', 'v', 'qe')
if not r[1] then return false end
if tonumber(r[8] or 0) > tonumber(VERSION) then return dump(rec, log) end
if ended(r[1]) then return dump(rec, log) end
local last, largest = tonumber(r[4]), tonumber(r[5])
local listed = string.format('%s%d:%s;', parts(r[7], r[6], r[2], r[4]) or '', last + 1, epoch)
local first = last == 0
if first then last = 1 end
local sequence = string.format('%d', last + 1)
local json = terminal .. sequence .. '}'
largest = math.max(largest, #json, #started)
redis.call('HSET', rec, 'mx', largest)
if first then redis.call('XADD', log, '1-0', 't', started_type, 'j', started .. '1}', 'v', VERSION) end
redis.call('XADD', log, sequence .. '-0', 't', type, 'j', json, 'v', VERSION)
redis.call('HSET', rec, 'st', status, 'ea', now(), 'fe', '', 'pr', '', 'la', sequence, 'ep', listed)
redis.pcall('PEXPIRE', rec, ttl)
redis.pcall('PEXPIRE', log, ttl)
redis.pcall('PUBLISH', channel, sequence .. ' ' .. largest .. ' ' .. epoch .. ' ' .. r[4] .. ' e')
if r[2] ~= '' then redis.pcall('PUBLISH', processes .. r[3], r[2] .. ' cancelled') end
local record = dump(rec, log)
if r[1] == 'accepted' and r[9] and r[9] ~= '' then record[#record + 1] = r[9] end
return record
"""
)
"""record, log; channel, prefix of the processes' channels, ms to keep, epoch of what is appended, status,
then type and draft of the started and of the terminal event -> the record, or nil. If the run waited, the id
of its entry in the queue follows the record."""

CLAIM: Final = Script(
    _VERSION
    + CLOCK
    + _DUMP
    + _PARTS
    + _ENDED
    + """
local process, processes, at = ARGV[1], ARGV[2], now()
local function claimed(rec, log, entry, name, idle)
  local r = redis.call('HMGET', rec, 'st', 'fe', 'at', 'en', 'la', 'sa', 'pr', 'ow', 'rq', 'ca', 'mx',
                       'ba', 'ep', 'v', 'lo', 'th')
  if not r[1] then return 'gone' end
  if tonumber(r[14] or 0) > tonumber(VERSION) then return 'newer' end
  if ended(r[1]) then return 'ended' end
  if r[1] == 'running' then
    if r[2] == r[3] .. ':' .. name then return dump(rec, log) end
    if r[4] ~= entry then return 'double' end
    if idle == '' then return 'held' end
  end
  local token = string.format('%d', r[3] + 1)
  local fence, started, losses = token .. ':' .. name, r[6] or at, r[15] or '0'
  if r[1] == 'running' and tonumber(r[5]) > tonumber(r[12] or '0') then
    losses = string.format('%d', losses + 1)
  end
  local listed = parts(r[13], r[12], r[2], r[5])
  if listed ~= r[13] then redis.call('HSET', rec, 'ep', listed) end
  redis.call('HSET', rec, 'st', 'running', 'at', token, 'fe', fence, 'pr', process,
             'en', entry, 'ba', r[5], 'sa', started, 'lo', losses, 'v', VERSION)
  if r[2] ~= '' then redis.pcall('PUBLISH', processes .. r[7], r[2] .. ' superseded') end
  local length = r[5] == '0' and 0 or redis.call('XLEN', log)
  return {'running', r[8], r[9], r[10], started, false, token, r[5], r[11], fence, r[5], listed,
          VERSION, losses, r[16], length, false, false}
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
record, or ``gone``, ``ended``, ``newer``, ``double`` (another entry of the same run is the one that counts)
or ``held``."""

RELEASE: Final = Script(
    _PARTS
    + """
local rec = KEYS[1]
local r = redis.call('HMGET', rec, 'st', 'fe', 'rl', 'la', 'ba', 'ep')
if r[1] == 'accepted' and r[3] == ARGV[1] then return 1 end
if r[1] ~= 'running' or r[2] ~= ARGV[1] then return 0 end
local listed = parts(r[6], r[5], r[2], r[4])
if listed then
  redis.call('HSET', rec, 'st', 'accepted', 'fe', '', 'pr', '', 'rl', ARGV[1], 'ep', listed)
else
  redis.call('HSET', rec, 'st', 'accepted', 'fe', '', 'pr', '', 'rl', ARGV[1])
end
return 1
"""
)
"""record; fence -> 1 if the run is accepted again, 0 if the right was gone."""
