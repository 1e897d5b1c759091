#!/bin/sh
# Prints what happens in a room, each event once, however often the connection breaks.
if [ $# -ne 4 ]; then
    echo 'usage: watch.sh HOST PORT ROOM NAME   (the key in CHINWAG_KEY)' >&2
    exit 2
fi
host=$1 port=$2 token='' last=0 log='' pause=1 nc='' timer='' cr=$(printf '\r')
join="JOIN $4 room=$3 idle=60${CHINWAG_KEY:+ key=$CHINWAG_KEY}"
join=$(printf '%s' "$join" | tr '[:cntrl:]' ' ')
dir=$(mktemp -d) && mkfifo "$dir/to" "$dir/from" || exit
trap 'kill $nc $timer 2>/dev/null; rm -r "$dir"' EXIT
trap 'exit 1' HUP INT TERM
trap '' PIPE # a broken connection is no reason to exit
set -f       # lines are split into words, which are not file patterns

tell() { echo "watch: $*" >&2; }
fail() { tell "$@"; exit 1; }
send() { { printf '%s\n' "$*" >&3; } 2>/dev/null; }
join() { send "$join${log:+ after=$last log=$log}"; }
# Kills netcat, and so the connection, after some seconds, unless called again by then.
limit() {
    kill $timer 2>/dev/null
    { sleep "$1"; kill "$nc"; } >/dev/null 2>&1 3>&- 4<&- &
    timer=$!
}
# Reads the server's lines until the connection ends; ignores a last line that has no end.
listen() {
    reason='cut off' silence=10
    while IFS= read -r line <&4; do
        line=${line%"$cr"}
        # shellcheck disable=SC2086 # splitting is intended
        set -- $line
        case $line in
            "HELLO "*) [ "$3" = protocol=1 ] || fail "$line"
                if [ "$token" ]; then send "RESUME $token after=$last"; else join; fi ;;
            "OK JOIN "* | "OK RESUME "*)
                for word; do
                    case $word in
                        session=*) token=${word#*=} ;;
                        idle=*) silence=$(((${word#*=} * 3 + 3) / 4)) ;;
                        seq=*) seq=${word#*=} ;;
                        log=*) [ "$log" = "${word#*=}" ] || last=$((seq - 1)) log=${word#*=} ;;
                    esac
                done
                # EXPIRING comes two thirds into the idle time, unless the connection is dead.
                pause=1; limit "$silence" ;;
            "EXPIRING "*) send PING; limit "$silence" ;;
            "MSG "* | "JOINED "* | "LEFT "*) printf '%s\n' "$line" || exit 1; last=$2 ;;
            "LOST "*) tell "$2 events are missing"; last=$(($3 - 1)) ;;
            "ERR session-ended "* | "ERR unknown-session "*) tell "$line; joining again"
                token=''; join ;;
            "ERR full "* | "ERR name-taken "* | "BYE full "* | "BYE shutdown "*)
                reason=$line; return ;;
            "ERR "* | "BYE replaced "* | "BYE abuse "*) fail "$line" ;;
        esac
    done
}

while :; do
    nc "$host" "$port" <"$dir/to" >"$dir/from" 2>/dev/null & nc=$!
    exec 3>"$dir/to" 4<"$dir/from"
    limit 10
    listen
    kill $nc $timer 2>/dev/null; exec 3>&- 4<&-; wait "$nc"
    wait=$((1 + $(od -An -N2 -tu2 /dev/urandom) % pause))
    tell "$reason; trying again in $wait s"
    sleep "$wait" & wait $! # in the background, so that a signal takes effect at once
    pause=$((pause < 15 ? 2 * pause : 30))
done
