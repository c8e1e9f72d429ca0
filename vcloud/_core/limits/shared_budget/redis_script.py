"""The script that counts a shared budget in Redis: one moving window, and turns of the processes.

Redis runs a script as one step, so no other client sees or changes anything in between. The script
is written for Redis 5 and newer and for Valkey: they replicate what a script writes, so it may read
the clock first. Its two keys carry the same hash tag, and so are on one node of a cluster.

``requests`` is a list of times, the newest first, no longer than the limit. ``line`` is a hash with
the clock and one record for each process. Times are microseconds.

**The clock** is the server's, and never goes back. If the server's clock is set back, the script
adds the difference from then on, so no request waits longer than without that. If it is set
forward, that looks like time that passed: at most the count of one window is forgotten.

**Turns** are start-time fair queueing (Goyal, Vin, Cheng 1996). Each process says how many of its
requests wait. These requests take places, each of them a turn behind the one before. The script
leaves the room in the window to requests of other processes that have earlier places, so processes
share a burst evenly however fast each of them asks.

A process that starts to wait takes the earliest place that others wait for. It gets a credit for
each turn that it is behind them, at most as many as the limit. A request with credit takes an
eighth of a turn: the process catches up, and each other process still gets one turn for eight. A
process that does not renew its record in time, because it was killed or stopped, loses its places.
"""

from __future__ import annotations

from typing import Final

#: Its first lines describe what it takes and returns.
SCRIPT: Final = """\
-- KEYS     requests, line
-- ARGV     limit, length of the window, process, kind (call, stop, none), how many of its calls
--          wait (including this one), how many of its stops, longest wait, grace; in microseconds
-- Returns  1 if it was counted, else 0; after how long to ask again; for how long the limit is
--          used up for all processes
local requests, line = KEYS[1], KEYS[2]
local limit, length = tonumber(ARGV[1]), tonumber(ARGV[2])
local me, kind = ARGV[3], ARGV[4]
local calls, stops = tonumber(ARGV[5]), tonumber(ARGV[6])
local max_wait, grace = tonumber(ARGV[7]), tonumber(ARGV[8])

-- How far one request moves its process in the order of places. With credit it moves it by 1, so
-- the process gets eight turns for one.
local TURN = 8
-- The longest sleep of a request whose turn depends on other processes.
local ASK_AGAIN = 50000
-- The shortest sleep of such a request.
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

-- The other processes, the first place that they wait for, and the last place that was given.
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
        -- It waits already, and keeps its place. Others wait for one limit of its requests at most.
        place = math.max(place, first - limit * TURN)
    elseif place < first then
        local behind = math.floor((first - place) / TURN)
        place, credit = place + behind * TURN, math.min(limit, credit + behind)
    end
end

-- How many requests of another process are before this one.
local function before(other)
    local gap = place - other.place + (other.id < me and 0.5 or 0)
    if gap <= 0 then
        return 0
    end
    local places = math.min(gap, other.credit) + math.max(0, gap - other.credit) / TURN
    return math.min(other.calls, math.ceil(places))
end

-- After how long this one and so many more may be counted.
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
        wait = math.max(PAUSE, math.min(wait, used_up + ASK_AGAIN))
    end
    if used_up > max_wait then
        -- It does not wait.
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
