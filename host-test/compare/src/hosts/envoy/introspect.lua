-- What people write in place of a filter: asks the issuer about each request's token and believes "active".
function envoy_on_request(handle)
  local authorization = handle:headers():get("authorization")
  local token = authorization and authorization:match("^Bearer ([%w%-%._~%+/]+=*)$")
  if not token then
    handle:respond({ [":status"] = "401" }, "")
    return
  end
  local headers, body = handle:httpCall("issuer", {
    [":method"] = "POST",
    [":path"] = "@PATH@",
    [":authority"] = "@AUTHORITY@",
    ["authorization"] = "Basic YjpzM2NyM3Q=",
    ["content-type"] = "application/x-www-form-urlencoded",
    ["accept"] = "application/json",
  }, "token=" .. token, 5000)
  if headers[":status"] ~= "200" or not body or not body:find('"active":true', 1, true) then
    handle:respond({ [":status"] = "401" }, "")
  end
end
