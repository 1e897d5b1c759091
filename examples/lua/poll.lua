#!/usr/bin/env lua5.4
-- Prints what happened in a room since the last run, each event once; FILE keeps the session.
-- For cron. An hour without a run ends its session; the next run joins again where it was.
-- Lua has no sockets of its own; they come from LuaSocket.
local socket = require "socket"

if #arg ~= 5 then
    io.stderr:write("usage: poll.lua HOST PORT ROOM NAME FILE   (the key in CHINWAG_KEY)\n")
    os.exit(2)
end
local host, port, room, name, file = table.unpack(arg)
local key = os.getenv("CHINWAG_KEY") or ""
local join = "JOIN " .. name .. " room=" .. room .. " mode=pull idle=3600"
if key ~= "" then join = join .. " key=" .. key end
local token, last, log

local function fail(text)
    io.stderr:write("poll: ", text, "\n")
    os.exit(1)
end
-- Lua cannot set a file's permissions, so a shell creates it.
local function save()
    assert(os.execute("umask 077; : >'" .. file:gsub("'", "'\\''") .. ".new'"))
    local new = assert(io.open(file .. ".new", "w"))
    assert(new:write(token, " ", last, " ", log, "\n"))
    assert(new:close())
    assert(os.rename(file .. ".new", file))
end

local function joining()
    return log and join .. " after=" .. last .. " log=" .. log or join
end

local saved = io.open(file)
if saved then
    token, last, log = saved:read("l"):match("(%S+) (%d+) (%S+)")
    saved:close()
end
local conn = socket.tcp()
conn:settimeout(10)
local connected, reason = conn:connect(host, port)
if not connected then fail(host .. " port " .. port .. ": " .. reason) end
local function receive()
    local line, reason = conn:receive("*l")
    return line or fail(reason .. "; the next run continues from here")
end
local function ask(line)
    conn:send(line:gsub("%c", " ") .. "\n")
end

repeat
    local line, more = receive(), nil
    local verb, second, third = line:match("^(%S*) ?(%S*) ?(%S*)")
    local what = verb .. " " .. second
    if verb == "HELLO" and third == "protocol=1" then
        ask(token and "RESUME " .. token or joining())
    elseif what == "ERR session-ended" or what == "ERR unknown-session" then
        io.stderr:write("poll: ", line, "; joining again\n")
        ask(joining())
    elseif what == "OK JOIN" then
        token = line:match(" session=(%S+)")
        local id = line:match(" log=(%S+)")
        if id ~= log then log, last = id, line:match(" seq=(%d+)") - 1 end
        save()
        ask("POLL after=" .. last)
    elseif what == "OK RESUME" then
        ask("POLL after=" .. last)
    elseif what == "OK POLL" then
        local events = {}
        for n = 1, third do events[n] = receive() end
        for _, event in ipairs(events) do
            local count = event:match("^LOST (%d+)")
            if count then
                io.stderr:write("poll: ", count, " events are missing\n")
            elseif event:find("^MSG ") or event:find("^JOINED ") or event:find("^LEFT ") then
                assert(io.write(event, "\n"))
            end
        end
        -- If this is killed between showing and saving, the next run shows these events
        -- again; in the other order they would be lost.
        assert(io.stdout:flush())
        last, more = line:match(" last=(%d+)"), line:match(" more=(%d+)")
        save()
        if more ~= "0" then ask("POLL after=" .. last) end
    elseif verb == "HELLO" or verb == "ERR" or verb == "BYE" then
        fail(line)
    end
until more == "0"
