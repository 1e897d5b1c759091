#!/bin/sh
# Says something in a room, for cron jobs and alarms; exits with 0 if it was said.
if [ $# -lt 5 ]; then
    echo 'usage: say.sh HOST PORT ROOM NAME TEXT...   (the key in CHINWAG_KEY)' >&2
    exit 2
fi
host=$1 port=$2 room=$3 name=$4
shift 4

# A line end within an argument would begin another command.
line() { printf '%s' "$*" | tr '[:cntrl:]' ' ' && echo; }
lines() {
    line "JOIN $name room=$room mode=pull idle=10 quiet=yes${CHINWAG_KEY:+ key=$CHINWAG_KEY}"
    line "SAY $*"
    echo QUIT
}
# Not every system has timeout.
limit() { if command -v timeout >/dev/null; then timeout 10 "$@"; else "$@"; fi; }
# The dot keeps the last line end, which tells a whole line from one that was cut off.
answer=$(lines "$@" | limit nc "$host" "$port" | tr -d '\r'; echo .)
case $answer in
    *'
OK SAY '*'
'*) exit 0 ;;
esac
reason=$(printf '%s' "$answer" | grep -E '^(ERR|BYE) ' | head -n 1)
echo "say: $host port $port: ${reason:-cut off; it may still have been said}" >&2
exit 1
