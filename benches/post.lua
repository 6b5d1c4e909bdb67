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

function done(summary, latency)
   local errors = summary.errors
   io.write(string.format(
      'JSON {"requests":%d,"seconds":%.6f,"p50":%d,"p90":%d,"p99":%d,"not_ok":%d,"broken":%d}\n',
      summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(90),
      latency:percentile(99), errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
