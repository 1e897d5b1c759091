#!/usr/bin/env python3
"""Prints what happened in a room since the last run, each event once; FILE keeps the session.

For cron. An hour without a run ends its session; the next run joins again where it was.
"""
import os, re, socket, sys

if len(sys.argv) != 6:
    print("usage: poll.py HOST PORT ROOM NAME FILE   (the key in CHINWAG_KEY)", file=sys.stderr)
    sys.exit(2)
host, port, room, name, file = sys.argv[1:]
key = os.environ.get("CHINWAG_KEY")
join = f"JOIN {name} room={room} mode=pull idle=3600" + (f" key={key}" if key else "")
token, last, log = open(file).read().split() if os.path.exists(file) else (None, 0, None)

def joining():
    return f"{join} after={last} log={log}" if log else join

def save():
    new = os.open(f"{file}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.write(new, f"{token} {last} {log}\n".encode())
    os.fsync(new)
    os.close(new)
    os.replace(f"{file}.new", file)

def send(line):
    conn.sendall(os.fsencode(re.sub(r"[\x00-\x1f\x7f]", " ", line) + "\n"))

try:
    with socket.create_connection((host, port), timeout=10) as conn:
        stream = conn.makefile(encoding="utf-8", errors="replace", newline="\n")
        while (line := stream.readline()).endswith("\n"):
            field = dict(word.split("=", 1) for word in line.split() if "=" in word)
            match line.split():
                case ["HELLO", _, "protocol=1", *_]:
                    send(f"RESUME {token}" if token else joining())
                case ["ERR", "session-ended" | "unknown-session", *_]:
                    print(f"poll: {line.strip()}; joining again", file=sys.stderr)
                    send(joining())
                case ["OK", "JOIN", *_]:
                    token = field["session"]
                    if field["log"] != log:
                        last, log = int(field["seq"]) - 1, field["log"]
                    save()
                    send(f"POLL after={last}")
                case ["OK", "RESUME", *_]:
                    send(f"POLL after={last}")
                case ["OK", "POLL", count, *_]:
                    events = [stream.readline() for _ in range(int(count))]
                    if not all(event.endswith("\n") for event in events):
                        break  # shows none, so that the next run can show them all
                    for event in events:
                        if event.startswith("LOST "):
                            print(f"poll: {event.split()[1]} events are missing", file=sys.stderr)
                        elif event.startswith(("MSG ", "JOINED ", "LEFT ")):
                            print(event.rstrip("\r\n"))
                    # If this is killed between showing and saving, the next run shows these events
                    # again; in the other order they would be lost.
                    sys.stdout.flush()
                    last = field["last"]
                    save()
                    if field["more"] == "0":
                        sys.exit()
                    send(f"POLL after={last}")
                case ["HELLO" | "ERR" | "BYE", *_]:
                    sys.exit(f"poll: {line.strip()}")
except OSError as error:
    sys.exit(f"poll: {host} port {port}: {error}")
sys.exit("poll: cut off; the next run continues from here")
