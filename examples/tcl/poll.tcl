#!/usr/bin/env tclsh
# Prints what happened in a room since the last run, each event once; FILE keeps the session.
# For cron. An hour without a run ends its session; the next run joins again where it was.
if {$argc != 5} {
    puts stderr "usage: poll.tcl HOST PORT ROOM NAME FILE   (the key in CHINWAG_KEY)"
    exit 2
}
lassign $argv host port room name file
set join "JOIN $name room=$room mode=pull idle=3600"
if {[info exists env(CHINWAG_KEY)] && $env(CHINWAG_KEY) ne ""} {
    append join " key=$env(CHINWAG_KEY)"
}
set token ""
set last 0
set log ""
set timer ""

proc fail {text} {
    puts stderr "poll: $text"
    exit 1
}
proc save {} {
    global file last log token
    set new [open $file.new {WRONLY CREAT TRUNC} 0600]
    puts $new "$token $last $log"
    close $new
    file rename -force $file.new $file
}
proc ask {line} {puts $::conn [regsub -all {[\x00-\x1f\x7f]} $line " "]}
# What to send to join; in the log that it knows, from the last event that was shown.
proc joining {} {
    global join last log
    return [expr {$log eq "" ? $join : "$join after=$last log=$log"}]
}
# The value of a word key=value in a line.
proc field {line key} {
    regexp " $key=(\\S*)" $line -> value
    return $value
}
# The next line; runs the event loop until it has arrived.
proc receive {} {
    global conn timer
    after cancel $timer
    set timer [after 10000 {fail "no answer; the next run continues from here"}]
    while {[gets $conn line] < 0 && ![eof $conn]} {vwait ready}
    if {[eof $conn]} {error "cut off; the next run continues from here"}
    return [string trimright $line \r]
}
proc visit {} {
    global last log token
    while yes {
        set line [receive]
        lassign [split $line] verb second third
        switch -glob -- "$verb $second" {
            "HELLO *" {
                if {$third ne "protocol=1"} {error $line}
                ask [expr {$token eq "" ? [joining] : "RESUME $token"}]
            }
            "ERR session-ended" - "ERR unknown-session" {
                puts stderr "poll: $line; joining again"
                ask [joining]
            }
            "OK JOIN" {
                set token [field $line session]
                if {$log ne [field $line log]} {
                    set last [expr {[field $line seq] - 1}]
                    set log [field $line log]
                }
                save
                ask "POLL after=$last"
            }
            "OK RESUME" {ask "POLL after=$last"}
            "OK POLL" {
                set events {}
                while {[llength $events] < $third} {lappend events [receive]}
                foreach event $events {
                    if {[regexp {^LOST (\d+) } $event -> count]} {
                        puts stderr "poll: $count events are missing"
                    } elseif {[regexp {^(MSG|JOINED|LEFT) } $event]} {
                        puts $event
                    }
                }
                # If this is killed between showing and saving, the next run shows these events
                # again; in the other order they would be lost.
                flush stdout
                set last [field $line last]
                save
                if {[field $line more] == 0} return
                ask "POLL after=$last"
            }
            "ERR *" - "BYE *" {error $line}
        }
    }
}

fconfigure stdout -translation binary
if {[catch {
    if {[file exists $file]} {
        set saved [open $file]
        lassign [read $saved] token last log
        close $saved
    }
    set conn [socket -async $host $port]
    fconfigure $conn -blocking 0 -buffering line -translation binary
    fileevent $conn readable {set ready yes}
    visit
} error]} {fail "$host port $port: $error"}
