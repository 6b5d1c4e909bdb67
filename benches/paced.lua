-- Arguments: header name, key file, path file, calls a second. Calls go through keys and paths in turn, at this rate whatever the
-- server does, for as long as a connection is free: give more connections than calls are under way at once.
-- Prints one line of JSON like wrk.lua, with the answers by status.

local ffi = require("ffi")
ffi.cdef [[
typedef struct { long seconds; long nanoseconds; } bench_time;
int clock_gettime(int clock, bench_time *time);
]]
local MONOTONIC = 1
local time = ffi.new("bench_time")
local requests, at, pause, due = {}, 0, 0, nil
local threads = {}
answers = ""
local seen = {}

local function now_ms()
   ffi.C.clock_gettime(MONOTONIC, time)
   return tonumber(time.seconds) * 1000 + tonumber(time.nanoseconds) / 1e6
end

local function lines(name)
   local list = {}
   for line in io.lines(name) do list[#list + 1] = line end
   return list
end

function setup(thread)
   threads[#threads + 1] = thread
end

function init(args)
   local keys, paths = lines(args[2]), lines(args[3])
   for number = 0, math.max(#keys, #paths) - 1 do
      wrk.headers[args[1]] = keys[number % #keys + 1]
      requests[number + 1] = wrk.format("GET", paths[number % #paths + 1])
   end
   pause = 1000 / tonumber(args[4])
end

-- How long a connection waits before its next call: until the next place in the row that all of them share. A place that
-- nobody was free for is taken late and not left out, for a second at most.
function delay()
   local now = now_ms()
   due = math.max((due or now) + pause, now - 1000)
   return math.max(0, math.floor(due - now))
end

function request()
   at = at % #requests + 1
   return requests[at]
end

function response(status)
   seen[status] = (seen[status] or 0) + 1
   local list = {}
   for code, count in pairs(seen) do list[#list + 1] = string.format('"%d":%d', code, count) end
   answers = table.concat(list, ",")
end

-- Beside this file; it defines `done`.
dofile(debug.getinfo(1, "S").source:match("^@(.*/)") .. "report.lua")

function statuses()
   return threads[1]:get("answers")
end
