-- wrk runs for a time; this makes it run for a number of requests: `wrk .. -s fixed.lua URL -- COUNT`.
-- It says "stopped" when the last request has left, and figures as JSON when it has been interrupted.
local left
local line

function init(args)
  left = tonumber(args[1])
  line = wrk.format("GET")
end

function request()
  left = left - 1
  if left == 0 then
    io.write("stopped\n")
    io.flush()
    wrk.thread:stop()
  end
  return line
end

function done(summary, latency, requests)
  io.write(string.format(
    '\n{"requests":%d,"bytes":%d,"errors":%d,"p50_us":%d,"p99_us":%d}\n',
    summary.requests, summary.bytes,
    summary.errors.connect + summary.errors.read + summary.errors.write
      + summary.errors.status + summary.errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
