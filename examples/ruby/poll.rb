#!/usr/bin/env ruby
# Prints what happened in a room since the last run, each event once; FILE keeps the session.
# For cron. An hour without a run ends its session; the next run joins again where it was.
require "socket"
require "timeout"

if ARGV.size != 5
  warn "usage: poll.rb HOST PORT ROOM NAME FILE   (the key in CHINWAG_KEY)"
  exit 2
end
host, port, room, name, file = ARGV
join = "JOIN #{name} room=#{room} mode=pull idle=3600"
key = ENV.fetch("CHINWAG_KEY", "")
join += " key=#{key}" unless key.empty?
join = join.b.tr("\x00-\x1f\x7f", " ")
token, last, log = File.read(file).split if File.exist?(file)
joining = -> { log ? "#{join} after=#{last} log=#{log}" : join }

save = lambda do
  File.open("#{file}.new", "w", 0o600) do |new|
    new.puts "#{token} #{last} #{log}"
    new.fsync
  end
  File.rename("#{file}.new", file)
end

begin
  conn = Socket.tcp(host, port, connect_timeout: 10)
  receive = lambda do
    line = Timeout.timeout(10) { conn.gets }
    line&.end_with?("\n") or abort "poll: cut off; the next run continues from here"
    line.chomp
  end
  loop do
    line = receive.call
    field = line.scan(/ ([^ =]+)=(\S*)/).to_h
    case line
    when /^HELLO \S+ protocol=1( |$)/
      conn.puts(token ? "RESUME #{token}" : joining.call)
    when /^ERR (session-ended|unknown-session) /
      warn "poll: #{line}; joining again"
      conn.puts(joining.call)
    when /^OK JOIN /
      token = field["session"]
      last, log = field["seq"].to_i - 1, field["log"] if field["log"] != log
      save.call
      conn.puts("POLL after=#{last}")
    when /^OK RESUME /
      conn.puts("POLL after=#{last}")
    when /^OK POLL (\d+) /
      events = Array.new($1.to_i) { receive.call }
      lost = events.grep(/^LOST /)
      lost.each { |event| warn "poll: #{event.split[1]} events are missing" }
      # If this is killed between showing and saving, the next run shows these events
      # again; in the other order they would be lost.
      puts events.grep(/^(MSG|JOINED|LEFT) /)
      $stdout.flush
      last = field["last"]
      save.call
      exit if field["more"] == "0"
      conn.puts("POLL after=#{last}")
    when /^(HELLO|ERR|BYE) /
      abort "poll: #{line}"
    end
  end
rescue SystemCallError, SocketError, Timeout::Error => error
  abort "poll: #{host} port #{port}: #{error.message}"
end
