-- A GET for each line of the file of tokens that the first argument names, in turn, with the header fields that the
-- other arguments are; one line of JSON at the end.
local requests, last = {}, 0

function init(args)
  local headers = {}
  for at = 2, #args - 1, 2 do
    headers[args[at]] = args[at + 1]
  end
  for token in io.lines(args[1]) do
    headers["Authorization"] = "Bearer " .. token
    requests[#requests + 1] = wrk.format("GET", nil, headers)
  end
end

function request()
  last = last % #requests + 1
  return requests[last]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests":%d,"microseconds":%d,"p50":%d,"p99":%d,"bad_status":%d,"broken":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), errors.status,
    errors.connect + errors.read + errors.write + errors.timeout))
end
