-- Keys are cached for some seconds; uses are only counted, and the counts sent to Redis by a timer: no record of a call.
local redis = require "nginx.redis"
local cached = require "meter_cached"

local FLUSH_SECONDS = 1

local meter = { access = cached.access }
local usage = ngx.shared.usage

local function flush()
    local names = usage:get_keys(0)
    if #names == 0 then return end
    local client = redis:new()
    client:set_timeout(1000)
    if not client:connect("127.0.0.1", redis_port) then return end
    client:init_pipeline(#names)
    for _, name in ipairs(names) do
        local count = usage:get(name) or 0
        usage:incr(name, -count)
        client:eval("return redis.call('INCRBY', KEYS[1], ARGV[1])", 1, "usage:" .. name, count)
    end
    client:commit_pipeline()
    client:set_keepalive(60000, 8)
end

function meter.start()
    ngx.timer.every(FLUSH_SECONDS, flush)
end

function meter.log()
    if ngx.status == 200 then
        usage:incr(ngx.var.http_apifew_user_license_key, 1, 0)
    end
end

return meter
