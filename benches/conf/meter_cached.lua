-- Keys are cached for some seconds; records gather in the process and are sent to Redis by a timer.
local redis = require "nginx.redis"
local record = require "record"

local KEY_SECONDS = 10
local FLUSH_SECONDS = 1
local BATCH = 1000

local meter = {}
local keys = ngx.shared.keys
local records = {}

local function connect()
    local client = redis:new()
    client:set_timeout(1000)
    if client:connect("127.0.0.1", redis_port) then return client end
end

local function flush()
    local sent = records
    if #sent == 0 then return end
    records = {}
    local client = connect()
    if not client then return end
    for first = 1, #sent, BATCH do
        client:rpush("calls", unpack(sent, first, math.min(first + BATCH - 1, #sent)))
    end
    client:set_keepalive(60000, 8)
end

function meter.start()
    ngx.timer.every(FLUSH_SECONDS, flush)
end

function meter.access()
    local key = ngx.var.http_apifew_user_license_key
    if not key then return ngx.exit(401) end
    local known = keys:get(key)
    if known == nil then
        local client = connect()
        if not client then return ngx.exit(503) end
        known = client:get("key:" .. key) ~= ngx.null
        client:set_keepalive(60000, 8)
        keys:set(key, known, KEY_SECONDS)
    end
    if not known then return ngx.exit(401) end
end

function meter.log()
    records[#records + 1] = record.of(ngx.var.http_apifew_user_license_key, ngx.status)
end

return meter
