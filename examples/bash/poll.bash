#!/usr/bin/env bash
# Prints what happened in a room since the last run, each event once; FILE keeps the session.
# For cron. An hour without a run ends its session; the next run joins again where it was.
if (($# != 5)); then
    echo "usage: poll.bash HOST PORT ROOM NAME FILE   (the key in CHINWAG_KEY)" >&2
    exit 2
fi
host=$1 port=$2 file=$5 token='' last=0 log=''
join="JOIN $4 room=$3 mode=pull idle=3600${CHINWAG_KEY:+ key=$CHINWAG_KEY}"
trap '' PIPE # so that a broken connection does not kill it silently
umask 077

fail() { echo "poll: $*" >&2; exit 1; }
send() { { printf '%s\n' "${1//[[:cntrl:]]/ }" >&3; } 2>/dev/null; }
join() { send "$join${log:+ after=$last log=$log}"; }
save() { echo "$token $last $log" >"$file.new" && mv "$file.new" "$file" || exit 1; }
# The value of a word key=value in the line.
field() { [[ $line =~ " $1="([^ ]*) ]] && echo "${BASH_REMATCH[1]}"; }
# A last line without an end does not count.
receive() {
    IFS= read -r -t 10 line <&3 2>/dev/null ||
        fail "$host $port: cut off; the next run continues from here"
    line=${line%$'\r'}
}

if [[ -e $file ]]; then read -r token last log <"$file" || fail "cannot read $file"; fi
{ exec 3<>"/dev/tcp/$host/$port"; } 2>/dev/null || fail "cannot connect to $host port $port"
while receive; do
    read -ra words <<<"$line"
    case $line in
        "HELLO "*) [[ ${words[2]} == protocol=1 ]] || fail "$line"
            if [[ $token ]]; then send "RESUME $token"; else join; fi ;;
        "ERR session-ended "* | "ERR unknown-session "*) echo "poll: $line; joining again" >&2
            join ;;
        "OK JOIN "*) token=$(field session)
            [[ $log == "$(field log)" ]] || last=$(($(field seq) - 1)) log=$(field log)
            save
            send "POLL after=$last" ;;
        "OK RESUME "*) send "POLL after=$last" ;;
        "OK POLL "*)
            last=$(field last) more=$(field more) events=()
            for ((n = 0; n < words[2]; n++)); do receive; events+=("$line"); done
            for line in "${events[@]}"; do
                case $line in
                    "MSG "* | "JOINED "* | "LEFT "*) printf '%s\n' "$line" || exit 1 ;;
                    "LOST "*) read -ra words <<<"$line"
                        echo "poll: ${words[1]} events are missing" >&2 ;;
                esac
            done
            # If this is killed between showing and saving, the next run shows these events
            # again; in the other order they would be lost.
            save
            [[ $more != 0 ]] || exit 0
            send "POLL after=$last" ;;
        "ERR "* | "BYE "*) fail "$line" ;;
    esac
done
