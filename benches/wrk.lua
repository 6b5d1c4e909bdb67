-- Arguments: header name, key file (one key a line), path file (one path a line). Calls go through both in turn.
-- Prints one line of JSON: what was done, and the latency in microseconds.

local keys, paths, header, at = {}, {}, nil, 0

local function lines(name)
   local list = {}
   for line in io.lines(name) do list[#list + 1] = line end
   return list
end

function init(args)
   header = args[1]
   keys = lines(args[2])
   paths = lines(args[3])
   if #keys == 1 and #paths == 1 then
      -- Nothing changes from call to call: build the request once, so that the load itself costs least.
      wrk.headers[header] = keys[1]
      wrk.path = paths[1]
      local whole = wrk.format()
      request = function() return whole end
   end
end

function request()
   at = at + 1
   wrk.headers[header] = keys[at % #keys + 1]
   return wrk.format("GET", paths[at % #paths + 1])
end

function done(summary, latency)
   local errors = summary.errors
   io.write(string.format(
      'JSON {"requests":%d,"seconds":%.6f,"p50":%d,"p90":%d,"p99":%d,"not_ok":%d,"broken":%d}\n',
      summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(90),
      latency:percentile(99), errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
