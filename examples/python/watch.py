#!/usr/bin/env python3
"""Prints what happens in a room, each event once, however often the connection breaks."""
import os, random, re, socket, sys, time

if len(sys.argv) != 5:
    print("usage: watch.py HOST PORT ROOM NAME   (the key in CHINWAG_KEY)", file=sys.stderr)
    sys.exit(2)
host, port, room, name = sys.argv[1:]
key = os.environ.get("CHINWAG_KEY")
join = f"JOIN {name} room={room} idle=60" + (f" key={key}" if key else "")
token, last, log, pause = None, 0, None, 1

def joining():
    return f"{join} after={last} log={log}" if log else join

def tell(text):
    print("watch:", text, file=sys.stderr, flush=True)

def show(event):
    try:
        print(event, flush=True)
    except OSError as error:  # must not pass for an error of the connection
        sys.exit(f"watch: standard output: {error}")

def listen(conn):
    """Reads the server's lines until the connection ends; returns why."""
    global token, last, log, pause
    stream = conn.makefile(encoding="utf-8", errors="replace", newline="\n")
    limit, deadline = 10, time.monotonic() + 10
    def send(line):
        conn.sendall(os.fsencode(re.sub(r"[\x00-\x1f\x7f]", " ", line) + "\n"))
    while True:
        conn.settimeout(max(0.001, deadline - time.monotonic()))
        line = stream.readline()
        if not line.endswith("\n"):
            return "cut off"
        line = line.rstrip("\r\n")
        match line.split(" "):
            case ["HELLO", _, "protocol=1", *_]:
                send(f"RESUME {token} after={last}" if token else joining())
            case ["OK", "JOIN" | "RESUME", *rest]:
                field = dict(word.split("=", 1) for word in rest if "=" in word)
                token = field.get("session", token)
                if field["log"] != log:
                    last, log = int(field["seq"]) - 1, field["log"]
                # EXPIRING comes two thirds into the idle time, unless the connection is dead.
                limit, pause = int(field["idle"]) * 3 / 4, 1
                deadline = time.monotonic() + limit
            case ["EXPIRING", *_]:
                send("PING")
                deadline = time.monotonic() + limit
            case ["MSG" | "JOINED" | "LEFT", seq, *_]:
                show(line)
                last = int(seq)
            case ["LOST", count, following]:
                tell(f"{count} events are missing")
                last = int(following) - 1
            case ["ERR", "session-ended" | "unknown-session", *_]:
                tell(f"{line}; joining again")
                token = None
                send(joining())
            case ["ERR", "full" | "name-taken", *_] | ["BYE", "full" | "shutdown", *_]:
                return line
            case ["HELLO" | "ERR", *_] | ["BYE", "replaced" | "abuse", *_]:
                sys.exit(f"watch: {line}")

while True:
    try:
        with socket.create_connection((host, port), timeout=10) as conn:
            reason = listen(conn)
    except OSError as error:
        reason = error
    wait = random.uniform(0, pause)
    tell(f"{reason}; trying again in {wait:.1f} s")
    time.sleep(wait)
    pause = min(2 * pause, 30)
