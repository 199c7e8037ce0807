"""The script that keeps limits in Redis: all of a request in one step, on Redis' own clock.

All keys of a platform begin with PLATFORM, which holds their hash tag, so that a cluster keeps
together what orgs share and what each has alone. LIMIT begins with whose calls count together. The
script declares only the index of the org that asks; the others follow from its limits:

    PLATFORM:ORG                    sorted set, the org's index: limits that it uses, by when the
                                    last of them can go
    PLATFORM:ORG:LIMIT              the limit as the org last named it, as JSON
    PLATFORM:LIMIT:state            hash: told, told_until, reason, observed
    PLATFORM:LIMIT:taken            sorted set: calls or callers, by when their unit comes back
    PLATFORM:LIMIT:waiting:PRIORITY sorted set: parked callers, by when they come again

Callers are named with their org. Times are microseconds since 1970 UTC, which a double holds
exactly.
"""

from typing import Final

RATE_LIMITS_LUA: Final = """
local index = KEYS[1]
local ask = cjson.decode(ARGV[1])
local clock = redis.call(unpack(ask.clock))
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])

-- Lua's own conversion keeps 14 digits, and a time has 16.
local function text(number)
  return string.format('%.0f', number)
end

local function part(limit, name)
  return ask.platform .. ':' .. limit.name .. ':' .. name
end

local function about(name)
  return index .. ':' .. name
end

local function keep(key, time)
  local milliseconds = math.ceil((time - now) / 1000) + 60000
  if redis.call('PTTL', key) < milliseconds then
    redis.call('PEXPIRE', key, milliseconds)
  end
end

local function list(limit, time)
  redis.call('SET', about(limit.name), limit.about, 'KEEPTTL')
  keep(about(limit.name), time)
  redis.call('ZADD', index, 'GT', text(time), limit.name)
  keep(index, time)
end

-- Units that are taken, as counted; units that others took, as told; until when; why.
local function look(limit)
  redis.call('ZREMRANGEBYSCORE', part(limit, 'taken'), '-inf', text(now))
  local taken = redis.call('ZCARD', part(limit, 'taken'))
  local found = redis.call('HMGET', part(limit, 'state'), 'told', 'told_until', 'reason')
  local told_until = tonumber(found[2] or '0')
  if told_until <= now then
    return taken, 0, 0, ''
  end
  return taken, tonumber(found[1]), told_until, found[3]
end

-- The first moment at which a unit may be taken; `room_time` of the domain.
local function room_time(limit, ceiling, taken, told, told_until)
  local function when_back(units)
    if units <= 0 then
      return now
    elseif units > taken then
      return math.huge
    end
    local found = redis.call('ZRANGE', part(limit, 'taken'), units - 1, units - 1, 'WITHSCORES')
    return tonumber(found[2])
  end
  local beside_told = when_back(math.floor(taken + told - ceiling) + 1)
  return math.min(beside_told, math.max(told_until, when_back(taken - ceiling + 1)))
end

local function waiting(limit, priority)
  local key = part(limit, 'waiting:' .. priority)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', text(now - ask.place))
  return key
end

-- Callers that a unit is left for: those of better priority, and for who is new, of the same.
local function places_ahead(limit)
  local soon = text(now + ask.spread)
  local count = 0
  for priority = 0, ask.priority - 1 do
    count = count + redis.call('ZCOUNT', waiting(limit, priority), '-inf', soon)
  end
  local own = waiting(limit, ask.priority)
  if redis.call('ZSCORE', own, ask.caller) then
    return count
  end
  return count + redis.call('ZCOUNT', own, '-inf', soon)
end

local function holds_lease(limit)
  return limit.renewal == 'leased' and redis.call('ZSCORE', part(limit, 'taken'), ask.caller)
end

-- When to come back for the limit; nil where it lets the call through. Then why, if told.
local function refusal(limit)
  local taken, told, told_until, reason = look(limit)
  local ahead = limit.renewal == 'told' and 0 or places_ahead(limit)
  if taken + told + ahead < limit.ceiling or holds_lease(limit) then
    return nil
  end
  local time = room_time(limit, limit.ceiling, taken, told, told_until)
  local pace = limit.window
  if limit.renewal == 'leased' then
    time = math.min(time, now + ask.lease_check)
    pace = ask.lease_check
  end
  return math.ceil(time + math.min(ask.spread, ahead * pace / limit.ceiling)), reason
end

local function expiry(limit)
  if limit.renewal == 'fixed' then
    return (math.floor(now / limit.window) + 1) * limit.window
  end
  return now + limit.window
end

local function take(limit)
  local time = expiry(limit)
  redis.call('ZADD', part(limit, 'taken'), text(time), limit.member)
  keep(part(limit, 'taken'), time)
  list(limit, time)
end

local operations = {}

function operations.admit()
  local refused, come_back, worst, why = {}, 0, 0, ''
  for number, limit in ipairs(ask.limits) do
    local time, reason = refusal(limit)
    refused[number] = time
    if time and time > come_back then
      come_back, worst, why = time, number, reason
    end
  end
  if worst > 0 then
    for number, limit in ipairs(ask.limits) do
      if refused[number] then
        local own = part(limit, 'waiting:' .. ask.priority)
        redis.call('ZADD', own, text(come_back), ask.caller)
        keep(own, come_back)
        list(limit, come_back)
      end
    end
    return {now, come_back, worst, why}
  end
  for _, limit in ipairs(ask.limits) do
    redis.call('ZREM', part(limit, 'waiting:' .. ask.priority), ask.caller)
    if limit.renewal ~= 'told' then
      take(limit)
    end
  end
  return {now}
end

function operations.renew()
  local held = 1
  for _, limit in ipairs(ask.limits) do
    look(limit)
    if holds_lease(limit) then
      take(limit)
    else
      held = 0
    end
  end
  return {held}
end

function operations.release()
  for _, limit in ipairs(ask.limits) do
    redis.call('ZREM', part(limit, 'taken'), limit.member)
  end
  return {}
end

function operations.observe()
  for _, limit in ipairs(ask.limits) do
    local taken, told, told_until = look(limit)
    local reset = now + limit.reset
    local own = taken
    if limit.renewal == 'rolling' then
      own = redis.call('ZCOUNT', part(limit, 'taken'), text(reset - 1000000), '+inf')
    end
    local fresh = limit.used - own
    local state = part(limit, 'state')
    if fresh > 0 and fresh >= told then
      told_until = math.max(told_until, reset)
      redis.call(
        'HSET', state, 'told', fresh, 'told_until', text(told_until), 'reason', limit.reason)
    end
    redis.call('HSET', state, 'observed', text(now))
    keep(state, math.max(reset, told_until))
    list(limit, math.max(reset, told_until))
  end
  return {}
end

function operations.quotas()
  redis.call('ZREMRANGEBYSCORE', index, '-inf', text(now - ask.place))
  local rows = {}
  for _, name in ipairs(redis.call('ZRANGE', index, 0, -1)) do
    local limit = {name = name}
    local spoken = redis.call('GET', about(name))
    if spoken then
      local known = cjson.decode(spoken)
      local taken, told, told_until, reason = look(limit)
      local last = redis.call('ZRANGE', part(limit, 'taken'), -1, -1, 'WITHSCORES')
      local shut = told_until
      if known.renewal ~= 'leased' then
        shut = room_time(limit, known.capacity - known.kept[1], taken, told, told_until)
      end
      local parked = 0
      for priority = 0, 2 do
        for _, caller in ipairs(redis.call('ZRANGE', waiting(limit, priority), 0, -1)) do
          if string.sub(caller, 1, #ask.callers) == ask.callers then
            parked = parked + 1
          end
        end
      end
      rows[#rows + 1] = {
        spoken,
        string.format('%.17g', taken + told),
        math.max(told_until, tonumber(last[2] or '0')),
        shut > now and shut or 0,
        reason,
        parked,
        redis.call('HGET', part(limit, 'state'), 'observed') or '0',
      }
    end
  end
  return {now, rows}
end

return operations[ask.operation]()
"""
