//go:build ignore

// Says something in a room, for cron jobs and alarms; exits with 0 if it was said.
package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"strings"
	"time"
)

func fail(what ...any) {
	fmt.Fprint(os.Stderr, "say: ", fmt.Sprintln(what...))
	os.Exit(1)
}

// clean ends a line. A line end within an argument would begin another command.
func clean(line string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, line) + "\n"
}

func main() {
	if len(os.Args) < 6 {
		fmt.Fprintln(os.Stderr, "usage: say HOST PORT ROOM NAME TEXT...   (the key in CHINWAG_KEY)")
		os.Exit(2)
	}
	host, port, room, name := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	join := fmt.Sprintf("JOIN %s room=%s mode=pull idle=10 quiet=yes", name, room)
	if key := os.Getenv("CHINWAG_KEY"); key != "" {
		join += " key=" + key
	}
	lines := clean(join) + clean("SAY "+strings.Join(os.Args[5:], " ")) + "QUIT\n"

	conn, err := net.DialTimeout("tcp", net.JoinHostPort(host, port), 10*time.Second)
	if err != nil {
		fail(err)
	}
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	said := false
	for input := bufio.NewReader(conn); ; {
		line, err := input.ReadString('\n')
		if err != nil { // within a line, too
			break
		}
		switch words := strings.Fields(line); {
		case words[0] == "HELLO" && words[2] == "protocol=1":
			fmt.Fprint(conn, lines)
		case words[0] == "OK" && words[1] == "SAY":
			said = true
		case (words[0] == "HELLO" || words[0] == "ERR" || words[0] == "BYE") && !said:
			fail(strings.TrimSpace(line))
		}
	}
	if !said {
		fail(host, "port", port+": cut off; it may still have been said")
	}
}
