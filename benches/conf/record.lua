-- One call as a line: what a home-made meter writes down.
local record = {}

function record.of(key, status)
    return table.concat({
        ngx.var.request_id, key, ngx.var.request_method, ngx.var.uri, status, tostring(ngx.now()), ngx.var.bytes_sent,
    }, " ")
end

return record
