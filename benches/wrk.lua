-- Arguments: header name, key file (one key a line), path file (one path a line), and perhaps a user agent. Calls go through
-- keys and paths in turn.
-- Prints one line of JSON: what was done, and the latency in microseconds.

local requests, at = {}, 0

local function lines(name)
   local list = {}
   for line in io.lines(name) do list[#list + 1] = line end
   return list
end

-- Every request is built beforehand, so that the load itself costs least.
function init(args)
   local keys, paths = lines(args[2]), lines(args[3])
   wrk.headers["User-Agent"] = args[4]
   for number = 0, math.max(#keys, #paths) - 1 do
      wrk.headers[args[1]] = keys[number % #keys + 1]
      requests[number + 1] = wrk.format("GET", paths[number % #paths + 1])
   end
end

function request()
   at = at % #requests + 1
   return requests[at]
end

-- Beside this file; it defines `done`.
dofile(debug.getinfo(1, "S").source:match("^@(.*/)") .. "report.lua")
