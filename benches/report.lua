-- What a load prints at its end: one line of JSON, with the latency in microseconds and, where the load defines `statuses`, the
-- answers by status.

function done(summary, latency)
   local errors = summary.errors
   io.write(string.format(
      'JSON {"requests":%d,"seconds":%.6f,"p50":%d,"p90":%d,"p99":%d,"not_ok":%d,"broken":%d,"statuses":{%s}}\n',
      summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(90),
      latency:percentile(99), errors.status, errors.connect + errors.read + errors.write + errors.timeout,
      statuses and statuses() or ""))
end
