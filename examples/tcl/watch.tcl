#!/usr/bin/env tclsh
# Prints what happens in a room, each event once, however often the connection breaks.
if {$argc != 4} {
    puts stderr "usage: watch.tcl HOST PORT ROOM NAME   (the key in CHINWAG_KEY)"
    exit 2
}
lassign $argv host port room name
set join "JOIN $name room=$room idle=60"
if {[info exists env(CHINWAG_KEY)] && $env(CHINWAG_KEY) ne ""} {
    append join " key=$env(CHINWAG_KEY)"
}
set token ""
set last 0
set log ""
set pause 1
set timer ""
set silence 10

proc tell {text} {puts stderr "watch: $text"}
proc fail {text} {tell $text; exit 1}
proc send {line} {
    # If the connection is broken, the next read reports that.
    catch {puts $::conn [regsub -all {[\x00-\x1f\x7f]} $line " "]}
}
# What to send to join; in the log that it knows, from the last event that was shown.
proc joining {} {
    global join last log
    return [expr {$log eq "" ? $join : "$join after=$last log=$log"}]
}
proc connect {} {
    global conn host port
    if {[catch {socket -async $host $port} conn]} {return [again $conn]}
    fconfigure $conn -blocking 0 -buffering line -translation binary
    fileevent $conn readable receive
    limit 10
}
# Gives the connection up after some seconds, unless called again by then.
proc limit {seconds} {
    after cancel $::timer
    set ::timer [after [expr {int(1000 * $seconds)}] {again silence}]
}
proc again {reason} {
    global conn pause timer
    after cancel $timer
    catch {close $conn}
    set wait [expr {int(1000 * rand() * $pause)}]
    tell [format "%s; trying again in %.1f s" $reason [expr {$wait / 1000.0}]]
    set pause [expr {min(2 * $pause, 30)}]
    after $wait connect
}
proc receive {} {
    global conn
    if {[catch {gets $conn line} count]} {return [again $count]}
    if {[eof $conn]} {return [again "cut off"]}
    if {$count >= 0} {take [string trimright $line \r]}
}
proc take {line} {
    global last log pause silence token
    lassign [split $line] verb second third
    switch -glob -- "$verb $second" {
        "HELLO *" {
            if {$third ne "protocol=1"} {fail $line}
            send [expr {$token eq "" ? [joining] : "RESUME $token after=$last"}]
        }
        "OK JOIN" - "OK RESUME" {
            regexp { idle=(\d+) } $line -> idle
            regexp { session=(\S+)} $line -> token
            regexp { seq=(\d+)} $line -> seq
            regexp { log=(\S+)} $line -> id
            if {$id ne $log} {
                set last [expr {$seq - 1}]
                set log $id
            }
            # EXPIRING comes two thirds into the idle time, unless the connection is dead.
            set silence [expr {$idle * 0.75}]
            set pause 1
            limit $silence
        }
        "EXPIRING *" {send PING; limit $silence}
        "MSG *" - "JOINED *" - "LEFT *" {
            if {[catch {puts $line; flush stdout} error]} {fail $error}
            set last $second
        }
        "LOST *" {tell "$second events are missing"; set last [expr {$third - 1}]}
        "ERR session-ended" - "ERR unknown-session" {
            tell "$line; joining again"
            set token ""
            send [joining]
        }
        "ERR full" - "ERR name-taken" - "BYE full" - "BYE shutdown" {again $line}
        "ERR *" - "BYE replaced" - "BYE abuse" {fail $line}
    }
}

fconfigure stdout -translation binary
connect
vwait forever
