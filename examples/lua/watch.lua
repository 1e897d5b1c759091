#!/usr/bin/env lua5.4
-- Prints what happens in a room, each event once, however often the connection breaks.
-- Lua has no sockets of its own; they come from LuaSocket.
local socket = require "socket"

if #arg ~= 4 then
    io.stderr:write("usage: watch.lua HOST PORT ROOM NAME   (the key in CHINWAG_KEY)\n")
    os.exit(2)
end
local host, port, room, name = table.unpack(arg)
local key = os.getenv("CHINWAG_KEY") or ""
local join = "JOIN " .. name .. " room=" .. room .. " idle=60"
if key ~= "" then join = join .. " key=" .. key end
local token, last, log, pause = nil, 0, nil, 1

local function tell(text)
    io.stderr:write("watch: ", text, "\n")
end
local function fail(text)
    tell(text)
    os.exit(1)
end

local function joining()
    return log and join .. " after=" .. last .. " log=" .. log or join
end

-- Reads the server's lines until the connection ends; returns why.
local function listen(conn)
    local limit, deadline = 10, socket.gettime() + 10
    local function send(line)
        conn:send(line:gsub("%c", " ") .. "\n")
        deadline = socket.gettime() + limit
    end
    while true do
        conn:settimeout(math.max(0, deadline - socket.gettime()))
        local line, reason = conn:receive("*l")
        if not line then return reason end
        local verb, second, third = line:match("^(%S+) (%S+) ?(%S*)")
        local what = (verb or "") .. " " .. (second or "")
        if what:find("^HELLO ") and third == "protocol=1" then
            send(token and "RESUME " .. token .. " after=" .. last or joining())
        elseif what == "OK JOIN" or what == "OK RESUME" then
            token = line:match(" session=(%S+)") or token
            local id = line:match(" log=(%S+)")
            if id ~= log then log, last = id, line:match(" seq=(%d+)") - 1 end
            -- EXPIRING comes two thirds into the idle time, unless the connection is dead.
            limit, pause = line:match(" idle=(%d+)") * 0.75, 1
            deadline = socket.gettime() + limit
        elseif verb == "EXPIRING" then
            send("PING")
        elseif verb == "MSG" or verb == "JOINED" or verb == "LEFT" then
            assert(io.write(line, "\n"))
            assert(io.stdout:flush())
            last = second
        elseif verb == "LOST" then
            tell(second .. " events are missing")
            last = third - 1
        elseif what == "ERR session-ended" or what == "ERR unknown-session" then
            tell(line .. "; joining again")
            token = nil
            send(joining())
        elseif what == "ERR full" or what == "ERR name-taken" or what == "BYE full"
            or what == "BYE shutdown" then
            return line
        elseif verb == "HELLO" or verb == "ERR" or what == "BYE replaced"
            or what == "BYE abuse" then
            fail(line)
        end
    end
end

math.randomseed(os.time(), string.byte(name))
while true do
    local conn = socket.tcp()
    conn:settimeout(10)
    local connected, reason = conn:connect(host, port)
    if connected then reason = listen(conn) end
    conn:close()
    local wait = math.random() * pause
    tell(("%s; trying again in %.1f s"):format(reason, wait))
    socket.sleep(wait)
    pause = math.min(2 * pause, 30)
end
