#!/usr/bin/env lua5.4
-- Says something in a room, for cron jobs and alarms; exits with 0 if it was said.
-- Lua has no sockets of its own; they come from LuaSocket.
local socket = require "socket"

if #arg < 5 then
    io.stderr:write("usage: say.lua HOST PORT ROOM NAME TEXT...   (the key in CHINWAG_KEY)\n")
    os.exit(2)
end
local host, port, room, name = table.unpack(arg)
local text = table.concat(arg, " ", 5)
local key = os.getenv("CHINWAG_KEY") or ""

local function fail(reason)
    io.stderr:write("say: ", reason, "\n")
    os.exit(1)
end
-- A line end within an argument would begin another command.
local function line(words)
    return words:gsub("%c", " ") .. "\n"
end

local conn = socket.tcp()
conn:settimeout(10)
local connected, reason = conn:connect(host, port)
if not connected then fail(host .. " port " .. port .. ": " .. reason) end
local said
for reply in function() return (conn:receive("*l")) end do
    local verb, second, third = reply:match("^(%S+) (%S+) ?(%S*)")
    if verb == "HELLO" and third == "protocol=1" then
        local join = "JOIN " .. name .. " room=" .. room .. " mode=pull idle=10 quiet=yes"
        if key ~= "" then join = join .. " key=" .. key end
        conn:send(line(join) .. line("SAY " .. text) .. line("QUIT"))
    elseif verb == "OK" and second == "SAY" then
        said = true
    elseif (verb == "HELLO" or verb == "ERR" or verb == "BYE") and not said then
        fail(reply)
    end
end
if not said then fail(host .. " port " .. port .. ": cut off; it may still have been said") end
