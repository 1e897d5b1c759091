#!/bin/sh
# Prints what happened in a room since the last run, each event once; FILE keeps the session.
# For cron. An hour without a run ends its session; the next run joins again where it was.
if [ $# -ne 5 ]; then
    echo 'usage: poll.sh HOST PORT ROOM NAME FILE   (the key in CHINWAG_KEY)' >&2
    exit 2
fi
host=$1 port=$2 file=$5 token='' last=0 log=''
join="JOIN $4 room=$3 mode=pull idle=3600${CHINWAG_KEY:+ key=$CHINWAG_KEY}"
join=$(printf '%s' "$join" | tr '[:cntrl:]' ' ')
umask 077

tell() { echo "poll: $*" >&2; }
fail() { tell "$@"; exit 1; }
save() { echo "$token $last $log" >"$file.new" && mv "$file.new" "$file" || exit 1; }
# Not every system has timeout.
limit() { if command -v timeout >/dev/null; then timeout 10 "$@"; else "$@"; fi; }
# Sends lines, and accepts the answer only if it is whole: it has the reply to PING. DETACH keeps the
# session, and QUIT ends the connection with any netcat.
ask() {
    answer=$(printf '%s\n' "$@" 'PING whole' DETACH QUIT | limit nc "$host" "$port" | tr -d '\r')
    case $answer in
        *'
OK PING whole'*) error=$(pick 's/^ERR /&/p' | head -n 1) ;;
        *) fail "$host $port: $(pick 's/^BYE .*/&; /p')cut off; the next run continues from here" ;;
    esac
}
pick() { printf '%s\n' "$answer" | sed -n "$1"; }
# The value of a word key=value in the reply to a command.
field() { pick "s/^OK $1.* $2=\([^ ]*\).*/\1/p"; }

[ ! -e "$file" ] || read -r token last log <"$file" || fail "cannot read $file"
while :; do
    if [ -z "$token" ]; then
        ask "$join${log:+ after=$last log=$log}"
        [ -z "$error" ] || fail "$error"
        token=$(field JOIN session) new=$(field JOIN log)
        [ "$log" = "$new" ] || last=$(($(field JOIN seq) - 1)) log=$new
        save
    fi
    # Netcat only reads once it has sent everything, so each POLL takes a connection of its own.
    ask "RESUME $token" "POLL after=$last"
    case $error in
        '') ;;
        'ERR session-ended '* | 'ERR unknown-session '*) tell "$error; joining again"
            token=''; continue ;;
        *) fail "$error" ;;
    esac
    # If this is killed between showing and saving, the next run shows these events
    # again; in the other order they would be lost.
    pick 's/^LOST \([0-9]*\) .*/poll: \1 events are missing/p' >&2
    # busybox' sed would not notice that it cannot write.
    pick '/^MSG /p; /^JOINED /p; /^LEFT /p' | cat || exit 1
    last=$(field POLL last)
    save
    [ "$(field POLL more)" != 0 ] || exit 0
done
