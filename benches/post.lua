-- Arguments: body file, then header names and values in turn. Every call is a POST of that body to the URL's own path.
-- Where the body has `@NONCE@`, each call has another 32 hexadecimal digits there.
-- Prints one line of JSON like wrk.lua.

local call
local before, after
local count = 0
local run = ""

function init(args)
   local file = io.open(args[1])
   local body = file:read("a")
   file:close()
   for at = 2, #args, 2 do wrk.headers[args[at]] = args[at + 1] end
   wrk.headers["Content-Type"] = "application/json"
   call = wrk.format("POST", wrk.path, nil, body)
   local from = call:find("@NONCE@", 1, true)
   if from then
      -- The place is shorter than what stands there, so that the length is that of a call with digits.
      local head = wrk.format("POST", wrk.path, nil, body:gsub("@NONCE@", string.rep("0", 32)))
      local at = head:find(string.rep("0", 32), 1, true)
      before, after = head:sub(1, at - 1), head:sub(at + 32)
      local random = io.open("/dev/urandom", "rb")
      for byte in random:read(10):gmatch(".") do run = run .. ("%02x"):format(byte:byte()) end
      random:close()
   end
end

function request()
   if not before then return call end
   count = count + 1
   return before .. run .. ("%012x"):format(count) .. after
end

-- Beside this file; it defines `done`.
dofile(debug.getinfo(1, "S").source:match("^@(.*/)") .. "report.lua")
