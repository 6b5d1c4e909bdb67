-- A look-up and a record in Redis for each call, in one round trip.
local redis = require "nginx.redis"
local record = require "record"

local meter = {}

function meter.start() end

function meter.access()
    local key = ngx.var.http_apifew_user_license_key
    if not key then return ngx.exit(401) end
    local client = redis:new()
    client:set_timeout(1000)
    if not client:connect("127.0.0.1", redis_port) then return ngx.exit(503) end
    client:init_pipeline(2)
    client:get("key:" .. key)
    -- Before the answer is known: the status of this call cannot be in it.
    client:rpush("calls", record.of(key, ""))
    local answers = client:commit_pipeline()
    client:set_keepalive(60000, 128)
    if not answers then return ngx.exit(503) end
    if answers[1] == ngx.null then return ngx.exit(401) end
end

function meter.log() end

return meter
