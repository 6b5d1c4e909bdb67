-- Arguments: body file, then header names and values in turn. Every call is a POST of that body to the URL's own path.
-- Prints one line of JSON like wrk.lua.

local call

function init(args)
   local file = io.open(args[1])
   local body = file:read("a")
   file:close()
   for at = 2, #args, 2 do wrk.headers[args[at]] = args[at + 1] end
   wrk.headers["Content-Type"] = "application/json"
   call = wrk.format("POST", wrk.path, nil, body)
end

function request()
   return call
end

-- Beside this file; it defines `done`.
dofile(debug.getinfo(1, "S").source:match("^@(.*/)") .. "report.lua")
