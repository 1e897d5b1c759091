#!/usr/bin/env bash
# Says something in a room, for cron jobs and alarms; exits with 0 if it was said.
if (($# < 5)); then
    echo "usage: say.bash HOST PORT ROOM NAME TEXT...   (the key in CHINWAG_KEY)" >&2
    exit 2
fi
host=$1 port=$2 text="${*:5}"
join="JOIN $4 room=$3 mode=pull idle=10 quiet=yes${CHINWAG_KEY:+ key=$CHINWAG_KEY}"
trap '' PIPE # so that a broken connection does not kill it silently

fail() { echo "say: $*" >&2; exit 1; }
# A line end within an argument would begin another command.
send() { printf '%s\n' "${1//[[:cntrl:]]/ }" >&3; }

{ exec 3<>"/dev/tcp/$host/$port"; } 2>/dev/null || fail "cannot connect to $host port $port"
while IFS= read -r -t 10 line <&3 2>/dev/null; do
    line=${line%$'\r'}
    case $line in
        "HELLO "*" protocol=1" | "HELLO "*" protocol=1 "*)
            { send "$join" && send "SAY $text" && send QUIT; } 2>/dev/null ;;
        "OK SAY "*) said=yes ;;
        "HELLO "* | "ERR "* | "BYE "*) [[ ${said-} ]] || fail "$line" ;;
    esac
done
[[ ${said-} ]] || fail "$host port $port: cut off; it may still have been said"
