"""The script with which Redis counts a shared budget: one moving window, and turns between processes.

Redis runs a script as one step, so nobody sees or changes what is between two of its lines. The
script is written for Redis 5 and newer and for Valkey: they replicate what a script writes, so it
may read the clock first. Its two keys carry the same hash tag, and so are on one node of a cluster.

``requests`` is a list of times, the newest first, no longer than the limit. ``line`` is a hash: the
clock, and one record for each process. Times are microseconds.

**The clock** is the server's, and never goes back. When the server's was put back, the difference
is added from then on, so nobody waits for longer than without the jump. A clock that was put
forward looks like time that passed: at most what one window counted is forgotten.

**Turns** are start-time fair queueing (Goyal, Vin, Cheng 1996). Each process says how many of its
requests wait, and they take places, each a turn behind the one before. What the window has room for
is left to those requests of other processes that have earlier places. Thus a burst is shared
evenly, too, however fast each process asks. A process that comes, or comes back, takes the earliest
place that others wait for. For each turn that it is behind them, at most as many as the limit, it
has a credit. A request with credit takes an eighth of a turn: the process catches up, and each of
the others still gets one turn for eight. A process that does not renew its record in time loses its
places: it was killed, or stands still.
"""

from __future__ import annotations

from typing import Final

#: What it takes and returns stands in its first lines.
SCRIPT: Final = """\
-- KEYS   requests, line
-- ARGV   limit, length of the window, process, kind (call, stop, none), how many of its calls wait
--        (this one included), how many of its stops, patience, grace; times in microseconds
-- Gives  1 if it was counted, or else 0; after how long to ask again; for how long the limit is
--        used up for everybody
local requests, line = KEYS[1], KEYS[2]
local limit, length = tonumber(ARGV[1]), tonumber(ARGV[2])
local me, kind = ARGV[3], ARGV[4]
local calls, stops = tonumber(ARGV[5]), tonumber(ARGV[6])
local patience, grace = tonumber(ARGV[7]), tonumber(ARGV[8])

-- What one request takes of the order of places. With credit it takes 1: eight turns for one.
local TURN = 8
-- How long those whose turn depends on others may sleep.
local LOOK_AGAIN = 50000
-- The least that they sleep.
local PAUSE = 2000

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local last, shift = string.match(redis.call('HGET', line, '=clock') or '', '^(%d+) (%d+)$')
last, shift = tonumber(last or 0), tonumber(shift or 0)
last = math.max(last, tonumber(redis.call('LINDEX', requests, 0) or 0))
now = now + shift
if now < last then
    shift, now = shift + last - now, last
end

-- The others, the first place that they wait for, and the last that was given.
local others, first, newest = {}, nil, 0
local mine = {place = 0, credit = 0, calls = 0}
local records = redis.call('HGETALL', line)
for i = 1, #records, 2 do
    local id = records[i]
    local place, credit, waiting, urgent, ends =
        string.match(records[i + 1], '^(%d+) (%d+) (%d+) (%d+) (%d+)$')
    if place then
        local one = {id = id, place = tonumber(place), credit = tonumber(credit)}
        one.calls, one.stops = tonumber(waiting), tonumber(urgent)
        if tonumber(ends) <= now then
            one.calls, one.stops = 0, 0
        end
        newest = math.max(newest, one.place)
        if id == me then
            mine = one
        elseif tonumber(ends) + length <= now then
            redis.call('HDEL', line, id)
        else
            others[#others + 1] = one
            if one.calls > 0 then
                first = math.min(first or one.place, one.place)
            end
        end
    end
end

local place, credit = mine.place, mine.credit
if kind ~= 'none' then
    first = first or newest
    if mine.calls > 0 then
        -- It waits already, and keeps its place. Nobody waits behind more than a limit of it.
        place = math.max(place, first - limit * TURN)
    elseif place < first then
        local behind = math.floor((first - place) / TURN)
        place, credit = place + behind * TURN, math.min(limit, credit + behind)
    end
end

-- How many of another process's requests are before this one.
local function before(other)
    local gap = place - other.place + (other.id < me and 0.5 or 0)
    if gap <= 0 then
        return 0
    end
    local places = math.min(gap, other.credit) + math.max(0, gap - other.credit) / TURN
    return math.min(other.calls, math.ceil(places))
end

-- After how long so many more than one may be let in.
local function room(more)
    if more >= limit then
        return length
    end
    local at = redis.call('LINDEX', requests, limit - 1 - more)
    return at and math.max(0, tonumber(at) + length + 1 - now) or 0
end

local ahead = 0
if kind == 'call' then
    ahead = stops
    for _, other in ipairs(others) do
        ahead = ahead + other.stops + before(other)
    end
end
local used_up = room(0)
local wait = room(ahead)
local counted = 0
if kind ~= 'none' and wait == 0 then
    counted = 1
    redis.call('LPUSH', requests, string.format('%.0f', now))
    redis.call('LTRIM', requests, 0, limit - 1)
    if credit > 0 then
        place, credit = place + 1, credit - 1
    else
        place = place + TURN
    end
    if kind == 'call' then
        calls = math.max(0, calls - 1)
    else
        stops = math.max(0, stops - 1)
    end
elseif kind ~= 'none' then
    if ahead > 0 then
        wait = math.max(PAUSE, math.min(wait, used_up + LOOK_AGAIN))
    end
    if used_up > patience then
        -- It will not wait.
        if kind == 'call' then
            calls = math.max(0, calls - 1)
        else
            stops = math.max(0, stops - 1)
        end
    end
end

local record = {place, credit, calls, stops, now + wait + grace}
redis.call('HSET', line, me, string.format('%.0f %.0f %.0f %.0f %.0f', unpack(record)),
    '=clock', string.format('%.0f %.0f', now, shift))
local kept = math.ceil((2 * length + 2 * grace) / 1000)
redis.call('PEXPIRE', requests, kept)
redis.call('PEXPIRE', line, kept)
return {counted, math.ceil(wait), math.ceil(used_up)}
"""
