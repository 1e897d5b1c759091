#!/usr/bin/env bash
# Prints what happens in a room, each event once, however often the connection breaks.
if (($# != 4)); then
    echo "usage: watch.bash HOST PORT ROOM NAME   (the key in CHINWAG_KEY)" >&2
    exit 2
fi
host=$1 port=$2 token='' last=0 log='' pause=1
join="JOIN $4 room=$3 idle=60${CHINWAG_KEY:+ key=$CHINWAG_KEY}"
trap '' PIPE # a broken connection is no reason to exit

tell() { echo "watch: $*" >&2; }
fail() { tell "$@"; exit 1; }
send() { { printf '%s\n' "${1//[[:cntrl:]]/ }" >&3; } 2>/dev/null; }
join() { send "$join${log:+ after=$last log=$log}"; }

# Reads the server's lines until the connection ends; ignores a last line that has no end.
listen() {
    local line words word seq silence=10 deadline=$((SECONDS + 10))
    reason='cut off'
    while ((SECONDS < deadline)) && IFS= read -r -t $((deadline - SECONDS)) line <&3 2>/dev/null; do
        line=${line%$'\r'}
        read -ra words <<<"$line"
        case $line in
            "HELLO "*) [[ ${words[2]} == protocol=1 ]] || fail "$line"
                if [[ $token ]]; then send "RESUME $token after=$last"; else join; fi ;;
            "OK JOIN "* | "OK RESUME "*)
                for word in "${words[@]}"; do
                    case $word in
                        session=*) token=${word#*=} ;;
                        idle=*) silence=$(((${word#*=} * 3 + 3) / 4)) ;;
                        seq=*) seq=${word#*=} ;;
                        log=*) [[ $log == "${word#*=}" ]] || last=$((seq - 1)) log=${word#*=} ;;
                    esac
                done
                # EXPIRING comes two thirds into the idle time, unless the connection is dead.
                pause=1 deadline=$((SECONDS + silence)) ;;
            "EXPIRING "*) send PING; deadline=$((SECONDS + silence)) ;;
            "MSG "* | "JOINED "* | "LEFT "*) printf '%s\n' "$line" || exit 1; last=${words[1]} ;;
            "LOST "*) tell "${words[1]} events are missing"; last=$((words[2] - 1)) ;;
            "ERR session-ended "* | "ERR unknown-session "*) tell "$line; joining again"
                token=''; join ;;
            "ERR full "* | "ERR name-taken "* | "BYE full "* | "BYE shutdown "*)
                reason=$line; return ;;
            "ERR "* | "BYE replaced "* | "BYE abuse "*) fail "$line" ;;
        esac
    done
}

while :; do
    reason='no connection'
    if { exec 3<>"/dev/tcp/$host/$port"; } 2>/dev/null; then
        listen
        exec 3>&-
    fi
    wait=$((RANDOM % (1000 * pause)))
    printf -v wait %d.%03d $((wait / 1000)) $((wait % 1000))
    tell "$reason; trying again in $wait s"
    sleep "$wait"
    pause=$((pause < 15 ? 2 * pause : 30))
done
