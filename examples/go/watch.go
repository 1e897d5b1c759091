//go:build ignore

// Prints what happens in a room, each event once, however often the connection breaks.
package main

import (
	"bufio"
	"fmt"
	"math/rand"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

var (
	join  string
	token string
	log   string
	last  int // the last event of that log that was shown
	pause = time.Second
)

func tell(what ...any) {
	fmt.Fprint(os.Stderr, "watch: ", fmt.Sprintln(what...))
}

func fail(what ...any) {
	tell(what...)
	os.Exit(1)
}

func joining() string {
	if log == "" {
		return join
	}
	return fmt.Sprintf("%s after=%d log=%s", join, last, log)
}

// listen reads the server's lines until the connection ends, and returns why.
func listen(conn net.Conn) any {
	defer conn.Close()
	limit := 10 * time.Second
	wait := func() { conn.SetDeadline(time.Now().Add(limit)) }
	wait()
	for input := bufio.NewReader(conn); ; {
		line, err := input.ReadString('\n')
		if err != nil { // within a line, too
			return err
		}
		line = strings.TrimRight(line, "\r\n")
		words := append(strings.Split(line, " "), "", "")
		switch what := words[0] + " " + words[1]; {
		case words[0] == "HELLO" && words[2] == "protocol=1" && token != "":
			fmt.Fprintf(conn, "RESUME %s after=%d\n", token, last)
		case words[0] == "HELLO" && words[2] == "protocol=1":
			fmt.Fprintln(conn, joining())
		case what == "OK JOIN" || what == "OK RESUME":
			field := map[string]string{}
			for _, word := range words {
				key, value, _ := strings.Cut(word, "=")
				field[key] = value
			}
			if field["session"] != "" {
				token = field["session"]
			}
			if field["log"] != log {
				last, _ = strconv.Atoi(field["seq"])
				last, log = last-1, field["log"]
			}
			// EXPIRING comes two thirds into the idle time, unless the connection is dead.
			idle, _ := strconv.Atoi(field["idle"])
			limit, pause = time.Duration(idle)*time.Second*3/4, time.Second
			wait()
		case words[0] == "EXPIRING":
			fmt.Fprintln(conn, "PING")
			wait()
		case words[0] == "MSG" || words[0] == "JOINED" || words[0] == "LEFT":
			if _, err := fmt.Println(line); err != nil {
				fail(err)
			}
			last, _ = strconv.Atoi(words[1])
		case words[0] == "LOST":
			tell(words[1], "events are missing")
			last, _ = strconv.Atoi(words[2])
			last--
		case what == "ERR session-ended" || what == "ERR unknown-session":
			tell(line + "; joining again")
			token = ""
			fmt.Fprintln(conn, joining())
		case what == "ERR full" || what == "ERR name-taken",
			what == "BYE full" || what == "BYE shutdown":
			return line
		case words[0] == "HELLO" || words[0] == "ERR" || what == "BYE replaced" || what == "BYE abuse":
			fail(line)
		}
	}
}

func main() {
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: watch HOST PORT ROOM NAME   (the key in CHINWAG_KEY)")
		os.Exit(2)
	}
	host, port, room, name := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	join = fmt.Sprintf("JOIN %s room=%s idle=60", name, room)
	if key := os.Getenv("CHINWAG_KEY"); key != "" {
		join += " key=" + key
	}
	join = strings.NewReplacer("\n", " ", "\r", " ").Replace(join)
	rand.Seed(time.Now().UnixNano())
	for {
		var reason any
		conn, err := net.DialTimeout("tcp", net.JoinHostPort(host, port), 10*time.Second)
		if reason = err; err == nil {
			reason = listen(conn)
		}
		wait := time.Duration(rand.Float64() * float64(pause))
		tell(fmt.Sprintf("%v; trying again in %.1f s", reason, wait.Seconds()))
		time.Sleep(wait)
		if pause *= 2; pause > 30*time.Second {
			pause = 30 * time.Second
		}
	}
}
