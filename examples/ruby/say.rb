#!/usr/bin/env ruby
# Says something in a room, for cron jobs and alarms; exits with 0 if it was said.
require "socket"
require "timeout"

if ARGV.size < 5
  warn "usage: say.rb HOST PORT ROOM NAME TEXT...   (the key in CHINWAG_KEY)"
  exit 2
end
host, port, room, name, *words = ARGV.map(&:b)
join = "JOIN #{name} room=#{room} mode=pull idle=10 quiet=yes"
key = ENV.fetch("CHINWAG_KEY", "")
join += " key=#{key}" unless key.empty?
# A line end within an argument would begin another command.
lines = [join, "SAY " + words.join(" "), "QUIT"].map { |line| line.tr("\x00-\x1f\x7f", " ") + "\n" }

said = false
begin
  conn = Socket.tcp(host, port, connect_timeout: 10)
  while (line = Timeout.timeout(10) { conn.gets })&.end_with?("\n")
    case line
    when /^HELLO .* protocol=1\s/ then conn.write(lines.join)
    when /^OK SAY / then said = true
    when /^(HELLO|ERR|BYE) / then said or abort "say: #{line.chomp}"
    end
  end
rescue SystemCallError, SocketError, Timeout::Error => error
  said or abort "say: #{host} port #{port}: #{error.message}"
end
said or abort "say: #{host} port #{port}: cut off; it may still have been said"
