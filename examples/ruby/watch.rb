#!/usr/bin/env ruby
# Prints what happens in a room, each event once, however often the connection breaks.
require "socket"
require "timeout"

if ARGV.size != 4
  warn "usage: watch.rb HOST PORT ROOM NAME   (the key in CHINWAG_KEY)"
  exit 2
end
HOST, PORT, room, name = ARGV
join = "JOIN #{name} room=#{room} idle=60"
key = ENV.fetch("CHINWAG_KEY", "")
join += " key=#{key}" unless key.empty?
JOIN = join.b.tr("\x00-\x1f\x7f", " ")
$stdout.sync = true
$token, $last, $log, $pause = nil, 0, nil, 1

def tell(text) = warn("watch: #{text}")

def joining = $log ? "#{JOIN} after=#{$last} log=#{$log}" : JOIN

def show(event)
  puts event
rescue SystemCallError => error # this one is not the connection's
  abort "watch: standard output: #{error.message}"
end

def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)

# Reads the server's lines until the connection ends; returns why.
def listen(conn)
  limit, deadline = 10, now + 10
  loop do
    line = Timeout.timeout([deadline - now, 0.001].max) { conn.gets }
    return "cut off" unless line&.end_with?("\n")
    line.chomp!
    case line
    when /^HELLO \S+ protocol=1( |$)/
      conn.puts($token ? "RESUME #{$token} after=#{$last}" : joining)
    when /^OK (JOIN|RESUME) /
      field = line.scan(/ ([^ =]+)=(\S*)/).to_h
      $token = field.fetch("session", $token)
      $last, $log = field["seq"].to_i - 1, field["log"] if field["log"] != $log
      # EXPIRING comes two thirds into the idle time, unless the connection is dead.
      limit, $pause = field["idle"].to_i * 0.75, 1
      deadline = now + limit
    when /^EXPIRING /
      conn.puts("PING")
      deadline = now + limit
    when /^(?:MSG|JOINED|LEFT) (\d+)/
      $last = $1.to_i
      show(line)
    when /^LOST (\d+) (\d+)/
      tell("#{$1} events are missing")
      $last = $2.to_i - 1
    when /^ERR (session-ended|unknown-session) /
      tell("#{line}; joining again")
      $token = nil
      conn.puts(joining)
    when /^(ERR (full|name-taken)|BYE (full|shutdown)) /
      return line
    when /^(HELLO|ERR|BYE (replaced|abuse)) /
      abort "watch: #{line}"
    end
  end
end

loop do
  begin
    reason = Socket.tcp(HOST, PORT, connect_timeout: 10) { |conn| listen(conn) }
  rescue SystemCallError, SocketError, Timeout::Error => error
    reason = error.message
  end
  wait = rand * $pause
  tell(format("%s; trying again in %.1f s", reason, wait))
  sleep wait
  $pause = [2 * $pause, 30].min
end
