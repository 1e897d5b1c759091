//go:build ignore

// Prints what happened in a room since the last run, each event once; FILE keeps the session.
// For cron. An hour without a run ends its session; the next run joins again where it was.
package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

var (
	token string
	log   string
	last  int // the last event of that log that was shown
)

func fail(what ...any) {
	fmt.Fprint(os.Stderr, "poll: ", fmt.Sprintln(what...))
	os.Exit(1)
}

func check(err error) {
	if err != nil {
		fail(err)
	}
}

func save(file string) {
	out, err := os.OpenFile(file+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	check(err)
	_, err = fmt.Fprintln(out, token, last, log)
	check(err)
	check(out.Sync())
	check(out.Close())
	check(os.Rename(file+".new", file))
}

// field returns the value of a word key=value in a line.
func field(words []string, key string) string {
	for _, word := range words {
		if name, value, _ := strings.Cut(word, "="); name == key {
			return value
		}
	}
	return ""
}

func number(text string) int {
	number, err := strconv.Atoi(text)
	check(err)
	return number
}

// receive returns the next line and its words. A last line without an end does not count.
func receive(input *bufio.Reader) (string, []string) {
	line, err := input.ReadString('\n')
	if err != nil {
		fail(err, "- the next run continues from here")
	}
	line = strings.TrimRight(line, "\r\n")
	return line, append(strings.Split(line, " "), "", "")
}

func main() {
	if len(os.Args) != 6 {
		fmt.Fprintln(os.Stderr, "usage: poll HOST PORT ROOM NAME FILE   (the key in CHINWAG_KEY)")
		os.Exit(2)
	}
	host, port, room, name, file := os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5]
	join := fmt.Sprintf("JOIN %s room=%s mode=pull idle=3600", name, room)
	if key := os.Getenv("CHINWAG_KEY"); key != "" {
		join += " key=" + key
	}
	join = strings.NewReplacer("\n", " ", "\r", " ").Replace(join)
	joining := func() string {
		if log == "" {
			return join
		}
		return fmt.Sprintf("%s after=%d log=%s", join, last, log)
	}
	if saved, err := os.ReadFile(file); err == nil {
		_, err = fmt.Sscan(string(saved), &token, &last, &log)
		check(err)
	} else if !os.IsNotExist(err) {
		fail(err)
	}

	conn, err := net.DialTimeout("tcp", net.JoinHostPort(host, port), 10*time.Second)
	check(err)
	input := bufio.NewReader(conn)
	for {
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		line, words := receive(input)
		switch what := words[0] + " " + words[1]; {
		case words[0] == "HELLO" && words[2] == "protocol=1" && token != "":
			fmt.Fprintln(conn, "RESUME", token)
		case words[0] == "HELLO" && words[2] == "protocol=1":
			fmt.Fprintln(conn, joining())
		case what == "ERR session-ended" || what == "ERR unknown-session":
			fmt.Fprintf(os.Stderr, "poll: %s; joining again\n", line)
			fmt.Fprintln(conn, joining())
		case what == "OK JOIN":
			token = field(words, "session")
			if id := field(words, "log"); id != log {
				last, log = number(field(words, "seq"))-1, id
			}
			save(file)
			fmt.Fprintf(conn, "POLL after=%d\n", last)
		case what == "OK RESUME":
			fmt.Fprintf(conn, "POLL after=%d\n", last)
		case what == "OK POLL":
			var shown strings.Builder
			var lost []string
			for count := number(words[2]); count > 0; count-- {
				switch event, words := receive(input); words[0] {
				case "LOST":
					lost = append(lost, words[1])
				case "MSG", "JOINED", "LEFT":
					fmt.Fprintln(&shown, event)
				}
			}
			for _, count := range lost {
				fmt.Fprintf(os.Stderr, "poll: %s events are missing\n", count)
			}
			// If this is killed between showing and saving, the next run shows these events
			// again; in the other order they would be lost.
			_, err := os.Stdout.WriteString(shown.String())
			check(err)
			last = number(field(words, "last"))
			save(file)
			if field(words, "more") == "0" {
				return
			}
			fmt.Fprintf(conn, "POLL after=%d\n", last)
		case words[0] == "HELLO" || words[0] == "ERR" || words[0] == "BYE":
			fail(line)
		}
	}
}
