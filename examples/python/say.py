#!/usr/bin/env python3
"""Says something in a room, for cron jobs and alarms; exits with 0 if it was said."""
import os, re, socket, sys

if len(sys.argv) < 6:
    print("usage: say.py HOST PORT ROOM NAME TEXT...   (the key in CHINWAG_KEY)", file=sys.stderr)
    sys.exit(2)
host, port, room, name, *words = sys.argv[1:]
key = os.environ.get("CHINWAG_KEY")
join = f"JOIN {name} room={room} mode=pull idle=10 quiet=yes" + (f" key={key}" if key else "")
# A line end within an argument would begin another command.
lines = [re.sub(r"[\x00-\x1f\x7f]", " ", line) for line in (join, "SAY " + " ".join(words), "QUIT")]
said = False
try:
    with socket.create_connection((host, port), timeout=10) as conn:
        for line in conn.makefile(encoding="utf-8", errors="replace", newline="\n"):
            if line.startswith("HELLO ") and "protocol=1" in line.split():
                conn.sendall(os.fsencode("\n".join(lines) + "\n"))
            elif line.startswith("OK SAY ") and line.endswith("\n"):
                said = True
            elif line.startswith(("HELLO ", "ERR ", "BYE ")) and not said:
                sys.exit(f"say: {line.strip()}")
except OSError as error:
    if not said:
        sys.exit(f"say: {host} port {port}: {error}")
if not said:
    sys.exit(f"say: {host} port {port}: cut off; it may still have been said")
