#!/usr/bin/env tclsh
# Says something in a room, for cron jobs and alarms; exits with 0 if it was said.
if {$argc < 5} {
    puts stderr "usage: say.tcl HOST PORT ROOM NAME TEXT...   (the key in CHINWAG_KEY)"
    exit 2
}
lassign $argv host port room name
set join "JOIN $name room=$room mode=pull idle=10 quiet=yes"
if {[info exists env(CHINWAG_KEY)] && $env(CHINWAG_KEY) ne ""} {
    append join " key=$env(CHINWAG_KEY)"
}
set lines [list $join "SAY [join [lrange $argv 4 end] { }]" QUIT]
set said no

proc fail {text} {
    puts stderr "say: $text"
    exit 1
}
# An argument's original bytes; a line end among them would begin another command.
proc clean {line} {
    return [regsub -all {[\x00-\x1f\x7f]} [encoding convertto [encoding system] $line] " "]
}
proc receive {} {
    global conn host lines port said
    set broken [catch {gets $conn line}]
    if {$broken || [eof $conn]} {
        if {$said} {exit 0}
        set reason [fconfigure $conn -error]
        if {$reason eq ""} {set reason "cut off; it may still have been said"}
        fail "$host port $port: $reason"
    }
    switch -glob -- $line {
        "HELLO * protocol=1*" {
            # If the connection is broken, the next read reports that.
            catch {puts $conn [join [lmap line $lines {clean $line}] \n]}
        }
        "OK SAY *" {set said yes}
        "HELLO *" - "ERR *" - "BYE *" {if {!$said} {fail [string trim $line]}}
    }
}

if {[catch {socket -async $host $port} conn]} {fail "$host port $port: $conn"}
fconfigure $conn -blocking 0 -buffering line -translation binary
fileevent $conn readable receive
after 10000 {fail "$host port $port: no answer; it may still have been said"}
vwait forever
